/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lane that has moved (FFPF_IBUF_MOVED): once all that the old memories hold was read, the flow's other end is asked
 * where it goes on. Positions go on too: the new IBuf's first_pos is beyond all that the old one had.
 *
 *     control plane                             reader
 *     old: state = MOVED   (seq_cst)            fill all stages
 *     the hook takes the new ones               load state of the old   (acquire)
 *     grace period; hand out the new ones       MOVED and empty: ask, and deliver nothing of other lanes
 *
 * If the state is not MOVED, the hook took the new memories after that load, and its clock after that: no packet in
 * them is older than what lies in a stage.
 */
#include "lanes/lanes_internal.h"

#define ANSWER_LATER 1

bool
lane_has_moved(const struct lane *lane)
{
	return !lane->ended && atomic_load_explicit(&lane->view.ibuf->state, memory_order_acquire) == FFPF_IBUF_MOVED;
}

static bool
is_read(const struct lane *lane)
{
	return lane->stage.head == lane->stage.count && !ffpf_view_pending(&lane->view);
}

/* What the memories that are left behind have counted, for good. */
static void
keep_counts(struct lane *lane, bool second_hand)
{
	const struct ffpf_ibuf_page *page = lane->view.ibuf;

	lane->past_indexed += ffpf_counted(&page->w) - page->first_pos;
	lane->past_filtered += ffpf_counted(&page->filtered);
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
		lane->past_dropped[cause] += ffpf_counted(&page->dropped[cause]);
	if (!second_hand)
		lane->past_dropped[FFPF_DROP_NESTED] += ffpf_counted(&lane->view.lane->nested) - page->nested_before;
}

static int
check_fits(const struct lanes *l, const struct lane *lane, const struct ffpf_view *view, struct ffpf_error *err)
{
	if (view->lane_number != lane->view.lane_number || view->lane->bms != lane->view.lane->bms ||
	    view->lane->link_type != lane->view.lane->link_type || view->ibuf->flags != lane->view.ibuf->flags)
		return ffpf_error_set(err, FFPF_E_INVALID, "the lane that follows is of another kind");
	if (view->ibuf->first_pos < lane->view.next)
		return ffpf_error_set(err, FFPF_E_INVALID, "the IBuf that follows begins before the end of the last");
	(void)l;
	return 0;
}

static int
move(struct lanes *l, struct lane *lane, struct ffpf_lanes_part *part)
{
	struct ffpf_view view;
	int rc = ffpf_view_open(&view, &part->lane, &part->ibuf, l->page, &l->reader.err);

	rc = rc ? rc : check_fits(l, lane, &view, &l->reader.err);
	if (rc) {
		l->ops->retire(l->remote, lane->view.lane_number, part);
		return rc;
	}
	keep_counts(lane, l->second_hand);
	lane->view = view;
	l->ops->retire(l->remote, view.lane_number, &lane->part);
	lane->part = *part;
	lane->moves++;
	if (l->mem_hi && !l->arenas) {
		l->mem_lo = view.cells;
		l->mem_hi = view.cells + view.size * FFPF_CELL_BYTES + FFPF_SLACK_BYTES;
	}
	for (struct ffpf_lanes_holder *holder = l->holders; holder; holder = holder->next)
		holder->moved(holder, (uint32_t)(lane - l->lanes));
	return 0;
}

/* Asks for one lane. Not 0: it goes on nowhere. */
static int
ask(struct lanes *l, struct lane *lane)
{
	struct ffpf_lanes_part part = { 0 };
	int rc;

	if (!l->ops || !l->ops->succeed)
		return ffpf_error_set(&l->reader.err, FFPF_E_DENIED, "the flow's lanes have moved");
	rc = l->ops->succeed(l->remote, lane->view.lane_number, &part, &l->reader.err);
	if (rc == ANSWER_LATER) {
		l->held = true;
		return 0;
	}
	if (rc)
		return rc;
	/* the old memories are final since before the answer */
	if (is_read(lane))
		return move(l, lane, &part);
	lane->next = part;
	return 0;
}

void
lanes_retire_all(struct lanes *l)
{
	for (uint32_t i = 0; i < l->lane_count; i++) {
		const struct lane *lane = &l->lanes[i];

		if (lane->moves)
			l->ops->retire(l->remote, lane->view.lane_number, &lane->part);
		if (lane->next.lane.base)
			l->ops->retire(l->remote, lane->view.lane_number, &lane->next);
	}
}

int
lanes_follow(struct lanes *l)
{
	uint32_t ended = 0;

	l->held = false;
	for (uint32_t i = 0; i < l->lane_count; i++) {
		struct lane *lane = &l->lanes[i];
		struct ffpf_lanes_part next = lane->next;
		int rc = 0;

		if (lane_has_moved(lane) && is_read(lane)) {
			lane->next = (struct ffpf_lanes_part){ 0 };
			rc = next.lane.base ? move(l, lane, &next) : ask(l, lane);
		}
		if (rc) {
			lane->ended = true;
			l->ended = l->reader.err;
		}
		ended += lane->ended && is_read(lane);
	}
	if (ended < l->lane_count)
		return 0;
	l->reader.err = l->ended;
	return -(int)l->ended.code;
}
