/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_CONTEXT_BPF_H
#define FFPF_KERNEL_CONTEXT_BPF_H
/*
 * What only the kernel's own struct sk_buff tells. FFPF_HOOK_CONTEXT 0 is for kernels that do not let a program see it
 * (before 6.2): then time comes from the clock, and the interface's type from whoever made the source.
 */
#include "kernel/pass.bpf.h"

#if FFPF_HOOK_CONTEXT

#include "kernel/skbuff.bpf.h"

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

	return stamp_of_kernel(kernel_skb);
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
