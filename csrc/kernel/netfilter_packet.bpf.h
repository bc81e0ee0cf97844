/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NETFILTER_PACKET_BPF_H
#define FFPF_KERNEL_NETFILTER_PACKET_BPF_H
/*
 * How the octets of a packet are read in a netfilter hook, where bpf_skb_load_bytes is not to be had: through a dynptr
 * (kfunc of Linux 6.4). The packet begins with its network header; link headers are not looked at.
 */
#include "kernel/maps.bpf.h"

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;

static __always_inline long
packet_load(struct __sk_buff *skb, __u32 from, void *to, __u32 len)
{
	struct bpf_dynptr octets;
	long rc = bpf_dynptr_from_skb(skb, 0, &octets);

	return rc ? rc : bpf_dynptr_read(to, len, &octets, from, 0);
}

static __always_inline long
packet_load_link(struct __sk_buff *skb, __u32 from, void *to, __u32 len)
{
	return -1;
}

#endif
