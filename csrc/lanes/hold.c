/* SPDX-License-Identifier: BSD-3-Clause */
/* For whoever hands on what this reader reads: where a packet lies, and memory that is held back. */
#include "lanes/lanes_internal.h"

bool
ffpf_lanes_is(const struct ffpf_reader *r)
{
	return r->ops == &lanes_ops;
}

struct ffpf_lanes_place
ffpf_lanes_place(const struct ffpf_reader *r, uint32_t at)
{
	const struct lanes *l = (const struct lanes *)r;
	const struct item *item = &l->items[l->described[at]];

	return (struct ffpf_lanes_place){
		.lane = item->lane,
		.entry = item->fetched->pos,
		.record = item->fetched->rec.stamp,
		.time_ns = item->fetched->rec.time_ns,
	};
}

uint32_t
ffpf_lanes_count(const struct ffpf_reader *r)
{
	return ((const struct lanes *)r)->lane_count;
}

struct ffpf_lanes_at
ffpf_lanes_at(const struct ffpf_reader *r, uint32_t lane)
{
	const struct lane *at = &((const struct lanes *)r)->lanes[lane];

	return (struct ffpf_lanes_at){
		.lane = at->view.lane,
		.ibuf = at->view.ibuf,
		.number = at->view.lane_number,
		.moves = at->moves,
	};
}

void
ffpf_lanes_hold(struct ffpf_reader *r, struct ffpf_lanes_holder *holder)
{
	struct lanes *l = (struct lanes *)r;

	holder->next = l->holders;
	l->holders = holder;
}

void
ffpf_lanes_release(struct ffpf_reader *r, struct ffpf_lanes_holder *holder)
{
	struct ffpf_lanes_holder **at = &((struct lanes *)r)->holders;

	while (*at != holder)
		at = &(*at)->next;
	*at = holder->next;
}
