/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters in a heap whose root is the least: what a new key replaces.
 *
 *     key -> index -> entry: key, error, place ----> heap[place]: count, entry
 *                     |                               |
 *                     +--- MBuf entry: key, error ----+--- MBuf entry: count
 *
 * Of the MBuf only `reset` is read: the application may do with the rest what it likes.
 */
#include "graph/class_topk.h"
#include "graph/classes.h"
#include "graph/field_arg.h"
#include "graph/index.h"

#include <inttypes.h>
#include <string.h>

#define DEFAULT_K  10u
#define MOST_K     100000u
#define LEAST_ROOM 1024u
#define ROOM_PER_K 10u
#define MOST_ROOM  (1u << 24)
#define SEED       0x70b4u
#define BATCH      32u /* packets whose slots are fetched ahead */

struct entry {
	struct ffpf_tuple key; /* first: see index.h */
	uint64_t hash;
	uint64_t error;
	uint32_t place; /* in the heap */
};

struct counter {
	uint64_t count;
	uint32_t entry;
};

struct topk {
	struct ffpf_mbuf_topk *mbuf;
	const struct ffpf_field *field;
	bool by_bytes;
	uint32_t k, room, filled;
	struct entry *entries;
	struct counter *heap;
	struct ffpf_index index;
	uint64_t total, none;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	static const char *const measures[] = { "packets", "bytes" };
	struct topk *self = instance;
	uint64_t k = DEFAULT_K, room;
	size_t by = 0;
	struct ffpf_arg arg;
	int status = 0;

	self->field = ffpf_field_find("flow");
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "k"))
			status = ffpf_arg_uint(args, &arg, 1, MOST_K, &k, err);
		else if (ffpf_arg_is(&arg, "by"))
			status = ffpf_arg_choice(args, &arg, measures, 2, &by, err);
		else if (ffpf_arg_is(&arg, "of"))
			status = (self->field = ffpf_arg_field(args, &arg, false, err)) ? 0 : -FFPF_E_INVALID;
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_topk.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (!args->mbuf_bytes) {
		room = k * ROOM_PER_K > LEAST_ROOM ? k * ROOM_PER_K : LEAST_ROOM;
		args->mbuf_bytes = sizeof(*self->mbuf) + room * sizeof(self->mbuf->entries[0]);
	}
	room = args->mbuf_bytes < sizeof(*self->mbuf) ? 0 : (args->mbuf_bytes - 64) / 64;
	if (room < k || room > MOST_ROOM)
		return ffpf_args_fail(args, 0, err,
				      "an MBuf of %" PRIu64 " octets: k=%" PRIu64 " takes 64 + 64 * k or more, 2^30 "
				      "at most",
				      args->mbuf_bytes, k);
	self->k = (uint32_t)k;
	self->room = (uint32_t)room;
	self->by_bytes = by == 1;
	ffpf_text_add(&args->canonical, "k=%" PRIu64 " of=%s by=%s", k, self->field->name, measures[by]);
	return 0;
}

/* Pairs with a reader that loads turn, then entries, then turn again: odd before any octet of a new key ... */
static void
turn_odd(struct ffpf_mbuf_topk *mbuf)
{
	__atomic_exchange_n(&mbuf->turn, ffpf_word_load(&mbuf->turn) | 1, __ATOMIC_SEQ_CST);
}

/* ... and even after the last. */
static void
turn_even(struct ffpf_mbuf_topk *mbuf)
{
	__atomic_store_n(&mbuf->turn, (ffpf_word_load(&mbuf->turn) | 1) + 1, __ATOMIC_RELEASE);
}

static void
forget(struct topk *self)
{
	struct ffpf_mbuf_topk *mbuf = self->mbuf;

	memset(self->index.slots, 0, ((size_t)self->index.mask + 1) * sizeof(*self->index.slots));
	self->filled = 0;
	self->total = self->none = 0;
	turn_odd(mbuf);
	memset(mbuf->entries, 0, self->room * sizeof(mbuf->entries[0]));
	__atomic_store_n(&mbuf->filled, 0, __ATOMIC_RELAXED);
	ffpf_word_store(&mbuf->total, 0);
	ffpf_word_store(&mbuf->none, 0);
	ffpf_word_store(&mbuf->reset, 0);
	turn_even(mbuf);
}

