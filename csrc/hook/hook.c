/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/hook.h"
#include "common/clock.h"

#include "hook/hook_internal.h"

#include <stdlib.h>
#include <string.h>

#define TAG_BYTES   4
#define HEAD_BYTES  32        /* what is put together apart when a tag is put back: a multiple of 16 */
#define CAP_LEN_MAX INT32_MAX /* of ffpf_bpf_run */

/* The IBufs learn from which entry on their new filter decides. */
static void
adopt(struct ffpf_hook *hook, const struct ffpf_graph *graph)
{
	hook->adopted = graph->serial;
	hook->lane->ibufs = graph->ibufs;
	hook->lane->ibuf_count = graph->ibuf_count;
	for (uint32_t i = 0; i < graph->count; i++) {
		struct ffpf_ibuf *ibuf = graph->entries[i].ibuf;

		if (ibuf->generation == graph->entries[i].generation)
			continue;
		ibuf->generation = graph->entries[i].generation;
		atomic_store_explicit(&ibuf->page->generation_pos, ibuf->w, memory_order_relaxed);
		/* Release: pairs with the acquire load in lanes/judge.c, which then sees this generation_pos or a
		 * later. */
		atomic_store_explicit(&ibuf->page->generation, ibuf->generation, memory_order_release);
	}
}

bool
ffpf_hook_enter(struct ffpf_hook *hook, struct ffpf_graph **graph)
{
	/* both seq_cst: pairs with ffpf_graph_replace, see hook_internal.h */
	if (atomic_exchange(&hook->inside, 1))
		return false;
	*graph = atomic_load(&hook->graph);
	if ((*graph)->serial != hook->adopted)
		adopt(hook, *graph);
	return true;
}

void
ffpf_hook_leave(struct ffpf_hook *hook)
{
	/* both release: pair with the loads in wait_until_quiet; the graph is not looked at any more */
	atomic_store_explicit(&hook->passes, atomic_load_explicit(&hook->passes, memory_order_relaxed) + 1,
			      memory_order_release);
	atomic_store_explicit(&hook->inside, 0, memory_order_release);
}

/* ---- time ---- */

/*
 * Before the clock is read. A reader that merges lanes and still finds the lane idle may deliver what other lanes have
 * committed so far: it is not younger than what the clock will say. seq_cst: pairs with the load in lanes/merge.c; the
 * argument is in docs/memory.md.
 */
static void
announce(struct ffpf_hook *hook)
{
	int64_t bound = hook->last_ns;

	if (hook->announced)
		return;
	hook->announced = true;
	if (hook->floor_ns != FFPF_FLOOR_IDLE && hook->floor_ns > bound)
		bound = hook->floor_ns;
	if (bound != hook->floor_ns)
		atomic_store(&hook->lane->page->floor_ns, bound);
}

/* Release: pairs with the load in lanes/merge.c; who sees it sees all that was published before. */
static void
rest(struct ffpf_hook *hook, int64_t floor_ns)
{
	hook->announced = false;
	hook->floor_ns = floor_ns;
	atomic_store_explicit(&hook->lane->page->floor_ns, floor_ns, memory_order_release);
}

static int64_t
time_of(struct ffpf_hook *hook, const struct ffpf_hook_packet *pkt)
{
	int64_t ns = pkt->time_ns;

	if (!(pkt->flags & FFPF_HOOK_TIME_GIVEN))
		ns = (int64_t)ffpf_clock_ns(CLOCK_REALTIME);
	if (ns > hook->last_ns)
		hook->last_ns = ns;
	return ns;
}

/* ---- publishing ---- */

static void
publish(struct ffpf_hook *hook, struct ffpf_graph *graph)
{
	hook->stored = 0;
	ffpf_lane_publish(hook->lane);
	for (uint32_t i = 0; i < graph->count; i++)
		for (struct ffpf_ibuf *ibuf = graph->entries[i].ibuf; ibuf; ibuf = ibuf->before)
			if (ffpf_ibuf_publish(ibuf))
				ffpf_wake_if_due(ibuf);
}

