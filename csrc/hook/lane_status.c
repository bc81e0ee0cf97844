/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/hook_internal.h"

/* Cells from the oldest record that an unread entry points to up to W. The writer may be at work: a little old. */
static uint64_t
behind(const struct ffpf_flow_lane *lane, uint64_t r, uint64_t w)
{
	const struct ffpf_ibuf *ibuf = lane->ibuf;
	const struct ffpf_lane_page *page = lane->lane.base;
	uint64_t lane_w = atomic_load_explicit(&page->w, memory_order_acquire);
	uint32_t index;

	if (r >= w)
		return 0;
	if (w - r > (uint64_t)ibuf->mask + 1)
		r = w - ibuf->mask - 1;
	index = atomic_load_explicit(&ibuf->entries[r & ibuf->mask].index, memory_order_relaxed);
	return (uint32_t)((uint32_t)lane_w - index);
}

void
ffpf_flow_lane_status(const struct ffpf_flow *flow, uint32_t lane, struct ffpf_flow_lane_status *out)
{
	const struct ffpf_flow_lane *at = &flow->lanes[lane];
	const struct ffpf_ibuf_page *page = at->ibuf->page;
	uint64_t adopted = atomic_load_explicit(&page->generation, memory_order_acquire);
	uint64_t w = atomic_load_explicit(&page->w, memory_order_acquire);

	*out = (struct ffpf_flow_lane_status){
		.slots = at->ibuf->mask + 1,
		.first_pos = page->first_pos,
		.w = w,
		.r = ffpf_ibuf_reader_r(at->ibuf),
		.generation = flow->generation,
	};
	out->behind_cells = behind(at, out->r, w);
	/* A hook learns of a filter with its next packet; what it indexed so far, published or not, is the old one's.
	 */
	/* acquire: the generation is looked at after it */
	out->generation_pos = atomic_load_explicit(&page->intent, memory_order_acquire);
	if (adopted != flow->generation)
		adopted = atomic_load_explicit(&page->generation, memory_order_acquire);
	if (adopted == flow->generation)
		out->generation_pos = ffpf_counted(&page->generation_pos);
}
