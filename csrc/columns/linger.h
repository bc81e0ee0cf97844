/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_LINGER_H
#define FFPF_COLUMNS_LINGER_H
/*
 * Whether packets come so fast that a pull had better wait for many, and until when. To be woken costs a process the
 * same for one packet as for thousands: some tens of microseconds in Python, whose code is out of the caches then.
 */
#include <stdbool.h>
#include <stdint.h>

#define FFPF_LINGER_FAST 10000 /* packets in a second */

/* Zeros at first. */
struct ffpf_linger {
	uint64_t seen; /* packets of all pulls that are over */

	uint64_t marked, mark_ns; /* what was seen when it was asked before, and when: CLOCK_MONOTONIC */
	bool fast;                /* in the time before that */
};

/*
 * A pull has `count` packets, the first of first_ns (since 1970), and no more are there at once. Until when it waits
 * for company, CLOCK_MONOTONIC: until the first one is linger_ns old; not at all, which is a time that has passed,
 * when packets come slowly, or of another time than now: a capture that is replayed.
 */
uint64_t ffpf_linger_until(struct ffpf_linger *linger, uint64_t linger_ns, uint32_t count, int64_t first_ns);

#endif
