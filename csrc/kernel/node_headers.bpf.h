/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_HEADERS_BPF_H
#define FFPF_KERNEL_NODE_HEADERS_BPF_H
/*
 * Headers and flow of a packet in the scratch: what graph/tuple.c finds, of the first FFPF_NODE_HEADERS_BYTES octets,
 * with EXTENSIONS extension headers of IPv6 at most. Offsets are masked where they are used: the verifier believes
 * nothing that the compiler knows.
 */
#include "kernel/node_layout.h"

#include <stdbool.h>

#define inline_always static __attribute__((always_inline)) inline

#define FOUND_ETHERNET  (1 << 0)
#define FOUND_VLAN      (1 << 1)
#define FOUND_IPV4      (1 << 2)
#define FOUND_IPV6      (1 << 3)
#define FOUND_TRANSPORT (1 << 4)
#define FOUND_PORTS     (1 << 5)
#define FOUND_FRAGMENT  (1 << 6)

#define TUPLE_NUMBER 1
#define TUPLE_ETHER  2
#define TUPLE_IPV4   4
#define TUPLE_IPV6   6

#define MURMUR 0xc6a4a7935bd1e995u

#define ETHERNET_BYTES 14u
#define IPV4_BYTES     20u
#define IPV6_BYTES     40u
#define TYPE_IPV4      0x0800u
#define TYPE_VLAN      0x8100u
#define TYPE_IPV6      0x86ddu
#define TYPE_QINQ      0x88a8u
#define TYPE_QINQ_1    0x9100u
#define TAGS           3
#define EXTENSIONS     6

#define PROTO_HOPOPTS  0
#define PROTO_ICMP     1
#define PROTO_TCP      6
#define PROTO_UDP      17
#define PROTO_DCCP     33
#define PROTO_ROUTING  43
#define PROTO_FRAGMENT 44
#define PROTO_AH       51
#define PROTO_ICMPV6   58
#define PROTO_NONE     59
#define PROTO_DSTOPTS  60
#define PROTO_SCTP     132
#define PROTO_MOBILITY 135
#define PROTO_UDPLITE  136

/* The compiler forgets what it knows of a value, and so cannot take a mask away that the verifier needs. */
#define forget(value) asm volatile("" : "+r"(value))

inline_always const uint8_t *
octets_at(const struct ffpf_scratch *s, uint32_t at)
{
	forget(at);
	return &s->data[at & (2 * FFPF_NODE_HEADERS_BYTES - 1)];
}

inline_always uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

inline_always bool
has(const struct ffpf_node_headers *h, uint32_t offset, uint32_t bytes)
{
	return offset + bytes <= h->len;
}

inline_always bool
has_ports(uint32_t protocol)
{
	return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP || protocol == PROTO_UDPLITE ||
	       protocol == PROTO_DCCP;
}

inline_always bool
is_echo(uint32_t protocol, uint32_t type)
{
	return protocol == PROTO_ICMP ? type == 8 || type == 0 : type == 128 || type == 129;
}

inline_always void
find_transport(const struct ffpf_scratch *s, struct ffpf_node_headers *h, uint32_t offset, uint32_t protocol,
	       bool later_piece)
{
	const uint8_t *p = octets_at(s, offset);

	h->transport = offset;
	h->protocol = (uint8_t)protocol;
	h->found |= FOUND_TRANSPORT;
	if (later_piece)
		return;
	if (has_ports(protocol)) {
		if (!has(h, offset, 4))
			return;
		h->sport = (uint16_t)be16(p);
		h->dport = (uint16_t)be16(p + 2);
	} else if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6) {
		if (!has(h, offset, 6) || !is_echo(protocol, p[0]))
			return;
		h->sport = h->dport = (uint16_t)be16(p + 4);
	} else {
		return;
	}
	h->found |= FOUND_PORTS;
}

inline_always void
end_at(struct ffpf_node_headers *h, uint32_t stated, uint32_t least)
{
	if (stated >= least && h->network + stated < h->len)
		h->len = h->network + stated;
}

