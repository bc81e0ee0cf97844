/* SPDX-License-Identifier: BSD-3-Clause */
#include "lanes/lanes_internal.h"

#include <stdlib.h>

/* A copying reader's room per lane: a stage of full Ethernet frames, or one largest packet. */
#define ARENA_BYTES ((size_t)FFPF_PACKET_MAX_BYTES + FFPF_STAGE_HEAD + 64)

static int
check_config(const struct ffpf_lanes_parts *parts, const struct ffpf_lanes_config *cfg, struct ffpf_error *err)
{
	if (parts->count == 0 || parts->count > FFPF_FLOW_LANES_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a reader has 1 to %u lanes, not %u", FFPF_FLOW_LANES_MAX,
				      parts->count);
	if (cfg->snap_len == 0 || cfg->want == 0 || cfg->timeout_ms < 0)
		return ffpf_error_set(err, FFPF_E_INVALID, "snap length %u, packets to wake for %u, timeout %d ms",
				      cfg->snap_len, cfg->want, cfg->timeout_ms);
	if (parts->counts.base) {
		int rc = ffpf_region_check(&parts->counts, FFPF_KIND_COUNTS, err);

		if (rc)
			return rc;
		if (parts->counts.bytes < sizeof(struct ffpf_counts_page))
			return ffpf_error_set(err, FFPF_E_INVALID, "ffpf-counts: %zu octets", parts->counts.bytes);
	}
	return ffpf_region_check(&parts->reader, FFPF_KIND_READER, err);
}

static int
open_views(struct lanes *l, const struct ffpf_lanes_parts *parts, struct ffpf_error *err)
{
	const struct ffpf_lane_page *first = parts->lanes[0].lane.base;

	for (uint32_t i = 0; i < parts->count; i++) {
		const struct ffpf_lane_page *page = parts->lanes[i].lane.base;
		struct lane *lane = &l->lanes[i];
		int rc = ffpf_view_open(&lane->view, &parts->lanes[i].lane, &parts->lanes[i].ibuf, l->page, err);

		if (rc)
			return rc;
		l->second_hand = lane->view.ibuf->flags & FFPF_IBUF_SECOND_HAND;
		if (i && l->second_hand != (bool)(l->lanes[0].view.ibuf->flags & FFPF_IBUF_SECOND_HAND))
			return ffpf_error_set(err, FFPF_E_INVALID, "some IBufs are second hand, and others are not");
		if (page->bms != first->bms || page->link_type != first->link_type)
			return ffpf_error_set(err, FFPF_E_INVALID, "the lanes differ in BMS or link type");
		lane->part = parts->lanes[i];
		lane->key = INT64_MIN;
	}
	l->bms = ffpf_bms_find(first->bms);
	if (!l->bms)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no BMS %u", first->bms);
	l->reader.info.link_type = (int)first->link_type;
	return 0;
}

/* Where packets lie: the arenas, or the one PBuf. */
static int
open_memory(struct lanes *l, struct ffpf_error *err)
{
	l->untagged = malloc(FFPF_PACKET_MAX_BYTES);
	if (l->bms->readers_race)
		l->arenas = malloc(l->lane_count * ARENA_BYTES);
	if (!l->untagged || (l->bms->readers_race && !l->arenas))
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a reader of %u lanes", l->lane_count);
	for (uint32_t i = 0; i < l->lane_count && l->arenas; i++) {
		l->lanes[i].stage.arena = l->arenas + i * ARENA_BYTES;
		l->lanes[i].stage.arena_bytes = ARENA_BYTES;
	}
	if (l->arenas) {
		l->mem_lo = l->arenas;
		l->mem_hi = l->arenas + l->lane_count * ARENA_BYTES;
	} else if (l->lane_count == 1) {
		l->mem_lo = l->lanes[0].view.cells;
		l->mem_hi = l->mem_lo + l->lanes[0].view.size * FFPF_CELL_BYTES + FFPF_SLACK_BYTES;
	}
	return 0;
}

int
ffpf_lanes_open(struct ffpf_reader **out, const struct ffpf_lanes_parts *parts, const struct ffpf_lanes_config *cfg,
		struct ffpf_error *err)
{
	struct lanes *l;
	int rc = check_config(parts, cfg, err);

	if (rc)
		return rc;
	l = calloc(1, sizeof(*l) + parts->count * sizeof(l->lanes[0]));
	if (!l)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a reader of %u lanes", parts->count);
	l->cfg = *cfg;
	l->page = parts->reader.base;
	l->counts = parts->counts.base;
	l->ops = parts->ops;
	l->remote = parts->remote;
	l->generation = parts->generation;
	l->lane_count = parts->count;
	l->latest_ns = INT64_MIN;
	if (parts->event == FFPF_LANES_EVENT_RINGBUF)
		l->cfg.wait = FFPF_LANES_WAIT_FD; /* the kernel's hook wakes nothing else */
	/* a reader before us may have left a count */
	l->sleeps = atomic_load_explicit(&l->page->sleep, memory_order_relaxed) >> FFPF_SLEEP_BITS;
	rc = open_views(l, parts, err);
	if (!rc)
		rc = open_memory(l, err);
	if (!rc)
		rc = lanes_event_open(&l->event, parts, err);
	if (rc) {
		free(l->arenas);
		free(l->untagged);
		free(l);
		return rc;
	}
	l->reader.ops = &lanes_ops;
	l->reader.info.snap_len = cfg->snap_len;
	l->reader.info.tick = cfg->tick;
	l->reader.info.version_major = 2;
	l->reader.info.version_minor = 4;
	for (uint32_t i = 0; i < l->lane_count; i++)
		l->reader.info.buffer_bytes += l->lanes[i].view.size * FFPF_CELL_BYTES;
	lanes_use_filter(l, parts->prog);
	lanes_arm_for_caller(l);
	*out = &l->reader;
	return 0;
}

int
ffpf_lanes_open_flow(struct ffpf_reader **out, struct ffpf_flow *flow, const struct ffpf_lanes_config *cfg,
		     struct ffpf_error *err)
{
	struct ffpf_lanes_part *lanes = calloc(flow->lane_count + 1, sizeof(*lanes));
	struct ffpf_lanes_parts parts = {
		.lanes = lanes,
		.count = flow->lane_count,
		.reader = flow->reader,
		.event_fd = flow->event_fd,
		.prog = flow->prog,
		.generation = flow->generation,
	};
	struct ffpf_reader *made;
	int rc;

	if (!lanes)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a reader of %u lanes", flow->lane_count);
	for (uint32_t i = 0; i < flow->lane_count; i++)
		lanes[i] = (struct ffpf_lanes_part){ flow->lanes[i].lane, flow->lanes[i].ibuf->region };
	rc = ffpf_lanes_open(&made, &parts, cfg, err);
	free(lanes);
	if (rc)
		return rc;
	((struct lanes *)made)->flow = flow;
	*out = made;
	return 0;
}