void
ffpf_hook_flush(struct ffpf_hook *hook)
{
	struct ffpf_graph *graph;

	if (!ffpf_hook_enter(hook, &graph))
		return;
	if (hook->stored) {
		publish(hook, graph);
		rest(hook, hook->floor_ns);
	}
	ffpf_hook_leave(hook);
}

uint64_t
ffpf_hook_tick(struct ffpf_hook *hook, uint64_t now_ns)
{
	struct ffpf_graph *graph;
	uint64_t next = UINT64_MAX;

	ffpf_hook_flush(hook);
	if (!ffpf_hook_enter(hook, &graph))
		return next;
	for (uint32_t i = 0; i < graph->count; i++) {
		uint64_t when = ffpf_wake_tick(graph->entries[i].ibuf, now_ns);

		if (when < next)
			next = when;
	}
	ffpf_hook_leave(hook);
	return next;
}

void
ffpf_hook_floor(struct ffpf_hook *hook, int64_t ns)
{
	struct ffpf_graph *graph;

	if (!ffpf_hook_enter(hook, &graph))
		return;
	if (hook->stored)
		publish(hook, graph);
	rest(hook, ns);
	ffpf_hook_leave(hook);
}

void
ffpf_hook_close(struct ffpf_hook *hook)
{
	struct ffpf_graph *graph;

	if (!ffpf_hook_enter(hook, &graph))
		return;
	publish(hook, graph);
	rest(hook, FFPF_FLOOR_IDLE);
	/* Release: pairs with the acquire load in lanes/lanes.c, which looks for more packets afterwards. */
	atomic_store_explicit(&hook->lane->page->state, FFPF_LANE_CLOSED, memory_order_release);
	for (uint32_t i = 0; i < graph->count; i++)
		ffpf_wake(graph->entries[i].ibuf);
	ffpf_hook_leave(hook);
}

/* ---- a packet ---- */

static void
drop(struct ffpf_ibuf *ibuf, enum ffpf_drop cause)
{
	ffpf_count(&ibuf->page->dropped[cause], 1);
}

/* `head` octets of the packet are not for the filter to see. */
static uint32_t
run(const struct ffpf_bpf_prog *prog, const struct ffpf_hook_packet *pkt, uint32_t head)
{
	const uint32_t in_cap = pkt->cap_len < head ? pkt->cap_len : head;
	const uint32_t in_wire = pkt->wire_len < head ? pkt->wire_len : head;
	const struct ffpf_bpf_aux aux = {
		.ifindex = pkt->ifindex,
		.vlan_tci = pkt->vlan_tci,
		.vlan_tpid = pkt->vlan_tpid,
		.protocol = pkt->protocol,
		.hatype = pkt->hatype,
		.pkt_type = pkt->pkt_type,
		.vlan_present = pkt->flags & FFPF_HOOK_VLAN,
	};

	return ffpf_bpf_run(prog, pkt->data + in_cap, pkt->wire_len - in_wire, pkt->cap_len - in_cap, &aux);
}

/* The flows that want the packet: count of graph->wanted. A filter that several flows share runs once. */
static uint32_t
classify(struct ffpf_graph *graph, const struct ffpf_hook_packet *pkt, uint32_t head)
{
	const struct ffpf_bpf_prog *prog = NULL;
	uint32_t result =
	    pkt->flags & FFPF_HOOK_JUDGED ? pkt->result : UINT32_MAX; /* entries without prog come first */
	uint32_t n = 0;

	for (uint32_t i = 0; i < graph->count; i++) {
		struct ffpf_graph_entry *entry = &graph->entries[i];

		ffpf_count(&entry->ibuf->page->seen, 1);
		if (entry->prog != prog) {
			prog = entry->prog;
			result = run(prog, pkt, head);
		}
		entry->result = result;
		if (!result)
			ffpf_count(&entry->ibuf->page->filtered, 1);
		else if (entry->left)
			drop(entry->ibuf, FFPF_DROP_LEFT);
		else
			graph->wanted[n++] = entry;
	}
	return n;
}

