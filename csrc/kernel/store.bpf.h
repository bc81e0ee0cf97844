/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_STORE_BPF_H
#define FFPF_KERNEL_STORE_BPF_H
/*
 * What becomes of a packet that was classified, by group: announce, clock, grant, claim, store, commit, index, publish,
 * rest, wake. The caller is the only writer of its lane.
 */
#include "kernel/deliver.bpf.h"
#include "kernel/grant.bpf.h"
#include "kernel/record.bpf.h"

#define FLOWS_OF_WORD 32

#define LINES_AHEAD 2 /* within the slack, which is larger */

/* Before the clock is read: pairs with the load of floor_ns in lanes/merge.c. docs/memory.md has the argument. */
static __always_inline __s64
announce_and_read_clock(struct pass *p)
{
	__s64 now;

	exchange(&p->lane->floor_ns, p->ls->last_ns);
	now = p->stamp_ns;
	if (!now)
		now = (__s64)bpf_ktime_get_tai_ns() - once(p->control->tai_offset_ns);
	if (now > p->ls->last_ns)
		p->ls->last_ns = now;
	return now;
}

/* The longest that a flow which wants the packet asks for. */
static long
snap_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, false);
	__u32 slot = column >> 1;
	struct ffpf_kernel_flow *flow;

	if (column == THE_END)
		return 1;
	if (column == NOTHING)
		return 0;
	flow = bpf_map_lookup_elem(&flows, &slot);
	if (flow && flow->snap_len > p->ls->n)
		p->ls->n = flow->snap_len;
	return 0;
}

static __always_inline struct shape
shape(struct pass *p)
{
	__u32 least = once(p->group->snap_min), most = once(p->group->snap_max);
	struct shape whole = shape_of(p, most);

	if (least >= most || whole.cap_len <= least)
		return whole;
	p->ls->n = 1;
	walk_from_start(p);
	bpf_loop(WALK_STEPS, snap_step, p, 0);
	return shape_of(p, p->ls->n);
}

/*
 * The first lines of the next record come into the cache while this packet is delivered: a load that nobody waits for,
 * for want of an instruction that asks. Else the exchanges of the next packet, which are full barriers, wait for the
 * lines of its header. More lines fill the processor's queue of loads, and it waits here.
 */
static __always_inline void
ask_ahead(const struct pass *p)
{
	const __u64 *next = (const void *)cell_of(p);

	for (__u32 i = 0; i < LINES_AHEAD; i++)
		(void)once(next[i * (FFPF_CELL_BYTES / sizeof(*next))]);
}

/*
 * What lies below W is whole. Plain stores: who has not seen an IBuf's W, which comes behind them, has no index that
 * leads here.
 */
static __always_inline void
publish_lane(struct pass *p, __u32 cells)
{
	struct ffpf_kernel_lane_state *ls = p->ls;
	struct ffpf_lane_page *lane = p->lane;

	p->position = ls->w;
	once(cell_of(p)->stamp) = ls->w;
	ls->w += cells;
	lane->records++;
	once(lane->wrap) = (ls->w >> (constants.cells_log2 & 31)) - 1; /* the first lap is number 1 */
	once(lane->w) = ls->w;
	ask_ahead(p);
}

/* Never back: an abandoned claim may have been stored to. Under FRP readers look while records are overwritten: the
 * exchange puts the intent before the record's words. */
static __always_inline void
claim(struct pass *p, __u32 cells)
{
	struct ffpf_kernel_lane_state *ls = p->ls;

	if (ls->intent < ls->w + cells)
		ls->intent = ls->w + cells;
	if (p->srp)
		once(p->lane->intent) = ls->intent;
	else
		exchange(&p->lane->intent, ls->intent);
}

/* 0, or the cause for which nobody was given the packet. */
static __always_inline __u32
store(struct pass *p, __s64 time_ns)
{
	struct shape what = shape(p);
	__u32 cells = cells_of(what.cap_len);
	__u32 cause;

	if (cells > CELLS)
		return FFPF_KERNEL_DROP_OVERSIZE;
	if (p->srp) {
		cause = srp_grant(p, cells);
		if (cause)
			return cause;
	} else {
		frp_grant(p, cells);
	}
	claim(p, cells);
	if (write_record(p, &what, time_ns))
		return FFPF_KERNEL_DROP_INVALID;
	publish_lane(p, cells);
	return 0;
}

static __always_inline bool
is_wanted(const struct pass *p)
{
	__u64 any = 0;

	for (__u32 word = 0; word < FFPF_KERNEL_WORDS; word++) {
		if (word >= p->words)
			break;
		any |= wanted_columns(p, word);
	}
	return any != 0;
}

/* One group. Steps are its number. */
static long
group_step(__u32 number, void *context)
{
	struct pass *p = context;
	const __u32 first = 0;
	__u32 at, cause;
	__s64 now;
	void *lane;

	p->group = bpf_map_lookup_elem(&groups, &number);
	if (!p->group)
		return 1;
	if (!is_wanted(p))
		return 0;
	p->bank = once(p->group->bank) & 1;
	p->srp = p->group->bms == FFPF_KERNEL_SRP;
	at = FFPF_KERNEL_LANE_AT(p->bank, number, constants.cpus, p->cpu);
	p->ls = bpf_map_lookup_elem(&lane_state, &at);
	lane = bpf_map_lookup_elem(&lanes, &at);
	if (!p->ls || !lane)
		return 0;
	p->lane = bpf_map_lookup_elem(lane, &first);
	if (!p->lane)
		return 0;
	now = announce_and_read_clock(p);
	cause = store(p, now);
	if (cause)
		refuse(p, cause);
	else
		deliver(p);
	return 0;
}

/* One flow that would have had the packet, if there is another of this word. Its group has gone on without it. */
static long
left_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 word = (i / FLOWS_OF_WORD) & (FFPF_KERNEL_WORDS - 1);
	__u64 bits = p->scratch->left[word];
	__u32 slot = ((word << 6) | lowest_bit(bits)) >> 1;
	struct ffpf_kernel_flow *flow;
	__u32 left;

	if (!bits)
		return 0;
	p->scratch->left[word] = bits & (bits - 1);
	flow = bpf_map_lookup_elem(&flows, &slot);
	left = flow ? once(flow->left) : 0;
	if (left)
		count_drop(ibuf_at(p, slot, left - 1), FFPF_KERNEL_DROP_LEFT);
	return 0;
}

/* Every group that wants it. */
static __always_inline void
store_for_all(struct pass *p)
{
	p->words = once(p->control->words);
	if (p->words > FFPF_KERNEL_WORDS)
		p->words = FFPF_KERNEL_WORDS;
	if (judge(p))
		bpf_loop(p->words * FLOWS_OF_WORD, left_step, p, 0);
	bpf_loop(once(p->control->group_count), group_step, p, 0);
}

#endif
