/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_TOPK_H
#define FFPF_GRAPH_CLASS_TOPK_H
/*
 * (topk,"k=10 of=flow by=packets",) knows the keys that have most packets, or bytes on the wire, with a bounded number
 * of counters: Space-Saving (Metwally, Agrawal, El Abbadi 2005). `of` is any field of fields.h: flow, pair, ip.src,
 * ip.dst, ip.addr, port, tcp.dport ... All packets pass.
 *
 * With m counters, and a total T of what was counted, of each entry that is shown:
 *     count - error <= the truth <= count,   error <= T / m
 * and every key whose truth exceeds T / m has an entry. m is the MBuf's: (its octets - 64) / 64. Without a size it is
 * ten times k, at least 1,024.
 */
#include "graph/tuple.h"

/*
 *   MBuf   0      8       16      24       28    32     40       64                128
 *          +------+-------+-------+--------+-----+------+--------+-----------------+-----------------+--
 *          | turn | total | reset | filled | k   | none | missed | entry 0         | entry 1         | ...
 *          +------+-------+-------+--------+-----+------+--------+-----------------+-----------------+--
 *   entry  0                40      48      56   64
 *          | key (tuple.h)  | count | error | 0  |         in no order: who shows them sorts them by count
 *
 * In the kernel entries belong to sets of eight, in which keys take each other's place; error is then at most an eighth
 * of what was counted in a set. Entries that nobody has have a count of 0, and filled is that of all.
 *
 * The class writes all of it. The application may set reset to anything but 0: with the next packet, or tick, the class
 * forgets everything, and makes it 0. A key is being replaced while turn is odd: a reader whose turn was odd, or
 * changed, reads again.
 */
struct ffpf_mbuf_topk_entry {
	struct ffpf_tuple key;
	uint64_t count; /* packets or bytes; never less than the truth */
	uint64_t error; /* by how much, at most, count may be too high */
	uint64_t zero;
};

struct ffpf_mbuf_topk {
	uint64_t turn;
	uint64_t total; /* packets or bytes counted, over all keys */
	uint64_t reset;
	uint32_t filled; /* entries in use */
	uint32_t k;      /* as asked for */
	uint64_t none;   /* packets that have no such field */
	uint64_t missed; /* in the kernel: of total, what no entry has, since two CPUs were at it at once */
	uint64_t zeros[2];
	struct ffpf_mbuf_topk_entry entries[];
};

_Static_assert(sizeof(struct ffpf_mbuf_topk) == 64 && sizeof(struct ffpf_mbuf_topk_entry) == 64, "cache lines");

#endif
