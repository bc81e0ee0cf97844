/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/tuple.h"

#include <endian.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pcap/dlt.h>
#include <stdio.h>
#include <string.h>

#define ETHERNET_BYTES 14u
#define SLL_BYTES      16u
#define SLL2_BYTES     20u
#define IPV4_MIN       20u
#define IPV6_BYTES     40u

#define TYPE_IPV4   0x0800u
#define TYPE_VLAN   0x8100u
#define TYPE_IPV6   0x86ddu
#define TYPE_QINQ   0x88a8u
#define TYPE_QINQ_1 0x9100u

#define IPPROTO_MOBILITY 135
#define MOST_EXTENSIONS  32 /* more than any sender needs; a packet of nothing else costs no more than that */

static uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool
has(const struct ffpf_headers *h, uint32_t offset, uint32_t bytes)
{
	return offset <= h->len && bytes <= h->len - offset;
}

static bool
has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP;
}

/* An echo message's identifier stands for both ports: question and answer are one flow. */
static bool
is_echo(uint8_t protocol, uint8_t type)
{
	return protocol == IPPROTO_ICMP ? type == 8 || type == 0 : type == 128 || type == 129;
}

static void
find_transport(struct ffpf_headers *h, uint32_t offset, uint8_t protocol, bool later_piece)
{
	const uint8_t *p = h->data + offset;

	h->transport = offset;
	h->protocol = protocol;
	h->found |= FFPF_FOUND_TRANSPORT;
	if (later_piece)
		return;
	if (has_ports(protocol)) {
		if (!has(h, offset, 4))
			return;
		h->sport = be16(p);
		h->dport = be16(p + 2);
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		if (!has(h, offset, 6) || !is_echo(protocol, p[0]))
			return;
		h->sport = h->dport = be16(p + 4);
	} else {
		return;
	}
	h->found |= FFPF_FOUND_PORTS;
}

/* What lies behind the end that IP states is padding of the link. 0 states nothing: segments that hardware will cut. */
static void
end_at(struct ffpf_headers *h, uint32_t stated, uint32_t least)
{
	if (stated >= least && stated < h->len - h->network)
		h->len = h->network + stated;
}

static void
find_ipv4(struct ffpf_headers *h)
{
	const uint8_t *p = h->data + h->network;
	uint32_t header;
	uint16_t piece;

	if (!has(h, h->network, IPV4_MIN) || p[0] >> 4 != 4)
		return;
	header = (p[0] & 15u) * 4;
	if (header < IPV4_MIN)
		return;
	h->found |= FFPF_FOUND_IPV4;
	end_at(h, be16(p + 2), header);
	piece = be16(p + 6) & 0x3fff; /* more pieces follow, or this is a later one */
	if (piece)
		h->found |= FFPF_FOUND_FRAGMENT;
	h->protocol = p[9];
	if (has(h, h->network, header))
		find_transport(h, h->network + header, p[9], piece & 0x1fff);
}

/* Length of an extension header that begins with `next header, length`; 0: this is none. */
static uint32_t
extension_bytes(uint8_t protocol, const uint8_t *p)
{
	switch (protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MOBILITY:
		return (p[1] + 1u) * 8;
	case IPPROTO_AH:
		return (p[1] + 2u) * 4;
	case IPPROTO_FRAGMENT:
		return 8;
	default:
		return 0;
	}
}

static void
find_ipv6(struct ffpf_headers *h)
{
	const uint8_t *p = h->data + h->network;
	uint32_t offset = h->network + IPV6_BYTES;
	uint8_t protocol;
	bool later_piece = false;

	if (!has(h, h->network, IPV6_BYTES) || p[0] >> 4 != 6)
		return;
	h->found |= FFPF_FOUND_IPV6;
	if (be16(p + 4))
		end_at(h, IPV6_BYTES + be16(p + 4), IPV6_BYTES);
	h->protocol = protocol = p[6];
	for (int i = 0; i < MOST_EXTENSIONS; i++) {
		uint32_t bytes;

		p = h->data + offset;
		if (!has(h, offset, 2)) {
			/* cut short: the number of a header that cannot be looked into is not that of a transport */
			if (protocol == IPPROTO_NONE || has_ports(protocol) || protocol == IPPROTO_ICMPV6)
				find_transport(h, offset, protocol, later_piece);
			return;
		}
		bytes = extension_bytes(protocol, p);
		if (!bytes) {
			find_transport(h, offset, protocol, later_piece);
			return;
		}
		if (!has(h, offset, bytes))
			return;
		if (protocol == IPPROTO_FRAGMENT && (be16(p + 2) & 0xfff9)) {
			h->found |= FFPF_FOUND_FRAGMENT;
			later_piece = be16(p + 2) & 0xfff8;
		}
		h->protocol = protocol = p[0];
		offset += bytes;
		if (later_piece) { /* what follows is the middle of something */
			find_transport(h, offset, protocol, true);
			return;
		}
	}
}

