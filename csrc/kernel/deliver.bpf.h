/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_DELIVER_BPF_H
#define FFPF_KERNEL_DELIVER_BPF_H
/*
 * A stored record to the flows that want it: index, publish; rest; wake. And what is counted when one cannot have it.
 *
 *     for each flow: entry, W            entry and record come before W: plain stores, where the machine keeps them in
 *     exchange: floor_ns = idle          order, else W is an exchange
 *     for each flow: load sleep          the exchange, a full barrier, lies between W and sleep: pairs with
 *                                        lanes/wait.c, as in hook/wake.c. One for all flows costs a third less.
 */
#include "kernel/grant.bpf.h"

/*
 * A reader that sleeps reads nothing: when it is due follows from its R once. It is when `want` packets are there, half
 * its IBuf is full, or its oldest unread record lies half a PBuf behind. R and want are its own words, and nonsense in
 * them is its own loss.
 */
static __always_inline void
set_alarm(const struct pass *p, struct ffpf_kernel_flow_state *fs, const struct ffpf_reader_page *reader, __u32 at,
	  __u32 sleep)
{
	void *ibuf = bpf_map_lookup_elem(&ibufs, &at);
	__u64 r = once(reader->r[p->cpu & (FFPF_FLOW_LANES_MAX - 1)]);
	__u64 want = once(reader->want), half = (__u64)fs->mask / 2 + 1;
	struct ffpf_index *oldest;

	if (!ibuf)
		return;
	oldest = ibuf_entry(ibuf, r & fs->mask);
	if (!oldest)
		return;
	fs->due_w = r + (want < half ? want : half);
	fs->due_cell = once(oldest->index) + (__u32)(CELLS / 2) + 1;
	fs->due_sleep = sleep;
}

static __always_inline bool
is_due(const struct pass *p, const struct ffpf_kernel_flow_state *fs)
{
	return (__s64)(fs->w - fs->due_w) >= 0 || (__s32)((__u32)p->ls->w - fs->due_cell) >= 0;
}

/* From this entry on the flow's filter is the column's. */
static __always_inline void
adopt(struct ffpf_kernel_flow_state *fs, struct ffpf_ibuf_page *page, __u32 generation)
{
	fs->generation = generation;
	once(page->generation_pos) = fs->w;
	/* pairs with the acquire load in lanes/judge.c, which then sees this generation_pos or a later */
	exchange(&page->generation, (__u64)generation);
}

static __always_inline void
append(const struct pass *p, struct ffpf_kernel_flow_state *fs, void *ibuf, struct ffpf_ibuf_page *page, __u32 result)
{
	struct ffpf_index *entry = ibuf_entry(ibuf, fs->w & fs->mask);

	if (!entry)
		return;
	once(entry->index) = (__u32)p->position;
	once(entry->result) = result;
	fs->w++;
	/* The intent of the next entry: the exchange that follows puts it before that one's stores, for readers under
	 * FRP. */
	if (!p->srp)
		once(page->intent) = fs->w + 1;
	/* pairs with the acquire loads of w in bms/srp.c and bms/frp.c */
	if (constants.ordered_stores)
		once(page->w) = fs->w;
	else
		exchange(&page->w, fs->w);
}

static long
deliver_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, false);
	struct ffpf_ibuf_page *page;
	struct visit v;
	__u32 result;
	void *ibuf;

	if (column == THE_END)
		return 1;
	if (column == NOTHING || !visit(p, column, &v))
		return 0;
	ibuf = bpf_map_lookup_elem(&ibufs, &v.at);
	page = ibuf ? ibuf_page(ibuf) : NULL;
	if (!page)
		return 0;
	if (v.fs->evicted) {
		page->dropped[FFPF_KERNEL_DROP_EVICTED]++;
		return 0;
	}
	if (p->srp && !has_room(v.fs)) {
		page->dropped[FFPF_KERNEL_DROP_IBUF]++;
		return 0;
	}
	result = v.filter->result;
	if (!result) {
		/* for the verifier, which forgot what it knew of it */
		asm volatile("" : "+r"(column));
		result = p->scratch->results[column & (FFPF_KERNEL_COLUMNS - 1)];
	}
	if (v.fs->generation != v.filter->generation)
		adopt(v.fs, page, v.filter->generation);
	append(p, v.fs, ibuf, page, result);
	return 0;
}

/* Most readers are awake: then nothing else of the flow is looked at. */
static long
wake_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, false);
	struct ffpf_kernel_flow_state *fs;
	struct ffpf_kernel_column *filter;
	struct ffpf_reader_page *reader;
	__u32 slot = column >> 1;
	__u32 sleep, at;

	if (column == THE_END)
		return 1;
	if (column == NOTHING)
		return 0;
	reader = reader_page(slot);
	if (!reader)
		return 0;
	sleep = once(reader->sleep);
	if ((sleep & FFPF_SLEEP_MASK) == FFPF_AWAKE)
		return 0;
	filter = bpf_map_lookup_elem(&columns, &column);
	if (!filter)
		return 0;
	at = ibuf_at_column(p, column, filter);
	fs = state_of(at);
	if (!fs || sleep == fs->woken)
		return 0;
	if (fs->due_sleep != sleep)
		set_alarm(p, fs, reader, at, sleep);
	if (!is_due(p, fs))
		return 0;
	fs->woken = sleep;
	ring(slot);
	return 0;
}

static __always_inline void
deliver(struct pass *p)
{
	walk_from_start(p);
	bpf_loop(WALK_STEPS, deliver_step, p, 0);
	/* pairs with the load in lanes/merge.c, too: all that was published comes before */
	exchange(&p->lane->floor_ns, FFPF_FLOOR_IDLE);
	walk_from_start(p);
	bpf_loop(WALK_STEPS, wake_step, p, 0);
}

static long
refuse_step(__u32 i, void *context)
{
	struct pass *p = context;
	__u32 column = next_column(p, false);
	struct visit v;

	if (column == THE_END)
		return 1;
	if (column == NOTHING || !visit(p, column, &v))
		return 0;
	if (v.fs->evicted)
		count_drop(v.at, FFPF_KERNEL_DROP_EVICTED);
	else if (p->srp && !has_room(v.fs))
		count_drop(v.at, FFPF_KERNEL_DROP_IBUF);
	else
		count_drop(v.at, p->cause);
	return 0;
}

/* Nobody gets the packet, for this cause if not for one of the flow's own. Nothing was published. */
static __always_inline void
refuse(struct pass *p, __u32 cause)
{
	p->cause = cause;
	once(p->lane->floor_ns) = FFPF_FLOOR_IDLE;
	walk_from_start(p);
	bpf_loop(WALK_STEPS, refuse_step, p, 0);
	/* The compiler must not make one call of this and deliver's: then the kernel could not put the loops in line.
	 * An instruction, since the kernel refuses two lines of source at one.
	 */
	asm volatile("r0 = 0" : : : "r0");
}

#endif
