/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_TOPK_BPF_H
#define FFPF_KERNEL_NODE_TOPK_BPF_H
/*
 * topk: Space-Saving in sets, since no heap can be kept here: a key belongs to one set of WAYS entries of the MBuf of
 * graph/class_topk.h, and a new one takes the place of the least of its set. With S a set's share of what was counted:
 *
 *     count - error <= the truth <= count,   error <= S / WAYS,   and a key beyond S / WAYS has an entry
 *
 * Counts are added to atomically. Who replaces holds `turn`, odd meanwhile, for readers and against other CPUs. A CPU
 * that does not get it in SPINS tries counts its packet for no key, but in `missed`; one that adds to an entry which is
 * being replaced may have counted for the new key.
 */
#include "kernel/node_fields.bpf.h"

#define TOPK_WAYS  8
#define TOPK_SEED  0x70b4u
#define TOPK_SPINS 64

struct topk_entry {
	struct ffpf_node_tuple key;
	uint64_t count, error, zero;
};

struct topk {
	uint64_t turn, total, reset;
	uint32_t filled, k;
	uint64_t none, missed;
	uint64_t zeros[2];
	struct topk_entry entries[];
};

inline_always void
address(struct ffpf_node_tuple *key, uint8_t kind, const uint64_t *octets)
{
	*key = (struct ffpf_node_tuple){ .kind = kind };
	key->src[0] = octets[0];
	key->src[1] = octets[1];
}

/* Room for two keys, zeros; how many there are. `field` is a constant to the compiler. */
inline_always uint32_t
keys_of(const struct ffpf_scratch *s, const struct ffpf_node_work *w, uint32_t field, uint32_t wire_len,
	struct ffpf_node_tuple *keys)
{
	const struct ffpf_node_headers *h = &w->headers;
	struct ffpf_node_tuple t;
	uint64_t values[2] = { 0, 0 };
	uint32_t n;

	if (field == FFPF_NODE_KEY_FLOW || field == FFPF_NODE_KEY_PAIR) {
		keys[0] = w->flow;
		if (field == FFPF_NODE_KEY_PAIR) {
			keys[0].sport = keys[0].dport = keys[0].ether_type = keys[0].protocol = 0;
			make_canonical(&keys[0]);
		}
		return w->flow.kind != 0;
	}
	if (field == FFPF_NODE_KEY_ETH_SRC || field == FFPF_NODE_KEY_ETH_DST) {
		values[0] = word_of(&s->data[field == FFPF_NODE_KEY_ETH_SRC ? 6 : 0], 6);
		address(&keys[0], TUPLE_ETHER, values);
		return found(h, FOUND_ETHERNET);
	}
	if (field == FFPF_NODE_KEY_IP_SRC || field == FFPF_NODE_KEY_IP_DST || field == FFPF_NODE_KEY_IP_ADDR) {
		find_tuple(s, h, &t);
		address(&keys[0], t.kind, field == FFPF_NODE_KEY_IP_DST ? t.dst : t.src);
		address(&keys[1], t.kind, t.dst);
		return !is_ip(h) ? 0 : field == FFPF_NODE_KEY_IP_ADDR ? 2 : 1;
	}
	n = values_of(s, h, field, wire_len, values);
	for (uint32_t i = 0; i < 2; i++) {
		keys[i] = (struct ffpf_node_tuple){ .kind = TUPLE_NUMBER };
		keys[i].src[0] = values[i];
	}
	return n;
}

inline_always bool
same_key(const struct ffpf_node_tuple *a, const struct ffpf_node_tuple *b)
{
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

inline_always bool
take_turn(struct topk *mbuf)
{
	for (int i = 0; i < TOPK_SPINS; i++) {
		uint64_t turn = *(volatile uint64_t *)&mbuf->turn;

		if (!(turn & 1) && __sync_val_compare_and_swap(&mbuf->turn, turn, turn + 1) == turn)
			return true;
	}
	return false;
}

inline_always void
replace_least(struct topk *mbuf, struct topk_entry *set, const struct ffpf_node_tuple *key, uint64_t weight)
{
	struct topk_entry *least = &set[0];

	if (!take_turn(mbuf)) {
		__sync_fetch_and_add(&mbuf->missed, weight);
		return;
	}
	for (uint32_t i = 0; i < TOPK_WAYS; i++) {
		if (same_key(&set[i].key, key) && set[i].count) { /* another CPU was first */
			__sync_fetch_and_add(&set[i].count, weight);
			__sync_fetch_and_add(&mbuf->turn, 1);
			return;
		}
		if (set[i].count < least->count)
			least = &set[i];
	}
	least->error = least->count;
	least->key = *key;
	__sync_fetch_and_add(&least->count, weight);
	__sync_fetch_and_add(&mbuf->turn, 1);
}

inline_always void
count_key(struct topk *mbuf, uint32_t sets, const struct ffpf_node_tuple *key, uint64_t weight)
{
	uint64_t number = (hash_of(key, TOPK_SEED) >> 32) * sets >> 32;
	struct topk_entry *set;

	__sync_fetch_and_add(&mbuf->total, weight);
	forget(number);
	if (number >= sets)
		return;
	set = &mbuf->entries[number * TOPK_WAYS];
	for (uint32_t i = 0; i < TOPK_WAYS; i++) {
		if (same_key(&set[i].key, key) && set[i].count) {
			__sync_fetch_and_add(&set[i].count, weight);
			return;
		}
	}
	replace_least(mbuf, set, key, weight);
}

#endif
