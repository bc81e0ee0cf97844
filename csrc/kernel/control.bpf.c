/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the control plane changes in memory that is frozen, and reads behind outer maps: asked for with
 * BPF_PROG_TEST_RUN, one request at a time, in struct ffpf_kernel_request.
 */
#include "kernel/maps.bpf.h"

static __always_inline struct ffpf_lane_page *
lane_page(__u32 at)
{
	const __u32 first = 0;
	void *lane = bpf_map_lookup_elem(&lanes, &at);

	return lane ? bpf_map_lookup_elem(lane, &first) : NULL;
}

/* How far the lane has come since the record that this entry points to. */
static __always_inline __u64
distance(const struct ffpf_lane_page *lane, void *ibuf, __u64 pos, const struct ffpf_ibuf_page *page)
{
	__u64 mask = (1ull << (page->slots_log2 & 31)) - 1;
	struct ffpf_index *entry = ibuf_entry(ibuf, pos & mask);
	__u64 w = once(lane->w);

	return entry && pos < once(page->w) ? w - index_position(w, once(entry->index)) : 0;
}

/* Of the oldest record that was not read; it may be one that the IBuf before points to. */
static __always_inline __u64
behind(const struct ffpf_kernel_request *q, void *ibuf, const struct ffpf_ibuf_page *page)
{
	struct ffpf_lane_page *lane = lane_page(q->lane_at);
	__u32 at = q->before_at;
	void *before = q->r < page->first_pos ? bpf_map_lookup_elem(&ibufs, &at) : NULL;
	struct ffpf_ibuf_page *page_before = before ? ibuf_page(before) : NULL;
	__u64 oldest = 0;

	if (lane && page_before)
		oldest = distance(lane, before, q->r, page_before);
	if (lane && !oldest)
		oldest = distance(lane, ibuf, q->r < page->first_pos ? page->first_pos : q->r, page);
	return oldest;
}

static __always_inline void
read_ibuf(struct ffpf_kernel_request *q, void *ibuf, struct ffpf_ibuf_page *page)
{
	const __u32 first = 0;
	struct ffpf_counts_page *all = bpf_map_lookup_elem(&counts, &first);
	struct ffpf_reader_page *reader = reader_page(q->slot);
	__u32 cpu = q->cpu & (FFPF_FLOW_LANES_MAX - 1);

	q->state = once(page->state);
	q->slots_log2 = page->slots_log2;
	q->first_pos = page->first_pos;
	q->packets_before = page->packets_before;
	q->nested_before = page->nested_before;
	/* before packets, so that no more was indexed and dropped than was seen */
	for (int cause = 0; cause < FFPF_COUNTED_DROPS_MAX; cause++)
		q->dropped[cause] = once(page->dropped[cause]);
	q->generation = once(page->generation);
	q->generation_pos = once(page->generation_pos);
	q->w = once(page->w);
	if (all) {
		q->packets = once(all->counts[cpu].packets);
		q->nested = once(all->counts[cpu].nested);
	}
	q->r = reader ? once(reader->r[cpu]) : 0;
	q->behind = behind(q, ibuf, page);
}

/* Packets are the flow's from now on. */
static __always_inline void
begin(const struct ffpf_kernel_request *q, struct ffpf_ibuf_page *page)
{
	const __u32 first = 0;
	struct ffpf_counts_page *all = bpf_map_lookup_elem(&counts, &first);
	__u32 cpu = q->cpu & (FFPF_FLOW_LANES_MAX - 1);

	if (!all || page->first_pos || once(page->w))
		return;
	once(page->nested_before) = once(all->counts[cpu].nested);
	once(page->packets_before) = once(all->counts[cpu].packets);
}

SEC("syscall")
int
control_run(struct ffpf_kernel_request *q)
{
	const __u32 first = 0;
	struct ffpf_counts_page *all;
	struct ffpf_lane_page *lane;
	struct ffpf_ibuf_page *page;
	__u32 at = q->at;
	void *ibuf;

	q->done = 0;
	switch (q->op) {
	case FFPF_KERNEL_OP_LANE_STATE:
		lane = lane_page(at);
		if (!lane)
			return 0;
		/* pairs with the acquire loads of state in lanes/ */
		exchange(&lane->state, q->value);
		break;
	case FFPF_KERNEL_OP_IBUF_STATE:
	case FFPF_KERNEL_OP_IBUF_READ:
	case FFPF_KERNEL_OP_IBUF_BEGIN:
		ibuf = bpf_map_lookup_elem(&ibufs, &at);
		page = ibuf ? ibuf_page(ibuf) : NULL;
		if (!page)
			return 0;
		if (q->op == FFPF_KERNEL_OP_IBUF_READ)
			read_ibuf(q, ibuf, page);
		else if (q->op == FFPF_KERNEL_OP_IBUF_BEGIN)
			begin(q, page);
		else
			exchange(&page->state, q->value);
		break;
	case FFPF_KERNEL_OP_SOURCE_STATE:
		all = bpf_map_lookup_elem(&counts, &first);
		if (!all)
			return 0;
		exchange(&all->state, q->value);
		break;
	case FFPF_KERNEL_OP_WAKE:
		ring(q->slot);
		break;
	default:
		return 0;
	}
	q->done = 1;
	return 0;
}

char terms[] SEC("license") = "Dual BSD/GPL";
