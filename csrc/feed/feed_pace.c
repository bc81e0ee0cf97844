/* SPDX-License-Identifier: BSD-3-Clause */
/* When a packet of a savefile is due. The schedule starts with the first packet and does not shift: who was late, for
 * want of CPU or of room, catches up. */
#include "common/clock.h"
#include "feed/feed_internal.h"

#define NS_PER_S 1e9

/* What is recorded as older than a packet before is due with that. */
static double
recorded_gap(struct feed_pacer *pacer, int64_t time_ns)
{
	int64_t gap;

	if (!pacer->playing || time_ns <= pacer->latest_ns)
		gap = 0;
	else if (__builtin_sub_overflow(time_ns, pacer->latest_ns, &gap))
		gap = INT64_MAX;
	if (!pacer->playing || gap)
		pacer->latest_ns = time_ns;
	pacer->playing = true;
	return (double)gap;
}

uint64_t
feed_due(struct feed_pacer *pacer, uint32_t wire_len, int64_t time_ns)
{
	double due;

	if (pacer->pace == FFPF_PACE_NONE)
		return 0;
	if (!pacer->started) {
		pacer->started = true;
		pacer->start_ns = pacer->now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	}
	if (pacer->pace == FFPF_PACE_RECORDED)
		pacer->due_ns += recorded_gap(pacer, time_ns) / pacer->rate;
	due = pacer->due_ns;
	if (pacer->pace == FFPF_PACE_PACKETS)
		pacer->due_ns += NS_PER_S / pacer->rate;
	if (pacer->pace == FFPF_PACE_BITS)
		pacer->due_ns += NS_PER_S * 8 * wire_len / pacer->rate;
	/* 2^62 ns are 146 years */
	return pacer->start_ns + (due < 0x1p62 ? (uint64_t)due : 1ull << 62);
}
