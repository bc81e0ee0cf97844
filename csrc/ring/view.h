/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_VIEW_H
#define FFPF_RING_VIEW_H
/*
 * One lane of a flow, the reader's side: where the memories are, and what was fetched from them. The reader may be in
 * another process, with read-only mappings. Sizes are taken from the pages once, and checked against the mappings.
 */
#include "ring/lane.h"
#include "ring/region.h"

#include <string.h>

struct ffpf_view {
	const struct ffpf_lane_page *lane;
	const uint8_t *cells;
	uint64_t size; /* in cells */
	uint32_t packet_max;
	const struct ffpf_ibuf_page *ibuf;
	const struct ffpf_index *entries;
	uint32_t mask;
	uint32_t lane_number; /* of this flow: which R */
	uint64_t next;        /* position of the first entry not fetched yet */
};

/* The reader starts at the first entry that was not done with (R), or at the first of all, if R is from before this
 * IBuf. The regions stay the caller's. */
int ffpf_view_open(struct ffpf_view *out, const struct ffpf_region *lane, const struct ffpf_region *ibuf,
		   const struct ffpf_reader_page *page, struct ffpf_error *err);

/* Entries that are published and not fetched; under FRP some of them may be lost already. */
static inline uint64_t
ffpf_view_pending(const struct ffpf_view *view)
{
	/* acquire, as in fetch: whoever goes on because of this number sees what it counts */
	return atomic_load_explicit(&view->ibuf->w, memory_order_acquire) - view->next;
}

#define FFPF_STAGE_ITEMS 64
#define FFPF_STAGE_HEAD  16 /* octets left free before each copied packet, for a record header of the consumer */

struct ffpf_fetched {
	struct ffpf_record rec;
	const uint8_t *data; /* in PBuf or in the stage's arena */
	uint64_t pos;        /* of its entry in IBuf */
	uint32_t result;
	bool in_place; /* in PBuf, where the writer may overwrite it: whole if still_whole says so behind every use */
};

/* What was fetched from one lane and not taken yet: items[head] to items[count - 1]. */
struct ffpf_stage {
	struct ffpf_fetched items[FFPF_STAGE_ITEMS];
	uint32_t head, count;
	uint8_t *arena; /* for copies: room for the head and the largest packet at least; NULL when nothing is copied */
	size_t arena_bytes;
	bool in_place;            /* FRP: fetch copies headers only */
	uint64_t lapped, invalid; /* packets lost in the fetch, by cause; the caller takes them */
};

/* Copies 64-bit words out of PBuf while its writer may be overwriting them; n words, both sides aligned. */
static inline void
ffpf_words_read(void *to, const uint8_t *from, size_t n)
{
	const _Atomic uint64_t *words = (const _Atomic uint64_t *)(const void *)from;
	uint8_t *out = to;

	for (size_t i = 0; i < n; i++) {
		/* Acquire: pairs with the release stores of copy_words and ffpf_lane_store. What this reads was stored
		 * after an intent was announced, and that intent is seen by a load that comes later. */
		uint64_t word = atomic_load_explicit(words + i, memory_order_acquire);

		memcpy(out + i * sizeof(word), &word, sizeof(word));
	}
}

#endif
