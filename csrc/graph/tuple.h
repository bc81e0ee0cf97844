/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_TUPLE_H
#define FFPF_GRAPH_TUPLE_H
/*
 * Headers of a packet, the flow that it belongs to, and a hash of that flow. Pure functions, safe on any octets.
 *
 *     packet --ffpf_headers_find--> offsets --ffpf_tuple_of--> who speaks to whom --canonical, hash--> one number a
 * flow
 *
 * Link types: Ethernet (any number of VLAN tags that the packet holds: 802.1Q, 802.1ad, 0x9100), RAW, IPV4, IPV6,
 * LINUX_SLL, LINUX_SLL2, NULL, LOOP. IPv4 (RFC 791) with options and fragments, IPv6 (RFC 8200) with hop-by-hop,
 * routing, fragment, destination, mobility and authentication headers. TCP, UDP, UDP-Lite, SCTP, DCCP have ports; ICMP
 * and ICMPv6 echo messages have their identifier for both ports. Tunnels are not looked into: the flow is the outer
 * one.
 */
#include "reader/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What ffpf_headers_find found. A bit promises only what its line says: a packet may end anywhere. */
enum ffpf_headers_found {
	FFPF_FOUND_ETHERNET = 1 << 0,  /* 14 octets at 0 */
	FFPF_FOUND_VLAN = 1 << 1,      /* vlan_tci: the outer tag, in the octets or beside them */
	FFPF_FOUND_IPV4 = 1 << 2,      /* 20 octets at network */
	FFPF_FOUND_IPV6 = 1 << 3,      /* 40 octets at network */
	FFPF_FOUND_TRANSPORT = 1 << 4, /* protocol, and where its header begins: nothing is promised of its octets */
	FFPF_FOUND_PORTS = 1 << 5,     /* sport, dport */
	FFPF_FOUND_FRAGMENT = 1 << 6,  /* one of several pieces; the first of them may have PORTS, the others never */
};

struct ffpf_headers {
	const struct ffpf_packet *pkt;
	const uint8_t *data;   /* of pkt */
	uint32_t len;          /* octets that belong to the packet: cap_len, less what IP calls padding */
	uint32_t network;      /* offset of the network header */
	uint32_t transport;    /* offset of the transport header; may be len */
	uint16_t found;        /* FFPF_FOUND_* */
	uint16_t ether_type;   /* host order, behind the tags; 0 unknown. An 802.3 length stays one, below 1536 */
	uint16_t vlan_tci;     /* host order */
	uint16_t sport, dport; /* host order */
	uint8_t protocol;      /* IPPROTO_, behind the extension headers */
};

/* link_type: DLT_. Of an unknown link type nothing is found; ether_type is then what the descriptor says. */
void ffpf_headers_find(struct ffpf_headers *h, const struct ffpf_packet *pkt, uint32_t link_type);

enum ffpf_tuple_kind {
	FFPF_TUPLE_NONE = 0,   /* no flow: nothing that is known was found */
	FFPF_TUPLE_NUMBER = 1, /* a field's number: 8 octets of src, host order; see fields.h */
	FFPF_TUPLE_ETHER = 2,  /* 6 octets of each address */
	FFPF_TUPLE_IPV4 = 4,   /* 4 octets */
	FFPF_TUPLE_IPV6 = 6,   /* 16 octets */
};

/*
 * Who speaks to whom: the key of a flow, and of every table that classes keep. Octets beyond an address's length, and
 * members that do not apply, are zero, so that two tuples are equal when their octets are.
 *
 *      0                  16                  32      34      36           38         39   40
 *      +------------------+-------------------+-------+-------+------------+----------+------+
 *      | src, as on wire  | dst, as on wire   | sport | dport | ether_type | protocol | kind |
 *      +------------------+-------------------+-------+-------+------------+----------+------+
 *                                               host order
 *
 * All pieces of a fragmented datagram, the first one too, have ports 0: they are one flow with each other. ether_type
 * is that of ETHER alone.
 */
struct ffpf_tuple {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint16_t ether_type;
	uint8_t protocol;
	uint8_t kind; /* enum ffpf_tuple_kind */
};

_Static_assert(sizeof(struct ffpf_tuple) == 40, "applications read it mapped");

/* The tuple as the packet says it. VLAN tags are no part of it. */
void ffpf_tuple_of(struct ffpf_tuple *t, const struct ffpf_headers *h);
/* Both directions of a flow made one: the lesser (address, port), as octets and number, becomes src. True: turned. */
bool ffpf_tuple_canonical(struct ffpf_tuple *t);
bool ffpf_tuple_equal(const struct ffpf_tuple *a, const struct ffpf_tuple *b);

/*
 * 64 bits of a tuple. The construction is MurmurHash64A's (five words, each mixed on its own, then chained): 64-bit
 * multiplications only, so that a program in the kernel can compute the same. Symmetric over canonical tuples. The
 * value is the same on all machines of one byte order. No defence against one who knows the seed.
 */
uint64_t ffpf_tuple_hash(const struct ffpf_tuple *t, uint64_t seed);

struct ffpf_flow_key {
	struct ffpf_tuple tuple; /* canonical */
	bool turned;             /* the packet's source is dst of it */
};

/* The three above in one, in registers: half their cost. Returns the hash. */
uint64_t ffpf_flow_of(struct ffpf_flow_key *flow, const struct ffpf_headers *h, uint64_t seed);

#define FFPF_TUPLE_TEXT_BYTES 128

/* "tcp 10.0.0.1:1024 <-> 10.0.0.2:80", an address alone, "ether 0x88cc aa:.. <-> bb:..", a number. Returns its length.
 * NUMBER and tuples without dst are shown as one value. */
size_t ffpf_tuple_text(const struct ffpf_tuple *t, char *text, size_t bytes);

#endif