/* Takes the flows that cannot have the packet out of graph->wanted, and counts why. */
static uint32_t
grant(struct ffpf_hook *hook, struct ffpf_graph *graph, uint32_t wanted, uint32_t cells)
{
	bool oversize = cells > hook->lane->max_cells;
	bool cells_granted;
	uint32_t n = 0;

	for (uint32_t i = 0; i < wanted; i++) {
		struct ffpf_ibuf *ibuf = graph->wanted[i]->ibuf;

		if (ibuf->evicted)
			drop(ibuf, FFPF_DROP_EVICTED);
		else if (oversize)
			drop(ibuf, FFPF_DROP_OVERSIZE);
		else if (!hook->bms->grant_index(ibuf))
			drop(ibuf, ibuf->evicted ? FFPF_DROP_EVICTED : FFPF_DROP_IBUF);
		else
			graph->wanted[n++] = graph->wanted[i];
	}
	if (!n)
		return 0;
	cells_granted = hook->bms->grant_cells(hook->lane, cells);
	wanted = n;
	n = 0;
	for (uint32_t i = 0; i < wanted; i++) {
		struct ffpf_ibuf *ibuf = graph->wanted[i]->ibuf;

		if (ibuf->evicted)
			drop(ibuf, FFPF_DROP_EVICTED);
		else if (!cells_granted)
			drop(ibuf, FFPF_DROP_PBUF);
		else
			graph->wanted[n++] = graph->wanted[i];
	}
	return n;
}

_Static_assert(FFPF_HOOK_VLAN_OFFSET_MAX == HEAD_BYTES - TAG_BYTES, "the tag goes into the head");

static bool
tag_goes_in(const struct ffpf_hook *hook, const struct ffpf_hook_packet *pkt)
{
	return (pkt->flags & FFPF_HOOK_VLAN) && hook->vlan_offset >= 0 && pkt->cap_len >= (uint32_t)hook->vlan_offset;
}

/* The record's header: what is stored, a tag included, and no more of it than the lane's snap length. */
static struct ffpf_record
describe(const struct ffpf_hook *hook, const struct ffpf_hook_packet *pkt, int64_t time_ns)
{
	/* relaxed: pairs with ffpf_hook_set_snap_len, which says nothing else */
	uint32_t snap_len = atomic_load_explicit(&hook->lane->snap_len, memory_order_relaxed);
	struct ffpf_record rec = {
		.time_ns = time_ns,
		.cap_len = pkt->cap_len,
		.wire_len = pkt->wire_len,
		.ifindex = pkt->ifindex,
		.protocol = pkt->protocol,
		.hatype = pkt->hatype,
		.pkt_type = pkt->pkt_type,
	};

	if (tag_goes_in(hook, pkt)) {
		rec.cap_len += TAG_BYTES;
		rec.wire_len += TAG_BYTES;
		rec.vlan_tci = pkt->vlan_tci;
		rec.vlan_tpid = pkt->vlan_tpid;
		rec.vlan_offset = (uint16_t)hook->vlan_offset;
		rec.flags = FFPF_RECORD_VLAN;
	} else if (pkt->flags & FFPF_HOOK_VLAN) {
		rec.vlan_tci = pkt->vlan_tci;
		rec.vlan_tpid = pkt->vlan_tpid;
		rec.flags = FFPF_RECORD_VLAN_BESIDE;
	}
	if (hook->cooked)
		rec.flags |= FFPF_RECORD_COOKED;
	if (rec.cap_len > snap_len)
		rec.cap_len = snap_len;
	return rec;
}

