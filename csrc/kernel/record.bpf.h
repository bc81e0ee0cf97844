/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_RECORD_BPF_H
#define FFPF_KERNEL_RECORD_BPF_H
/*
 * The record of a packet, as libpcap would show it: a VLAN tag that the kernel took out is put back; where there is no
 * link header there is one of LINUX_SLL2.
 *
 *     plain    | packet                             |
 *     tagged   | 12 octets | tag, 4 | packet from 12 |        the tag may be cut, by the snap length, not the header
 *     cooked   | header, 20         | packet         |
 *
 * packet_load and packet_load_link are of the header that the program includes first: socket.bpf.h or
 * netfilter_packet.bpf.h.
 */
#include "kernel/pass.bpf.h"

#include <bpf/bpf_endian.h>

#define TAG_OFFSET   12 /* behind the addresses of Ethernet */
#define TAG_BYTES    4
#define COOKED_BYTES 20

#define TYPE_VLAN         0x8100
#define TYPE_SERVICE_VLAN 0x88a8
#define TAGS_MAX          8
#define ARPHRD_ETHER_     1
#define ARPHRD_LOOPBACK_  772
#define ETHER_ADDR_BYTES  6
#define ETHER_ADDR_SOURCE 6

struct shape {
	__u32 cap_len, wire_len;
	__u32 tag; /* it is put back */
};

static __always_inline struct shape
shape_of(const struct pass *p, __u32 snap_len)
{
	struct shape shape = { .wire_len = p->scratch->wire_len };

	if (constants.cooked) {
		shape.wire_len += COOKED_BYTES;
	} else if (p->scratch->vlan_present && shape.wire_len >= TAG_OFFSET) {
		shape.tag = 1;
		shape.wire_len += TAG_BYTES;
	}
	shape.cap_len = shape.wire_len < snap_len ? shape.wire_len : snap_len;
	if (shape.cap_len > FFPF_PACKET_MAX_BYTES)
		shape.cap_len = FFPF_PACKET_MAX_BYTES;
	return shape;
}

static __always_inline __u32
cells_of(__u32 cap_len)
{
	return (FFPF_RECORD_DATA + cap_len + FFPF_CELL_BYTES - 1) / FFPF_CELL_BYTES;
}

/* 1 <= len <= most; then len is made anew from what was compared, of which the verifier knows both bounds. Before Linux
 * 6.8 "not 0" tells it nothing. */
static __always_inline bool
is_length(__u32 *len, __u32 most)
{
	__u32 less = *len - 1;

	asm volatile("" : "+r"(less));
	if (less >= most)
		return false;
	/* not before the comparison */
	asm volatile("" : "+r"(less));
	*len = less + 1;
	return true;
}

/* What filters may look at. */
static __always_inline void
fetch(struct ffpf_scratch *s, struct __sk_buff *skb, __u32 fetch_len)
{
	__u32 len = s->wire_len < fetch_len ? s->wire_len : fetch_len;

	s->data_len = 0;
	if (is_length(&len, FFPF_SCRATCH_DATA_BYTES) && packet_load(skb, 0, s->data, len) == 0)
		s->data_len = len;
}

/* The cells from lane W on. Always in bounds: the last record may run into the slack. */
static __always_inline struct ffpf_record *
cell_of(const struct pass *p)
{
	__u64 offset = (p->ls->w & (CELLS - 1)) * FFPF_CELL_BYTES;

	return (void *)p->lane + FFPF_PAGE_BYTES + offset;
}

/* Octets of the packet from `from` on; at most `len`, and none if it is 0 or less. */
static __always_inline long
copy(struct __sk_buff *skb, __u32 from, void *to, __s32 len)
{
	const __u32 most = FFPF_PACKET_MAX_BYTES - COOKED_BYTES;
	__u32 octets = len;

	if (len <= 0)
		return 0;
	if (!is_length(&octets, most))
		octets = most;
	return packet_load(skb, from, to, octets);
}

/* A tag that is still in the frame, of a packet without link header: what is sent through an interface that leaves tags
 * to software. */
struct inner {
	__u16 protocol;
	__u16 tci; /* of the outermost tag */
	bool tagged;
};

static __always_inline bool
is_tag(__u16 type)
{
	return type == TYPE_VLAN || type == TYPE_SERVICE_VLAN;
}

