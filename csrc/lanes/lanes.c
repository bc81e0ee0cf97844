/* SPDX-License-Identifier: BSD-3-Clause */
#include "lanes/lanes.h"
#include "common/clock.h"

#include "lanes/lanes_internal.h"

#include <stdlib.h>
#include <string.h>

#define TOLD_NAPS 10 /* for what is held back, which is over in microseconds if nobody has died */

/* ---- items that are done with ---- */

/* Behind the packets that were released come those that were turned away: they are done with too. */
static void
pass_turned_away(struct lanes *l)
{
	for (; l->open < l->count && !l->items[l->open].passes; l->open++) {
		if (l->items[l->open].lapped)
			l->lapped++;
		else
			l->filtered++;
		l->misdirected += l->items[l->open].misdirected;
		l->carried++;
	}
}

static void
lanes_release(struct ffpf_reader *r, uint32_t n)
{
	struct lanes *l = (struct lanes *)r;

	for (; n > 0; n--) {
		pass_turned_away(l);
		if (l->open == l->count)
			return;
		l->has_last = true;
		l->last_lane = l->items[l->open].lane;
		l->last_pos = l->items[l->open].fetched->pos;
		l->open++;
		l->carried = 0;
		l->delivered++;
	}
}

void
lanes_unread(const struct lanes *l, uint64_t r[FFPF_FLOW_LANES_MAX])
{
	for (uint32_t i = 0; i < l->lane_count; i++) {
		const struct ffpf_stage *stage = &l->lanes[i].stage;

		r[i] = stage->head < stage->count ? stage->items[stage->head].pos : l->lanes[i].view.next;
	}
	for (uint32_t i = l->count; i-- > l->open;)
		r[l->items[i].lane] = l->items[i].fetched->pos;
}

/* Tells the writers, and whoever shows states, how far we are. Release: pairs with take_r in bms/srp.c, where the
 * writer takes the memory below R as read. */
static void
give_back(struct lanes *l, bool keep_last)
{
	uint64_t r[FFPF_FLOW_LANES_MAX];

	lanes_unread(l, r);
	if (keep_last && l->has_last)
		r[l->last_lane] = l->last_pos;
	for (struct ffpf_lanes_holder *holder = l->holders; holder; holder = holder->next)
		holder->hold(holder, r);
	for (uint32_t i = 0; i < l->lane_count; i++)
		atomic_store_explicit(&l->page->r[l->lanes[i].view.lane_number], r[i], memory_order_release);
	atomic_store_explicit(&l->page->delivered, l->delivered, memory_order_relaxed);
	atomic_store_explicit(&l->page->filtered, l->filtered, memory_order_relaxed);
	atomic_store_explicit(&l->page->lapped, l->lapped, memory_order_relaxed);
	l->has_last = keep_last && l->has_last;
}

/* ---- next ---- */

static bool
serve_items(struct lanes *l, struct ffpf_batch *batch)
{
	uint32_t n = lanes_judge(l);

	l->again = false;
	l->served = l->open;
	if (!n) {
		pass_turned_away(l);
		return false;
	}
	l->looks = 0;
	*batch = (struct ffpf_batch){ l->packets, n, l->in_place ? NULL : l->mem_lo, l->in_place ? NULL : l->mem_hi };
	return true;
}

static const char *
why_shut_out(uint32_t state)
{
	if (state == FFPF_IBUF_EVICTED)
		return "evicted: R was not between the last R and W";
	if (state == FFPF_IBUF_LEFT)
		return "left: it read too slowly, or not at all, while its group lost packets; a new flow gets packets "
		       "again";
	return "the flow was detached";
}

/* What the writer withheld from us, or what nothing protects any more, is lost. */
static enum ffpf_outcome
shut_out(struct lanes *l, uint32_t state)
{
	l->evicted += lanes_waiting(l);
	l->count = l->open = l->served = l->checked = 0;
	l->again = false;
	for (uint32_t i = 0; i < l->lane_count; i++) {
		struct lane *lane = &l->lanes[i];

		lane->stage.head = lane->stage.count = 0;
		lane->view.next = atomic_load_explicit(&lane->view.ibuf->w, memory_order_acquire);
	}
	ffpf_error_set(&l->reader.err, FFPF_E_DENIED, "%s", why_shut_out(state));
	return FFPF_FAILED;
}

