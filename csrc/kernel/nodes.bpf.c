/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What filter classes do in the kernel where a few lines of IR are not enough: fpl/graph links this, as bitcode, into
 * the program of a source's nodes, which calls it; all of it is put in line there. Each class does what csrc/graph
 * says of it, and fills the MBuf of its public header.
 */
#include "kernel/node_extern_rtsp.bpf.h"
#include "kernel/node_fields.bpf.h"
#include "kernel/node_headers.bpf.h"
#include "kernel/node_program.bpf.h"
#include "kernel/node_topk.bpf.h"

#define PUBLIC __attribute__((always_inline))

#define SLL2_BYTES 20
#define TAG_BYTES  4
#define ADDRESSES  12

/* Once for each packet, before nodes that ask for it. */
PUBLIC void
ffpf_node_headers_find(const struct ffpf_scratch *s, struct ffpf_node_work *w, uint32_t link)
{
	find_headers(s, &w->headers, link);
	find_tuple(s, &w->headers, &w->flow);
	make_canonical(&w->flow);
}

/* As the packet's record says it: with the tag that is put back, and the header that cooked packets get. */
PUBLIC uint32_t
ffpf_node_wire_len(const struct ffpf_scratch *s, uint32_t link)
{
	if (link == FFPF_NODE_COOKED)
		return s->wire_len + SLL2_BYTES;
	return s->vlan_present && s->wire_len >= ADDRESSES ? s->wire_len + TAG_BYTES : s->wire_len;
}

/* As a number: 1 it passes, 0 not. */
PUBLIC uint32_t
ffpf_node_sample_flow(const struct ffpf_node_work *w, uint64_t seed, uint64_t most)
{
	return hash_of(&w->flow, seed) <= most;
}

PUBLIC uint32_t
ffpf_node_flow_hash(const struct ffpf_node_work *w, uint64_t seed, uint64_t modulus)
{
	uint64_t hash = hash_of(&w->flow, seed) >> 32;

	if (modulus)
		return (uint32_t)(1 + (hash * modulus >> 32));
	return hash ? (uint32_t)hash : 1;
}

/* ---- histogram: struct ffpf_mbuf_histogram, whose first 48 octets but the counts the control plane writes ---- */

#define HISTOGRAM_BELOW  16
#define HISTOGRAM_ABOVE  24
#define HISTOGRAM_NONE   32
#define HISTOGRAM_COUNTS 48

inline_always void
add(uint8_t *mbuf, uint32_t offset)
{
	__sync_fetch_and_add((uint64_t *)(mbuf + offset), 1);
}

/* Number of bits that a value takes. */
inline_always uint32_t
bits_of(uint64_t value)
{
	uint32_t bits = 0;

	for (uint32_t step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			bits += step;
		}
	}
	return bits + (value != 0);
}

inline_always void
count_value(uint8_t *mbuf, uint64_t value, uint32_t bins, uint64_t from, uint64_t to, uint32_t is_log)
{
	uint32_t bin;

	if (is_log) {
		bin = bits_of(value);
		bin = bin < bins ? bin : bins - 1;
	} else if (value < from) {
		add(mbuf, HISTOGRAM_BELOW);
		return;
	} else if (value >= to) {
		add(mbuf, HISTOGRAM_ABOVE);
		return;
	} else {
		bin = (uint32_t)((value - from) * bins / (to - from));
	}
	forget(bin);
	if (bin < bins)
		add(mbuf, HISTOGRAM_COUNTS + 8 * bin);
}

/* to - from: 2^32 - 1 at most, when it is not is_log. */
PUBLIC void
ffpf_node_histogram(const struct ffpf_scratch *s, const struct ffpf_node_work *w, uint8_t *mbuf, uint32_t link,
		    uint32_t field, uint32_t bins, uint64_t from, uint64_t to, uint32_t is_log)
{
	uint64_t values[2] = { 0, 0 };
	uint32_t n = values_of(s, &w->headers, field, ffpf_node_wire_len(s, link), values);

	if (!n)
		add(mbuf, HISTOGRAM_NONE);
	if (n > 0)
		count_value(mbuf, values[0], bins, from, to, is_log);
	if (n > 1)
		count_value(mbuf, values[1], bins, from, to, is_log);
}

/* ---- first_n: struct ffpf_mbuf_first_n, and a table of its own ---- */

#define FIRST_N_SEED   0xf125u
#define WAYS           4
#define STEP_SHIFT     20
#define AGE(now, seen) ((int32_t)((now) - (seen)) < 0 ? 0 : (now) - (seen))

