/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_FIRST_N_H
#define FFPF_GRAPH_CLASS_FIRST_N_H
/*
 * (first_n,"N flows=F idle=T",) lets the first N packets of every flow pass, both directions together, and turns the
 * rest away. A flow that was not seen for T (without idle: however long) begins anew.
 *
 * The table is bounded: F flows (65,536 when not given; a power of two, else the next), in sets of four that share a
 * cache line. A flow is known by 64 bits of hash. When a flow comes to a set that is full, the one that was not seen
 * for the longest time is forgotten: should it speak again it begins anew, so that more than N of its packets pass.
 * `forgotten` says how often. Times go by steps of 2^20 ns. Packets without a flow (see tuple.h) are one flow.
 */
#include <stdint.h>

/*
 *   MBuf   0       8           16     24   32
 *          +-------+-----------+------+----+
 *          | flows | forgotten | idle | 0  |
 *          +-------+-----------+------+----+
 */
struct ffpf_mbuf_first_n {
	uint64_t flows;     /* that began, or began anew */
	uint64_t forgotten; /* for want of room */
	uint64_t idle;      /* that began anew because they had been idle */
	uint64_t zero;
};

#endif
