/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/flow.h"

#include "hook/hook_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

int
ffpf_flow_create(struct ffpf_flow **out, const struct ffpf_flow_config *cfg, struct ffpf_error *err)
{
	struct ffpf_flow *flow;
	int rc = ffpf_size_check("IBuf slots", cfg->ibuf_slots, FFPF_IBUF_MIN_SLOTS, FFPF_IBUF_MAX_SLOTS, err);

	if (rc)
		return rc;
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a flow");
	flow->cfg = *cfg;
	flow->prog = cfg->prog;
	flow->generation = 1;
	flow->event_fd = cfg->waker == FFPF_WAKER_TIMERFD ? timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
							  : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (flow->event_fd == -1)
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make an event descriptor");
	if (!rc)
		rc = ffpf_region_create(&flow->reader, FFPF_KIND_READER, sizeof(struct ffpf_reader_page), cfg->memory,
					FFPF_PEER_WRITES, err);
	if (!rc && cfg->mbuf_bytes)
		rc = ffpf_mbuf_create(&flow->mbuf, cfg->mbuf_bytes, cfg->memory, FFPF_PEER_WRITES, err);
	if (rc) {
		ffpf_flow_destroy(flow);
		return rc;
	}
	flow->page = flow->reader.base;
	*out = flow;
	return 0;
}

void
ffpf_flow_destroy(struct ffpf_flow *flow)
{
	if (!flow)
		return;
	for (uint32_t i = 0; i < flow->lane_count; i++)
		ffpf_ibuf_destroy(flow->lanes[i].ibuf);
	free(flow->lanes);
	ffpf_mbuf_close(&flow->mbuf);
	ffpf_region_close(&flow->reader);
	if (flow->event_fd != -1)
		close(flow->event_fd);
	free(flow);
}

void
ffpf_flow_set_filter(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog)
{
	ffpf_flow_set_generation(flow, prog, flow->generation + 1);
}

static void
change_on(const struct ffpf_flow *flow, struct ffpf_hook *hook, const struct ffpf_ibuf *ibuf)
{
	struct ffpf_graph_entry *member;

	if (!hook)
		return;
	pthread_mutex_lock(&hook->control);
	member = ffpf_graph_find(hook, ibuf);
	member->prog = flow->prog;
	member->generation = flow->generation;
	member->left = flow->left;
	ffpf_graph_replace(hook);
	pthread_mutex_unlock(&hook->control);
}

static void
change(const struct ffpf_flow *flow)
{
	for (uint32_t i = 0; i < flow->lane_count; i++) {
		change_on(flow, flow->lanes[i].hook, flow->lanes[i].ibuf);
		change_on(flow, flow->lanes[i].counting, flow->lanes[i].ibuf);
	}
}

void
ffpf_flow_set_generation(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog, uint64_t generation)
{
	flow->prog = prog;
	flow->generation = generation;
	flow->left = false;
	change(flow);
}

void
ffpf_flow_leave_out(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog)
{
	flow->prog = prog;
	flow->left = true;
	change(flow);
}

void
ffpf_flow_count_ibuf(const struct ffpf_ibuf *ibuf, uint64_t nested_after, struct ffpf_counters *sum)
{
	const struct ffpf_ibuf_page *page = ibuf->page;
	uint64_t interrupted = nested_after - page->nested_before;

	sum->seen += ffpf_counted(&page->seen) + interrupted;
	sum->filtered += ffpf_counted(&page->filtered);
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
		sum->dropped[cause] += ffpf_counted(&page->dropped[cause]);
	sum->dropped[FFPF_DROP_NESTED] += interrupted;
	/* every entry was announced: this is the writer's own w */
	sum->delivered += ffpf_counted(&page->intent) - page->first_pos;
}

