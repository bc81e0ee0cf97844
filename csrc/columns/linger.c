/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/linger.h"
#include "common/clock.h"

#define NS_PER_S  1000000000u
#define WINDOW_NS 10000000u /* of the rate; shorter, a burst would pass for a stream */

uint64_t
ffpf_linger_until(struct ffpf_linger *linger, uint64_t linger_ns, uint32_t count, int64_t first_ns)
{
	const uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC);
	const uint64_t seen = linger->seen + count;
	int64_t age;

	if (now - linger->mark_ns >= WINDOW_NS) {
		linger->fast = seen - linger->marked >= (now - linger->mark_ns) / (NS_PER_S / FFPF_LINGER_FAST);
		linger->marked = seen;
		linger->mark_ns = now;
	}
	if (!linger_ns || !linger->fast)
		return now;
	age = (int64_t)ffpf_clock_ns(CLOCK_REALTIME) - first_ns;
	if (age < 0 || (uint64_t)age > linger_ns)
		return now;
	return now + linger_ns - (uint64_t)age;
}
