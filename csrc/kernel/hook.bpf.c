/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's hook: hook/hook.c for packets that an AF_PACKET socket is shown, written against docs/memory.md.
 *
 *     hook_main     enter, count, metadata, fetch -> CLASSIFY
 *     hook_store    per group that wants the packet:
 *                   announce, clock, grant, claim, store, commit, index, publish, rest, wake -> leave
 *
 * One packet at a time on a CPU, which is one writer of its lanes: who comes between is dropped and counted as nested.
 * Both return 0: the kernel neither clones nor queues the packet. The socket's ifindex is the packet's own, and so is
 * its device: of a bond's member it is the member.
 */
#include "kernel/context.bpf.h"
#include "kernel/deliver.bpf.h"
#include "kernel/grant.bpf.h"
#include "kernel/record.bpf.h"

#define PACKET_OUTGOING_ 4

static __always_inline struct ffpf_scratch *
scratch_of(__u32 cpu)
{
	return bpf_map_lookup_elem(&scratch, &cpu);
}

static __always_inline struct ffpf_kernel_control *
the_control(void)
{
	const __u32 first = 0;

	return bpf_map_lookup_elem(&control, &first);
}

/* A CPU beyond the lanes, a packet within a packet: counted, and false. */
static __always_inline bool
enter(struct ffpf_scratch *s, __u32 cpu)
{
	const __u32 first = 0;
	struct ffpf_counts_page *page = bpf_map_lookup_elem(&counts, &first);
	struct ffpf_counts *mine;

	if (!page)
		return false;
	if (!s || cpu >= constants.cpus) {
		__sync_fetch_and_add(&page->counts[0].no_lane, 1);
		return false;
	}
	mine = &page->counts[cpu & (FFPF_FLOW_LANES_MAX - 1)];
	if (once(s->inside)) {
		__sync_fetch_and_add(&mine->nested, 1);
		return false;
	}
	once(s->inside) = 1;
	mine->packets++;
	return true;
}

static __always_inline void
describe(struct ffpf_scratch *s, struct __sk_buff *skb, __u32 cpu)
{
	s->wire_len = skb->len;
	s->ifindex = skb->ifindex;
	s->pkt_type = skb->pkt_type;
	s->protocol = bpf_ntohs((__u16)skb->protocol);
	s->hatype = hatype_of(skb);
	s->vlan_present = skb->vlan_present;
	s->vlan_tci = skb->vlan_tci;
	s->vlan_tpid = bpf_ntohs((__u16)skb->vlan_proto);
	s->mark = skb->mark;
	s->queue = skb->queue_mapping;
	s->rxhash = skb->hash;
	s->cpu = cpu;
}

static __always_inline void
fetch(struct ffpf_scratch *s, struct __sk_buff *skb, __u32 fetch_len)
{
	__u32 len = s->wire_len < fetch_len ? s->wire_len : fetch_len;

	s->data_len = 0;
	asm volatile("" : "+r"(len));
	if (len == 0 || len > FFPF_SCRATCH_DATA_BYTES)
		return;
	if (bpf_skb_load_bytes(skb, 0, s->data, len) == 0)
		s->data_len = len;
}

SEC("socket")
int
hook_main(struct __sk_buff *skb)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct ffpf_scratch *s = scratch_of(cpu);
	struct ffpf_kernel_control *c = the_control();

	/* what the loopback interface sends comes back as received: once is enough, as for libpcap */
	if (skb->pkt_type == PACKET_OUTGOING_ && skb->ifindex == constants.lo_ifindex)
		return 0;
	if (!enter(s, cpu) || !s || !c)
		return 0;
	describe(s, skb, cpu);
	fetch(s, skb, once(c->fetch_len));
	bpf_tail_call(skb, &progs, FFPF_KERNEL_PROG_CLASSIFY);
	once(s->inside) = 0;
	return 0;
}

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

SEC("socket")
int
hook_store(struct __sk_buff *skb)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct ffpf_scratch *s = scratch_of(cpu);
	struct ffpf_kernel_control *c = the_control();
	struct pass p = { .skb = skb, .scratch = s, .control = c, .cpu = cpu };

	if (!s)
		return 0;
	if (c && cpu < constants.cpus) {
		p.words = once(c->words);
		if (p.words > FFPF_KERNEL_WORDS)
			p.words = FFPF_KERNEL_WORDS;
		p.stamp_ns = stamp_of(skb);
		bpf_loop(once(c->group_count), group_step, &p, 0);
	}
	once(s->inside) = 0;
	return 0;
}

char terms[] SEC("license") = "Dual BSD/GPL";
