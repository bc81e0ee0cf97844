/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hook as one of netfilter's (BPF_PROG_TYPE_NETFILTER, Linux 6.4): hook.bpf.c for packets that pass one of its
 * places, whole IP packets. Every packet goes on: NF_ACCEPT.
 *
 * Such a program runs in tasks, which other tasks may preempt, and in soft interrupts, which come between. It is pinned
 * to its CPU. So each CPU has two lanes, with a scratch for each: who finds the first taken takes the second, and who
 * finds both taken is dropped and counted as nested. A scratch says who has it by the address of the context that the
 * program was called with, which is on its caller's stack: no two that are alive have the same, and it is the one thing
 * that all programs behind a tail call are given.
 */
#include "kernel/netfilter_packet.bpf.h"

#include "kernel/skbuff.bpf.h"
#include "kernel/store.bpf.h"

#define NF_ACCEPT_ 1

/* linux/netfilter.h */
#define HOOK_LOCAL_OUT   3
#define HOOK_POSTROUTING 4
#define FAMILY_IPV6      10

#define PACKET_OUTGOING_ 4
#define TYPE_IPV4        0x0800
#define TYPE_IPV6        0x86dd

struct nf_hook_state {
	__u8 hook;
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
} __attribute__((preserve_access_index));

/* The two fields are where they are: include/linux/netfilter.h of Linux 6.4 on. */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

/* Also what this context's own address has: whoever had it is gone, and left it. */
static __always_inline bool
take(struct ffpf_scratch *s, __u64 me)
{
	__u64 owner = __sync_val_compare_and_swap(&s->owner, 0, me);

	return owner == 0 || owner == me;
}

static __always_inline struct ffpf_scratch *
enter(__u64 me, __u32 cpu, __u32 *lane)
{
	const __u32 first = 0;
	struct ffpf_counts_page *page = bpf_map_lookup_elem(&counts, &first);
	__u32 at = cpu * FFPF_KERNEL_CONTEXTS;
	struct ffpf_scratch *s;

	if (!page)
		return NULL;
	if (at + FFPF_KERNEL_CONTEXTS > constants.cpus) {
		__sync_fetch_and_add(&page->counts[0].no_lane, 1);
		return NULL;
	}
	s = scratch_of(at);
	if (s && !take(s, me)) {
		at++;
		s = scratch_of(at);
		if (s && !take(s, me)) {
			__sync_fetch_and_add(&page->counts[(at - 1) & (FFPF_FLOW_LANES_MAX - 1)].nested, 1);
			return NULL;
		}
	}
	if (s)
		page->counts[at & (FFPF_FLOW_LANES_MAX - 1)].packets++;
	*lane = at;
	return s;
}

static __always_inline void
leave(struct ffpf_scratch *s)
{
	/* what was written to lane and scratch comes before: pairs with take */
	exchange(&s->owner, 0);
}

/* What comes is seen at the interface that it came by, what goes at the one that it goes by. */
static __always_inline void
describe(struct ffpf_scratch *s, const struct nf_hook_state *state, struct sk_buff *skb, __u32 cpu)
{
	bool goes = state->hook == HOOK_LOCAL_OUT || state->hook == HOOK_POSTROUTING;
	struct net_device *device = goes ? state->out : state->in;

	s->wire_len = skb->len;
	s->ifindex = 0;
	s->hatype = 0;
	if (device) {
		s->ifindex = device->ifindex;
		s->hatype = device->type;
	}
	s->pkt_type = goes ? PACKET_OUTGOING_ : BPF_CORE_READ_BITFIELD(skb, pkt_type);
	s->protocol = state->pf == FAMILY_IPV6 ? TYPE_IPV6 : TYPE_IPV4;
	s->vlan_present = 0;
	s->vlan_tci = 0;
	s->vlan_tpid = 0;
	s->mark = skb->mark;
	s->queue = skb->queue_mapping;
	s->rxhash = skb->hash;
	s->cpu = cpu;
}

SEC("netfilter")
int
hook_main(struct bpf_nf_ctx *ctx)
{
	__u32 lane = 0, cpu = bpf_get_smp_processor_id();
	struct ffpf_kernel_control *c = the_control();
	struct ffpf_scratch *s = enter((__u64)ctx, cpu, &lane);

	if (!s)
		return NF_ACCEPT_;
	if (c) {
		describe(s, ctx->state, ctx->skb, cpu);
		fetch(s, (struct __sk_buff *)ctx->skb, once(c->fetch_len));
		bpf_tail_call(ctx, &progs, FFPF_KERNEL_PROG_CLASSIFY);
	}
	leave(s);
	return NF_ACCEPT_;
}

SEC("netfilter")
int
hook_store(struct bpf_nf_ctx *ctx)
{
	__u32 lane = bpf_get_smp_processor_id() * FFPF_KERNEL_CONTEXTS;
	struct ffpf_kernel_control *c = the_control();
	struct ffpf_scratch *s = scratch_of(lane);
	struct pass p = { .skb = (struct __sk_buff *)ctx->skb, .control = c };

	if (s && s->owner != (__u64)ctx) {
		lane++;
		s = scratch_of(lane);
	}
	if (!s)
		return NF_ACCEPT_;
	p.scratch = s;
	p.cpu = lane;
	if (c && lane < constants.cpus) {
		p.stamp_ns = stamp_of_kernel(ctx->skb);
		store_for_all(&p);
	}
	leave(s);
	return NF_ACCEPT_;
}

char terms[] SEC("license") = "Dual BSD/GPL";
