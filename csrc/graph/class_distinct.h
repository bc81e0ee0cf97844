/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_DISTINCT_H
#define FFPF_GRAPH_CLASS_DISTINCT_H
/*
 * (distinct,"of=ip.src precision=14",) estimates how many different values a field (fields.h) has had: HyperLogLog
 * (Flajolet, Fusy, Gandouet, Meunier 2007) over 64-bit hashes, with the estimator of Ertl (2017, "New cardinality
 * estimation algorithms for HyperLogLog sketches", algorithm 6), which needs no correction for few or many values. `of`
 * is flow when it is not given. All packets pass.
 *
 * With m = 2^precision registers (precision 4 to 18; 14 when it is not given) the standard error is 1.04 / sqrt(m): 0.8
 * % for 14. The registers of several such MBufs, made with the same arguments, may be merged: the larger of each.
 */
#include <stdint.h>

/*
 *   MBuf   0          8         16     24          28     32          32 + m
 *          +----------+---------+------+-----------+------+-----------+
 *          | estimate | at_ns   | none | precision | 0    | registers |
 *          +----------+---------+------+-----------+------+-----------+
 *
 * registers: an octet each; 0: no value has fallen here, else the place of the first set bit of the rest of the hash,
 * from 1, at most. The application may zero them: the count begins anew.
 */
struct ffpf_mbuf_distinct {
	double estimate; /* made once a second at most, and at the end; describe makes it anew */
	uint64_t at_ns;  /* when it was made */
	uint64_t none;   /* packets that have no such field */
	uint32_t precision;
	uint32_t zero;
	uint8_t registers[];
};

_Static_assert(sizeof(struct ffpf_mbuf_distinct) == 32, "registers follow");

/* The estimate that m = 2^precision registers give. What no hash could have put there is taken for the largest. */
double ffpf_distinct_estimate(const uint8_t *registers, uint32_t precision);

#endif
