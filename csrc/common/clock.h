/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COMMON_CLOCK_H
#define FFPF_COMMON_CLOCK_H
#include <stdint.h>
#include <time.h>

/* What that clock shows, in nanoseconds. The clock must be one of clock_gettime(2) that every kernel has. */
static inline uint64_t
ffpf_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
