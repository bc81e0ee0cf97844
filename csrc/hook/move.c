/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving a lane of a flow to fresh memory. The old IBuf says MOVED before the new one is written to (lanes/succeed.c
 * has the reader's side), and is final when its reader is told where to go on.
 */
#include "hook/hook_internal.h"

#include <time.h>

#define PUBLISHED_WAIT_NS 50000

/* Far beyond all that the old IBuf may still come to hold. */
static uint64_t
first_pos_behind(const struct ffpf_ibuf *ibuf)
{
	return ((ffpf_counted(&ibuf->page->intent) >> 32) + 2) << 32;
}

static struct ffpf_flow_lane *
find(struct ffpf_flow *flow, const struct ffpf_hook *hook)
{
	for (uint32_t i = 0; i < flow->lane_count; i++)
		if (flow->lanes[i].hook == hook)
			return &flow->lanes[i];
	return NULL;
}

int
ffpf_flow_prepare(struct ffpf_flow *flow, struct ffpf_hook *from, struct ffpf_hook *to, uint32_t ibuf_slots,
		  struct ffpf_error *err)
{
	struct ffpf_flow_lane *lane = find(flow, from);
	struct ffpf_ibuf *ibuf;
	int rc;

	if (!lane || lane->next_ibuf)
		return ffpf_error_set(err, FFPF_E_INVALID, "the flow is not attached to this hook, or moves already");
	rc = ffpf_flow_make_ibuf(&ibuf, flow, lane->ibuf->page->lane, ibuf_slots, first_pos_behind(lane->ibuf), err);
	if (rc)
		return rc;
	if (to != from && to != lane->counting)
		rc = ffpf_graph_add(to, flow, ibuf, err);
	if (rc) {
		ffpf_ibuf_destroy(ibuf);
		return rc;
	}
	lane->next_hook = to;
	lane->next_ibuf = ibuf;
	return 0;
}

void
ffpf_flow_abandon(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	struct ffpf_flow_lane *lane = find(flow, from);

	if (!lane || !lane->next_ibuf)
		return;
	if (lane->next_hook != from && lane->next_hook != lane->counting)
		ffpf_graph_take(lane->next_hook, lane->next_ibuf);
	ffpf_ibuf_destroy(lane->next_ibuf);
	lane->next_hook = NULL;
	lane->next_ibuf = NULL;
}

void
ffpf_flow_leave(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	/* seq_cst: before the new IBuf is written to; pairs with the load in lanes/succeed.c */
	atomic_store(&find(flow, from)->ibuf->page->state, FFPF_IBUF_MOVED);
}

static void
swap_ibuf(struct ffpf_hook *hook, struct ffpf_ibuf *old, struct ffpf_ibuf *ibuf)
{
	struct ffpf_graph_entry *member;

	ibuf->page->nested_before = ffpf_counted(&hook->lane->page->nested);
	pthread_mutex_lock(&hook->control);
	member = ffpf_graph_find(hook, old);
	if (!member->guest)
		ibuf->before = old;
	member->ibuf = ibuf;
	member->guest = false;
	ffpf_graph_replace(hook);
	pthread_mutex_unlock(&hook->control);
}

/* Nothing is added to it any more, but the writer may be a batch behind with publishing. */
static void
wait_until_published(const struct ffpf_ibuf *ibuf)
{
	const uint64_t end = ffpf_counted(&ibuf->page->intent);

	/* acquire: pairs with ffpf_ibuf_publish */
	while (atomic_load_explicit(&ibuf->page->w, memory_order_acquire) != end)
		nanosleep(&(struct timespec){ .tv_nsec = PUBLISHED_WAIT_NS }, NULL);
}

void
ffpf_flow_arrive(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	struct ffpf_flow_lane *lane = find(flow, from);
	const struct ffpf_flow_lane next = {
		.hook = lane->next_hook,
		.ibuf = lane->next_ibuf,
		.lane = lane->next_hook->lane->region,
	};
	struct ffpf_ibuf *old = lane->ibuf;

	if (next.hook == from) {
		swap_ibuf(from, old, next.ibuf);
		wait_until_published(old);
	} else {
		if (lane->counting)
			swap_ibuf(lane->counting, old, next.ibuf);
		ffpf_graph_take(from, old);
	}
	ffpf_flow_count_ibuf(old, ffpf_counted(&from->lane->page->nested), &flow->past);
	ffpf_wake_unasked(old);
	if (next.hook != from)
		ffpf_ibuf_destroy(old);
	*lane = next;
}

int
ffpf_flow_count_on(struct ffpf_flow *flow, struct ffpf_hook *from, struct ffpf_hook *to, struct ffpf_error *err)
{
	struct ffpf_flow_lane *lane = find(flow, from);
	int rc;

	if (!lane || !flow->left)
		return ffpf_error_set(err, FFPF_E_INVALID, "the flow is not attached to this hook, or not left out");
	rc = ffpf_graph_add_guest(to, flow, lane->ibuf, err);
	if (rc)
		return rc;
	lane->counted_before = lane->counting;
	lane->counting = to;
	return 0;
}

void
ffpf_flow_counted(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	struct ffpf_flow_lane *lane = find(flow, from);

	if (lane->counted_before)
		ffpf_graph_take(lane->counted_before, lane->ibuf);
	lane->counted_before = NULL;
}

void
ffpf_flow_uncount(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	struct ffpf_flow_lane *lane = find(flow, from);

	ffpf_graph_take(lane->counting, lane->ibuf);
	lane->counting = lane->counted_before;
	lane->counted_before = NULL;
}

void
ffpf_flow_strand(struct ffpf_flow *flow, struct ffpf_hook *from)
{
	ffpf_flow_leave(flow, from);
	ffpf_wake_unasked(find(flow, from)->ibuf);
}