static int
open_table(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct topk *self = instance;

	self->mbuf = env->mbuf;
	self->entries = calloc(self->room, sizeof(*self->entries));
	self->heap = calloc(self->room, sizeof(*self->heap));
	if (!self->entries || !self->heap || !ffpf_index_open(&self->index, self->room))
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for %" PRIu32 " counters", self->room);
	self->mbuf->turn = 0;
	self->mbuf->k = self->k;
	forget(self);
	return 0;
}

static void
close_table(void *instance)
{
	struct topk *self = instance;

	free(self->entries);
	free(self->heap);
	ffpf_index_close(&self->index);
}

static void
put(struct topk *self, uint32_t place, struct counter counter)
{
	self->heap[place] = counter;
	self->entries[counter.entry].place = place;
}

static void
sink(struct topk *self, uint32_t place)
{
	const struct counter counter = self->heap[place];

	for (;;) {
		uint32_t child = 2 * place + 1;

		if (child >= self->filled)
			break;
		if (child + 1 < self->filled && self->heap[child + 1].count < self->heap[child].count)
			child++;
		if (self->heap[child].count >= counter.count)
			break;
		put(self, place, self->heap[child]);
		place = child;
	}
	put(self, place, counter);
}

static void
rise(struct topk *self, uint32_t place)
{
	const struct counter counter = self->heap[place];

	while (place && self->heap[(place - 1) / 2].count > counter.count) {
		put(self, place, self->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put(self, place, counter);
}

static void
write_entry(struct topk *self, uint32_t entry, uint64_t count)
{
	struct ffpf_mbuf_topk_entry *shown = &self->mbuf->entries[entry];

	shown->key = self->entries[entry].key;
	ffpf_word_store(&shown->error, self->entries[entry].error);
	ffpf_word_store(&shown->count, count);
}

static void
begin(struct topk *self, const struct ffpf_tuple *key, uint64_t hash, uint64_t weight)
{
	const uint32_t entry = self->filled++;

	self->entries[entry] = (struct entry){ .key = *key, .hash = hash };
	ffpf_index_insert(&self->index, hash, entry);
	self->heap[entry] = (struct counter){ .count = weight, .entry = entry };
	rise(self, entry);
	write_entry(self, entry, weight);
	__atomic_store_n(&self->mbuf->filled, self->filled, __ATOMIC_RELEASE); /* the entry before its number */
}

/* The least counter passes to another key, which may have had all of what it counted. */
static void
replace(struct topk *self, const struct ffpf_tuple *key, uint64_t hash, uint64_t weight)
{
	struct counter *least = &self->heap[0];
	const uint32_t entry = least->entry;
	struct entry *e = &self->entries[entry];

	ffpf_index_remove(&self->index, e->hash, entry);
	ffpf_index_insert(&self->index, hash, entry);
	e->key = *key;
	e->hash = hash;
	e->error = least->count;
	least->count += weight;
	turn_odd(self->mbuf);
	write_entry(self, entry, least->count);
	turn_even(self->mbuf);
	sink(self, 0);
}

static void
count(struct topk *self, const struct ffpf_tuple *key, uint64_t hash, uint64_t weight)
{
	const uint32_t entry = ffpf_index_find(&self->index, hash, self->entries, sizeof(*self->entries), key);
	uint32_t place;

	self->total += weight;
	if (entry == FFPF_INDEX_NONE) {
		if (self->filled < self->room)
			begin(self, key, hash, weight);
		else
			replace(self, key, hash, weight);
		return;
	}
	place = self->entries[entry].place;
	self->heap[place].count += weight;
	ffpf_word_store(&self->mbuf->entries[entry].count, self->heap[place].count);
	sink(self, place);
}

struct found {
	struct ffpf_tuple key;
	uint64_t hash, weight;
};

static void
count_some(struct topk *self, const struct ffpf_node_pkt *in, uint32_t packets)
{
	struct found found[BATCH * FFPF_FIELD_MOST_VALUES];
	uint32_t n = 0;

	for (uint32_t i = 0; i < packets; i++) {
		struct ffpf_tuple keys[FFPF_FIELD_MOST_VALUES];
		struct ffpf_headers h;
		unsigned values;

		ffpf_headers_find(&h, in[i].pkt, in[i].link_type);
		values = ffpf_field_keys(self->field, &h, keys);
		self->none += !values;
		for (unsigned v = 0; v < values; v++, n++) {
			found[n].key = keys[v];
			found[n].hash = ffpf_tuple_hash(&keys[v], SEED);
			found[n].weight = self->by_bytes ? in[i].pkt->wire_len : 1;
			ffpf_index_prefetch(&self->index, found[n].hash);
		}
	}
	for (uint32_t i = 0; i < n; i++)
		count(self, &found[i].key, found[i].hash, found[i].weight);
}

static void
look_for_reset(void *instance, uint64_t now_ns)
{
	struct topk *self = instance;

	(void)now_ns;
	if (__atomic_load_n(&self->mbuf->reset, __ATOMIC_RELAXED))
		forget(self);
}

static void
pass(void *instance, const struct ffpf_node_pkt *in, uint32_t packets, uint32_t *results)
{
	struct topk *self = instance;

	look_for_reset(self, 0);
	for (uint32_t i = 0; i < packets; i++)
		results[i] = in[i].result;
	for (uint32_t i = 0; i < packets; i += BATCH)
		count_some(self, in + i, packets - i < BATCH ? packets - i : BATCH);
	ffpf_word_store(&self->mbuf->total, self->total);
	ffpf_word_store(&self->mbuf->none, self->none);
}

/* Most first; of equals the lesser key, so that the same packets tell the same. */
static int
compare(const void *a, const void *b, void *entries)
{
	const struct counter *x = a, *y = b;
	const struct entry *e = entries;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return memcmp(&e[x->entry].key, &e[y->entry].key, sizeof(struct ffpf_tuple));
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct topk *self = instance;
	struct counter *sorted = malloc((self->filled + 1) * sizeof(*sorted));
	char text[FFPF_TUPLE_TEXT_BYTES];

	ffpf_report_text(report, "of", self->field->name);
	ffpf_report_uint(report, self->by_bytes ? "bytes" : "packets", self->total);
	ffpf_report_uint(report, "none", self->none);
	ffpf_report_uint(report, "error_most", self->filled < self->room ? 0 : self->total / self->room);
	if (!sorted)
		return;
	if (self->filled) /* none: nothing to sort, and no address to sort it at is promised */
		memcpy(sorted, self->heap, self->filled * sizeof(*sorted));
	qsort_r(sorted, self->filled, sizeof(*sorted), compare, self->entries);
	ffpf_report_list(report, "top");
	for (uint32_t i = 0; i < self->filled && i < self->k; i++) {
		const struct entry *e = &self->entries[sorted[i].entry];

		ffpf_tuple_text(&e->key, text, sizeof(text));
		ffpf_report_item(report);
		ffpf_report_text(report, "key", text);
		ffpf_report_uint(report, "count", sorted[i].count);
		ffpf_report_uint(report, "error", e->error);
		ffpf_report_end(report);
	}
	ffpf_report_end(report);
	free(sorted);
}

const struct ffpf_class ffpf_class_topk = {
	.name = "topk",
	.summary = "the keys with most packets or bytes: flows, hosts, ports, any field",
	.arguments = "[k=N] [of=FIELD] [by=packets|bytes]",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct topk),
	.parse = parse,
	.open = open_table,
	.filter_batch = pass,
	.tick = look_for_reset,
	.describe = describe,
	.close = close_table,
};