static void
find_network(struct ffpf_headers *h, uint32_t offset, uint16_t type)
{
	while ((type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_1) && has(h, offset, 4)) {
		if (!(h->found & FFPF_FOUND_VLAN)) {
			h->found |= FFPF_FOUND_VLAN;
			h->vlan_tci = be16(h->data + offset);
		}
		type = be16(h->data + offset + 2);
		offset += 4;
	}
	h->network = offset;
	h->ether_type = type;
	if (type == TYPE_IPV4)
		find_ipv4(h);
	else if (type == TYPE_IPV6)
		find_ipv6(h);
}

/* The first octet says which version of IP it is. */
static void
find_bare_ip(struct ffpf_headers *h, uint32_t offset)
{
	if (!has(h, offset, 1))
		return;
	if (h->data[offset] >> 4 == 4)
		find_network(h, offset, TYPE_IPV4);
	else if (h->data[offset] >> 4 == 6)
		find_network(h, offset, TYPE_IPV6);
}

/* Address families of BSDs and Linux, in the byte order of a machine that is not known. */
static bool
is_ip_family(const uint8_t *p)
{
	uint32_t family = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

	if (family >> 16)
		family = __builtin_bswap32(family);
	return family == 2 || family == 10 || family == 24 || family == 28 || family == 30;
}

void
ffpf_headers_find(struct ffpf_headers *h, const struct ffpf_packet *pkt, uint32_t link_type)
{
	*h = (struct ffpf_headers){ .pkt = pkt, .data = pkt->data, .len = pkt->cap_len, .ether_type = pkt->protocol };
	if (pkt->flags & FFPF_PACKET_VLAN_BESIDE) {
		h->found |= FFPF_FOUND_VLAN;
		h->vlan_tci = pkt->vlan_tci;
	}
	switch (link_type) {
	case DLT_EN10MB:
		if (!has(h, 0, ETHERNET_BYTES))
			return;
		h->found |= FFPF_FOUND_ETHERNET;
		find_network(h, ETHERNET_BYTES, be16(h->data + 12));
		return;
	case DLT_LINUX_SLL:
		if (has(h, 0, SLL_BYTES))
			find_network(h, SLL_BYTES, be16(h->data + 14));
		return;
	case DLT_LINUX_SLL2:
		if (has(h, 0, SLL2_BYTES))
			find_network(h, SLL2_BYTES, be16(h->data));
		return;
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_IPV6:
		find_bare_ip(h, 0);
		return;
	case DLT_NULL:
	case DLT_LOOP:
		if (has(h, 0, 4) && is_ip_family(h->data))
			find_bare_ip(h, 4);
		return;
	default:
		return;
	}
}

/*
 * A tuple is worked on as five words in registers, each stored whole: what was stored in small pieces and is then
 * loaded as a word waits for the pieces to reach the cache. Bits of the last word:
 */
enum {
	LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	SPORT_AT = LITTLE ? 0 : 48,
	DPORT_AT = LITTLE ? 16 : 32,
	TYPE_AT = LITTLE ? 32 : 16,
	PROTOCOL_AT = LITTLE ? 48 : 8,
	KIND_AT = LITTLE ? 56 : 0,
};

/* Octets of an address, the rest zeros. `bytes` is a constant. */
static inline void
load_address(uint64_t words[2], const uint8_t *octets, size_t bytes)
{
	words[0] = words[1] = 0;
	memcpy(words, octets, bytes);
}