inline_always void
find_ipv4(const struct ffpf_scratch *s, struct ffpf_node_headers *h)
{
	const uint8_t *p = octets_at(s, h->network);
	uint32_t header, piece;

	if (!has(h, h->network, IPV4_BYTES) || p[0] >> 4 != 4)
		return;
	header = (p[0] & 15u) * 4;
	if (header < IPV4_BYTES)
		return;
	h->found |= FOUND_IPV4;
	end_at(h, be16(p + 2), header);
	piece = be16(p + 6) & 0x3fff;
	if (piece)
		h->found |= FOUND_FRAGMENT;
	h->protocol = p[9];
	if (has(h, h->network, header))
		find_transport(s, h, h->network + header, p[9], piece & 0x1fff);
}

inline_always uint32_t
extension_bytes(uint32_t protocol, const uint8_t *p)
{
	if (protocol == PROTO_HOPOPTS || protocol == PROTO_ROUTING || protocol == PROTO_DSTOPTS ||
	    protocol == PROTO_MOBILITY)
		return (p[1] + 1u) * 8;
	if (protocol == PROTO_AH)
		return (p[1] + 2u) * 4;
	return protocol == PROTO_FRAGMENT ? 8 : 0;
}

/* One extension header, or the transport, which ends it: true. Where it stands lies in h between two steps. */
inline_always bool
step_ipv6(const struct ffpf_scratch *s, struct ffpf_node_headers *h)
{
	uint32_t offset = h->transport, protocol = h->protocol, bytes;
	const uint8_t *p = octets_at(s, offset);
	bool later_piece = false;

	if (!has(h, offset, 2)) {
		if (protocol == PROTO_NONE || has_ports(protocol) || protocol == PROTO_ICMPV6)
			find_transport(s, h, offset, protocol, false);
		return true;
	}
	bytes = extension_bytes(protocol, p);
	if (!bytes) {
		find_transport(s, h, offset, protocol, false);
		return true;
	}
	if (!has(h, offset, bytes))
		return true;
	if (protocol == PROTO_FRAGMENT && (be16(p + 2) & 0xfff9)) {
		h->found |= FOUND_FRAGMENT;
		later_piece = be16(p + 2) & 0xfff8;
	}
	h->protocol = p[0];
	h->transport = offset + bytes;
	if (later_piece)
		find_transport(s, h, offset + bytes, p[0], true);
	return later_piece;
}

inline_always void
find_ipv6(const struct ffpf_scratch *s, struct ffpf_node_headers *h)
{
	const uint8_t *p = octets_at(s, h->network);

	if (!has(h, h->network, IPV6_BYTES) || p[0] >> 4 != 6)
		return;
	h->found |= FOUND_IPV6;
	if (be16(p + 4))
		end_at(h, IPV6_BYTES + be16(p + 4), IPV6_BYTES);
	h->protocol = p[6];
	h->transport = h->network + IPV6_BYTES;
	for (int i = 0; i < EXTENSIONS; i++)
		if (step_ipv6(s, h))
			break;
}

inline_always void
find_network(const struct ffpf_scratch *s, struct ffpf_node_headers *h, uint32_t offset, uint32_t type)
{
	for (int i = 0; i < TAGS; i++) {
		const uint8_t *p = octets_at(s, offset);

		if ((type != TYPE_VLAN && type != TYPE_QINQ && type != TYPE_QINQ_1) || !has(h, offset, 4))
			break;
		if (!(h->found & FOUND_VLAN)) {
			h->found |= FOUND_VLAN;
			h->vlan_tci = (uint16_t)be16(p);
		}
		type = be16(p + 2);
		offset += 4;
	}
	h->network = offset;
	h->ether_type = (uint16_t)type;
	if (type == TYPE_IPV4)
		find_ipv4(s, h);
	else if (type == TYPE_IPV6)
		find_ipv6(s, h);
}

