/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's hook: hook/hook.c for packets that an AF_PACKET socket is shown, written against docs/memory.md.
 *
 *     hook_main     enter, count, metadata, fetch -> CLASSIFY
 *     hook_store    per group that wants the packet: store.bpf.h -> leave
 *
 * One packet at a time on a CPU, which is one writer of its lanes: who comes between is dropped and counted as nested.
 * Both return 0: the kernel neither clones nor queues the packet. The socket's ifindex is the packet's own, and so is
 * its device: of a bond's member it is the member.
 */
#include "kernel/socket.bpf.h"

#include "kernel/context.bpf.h"
#include "kernel/store.bpf.h"

#define PACKET_OUTGOING_ 4

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
		p.stamp_ns = stamp_of(skb);
		store_for_all(&p);
	}
	once(s->inside) = 0;
	return 0;
}

char terms[] SEC("license") = "Dual BSD/GPL";
