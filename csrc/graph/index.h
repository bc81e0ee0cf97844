/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_INDEX_H
#define FFPF_GRAPH_INDEX_H
/*
 * From a key's hash to the number of its entry: open addressing with linear probes, a power of two of slots of eight
 * octets, at most half of them taken. The entries themselves are the caller's, in an array of any struct that begins
 * with its key.
 *
 *     hash --> slot: tag 32 bits | entry + 1, 0 for empty --> entries[entry], which begins with a struct ffpf_tuple
 *
 * The tag's low bits are the home slot, so that taking one out moves others back without asking for their hashes.
 */
#include "graph/tuple.h"

#include <stdlib.h>

#define FFPF_INDEX_NONE     UINT32_MAX
#define FFPF_INDEX_MOST     (1u << 30) /* entries */
#define FFPF_INDEX_TAG(key) ((uint32_t)((key) >> 32))

struct ffpf_index_slot {
	uint32_t tag;
	uint32_t entry; /* + 1; 0: empty */
};

struct ffpf_index {
	struct ffpf_index_slot *slots;
	uint32_t mask;
};

/* For up to `entries` entries at once; false when memory runs out. */
static inline bool
ffpf_index_open(struct ffpf_index *index, uint32_t entries)
{
	uint32_t slots = 8;

	while (slots / 2 < entries)
		slots *= 2;
	index->slots = calloc(slots, sizeof(*index->slots));
	index->mask = slots - 1;
	return index->slots != NULL;
}

static inline void
ffpf_index_close(struct ffpf_index *index)
{
	free(index->slots);
	index->slots = NULL;
}

/* Brings the home slot of a hash nearer: for batches, before they look it up. */
static inline void
ffpf_index_prefetch(const struct ffpf_index *index, uint64_t hash)
{
	__builtin_prefetch(&index->slots[FFPF_INDEX_TAG(hash) & index->mask]);
}

/* The entry whose key is `key`, or FFPF_INDEX_NONE. `entries`: the array, of structs of `stride` octets. */
static inline uint32_t
ffpf_index_find(const struct ffpf_index *index, uint64_t hash, const void *entries, size_t stride,
		const struct ffpf_tuple *key)
{
	const uint32_t tag = FFPF_INDEX_TAG(hash);

	for (uint32_t i = tag & index->mask; index->slots[i].entry; i = (i + 1) & index->mask) {
		const struct ffpf_index_slot *slot = &index->slots[i];

		if (slot->tag == tag &&
		    ffpf_tuple_equal((const void *)((const char *)entries + stride * (slot->entry - 1)), key))
			return slot->entry - 1;
	}
	return FFPF_INDEX_NONE;
}

/* The key must not be there, and not more entries than were asked for. */
static inline void
ffpf_index_insert(struct ffpf_index *index, uint64_t hash, uint32_t entry)
{
	uint32_t i = FFPF_INDEX_TAG(hash) & index->mask;

	while (index->slots[i].entry)
		i = (i + 1) & index->mask;
	index->slots[i] = (struct ffpf_index_slot){ .tag = FFPF_INDEX_TAG(hash), .entry = entry + 1 };
}

/* The entry must be there under that hash. Slots behind it that its place separates from their home move back. */
static inline void
ffpf_index_remove(struct ffpf_index *index, uint64_t hash, uint32_t entry)
{
	uint32_t hole = FFPF_INDEX_TAG(hash) & index->mask;

	while (index->slots[hole].entry != entry + 1)
		hole = (hole + 1) & index->mask;
	for (uint32_t i = (hole + 1) & index->mask; index->slots[i].entry; i = (i + 1) & index->mask) {
		uint32_t home = index->slots[i].tag & index->mask;

		if (((i - home) & index->mask) >= ((i - hole) & index->mask)) {
			index->slots[hole] = index->slots[i];
			hole = i;
		}
	}
	index->slots[hole] = (struct ffpf_index_slot){ 0 };
}

#endif
