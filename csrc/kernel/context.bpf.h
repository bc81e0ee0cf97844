/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_CONTEXT_BPF_H
#define FFPF_KERNEL_CONTEXT_BPF_H
/*
 * What only the kernel's own struct sk_buff tells, in the three forms of the hook. FFPF_HOOK_FORM is one of
 *
 *     CONTEXT    the kernel lends it, from 6.2 on: loads like any others
 *     PROBED     it is read like any memory of the kernel's, with a call for each field
 *     PLAIN      not at all, where the kernel is locked down: time comes from the clock, and the interface's type from
 *                whoever made the source
 */
#include "kernel/pass.bpf.h"

#if FFPF_HOOK_FORM == FFPF_KERNEL_FORM_CONTEXT

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

#elif FFPF_HOOK_FORM == FFPF_KERNEL_FORM_PROBED

#include "kernel/skbuff.bpf.h"

/* What a socket filter is called with is the packet itself: only the verifier has another name for it. */
static __always_inline struct sk_buff *
kernel_skb_of(struct __sk_buff *skb)
{
	return (struct sk_buff *)skb;
}

static __always_inline __u32
hatype_of(struct __sk_buff *skb)
{
	return BPF_CORE_READ(kernel_skb_of(skb), dev, type);
}

/* When the packet came, in real time; 0: it does not say. */
static __always_inline __s64
stamp_of(struct __sk_buff *skb)
{
	return stamp_of_probed(kernel_skb_of(skb));
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
