/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_GRANT_BPF_H
#define FFPF_KERNEL_GRANT_BPF_H
/*
 * What the BMS lets a lane's writer overwrite: bms/srp.c and bms/frp.c for the kernel.
 *
 * SRP's fast path visits no flow. A survey of all flows of the group finds R* and how many entries every IBuf has room
 * for; the next one comes when W nears R*, that room is used up, or the group's flows have changed.
 */
#include "kernel/pass.bpf.h"

#define SWEEP_LOG2  31 /* FRP: sweeps come at multiples of this many cells: bms/frp.c says why */
#define SURVEY_REST 32 /* packets between surveys while some IBuf is full */

static __always_inline void
evict(struct ffpf_kernel_flow_state *fs, __u32 at)
{
	void *ibuf = bpf_map_lookup_elem(&ibufs, &at);
	struct ffpf_ibuf_page *page = ibuf ? ibuf_page(ibuf) : NULL;

	fs->evicted = 1;
	/* pairs with the acquire load in lanes/lanes.c, which only reports it */
	if (page)
		exchange(&page->state, FFPF_IBUF_EVICTED);
}

/*
 * R comes from a process that may be hostile: only last R <= R <= W is accepted. An R of before this IBuf's time says
 * that nothing of it was read. The load pairs with the release store in lanes/lanes.c: what the reader read lies before
 * it, and our stores into that memory depend on its value.
 */
static __always_inline __u64
load_r(const struct pass *p, __u32 slot)
{
	struct ffpf_reader_page *reader = reader_page(slot);

	return reader ? once(reader->r[p->cpu & (FFPF_FLOW_LANES_MAX - 1)]) : 0;
}

static __always_inline void
take_r(struct ffpf_kernel_flow_state *fs, __u64 r, __u32 at)
{
	if (r < fs->first_pos)
		r = fs->first_pos;
	if (r < fs->r || r > fs->w)
		evict(fs, at);
	else
		fs->r = r;
}

static __always_inline bool
has_room(const struct ffpf_kernel_flow_state *fs)
{
	return fs->w - fs->r <= fs->mask;
}

/* R* is no later than the oldest record that an unread entry of this IBuf points to. */
static __always_inline void
keep_unread(struct pass *p, const struct ffpf_kernel_flow_state *fs, __u32 at)
{
	void *ibuf = bpf_map_lookup_elem(&ibufs, &at);
	struct ffpf_index *oldest;
	__u64 position;

	if (!ibuf || fs->r == fs->w)
		return;
	oldest = ibuf_entry(ibuf, fs->r & fs->mask);
	if (!oldest)
		return;
	position = index_position(p->ls->w, once(oldest->index));
	if (position < p->ls->r_star)
		p->ls->r_star = position;
}

/* A step of a survey: all flows of the group. */
static long
survey_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, true);
	struct ffpf_kernel_flow_state *fs, *before;
	struct ffpf_kernel_flow *flow;
	__u32 slot = column >> 1;
	__u32 at, at_before;
	__u64 room, r;

	if (column == THE_END)
		return 1;
	if (column == NOTHING)
		return 0;
	flow = bpf_map_lookup_elem(&flows, &slot);
	if (!flow)
		return 0;
	at = ibuf_at(p, slot, once(flow->bank) ^ p->bank);
	fs = state_of(at);
	if (!fs)
		return 0;
	r = load_r(p, slot);
	if (!fs->evicted)
		take_r(fs, r, at);
	if (fs->evicted) {
		p->ls->room = 0; /* so that packets that only it wants are not stored */
		return 0;
	}
	room = (__u64)fs->mask + 1 - (fs->w - fs->r);
	if (room < p->ls->room)
		p->ls->room = room;
	keep_unread(p, fs, at);
	if (r >= fs->first_pos)
		return 0;
	/* it still reads the IBuf before, which a flow that only got a larger one has on the same lane */
	at_before = ibuf_at(p, slot, once(flow->bank) ^ p->bank ^ 1);
	before = state_of(at_before);
	if (!before || once(flow->lane_changed))
		return 0;
	take_r(before, r, at_before);
	if (before->evicted)
		evict(fs, at);
	else
		keep_unread(p, before, at_before);
	return 0;
}

static __always_inline void
survey(struct pass *p)
{
	p->ls->room = 0x7fffffff;
	p->ls->r_star = p->ls->w;
	walk_from_start(p);
	p->ls->epoch = once(p->group->epoch);
	bpf_loop(WALK_STEPS, survey_step, p, 0);
	p->ls->rest = SURVEY_REST;
}

/* Counts the flows that want the packet and have room for its index. */
static long
room_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, false);
	struct visit v;

	if (column == THE_END)
		return 1;
	if (column == NOTHING || !visit(p, column, &v) || v.fs->evicted)
		return 0;
	if (!has_room(v.fs))
		take_r(v.fs, load_r(p, column >> 1), v.at);
	if (!v.fs->evicted && has_room(v.fs))
		p->ls->n++;
	return 0;
}

static __always_inline bool
cells_fit(const struct pass *p, __u32 cells)
{
	return p->ls->w + cells - p->ls->r_star <= CELLS;
}

/* The cause for which nobody gets the packet; 0: somebody does, as bits and state of each flow tell. */
static __always_inline __u32
srp_grant(struct pass *p, __u32 cells)
{
	struct ffpf_kernel_lane_state *ls = p->ls;
	bool surveyed = false;

	if (ls->epoch != once(p->group->epoch) || (!ls->room && !ls->rest)) {
		survey(p);
		surveyed = true;
	}
	if (!cells_fit(p, cells)) {
		if (!surveyed)
			survey(p);
		if (!cells_fit(p, cells))
			return FFPF_KERNEL_DROP_PBUF;
	}
	if (ls->room) {
		ls->room--;
		return 0;
	}
	if (ls->rest)
		ls->rest--;
	p->ls->n = 0;
	walk_from_start(p);
	bpf_loop(WALK_STEPS, room_step, p, 0);
	return p->ls->n ? 0 : FFPF_KERNEL_DROP_IBUF;
}

static __always_inline void
sweep(__u32 at)
{
	struct ffpf_kernel_flow_state *fs = state_of(at);
	void *ibuf = bpf_map_lookup_elem(&ibufs, &at);
	struct ffpf_ibuf_page *page = ibuf ? ibuf_page(ibuf) : NULL;

	if (!fs || !page)
		return;
	/* published with the next W of the lane; pairs with the load in frp_fetch */
	once(page->stale) = fs->sweep;
	fs->sweep = fs->w;
}

static long
sweep_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, true);
	struct ffpf_kernel_flow *flow;
	__u32 slot = column >> 1;
	__u32 bank;

	if (column == THE_END)
		return 1;
	if (column == NOTHING)
		return 0;
	flow = bpf_map_lookup_elem(&flows, &slot);
	if (!flow)
		return 0;
	bank = once(flow->bank) ^ p->bank;
	sweep(ibuf_at(p, slot, bank));
	if (!once(flow->lane_changed))
		sweep(ibuf_at(p, slot, bank ^ 1));
	return 0;
}

static __always_inline void
frp_grant(struct pass *p, __u32 cells)
{
	if (!((p->ls->w ^ (p->ls->w + cells)) >> SWEEP_LOG2))
		return;
	walk_from_start(p);
	bpf_loop(WALK_STEPS, sweep_step, p, 0);
}

#endif
