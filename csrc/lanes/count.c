/* SPDX-License-Identifier: BSD-3-Clause */
/* What the lanes and this reader counted, of all memories that the flow has had. */
#include "lanes/lanes_internal.h"

/*
 * Lanes in the kernel count packets for all flows at once; what a flow was spared follows from the law. What was
 * indexed and dropped is read first (acquire: what is loaded behind it comes later), so that it is never more than what
 * was seen.
 */
static void
add_kernel_lane(const struct lanes *l, const struct lane *lane, struct ffpf_counters *out)
{
	const struct ffpf_counts *counts = &l->counts->counts[lane->view.lane_number];
	const struct ffpf_ibuf_page *page = lane->view.ibuf;
	uint64_t taken = lane->past_indexed - page->first_pos;
	uint64_t seen;

	taken += atomic_load_explicit(&page->w, memory_order_acquire);
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++) {
		uint64_t dropped = lane->past_dropped[cause];

		dropped += atomic_load_explicit(&page->dropped[cause], memory_order_acquire);
		out->dropped[cause] += dropped;
		taken += dropped;
	}
	/* of the page, which changes when the flow is activated; later IBufs have it from the first */
	seen = ffpf_counted(&counts->packets) - page->packets_before;
	out->filtered += seen > taken ? seen - taken : 0;
	out->dropped[FFPF_DROP_NESTED] += ffpf_counted(&counts->nested) - page->nested_before;
}

static void
add_lane(const struct lane *lane, bool second_hand, struct ffpf_counters *out)
{
	const struct ffpf_ibuf_page *page = lane->view.ibuf;

	out->filtered += lane->past_filtered + ffpf_counted(&page->filtered);
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
		out->dropped[cause] += lane->past_dropped[cause] + ffpf_counted(&page->dropped[cause]);
	if (!second_hand) /* whoever writes these has counted those */
		out->dropped[FFPF_DROP_NESTED] += ffpf_counted(&lane->view.lane->nested) - page->nested_before;
}

int
lanes_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	const struct lanes *l = (const struct lanes *)r;

	*out = (struct ffpf_counters){ .filtered = l->filtered, .delivered = l->delivered };
	for (uint32_t i = 0; i < l->lane_count; i++) {
		if (l->counts)
			add_kernel_lane(l, &l->lanes[i], out);
		else
			add_lane(&l->lanes[i], l->second_hand, out);
	}
	out->dropped[FFPF_DROP_LAPPED] += l->lapped;
	out->dropped[FFPF_DROP_INVALID] += l->invalid;
	out->dropped[FFPF_DROP_EVICTED] += l->evicted;
	out->seen = out->filtered + out->delivered + ffpf_counters_dropped(out);
	out->waiting = lanes_waiting(l);
	out->misdirected = l->misdirected;
	return 0;
}

bool
lanes_source_is_gone(const struct lanes *l)
{
	uint32_t gone = 0;

	/* acquire: pairs with ffpf_relay_end, and with control.bpf.c; what was published before is seen after */
	for (uint32_t i = 0; i < l->lane_count && l->second_hand; i++)
		gone += atomic_load_explicit(&l->lanes[i].view.ibuf->state, memory_order_acquire) == FFPF_IBUF_GONE;
	if (gone == l->lane_count)
		return true;
	return l->counts && atomic_load_explicit(&l->counts->state, memory_order_acquire) == FFPF_SOURCE_GONE;
}