void
ffpf_flow_counters(const struct ffpf_flow *flow, struct ffpf_counters *out)
{
	*out = flow->past;
	for (uint32_t i = 0; i < flow->lane_count; i++) {
		const struct ffpf_flow_lane *lane = &flow->lanes[i];
		const struct ffpf_lane_page *page = lane->lane.base;

		ffpf_flow_count_ibuf(lane->ibuf, lane->hook ? ffpf_counted(&page->nested) : lane->nested_after, out);
	}
}

_Static_assert((int)FFPF_DROP_CAUSES <= FFPF_COUNTED_DROPS_MAX, "the IBuf's page has a counter for each cause");

/* ---- attach and detach ---- */

static int
check_fits(const struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_error *err)
{
	if (flow->lane_count == FFPF_FLOW_LANES_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a flow has at most %u lanes", FFPF_FLOW_LANES_MAX);
	for (uint32_t i = 0; i < flow->lane_count; i++) {
		const struct ffpf_lane_page *other = flow->lanes[i].lane.base;

		if (flow->lanes[i].hook == hook)
			return ffpf_error_set(err, FFPF_E_INVALID, "the flow is attached to this hook already");
		if (other->bms != hook->lane->page->bms || other->link_type != hook->lane->page->link_type)
			return ffpf_error_set(err, FFPF_E_INVALID,
					      "the lanes of a flow must have the same BMS and link type");
	}
	return 0;
}

int
ffpf_flow_make_ibuf(struct ffpf_ibuf **out, const struct ffpf_flow *flow, uint32_t lane, uint32_t slots,
		    uint64_t first_pos, struct ffpf_error *err)
{
	const struct ffpf_ibuf_config cfg = {
		.slots = slots,
		.lane = lane,
		.first_pos = first_pos,
		.memory = flow->cfg.memory,
		.reader = flow->page,
		.event_fd = flow->event_fd,
		.waker = flow->cfg.waker,
	};

	return ffpf_ibuf_create(out, &cfg, err);
}

int
ffpf_hook_attach(struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_error *err)
{
	struct ffpf_flow_lane *lanes;
	struct ffpf_ibuf *ibuf;
	int rc = check_fits(hook, flow, err);

	if (rc)
		return rc;
	lanes = realloc(flow->lanes, (flow->lane_count + 1) * sizeof(*lanes));
	if (!lanes)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a flow");
	flow->lanes = lanes;
	rc = ffpf_flow_make_ibuf(&ibuf, flow, flow->lane_count, flow->cfg.ibuf_slots, 0, err);
	if (rc)
		return rc;
	/* before the graph: from then on the writer may be at work */
	lanes[flow->lane_count] = (struct ffpf_flow_lane){ .hook = hook, .ibuf = ibuf, .lane = hook->lane->region };
	rc = ffpf_graph_add(hook, flow, ibuf, err);
	if (rc)
		ffpf_ibuf_destroy(ibuf);
	else
		flow->lane_count++;
	return rc;
}

/* The writer cannot reach the IBuf any more, and has left it as it is: what was not published is published here. */
static void
retire(struct ffpf_hook *hook, struct ffpf_flow_lane *lane)
{
	ffpf_ibuf_publish(lane->ibuf);
	atomic_store_explicit(&lane->ibuf->page->state, FFPF_IBUF_DETACHED, memory_order_release);
	lane->nested_after = ffpf_counted(&hook->lane->page->nested);
	lane->hook = NULL;
	ffpf_wake(lane->ibuf);
}

int
ffpf_hook_detach(struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < flow->lane_count; i++) {
		if (flow->lanes[i].hook != hook)
			continue;
		if (flow->lanes[i].counting)
			ffpf_graph_take(flow->lanes[i].counting, flow->lanes[i].ibuf);
		flow->lanes[i].counting = NULL;
		ffpf_graph_take(hook, flow->lanes[i].ibuf);
		retire(hook, &flow->lanes[i]);
		return 0;
	}
	return ffpf_error_set(err, FFPF_E_INVALID, "the flow is not attached to this hook");
}
