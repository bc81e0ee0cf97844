/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_SOCKET_BPF_H
#define FFPF_KERNEL_SOCKET_BPF_H
/* How the octets of a packet are read by a socket filter. netfilter_packet.bpf.h says the same for a netfilter hook. */
#include "kernel/maps.bpf.h"

/* Not 0: they are not all there. */
static __always_inline long
packet_load(struct __sk_buff *skb, __u32 from, void *to, __u32 len)
{
	return bpf_skb_load_bytes(skb, from, to, len);
}

/* From the link header on, also where the packet begins behind it. */
static __always_inline long
packet_load_link(struct __sk_buff *skb, __u32 from, void *to, __u32 len)
{
	return bpf_skb_load_bytes_relative(skb, from, to, len, BPF_HDR_START_MAC);
}

#endif
