/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_SKBUFF_BPF_H
#define FFPF_KERNEL_SKBUFF_BPF_H
/* The kernel's own packet, and where it comes from. */
#include "kernel/pass.bpf.h"

#include <bpf/bpf_core_read.h>

/* The fields that are looked at; where they are is found out when the program is loaded. */
struct net_device {
	int ifindex;
	unsigned short type;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	__s64 tstamp;
	unsigned int len;
	__u32 mark;
	__u32 hash;
	__u16 queue_mapping;
	__u8 pkt_type : 3;
	__u8 tstamp_type : 2; /* since 6.11: 0 is real time */
} __attribute__((preserve_access_index));

struct sk_buff___delivery {
	__u8 mono_delivery_time : 1; /* from 5.18 on: not real time */
} __attribute__((preserve_access_index));

/* When the packet came, in real time; 0: it does not say. */
static __always_inline __s64
stamp_of_kernel(struct sk_buff *kernel_skb)
{
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

/* The same, of one that the verifier does not let us look into. */
static __always_inline __s64
stamp_of_probed(struct sk_buff *kernel_skb)
{
	struct sk_buff___delivery *older = (void *)kernel_skb;
	__s64 stamp = BPF_CORE_READ(kernel_skb, tstamp);

	if (!stamp)
		return 0;
	if (bpf_core_field_exists(kernel_skb->tstamp_type)) {
		if (BPF_CORE_READ_BITFIELD_PROBED(kernel_skb, tstamp_type) != 0)
			return 0;
	} else if (bpf_core_field_exists(older->mono_delivery_time)) {
		if (BPF_CORE_READ_BITFIELD_PROBED(older, mono_delivery_time))
			return 0;
	}
	return stamp;
}

#endif
