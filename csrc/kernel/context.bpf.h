/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_CONTEXT_BPF_H
#define FFPF_KERNEL_CONTEXT_BPF_H
/*
 * What only the kernel's own struct sk_buff tells. FFPF_HOOK_CONTEXT 0 is for kernels that do not let a program see it
 * (before 6.2): then time comes from the clock, and the interface's type from whoever made the source.
 */
#include "kernel/pass.bpf.h"

#include <bpf/bpf_core_read.h>

#if FFPF_HOOK_CONTEXT

/* The fields that are looked at; where they are is found out when the program is loaded. */
struct net_device {
	unsigned short type;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	__s64 tstamp;
	__u8 tstamp_type : 2; /* since 6.11: 0 is real time */
} __attribute__((preserve_access_index));

struct sk_buff___delivery {
	__u8 mono_delivery_time : 1; /* from 5.18 on: not real time */
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

static __always_inline __u32
hatype_of(struct __sk_buff *skb)
{
	struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);

	return kernel_skb->dev->type;
}

/* When the packet came, in real time; 0: it does not say. */
static __always_inline __s64
stamp_of(struct __sk_buff *skb)
{
	struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);
	struct sk_buff___delivery *older = (void *)kernel_skb;

	if (!kernel_skb->tstamp)
		return 0;
	if (bpf_core_field_exists(kernel_skb->tstamp_type)) {
		if (BPF_CORE_READ_BITFIELD(kernel_skb, tstamp_type) != 0)
			return 0;
	} else if (bpf_core_field_exists(older->mono_delivery_time)) {
		if (BPF_CORE_READ_BITFIELD(older, mono_delivery_time))
			return 0;
	}
	return kernel_skb->tstamp;
}

#else

static __always_inline __u32
hatype_of(struct __sk_buff *skb)
{
	return constants.hatype;
}

static __always_inline __s64
stamp_of(struct __sk_buff *skb)
{
	return 0;
}

#endif

#endif
