/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/view.h"

static int
contradiction(const char *what, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_INVALID, "%s: its sizes contradict each other", what);
}

int
ffpf_view_open(struct ffpf_view *out, const struct ffpf_region *lane, const struct ffpf_region *ibuf,
	       const struct ffpf_reader_page *page, struct ffpf_error *err)
{
	const struct ffpf_lane_page *lp = lane->base;
	const struct ffpf_ibuf_page *ip = ibuf->base;
	uint64_t size, slots, r;
	int rc = ffpf_region_check(lane, FFPF_KIND_LANE, err);

	if (!rc)
		rc = ffpf_region_check(ibuf, FFPF_KIND_IBUF, err);
	if (rc)
		return rc;
	size = lp->cells_log2 < 31 ? 1ull << lp->cells_log2 : 0;
	if (size < FFPF_PBUF_MIN_CELLS || lp->pbuf_offset % FFPF_CELL_BYTES || lp->pbuf_offset > lane->bytes ||
	    lp->slack_bytes < FFPF_SLACK_BYTES || lp->snap_len > FFPF_PACKET_MAX_BYTES ||
	    size * FFPF_CELL_BYTES + lp->slack_bytes > lane->bytes - lp->pbuf_offset)
		return contradiction("ffpf-lane", err);
	slots = ip->slots_log2 < 31 ? 1ull << ip->slots_log2 : 0;
	if (slots < FFPF_IBUF_MIN_SLOTS || slots > FFPF_IBUF_MAX_SLOTS || ip->entries_offset % 8 ||
	    ip->entries_offset > ibuf->bytes || slots * sizeof(struct ffpf_index) > ibuf->bytes - ip->entries_offset ||
	    ip->lane >= FFPF_FLOW_LANES_MAX)
		return contradiction("ffpf-ibuf", err);
	/* both relaxed: nothing is read because of them */
	r = atomic_load_explicit(&page->r[ip->lane], memory_order_relaxed);
	if (r < ip->first_pos)
		r = ip->first_pos;
	if (r > atomic_load_explicit(&ip->w, memory_order_relaxed))
		return ffpf_error_set(err, FFPF_E_INVALID, "ffpf-reader: R is beyond W");
	*out = (struct ffpf_view){
		.lane = lp,
		.cells = (const uint8_t *)lane->base + lp->pbuf_offset,
		.size = size,
		.packet_max = lp->snap_len,
		.ibuf = ip,
		.entries = (const struct ffpf_index *)(const void *)((const uint8_t *)ibuf->base + ip->entries_offset),
		.mask = (uint32_t)slots - 1,
		.lane_number = ip->lane,
		.next = r,
	};
	return 0;
}