static void
store(struct ffpf_hook *hook, uint8_t *cell, struct ffpf_record *rec, const struct ffpf_hook_packet *pkt)
{
	uint32_t at = rec->vlan_offset;
	uint32_t whole = pkt->cap_len + TAG_BYTES;
	uint32_t head_len = whole < HEAD_BYTES ? whole : HEAD_BYTES;
	uint32_t behind = head_len - at - TAG_BYTES;
	const uint8_t tag[TAG_BYTES] = { (uint8_t)(rec->vlan_tpid >> 8), (uint8_t)rec->vlan_tpid,
					 (uint8_t)(rec->vlan_tci >> 8), (uint8_t)rec->vlan_tci };
	uint8_t head[HEAD_BYTES];

	if (!(rec->flags & FFPF_RECORD_VLAN)) {
		ffpf_lane_store(hook->lane, cell, rec, NULL, 0, pkt->data);
		return;
	}
	memcpy(head, pkt->data, at);
	memcpy(head + at, tag, TAG_BYTES);
	memcpy(head + at + TAG_BYTES, pkt->data + at, behind);
	ffpf_lane_store(hook->lane, cell, rec, head, rec->cap_len < head_len ? rec->cap_len : head_len,
			pkt->data + at + behind);
}

/* claim -> store -> commit -> index. How many flows got it. */
static uint32_t
deliver(struct ffpf_hook *hook, struct ffpf_graph *graph, const struct ffpf_hook_packet *pkt, int64_t time_ns)
{
	uint32_t wanted = classify(graph, pkt, hook->cooked);
	struct ffpf_record rec;
	uint32_t cells, n;
	uint8_t *cell;
	uint64_t position;

	if (!wanted)
		return 0;
	rec = describe(hook, pkt, time_ns);
	cells = ffpf_record_cells(rec.cap_len);
	n = grant(hook, graph, wanted, cells);
	/* what was dropped may have been for want of what readers cannot free before they see it */
	if (n < wanted && hook->stored)
		publish(hook, graph);
	if (!n)
		return 0;
	cell = ffpf_lane_claim(hook->lane, cells);
	store(hook, cell, &rec, pkt);
	position = ffpf_lane_commit(hook->lane, cell, cells);
	for (uint32_t i = 0; i < n; i++)
		ffpf_ibuf_append(graph->wanted[i]->ibuf, position, graph->wanted[i]->result);
	hook->stored++;
	return n;
}

/* A descriptor that makes no sense reaches every flow, and is delivered to none. */
static void
refuse(struct ffpf_graph *graph)
{
	for (uint32_t i = 0; i < graph->count; i++) {
		ffpf_count(&graph->entries[i].ibuf->page->seen, 1);
		drop(graph->entries[i].ibuf, FFPF_DROP_INVALID);
	}
}

uint32_t
ffpf_hook_handle_packet(struct ffpf_hook *hook, const struct ffpf_hook_packet *pkt)
{
	struct ffpf_graph *graph;
	int64_t time_ns;
	uint32_t n = 0;

	if (!ffpf_hook_enter(hook, &graph)) {
		/* relaxed: a count; an addition in one step, since more than one may come */
		atomic_fetch_add_explicit(&hook->lane->page->nested, 1, memory_order_relaxed);
		return 0;
	}
	announce(hook);
	time_ns = time_of(hook, pkt);
	ffpf_count(&hook->lane->page->packets, 1);
	if (pkt->cap_len > CAP_LEN_MAX)
		refuse(graph);
	else
		n = deliver(hook, graph, pkt, time_ns);
	if (hook->stored >= hook->publish_batch)
		publish(hook, graph);
	hook->floor_ns = pkt->flags & FFPF_HOOK_TIME_GIVEN ? hook->last_ns : FFPF_FLOOR_IDLE;
	if (!hook->stored)
		rest(hook, hook->floor_ns);
	ffpf_hook_leave(hook);
	return n;
}

const struct ffpf_lane *
ffpf_hook_lane(const struct ffpf_hook *hook)
{
	return hook->lane;
}
