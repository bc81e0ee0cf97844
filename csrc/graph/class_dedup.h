/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_DEDUP_H
#define FFPF_GRAPH_CLASS_DEDUP_H
/*
 * (dedup,"window=10ms packets=1024 ignore=none",) turns away packets that came already: on a mirror port that copies
 * both ends of a link, or from several devices that see the same packet.
 *
 * A packet is a duplicate of one that passed no more than `window` before it (nor after it, where time goes back), as
 * packets' times go, and is among the last `packets` that passed, when both have the same length on the wire, the same
 * captured length, and the same octets:
 *
 *   ignore=none   all of them
 *   ignore=link   from the network header to the end that IP states: other MAC addresses, VLAN tags, padding do not
 *                 matter. Of what is no IP, all
 *   ignore=hop    the same, without what a router changes: IPv4's time to live and header checksum, IPv6's hop limit
 *
 * With link and hop the lengths are counted from the network header too. Octets are compared by a hash of 64 bits: two
 * different packets are taken for one with a chance of `packets` / 2^64. No defence against one who makes packets that
 * collide.
 */
#include <stdint.h>

/*
 *   MBuf   0         8            16      24   32
 *          +---------+------------+-------+----+
 *          | packets | duplicates | bytes | 0  |
 *          +---------+------------+-------+----+
 *
 * The application may write it; counting goes on from there.
 */
struct ffpf_mbuf_dedup {
	uint64_t packets;    /* that came */
	uint64_t duplicates; /* of them, turned away */
	uint64_t bytes;      /* of those, on the wire */
	uint64_t zero;
};

#endif