/* FFPF_BATCH, FFPF_LAPPED, FFPF_END, FFPF_FAILED, or FFPF_WOULD_BLOCK: nothing yet. */
static enum ffpf_outcome
serve(struct lanes *l, struct ffpf_batch *batch)
{
	uint32_t closed = 0;

	/* both acquire: pair with srp.c and ffpf_hook_detach, and with ffpf_hook_close */
	for (uint32_t i = 0; i < l->lane_count; i++) {
		uint32_t state = atomic_load_explicit(&l->lanes[i].view.ibuf->state, memory_order_acquire);

		if (state == FFPF_IBUF_EVICTED || state == FFPF_IBUF_DETACHED || state == FFPF_IBUF_LEFT)
			return shut_out(l, state);
		closed += lane_is_closed(l, &l->lanes[i]);
	}
	if (l->again && serve_items(l, batch))
		return FFPF_BATCH;
	do {
		give_back(l, false);
		if (lanes_follow(l))
			return FFPF_FAILED;
		lanes_merge(l);
		l->owed -= l->count < l->owed ? l->count : l->owed;
		if (l->lapped_news) {
			l->lapped_news = false;
			l->again = true; /* what was fetched is for the next call */
			return FFPF_LAPPED;
		}
		if (serve_items(l, batch))
			return FFPF_BATCH;
	} while (l->count > 0);
	if (lanes_waiting(l)) {
		if (!l->held || l->orphaned || !lanes_event_orphaned(&l->event))
			return FFPF_WOULD_BLOCK;
		l->orphaned = true; /* it died between two lanes: what it has published is all that there is */
		return serve(l, batch);
	}
	if (lanes_source_is_gone(l)) {
		ffpf_error_set(&l->reader.err, FFPF_E_DEVICE_GONE, "The interface disappeared");
		return FFPF_FAILED;
	}
	if (lanes_event_orphaned(&l->event)) {
		if (lanes_waiting(l)) /* since we looked */
			return FFPF_WOULD_BLOCK;
		ffpf_error_set(&l->reader.err, FFPF_E_DENIED, "the process that handed these packets on has ended");
		return FFPF_FAILED;
	}
	return closed == l->lane_count ? FFPF_END : FFPF_WOULD_BLOCK;
}

static enum ffpf_outcome
lanes_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct lanes *l = (struct lanes *)r;
	uint64_t deadline = UINT64_MAX;
	bool over = l->cfg.nonblock;
	bool told = l->armed; /* the caller could wait for the event descriptor */
	unsigned naps = 0;

	lanes_disarm(l);
	told = told && l->due;
	lanes_check(l);
	if (!l->again)
		pass_turned_away(l);
	l->again = l->open < l->count; /* packets that were not released come again */
	give_back(l, false);
	if (!over && l->pace_until_ns) {
		deadline = l->pace_until_ns;
		over = ffpf_clock_ns(CLOCK_MONOTONIC) >= deadline;
	} else if (!over && l->cfg.timeout_ms > 0) {
		deadline = ffpf_clock_ns(CLOCK_MONOTONIC) + (uint64_t)l->cfg.timeout_ms * 1000000u;
	}
	for (;;) {
		enum ffpf_outcome outcome;

		/* seq_cst: pairs with lanes_wake */
		if (atomic_load_explicit(&l->woken, memory_order_relaxed) && atomic_exchange(&l->woken, false)) {
			l->due = false;
			return FFPF_INTERRUPTED;
		}
		if (over || l->held || l->owed || lanes_ready(l)) {
			l->due = false;
			if (!l->owed)
				l->owed = lanes_waiting(l) - (l->count - l->open);
			outcome = serve(l, batch);
			if (outcome != FFPF_WOULD_BLOCK)
				return outcome;
			l->owed = 0;
		}
		if (over)
			return l->cfg.nonblock ? FFPF_WOULD_BLOCK : FFPF_TIMEOUT;
		if (told && (!l->held || naps++ == TOLD_NAPS)) {
			/* The event was of a packet that was read before the event came, or is held back. A caller that
			 * only comes when the descriptor is readable must not wait here for the next packet. */
			l->due = false;
			return FFPF_TIMEOUT;
		}
		outcome = lanes_wait(l, deadline);
		if (outcome != FFPF_BATCH)
			return outcome;
		over = deadline != UINT64_MAX && ffpf_clock_ns(CLOCK_MONOTONIC) >= deadline;
	}
}

