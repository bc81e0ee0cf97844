/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BENCH_LATENCY_H
#define FFPF_BENCH_LATENCY_H
/* What latency_send writes into a frame and its readers (latency_read.c, latency_reader.py) look for. */
#include <stdint.h>
#include <time.h>

#include "frame.h"

#define LATENCY_MAGIC 0x79636e6574616c21ull /* behind the UDP header; both numbers in the machine's order */

struct latency_mark {
	uint64_t magic;
	int64_t sent_ns; /* CLOCK_MONOTONIC, just before the frame was given to the kernel */
};

_Static_assert(FRAME_HEAD + sizeof(struct latency_mark) <= FRAME_MIN, "the smallest frame has the mark");

static inline int64_t
latency_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
