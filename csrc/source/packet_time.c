/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/packet_time.h"

#include "layout.h"
#include "source/savefile.h"

#define NS_PER_S 1000000000

int64_t
ffpf_packet_time_ns(const struct ffpf_reader *reader, const struct ffpf_packet *pkt)
{
	int64_t frac = pkt->ts_frac, ns;

	if (pkt->flags & FFPF_PACKET_FRAC_WIDE)
		frac = ffpf_savefile_wide_frac(reader, pkt);
	if (reader->info.tick == FFPF_TICK_US && __builtin_mul_overflow(frac, 1000, &frac))
		return frac < 0 ? INT64_MIN + 1 : FFPF_FLOOR_IDLE - 1;
	if (__builtin_mul_overflow(pkt->ts_sec, NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		return pkt->ts_sec < 0 ? INT64_MIN + 1 : FFPF_FLOOR_IDLE - 1;
	/* FFPF_FLOOR_IDLE is no time */
	return ns == FFPF_FLOOR_IDLE ? ns - 1 : ns;
}