static void
lanes_settle(struct ffpf_reader *r)
{
	struct lanes *l = (struct lanes *)r;

	if (!l->again)
		pass_turned_away(l);
	if (l->open == l->count) {
		give_back(l, true);
		if (l->rung) /* for what has been read since */
			lanes_disarm(l);
	}
	lanes_arm_for_caller(l);
}

/* ---- changes while reading ---- */

static void
serve_again(struct lanes *l)
{
	l->again = l->open < l->count;
}

static int
lanes_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct lanes *l = (struct lanes *)r;

	if (l->flow) {
		ffpf_flow_set_filter(l->flow, prog);
		l->generation = l->flow->generation;
	} else if (l->ops && l->ops->set_filter) {
		uint64_t generation = 0;
		int rc = l->ops->set_filter(l->remote, prog, &generation, &l->reader.err);

		if (rc)
			return rc;
		l->generation = generation;
	}
	lanes_use_filter(l, prog);
	serve_again(l);
	return 0;
}

static int
lanes_set_direction(struct ffpf_reader *r, enum ffpf_direction dir)
{
	struct lanes *l = (struct lanes *)r;

	l->direction = dir;
	serve_again(l);
	return 0;
}

static int
lanes_set_nonblock(struct ffpf_reader *r, bool on)
{
	((struct lanes *)r)->cfg.nonblock = on;
	return 0;
}

static void
lanes_pace(struct ffpf_reader *r, uint32_t want, uint64_t until_ns)
{
	((struct lanes *)r)->pace_want = want;
	((struct lanes *)r)->pace_until_ns = until_ns;
}

static int
lanes_poll_fd(const struct ffpf_reader *r)
{
	return ((const struct lanes *)r)->event.poll_fd;
}

static void
lanes_close(struct ffpf_reader *r)
{
	struct lanes *l = (struct lanes *)r;

	if (!l)
		return;
	if (l->ops) {
		/* Nothing is given back: the flow ends. Or another process has this reader too, by fork, and goes on
		 * reading: then R and sleep are that one's. */
		lanes_retire_all(l);
		if (l->ops->close)
			l->ops->close(l->remote);
	} else {
		lanes_check(l);
		pass_turned_away(l);
		give_back(l, false);
		lanes_disarm(l);
	}
	lanes_event_close(&l->event);
	free(l->arenas);
	free(l->untagged);
	free(l);
}

static int
lanes_inject(struct ffpf_reader *r, const void *data, size_t len)
{
	struct lanes *l = (struct lanes *)r;

	if (!l->ops || !l->ops->inject)
		return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED, "Sending packets isn't supported on lanes");
	return l->ops->inject(l->remote, data, len, &r->err);
}

const struct ffpf_reader_ops lanes_ops = {
	.name = "lanes",
	.next = lanes_next,
	.release = lanes_release,
	.settle = lanes_settle,
	.set_filter = lanes_set_filter,
	.set_in_place = lanes_set_in_place,
	.overwritten = lanes_overwritten,
	.set_direction = lanes_set_direction,
	.set_nonblock = lanes_set_nonblock,
	.pace = lanes_pace,
	.inject = lanes_inject,
	.counters = lanes_counters,
	.poll_fd = lanes_poll_fd,
	.wake = lanes_wake,
	.close = lanes_close,
};