static inline void
words_of(uint64_t words[5], const struct ffpf_headers *h)
{
	const uint8_t *net = h->data + h->network;

	words[0] = words[1] = words[2] = words[3] = words[4] = 0;
	if (h->found & FFPF_FOUND_IPV4) {
		load_address(words, net + 12, 4);
		load_address(words + 2, net + 16, 4);
		words[4] = (uint64_t)FFPF_TUPLE_IPV4 << KIND_AT | (uint64_t)h->protocol << PROTOCOL_AT;
	} else if (h->found & FFPF_FOUND_IPV6) {
		load_address(words, net + 8, 16);
		load_address(words + 2, net + 24, 16);
		words[4] = (uint64_t)FFPF_TUPLE_IPV6 << KIND_AT | (uint64_t)h->protocol << PROTOCOL_AT;
	} else if (h->found & FFPF_FOUND_ETHERNET) {
		load_address(words, h->data + 6, 6);
		load_address(words + 2, h->data, 6);
		words[4] = (uint64_t)FFPF_TUPLE_ETHER << KIND_AT | (uint64_t)h->ether_type << TYPE_AT;
	}
	if ((h->found & (FFPF_FOUND_PORTS | FFPF_FOUND_FRAGMENT)) == FFPF_FOUND_PORTS)
		words[4] |= (uint64_t)h->sport << SPORT_AT | (uint64_t)h->dport << DPORT_AT;
}

/* Without a branch: which side speaks is as good as random. */
static inline bool
canonical_words(uint64_t words[5])
{
	const uint64_t sport = words[4] >> SPORT_AT & 0xffff, dport = words[4] >> DPORT_AT & 0xffff;
	/* addresses as octets: the first is the most significant */
	const unsigned high_less = be64toh(words[2]) < be64toh(words[0]), high_equal = words[0] == words[2],
		       low_less = be64toh(words[3]) < be64toh(words[1]), low_equal = words[1] == words[3],
		       port_less = dport < sport;
	const unsigned turned = high_less | (high_equal & (low_less | (low_equal & port_less)));
	const uint64_t swap = -(uint64_t)turned, ports = (sport ^ dport) & swap;

	for (int i = 0; i < 2; i++) {
		const uint64_t differ = (words[i] ^ words[i + 2]) & swap;

		words[i] ^= differ;
		words[i + 2] ^= differ;
	}
	words[4] ^= ports << SPORT_AT | ports << DPORT_AT;
	return turned;
}

#define MURMUR 0xc6a4a7935bd1e995u

static inline uint64_t
hash_words(const uint64_t words[5], uint64_t seed)
{
	uint64_t h = seed ^ sizeof(struct ffpf_tuple) * MURMUR;

	for (int i = 0; i < 5; i++) {
		uint64_t k = words[i] * MURMUR;

		k ^= k >> 47;
		h = (h ^ k * MURMUR) * MURMUR;
	}
	h = (h ^ h >> 47) * MURMUR;
	return h ^ h >> 47;
}

void
ffpf_tuple_of(struct ffpf_tuple *t, const struct ffpf_headers *h)
{
	uint64_t words[5];

	words_of(words, h);
	memcpy(t, words, sizeof(words));
}

bool
ffpf_tuple_canonical(struct ffpf_tuple *t)
{
	uint64_t words[5];
	bool turned;

	memcpy(words, t, sizeof(words));
	turned = canonical_words(words);
	memcpy(t, words, sizeof(words));
	return turned;
}

uint64_t
ffpf_tuple_hash(const struct ffpf_tuple *t, uint64_t seed)
{
	uint64_t words[5];

	memcpy(words, t, sizeof(words));
	return hash_words(words, seed);
}

uint64_t
ffpf_flow_of(struct ffpf_flow_key *flow, const struct ffpf_headers *h, uint64_t seed)
{
	uint64_t words[5];

	words_of(words, h);
	flow->turned = canonical_words(words);
	memcpy(&flow->tuple, words, sizeof(words));
	return hash_words(words, seed);
}

bool
ffpf_tuple_equal(const struct ffpf_tuple *a, const struct ffpf_tuple *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