static uint64_t (*ktime_get_ns)(void) = (void *)5; /* enum bpf_func_id */

struct flow {
	uint64_t hash; /* 0: nobody's */
	uint32_t packets;
	uint32_t seen;
};

struct set {
	struct flow ways[WAYS];
};

#define FIRST_N_FLOWS     0
#define FIRST_N_FORGOTTEN 8
#define FIRST_N_IDLE      16

/*
 * CPUs share the table. A flow takes a place by exchanging its hash, and counts by adding; when two CPUs see a flow
 * begin, or one pushes out what the other counts, a packet more or less than n may pass.
 */
PUBLIC uint32_t
ffpf_node_first_n(const struct ffpf_node_work *w, uint8_t *mbuf, struct set *table, uint64_t mask, uint32_t n,
		  uint32_t idle_steps)
{
	uint64_t hash = hash_of(&w->flow, FIRST_N_SEED) ?: 1, place = hash, before;
	const uint32_t now = (uint32_t)(ktime_get_ns() >> STEP_SHIFT);
	struct flow *flow, *oldest;
	struct set *set;

	forget(place);
	set = &table[place & mask];
	oldest = &set->ways[0];
	for (uint32_t i = 0; i < WAYS; i++) {
		flow = &set->ways[i];
		if (flow->hash == hash) {
			uint32_t age = AGE(now, flow->seen);

			flow->seen = now;
			if (age > idle_steps) {
				add(mbuf, FIRST_N_IDLE);
				add(mbuf, FIRST_N_FLOWS);
				flow->packets = 1;
				return 1;
			}
			return flow->packets < n && __sync_fetch_and_add(&flow->packets, 1) < n;
		}
		if (!flow->hash || (oldest->hash && AGE(now, flow->seen) > AGE(now, oldest->seen)))
			oldest = oldest->hash ? flow : oldest;
	}
	before = oldest->hash;
	if (__sync_val_compare_and_swap(&oldest->hash, before, hash) != before)
		return 1; /* another CPU's flow took it: this one begins with its next packet */
	if (before)
		add(mbuf, FIRST_N_FORGOTTEN);
	add(mbuf, FIRST_N_FLOWS);
	oldest->seen = now;
	oldest->packets = 1;
	return 1;
}

/* ---- topk: struct ffpf_mbuf_topk, with sets * TOPK_WAYS entries at least; the control plane writes filled and k ----
 */

PUBLIC void
ffpf_node_topk(const struct ffpf_scratch *s, const struct ffpf_node_work *w, struct topk *mbuf, uint32_t link,
	       uint32_t field, uint32_t sets, uint32_t by_bytes)
{
	const uint32_t wire_len = ffpf_node_wire_len(s, link);
	struct ffpf_node_tuple keys[2] = { 0 };
	uint32_t n = keys_of(s, w, field, wire_len, keys);
	uint64_t weight = by_bytes ? wire_len : 1;

	if (!n)
		__sync_fetch_and_add(&mbuf->none, 1);
	if (n > 0)
		count_key(mbuf, sets, &keys[0], weight);
	if (n > 1)
		count_key(mbuf, sets, &keys[1], weight);
}

/* ---- FPL-2: around the function that fpl/fpl2/ebpf.py makes of a program ---- */

PUBLIC void
ffpf_node_program_enter(struct ffpf_scratch *s, struct ffpf_node_work *w, uint32_t link)
{
	struct ffpf_node_program *p = &w->program;
	uint32_t len = s->data_len;

	p->wire = ffpf_node_wire_len(s, link);
	p->shift = PROGRAM_TAG_BYTES;
	p->ended = 0;
	if (s->vlan_present && len >= ADDRESSES) {
		put_tag_in(s, p);
		len += PROGRAM_TAG_BYTES;
	}
	p->captured = len < FFPF_SCRATCH_DATA_BYTES ? len : FFPF_SCRATCH_DATA_BYTES;
}

/* What the program returned. */
PUBLIC uint32_t
ffpf_node_program_leave(struct ffpf_scratch *s, struct ffpf_node_work *w)
{
	if (!w->program.shift)
		take_tag_out(s, &w->program);
	return w->program.result;
}

/* ---- external functions of FPL-2, by the names that fpl/fpl2/ebpf.py has; behind ffpf_node_headers_find ---- */

PUBLIC uint64_t
ffpf_node_extern_rtsp_port(const struct ffpf_scratch *s, struct ffpf_node_work *w)
{
	return rtsp_port(s, w);
}
