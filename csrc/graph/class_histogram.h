/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_HISTOGRAM_H
#define FFPF_GRAPH_CLASS_HISTOGRAM_H
/*
 * (histogram,"of=len bins=N from=A to=B",) counts how often each value of a numeric field (fields.h) falls into each of
 * N bins of equal width; (histogram,"of=len scale=log",) into bins that double: 0, 1, 2..3, 4..7 ... All packets pass.
 *
 *   linear   bin i holds A + (B - A) * i / N <= value < A + (B - A) * (i + 1) / N, in whole numbers;
 *            below A and from B on are counted apart. Without arguments: 64 bins from 0 to 65536
 *   log      bin 0 holds 0, bin i holds 2^(i-1) <= value < 2^i; 65 bins, or fewer with bins=N, the last then open
 */
#include <stdint.h>

/*
 *   MBuf   0      8       16     24     32     40    44     48               48 + 8 * bins
 *          +------+-------+------+------+------+-----+------+----------------+
 *          | from | to    | below| above| none | bins| scale| counts ...     |
 *          +------+-------+------+------+------+-----+------+----------------+
 *
 * counts, below, above, none: one step a value; the application may write them, and counting goes on from there.
 */
struct ffpf_mbuf_histogram {
	uint64_t from, to;     /* linear: the range; log: 0, and the end of the last bin, 2^64 - 1 when there is none */
	uint64_t below, above; /* linear: values outside the range */
	uint64_t none;         /* packets that have no such field */
	uint32_t bins;
	uint32_t scale; /* 0 linear, 1 log */
	uint64_t counts[];
};

_Static_assert(sizeof(struct ffpf_mbuf_histogram) == 48, "counts follow");

#endif
