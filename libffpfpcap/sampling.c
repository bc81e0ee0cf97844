/* SPDX-License-Identifier: BSD-3-Clause */
#include "sampling.h"

#include <stdlib.h>

/* Memory of the handle; NULL for a handle that reads nothing, or without memory. */
struct pcap_samp *
pcap_setsampling(pcap_t *p)
{
	if (!p->sampling && p->reader)
		p->sampling = calloc(1, sizeof(*p->sampling));
	return p->sampling ? &p->sampling->wanted : NULL;
}

static int64_t
time_ns(const struct pcap *p, const struct ffpf_packet *pkt)
{
	int64_t unit = p->reader->info.tick == FFPF_TICK_NS ? 1 : 1000;

	return pkt->ts_sec * 1000000000 + pkt->ts_frac * unit;
}

/* One in N, the Nth of each N; or the first, and then the first that comes N ms or more after the one kept last. */
static bool
keeps(struct ffpf_sampling *s, const struct pcap *p, const struct ffpf_packet *pkt)
{
	int64_t now;

	switch (s->wanted.method) {
	case PCAP_SAMP_1_EVERY_N:
		if (s->wanted.value <= 1 || ++s->passed_over >= (uint32_t)s->wanted.value) {
			s->passed_over = 0;
			return true;
		}
		return false;
	case PCAP_SAMP_FIRST_AFTER_N_MS:
		now = time_ns(p, pkt);
		if (s->has_kept && now < s->not_before_ns)
			return false;
		s->has_kept = true;
		s->not_before_ns = now + (int64_t)s->wanted.value * 1000000;
		return true;
	default:
		return true;
	}
}

bool
ffpf_sampling_keeps(struct pcap *p, const struct ffpf_packet *pkt)
{
	bool kept = keeps(p->sampling, p, pkt);

	p->sampling->dropped += !kept;
	return kept;
}