inline_always void
find_headers(const struct ffpf_scratch *s, struct ffpf_node_headers *h, uint32_t link)
{
	uint32_t len = s->data_len < FFPF_NODE_HEADERS_BYTES ? s->data_len : FFPF_NODE_HEADERS_BYTES;
	uint32_t version = s->data[0] >> 4;

	*h = (struct ffpf_node_headers){ .len = len, .ether_type = (uint16_t)s->protocol };
	if (s->vlan_present) {
		h->found |= FOUND_VLAN;
		h->vlan_tci = (uint16_t)s->vlan_tci;
	}
	if (link == FFPF_NODE_ETHERNET && len >= ETHERNET_BYTES) {
		h->found |= FOUND_ETHERNET;
		find_network(s, h, ETHERNET_BYTES, be16(&s->data[12]));
	} else if (link == FFPF_NODE_COOKED) {
		find_network(s, h, 0, s->protocol);
	} else if (link == FFPF_NODE_RAW && len && (version == 4 || version == 6)) {
		find_network(s, h, 0, version == 4 ? TYPE_IPV4 : TYPE_IPV6);
	}
}

inline_always uint64_t
word_of(const uint8_t *p, uint32_t octets)
{
	uint64_t word = 0;

	__builtin_memcpy(&word, p, octets);
	return word;
}

inline_always void
find_tuple(const struct ffpf_scratch *s, const struct ffpf_node_headers *h, struct ffpf_node_tuple *t)
{
	const uint8_t *p = octets_at(s, h->network);

	*t = (struct ffpf_node_tuple){ .kind = 0 };
	if (h->found & FOUND_IPV4) {
		t->kind = TUPLE_IPV4;
		t->src[0] = word_of(p + 12, 4);
		t->dst[0] = word_of(p + 16, 4);
		t->protocol = h->protocol;
	} else if (h->found & FOUND_IPV6) {
		t->kind = TUPLE_IPV6;
		t->src[0] = word_of(p + 8, 8);
		t->src[1] = word_of(p + 16, 8);
		t->dst[0] = word_of(p + 24, 8);
		t->dst[1] = word_of(p + 32, 8);
		t->protocol = h->protocol;
	} else if (h->found & FOUND_ETHERNET) {
		t->kind = TUPLE_ETHER;
		t->src[0] = word_of(&s->data[6], 6);
		t->dst[0] = word_of(&s->data[0], 6);
		t->ether_type = h->ether_type;
	}
	if ((h->found & (FOUND_PORTS | FOUND_FRAGMENT)) == FOUND_PORTS) {
		t->sport = h->sport;
		t->dport = h->dport;
	}
}

/* As octets on the wire. */
inline_always int
order_of(const uint64_t *a, const uint64_t *b)
{
	uint64_t high = __builtin_bswap64(a[0]), other = __builtin_bswap64(b[0]);

	if (high != other)
		return high < other ? -1 : 1;
	high = __builtin_bswap64(a[1]);
	other = __builtin_bswap64(b[1]);
	return high == other ? 0 : high < other ? -1 : 1;
}

inline_always void
make_canonical(struct ffpf_node_tuple *t)
{
	int order = order_of(t->src, t->dst);
	struct ffpf_node_tuple turned = *t;

	if (order < 0 || (order == 0 && t->sport <= t->dport))
		return;
	t->src[0] = turned.dst[0];
	t->src[1] = turned.dst[1];
	t->dst[0] = turned.src[0];
	t->dst[1] = turned.src[1];
	t->sport = turned.dport;
	t->dport = turned.sport;
}

/* ffpf_tuple_hash */
inline_always uint64_t
hash_of(const struct ffpf_node_tuple *t, uint64_t seed)
{
	const uint64_t last = (uint64_t)t->sport | (uint64_t)t->dport << 16 | (uint64_t)t->ether_type << 32 |
			      (uint64_t)t->protocol << 48 | (uint64_t)t->kind << 56;
	const uint64_t words[5] = { t->src[0], t->src[1], t->dst[0], t->dst[1], last };
	uint64_t h = seed ^ sizeof(*t) * MURMUR;

	for (int i = 0; i < 5; i++) {
		uint64_t k = words[i] * MURMUR;

		k ^= k >> 47;
		h = (h ^ k * MURMUR) * MURMUR;
	}
	h = (h ^ h >> 47) * MURMUR;
	return h ^ h >> 47;
}

#endif