/* net/packet/af_packet.c (6.10), vlan_get_protocol_dgram and vlan_get_tci: the type behind all tags. */
static __always_inline struct inner
inner_of(const struct pass *p)
{
	struct inner inner = { .protocol = p->scratch->protocol };
	__u16 words[2]; /* tag, and type behind it */

	for (__u32 i = 0; i < TAGS_MAX && is_tag(inner.protocol); i++) {
		if (packet_load_link(p->skb, TAG_OFFSET + 2 + TAG_BYTES * i, words, sizeof(words)))
			break;
		if (i == 0)
			inner.tci = bpf_ntohs(words[0]);
		inner.tagged = true;
		inner.protocol = bpf_ntohs(words[1]);
	}
	return inner;
}

/* 20 octets, big-endian: see source/cooked.h. The address is the sender's, of Ethernet and what looks like it. */
static __always_inline void
write_cooked(const struct pass *p, __u8 *to, __u16 protocol)
{
	const struct ffpf_scratch *s = p->scratch;
	bool address = s->hatype == ARPHRD_ETHER_ || s->hatype == ARPHRD_LOOPBACK_;
	__u8 *sender = to + 12;

	*(__u16 *)(to + 0) = bpf_htons(protocol);
	*(__u16 *)(to + 2) = 0;
	*(__u32 *)(to + 4) = bpf_htonl(s->ifindex);
	*(__u16 *)(to + 8) = bpf_htons(s->hatype);
	to[10] = s->pkt_type;
	to[11] = 0;
	*(__u32 *)(to + 12) = 0;
	*(__u32 *)(to + 16) = 0;
	if (address && packet_load_link(p->skb, ETHER_ADDR_SOURCE, sender, ETHER_ADDR_BYTES) == 0)
		to[11] = ETHER_ADDR_BYTES;
}

static __always_inline long
write_packet(const struct pass *p, const struct shape *shape, __u16 protocol, __u8 *data)
{
	const struct ffpf_scratch *s = p->scratch;
	__s32 len = shape->cap_len;

	if (constants.cooked) {
		write_cooked(p, data, protocol);
		return copy(p->skb, 0, data + COOKED_BYTES, len - COOKED_BYTES);
	}
	if (!shape->tag)
		return copy(p->skb, 0, data, len);
	if (copy(p->skb, 0, data, len < TAG_OFFSET ? len : TAG_OFFSET))
		return -1;
	*(__u16 *)(data + TAG_OFFSET) = bpf_htons(s->vlan_tpid);
	*(__u16 *)(data + TAG_OFFSET + 2) = bpf_htons(s->vlan_tci);
	return copy(p->skb, TAG_OFFSET, data + TAG_OFFSET + TAG_BYTES, len - TAG_OFFSET - TAG_BYTES);
}

/* All of the record but the stamp, without which it is none. Not 0: the packet could not be read. */
static __always_inline long
write_record(const struct pass *p, const struct shape *shape, __s64 time_ns)
{
	const struct ffpf_scratch *s = p->scratch;
	struct ffpf_record *record = cell_of(p);
	struct inner inner = { .protocol = s->protocol };
	__u32 flags = shape->tag ? FFPF_RECORD_VLAN : 0;
	__u16 tpid = 0, tci = 0;

	if (constants.cooked) {
		flags = FFPF_RECORD_COOKED;
		inner = inner_of(p);
	}
	if (s->vlan_present) {
		tpid = s->vlan_tpid;
		tci = s->vlan_tci;
	} else if (inner.tagged) {
		tpid = s->protocol;
		tci = inner.tci;
	}
	if (tpid && !shape->tag)
		flags |= FFPF_RECORD_VLAN_BESIDE;
	record->time_ns = time_ns;
	record->cap_len = shape->cap_len;
	record->wire_len = shape->wire_len;
	record->ifindex = s->ifindex;
	record->vlan_tci = tci;
	record->vlan_tpid = tpid;
	record->protocol = s->protocol;
	record->hatype = s->hatype;
	record->pkt_type = s->pkt_type;
	record->flags = flags;
	record->vlan_offset = shape->tag ? TAG_OFFSET : 0;
	record->reserved = 0;
	return write_packet(p, shape, inner.protocol, (__u8 *)record + FFPF_RECORD_DATA);
}

#endif
