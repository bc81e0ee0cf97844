/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fast reader preference: the writer never waits.
 *
 *     W          intent                         position + size         A record is whole as long as
 *     +-----------+-------------------------------+                         intent <= position + size
 *     | being     | oldest records, still whole   |                     after it was read. Checking W instead accepts
 *     | overwritten                                                     records that are just being overwritten.
 *
 * The reader copies, validates, and only then delivers: whoever was handed a packet cannot be told afterwards that it
 * had better forgotten it. One look at the intents validates all that was copied before it, as in the paper's example
 * of a set of packets. A consumer that asks for packets in place looks by itself, when it is done with them.
 */
#include "bms/bms.h"

/* Sweeps come at multiples of this many cells. */
#define SWEEP_LOG2 31

static bool
frp_grant_index(struct ffpf_ibuf *ibuf)
{
	(void)ibuf;
	return true;
}

/*
 * 32 bits name a position only among 2^32 cells, and a flow that matches seldom may leave an entry unread for longer
 * than that. At each sweep, entries from before the last sweep are declared lapped, which they are: more cells than any
 * PBuf has lie between. So every other entry is younger than two sweeps, 2^32 cells.
 */
static void
sweep(struct ffpf_lane *lane)
{
	for (uint32_t i = 0; i < lane->ibuf_count; i++) {
		struct ffpf_ibuf *ibuf = lane->ibufs[i];

		/* Relaxed: published with the next W of the lane, by release; pairs with the load in frp_fetch. */
		atomic_store_explicit(&ibuf->page->stale, ibuf->sweep, memory_order_relaxed);
		ibuf->sweep = ibuf->w;
	}
}

static bool
frp_grant_cells(struct ffpf_lane *lane, uint32_t cells)
{
	if ((lane->w ^ (lane->w + cells)) >> SWEEP_LOG2)
		sweep(lane);
	return true;
}

/* Copies the record that the entry at view->next points to. False: no room. A record that has been overwritten may say
 * anything; then what was copied is nonsense within bounds, and validation tells. */
static bool
copy_item(const struct ffpf_view *view, struct ffpf_fetched *item, uint64_t w, uint8_t *to, size_t room, size_t *used,
	  bool in_place)
{
	const struct ffpf_index *entry = &view->entries[view->next & view->mask];
	/* acquire: pairs with ffpf_ibuf_append; who reads an entry sees the intent that was announced before it */
	uint32_t index = atomic_load_explicit(&entry->index, memory_order_acquire);
	const uint8_t *cell = view->cells + (index & (view->size - 1)) * FFPF_CELL_BYTES;
	uint64_t position = ffpf_index_position(w, index);
	size_t words;

	item->result = atomic_load_explicit(&entry->result, memory_order_acquire);
	item->pos = view->next;
	item->data = in_place ? cell + FFPF_RECORD_DATA : to + FFPF_STAGE_HEAD;
	item->in_place = in_place;
	ffpf_words_read(&item->rec, cell, FFPF_RECORD_WORDS);
	*used = 0;
	if (item->rec.stamp != position || item->rec.cap_len > view->packet_max) {
		item->rec.stamp = position;
		item->data = NULL;
		return true;
	}
	if (in_place)
		return true;
	words = (item->rec.cap_len + sizeof(uint64_t) - 1) / sizeof(uint64_t);
	if (FFPF_STAGE_HEAD + words * sizeof(uint64_t) > room)
		return false;
	*used = FFPF_STAGE_HEAD + words * sizeof(uint64_t);
	ffpf_words_read(to + FFPF_STAGE_HEAD, cell + FFPF_RECORD_DATA, words);
	return true;
}

/* Keeps what was not being overwritten while it was copied. */
static void
validate(const struct ffpf_view *view, struct ffpf_stage *stage, uint32_t copied)
{
	/* These loads come after the acquire loads of all that was copied. Each of those that read something too young
	 * has synchronised with a store after the intent it belongs to, so the intent loaded here is that one or a
	 * later. */
	uint64_t entries_intent = atomic_load_explicit(&view->ibuf->intent, memory_order_relaxed);
	uint64_t cells_intent = atomic_load_explicit(&view->lane->intent, memory_order_relaxed);
	uint64_t stale = atomic_load_explicit(&view->ibuf->stale, memory_order_relaxed);

	for (uint32_t i = 0; i < copied; i++) {
		struct ffpf_fetched *item = &stage->items[i];

		if (item->pos < stale || entries_intent > item->pos + view->mask + 1 ||
		    cells_intent > item->rec.stamp + view->size)
			stage->lapped++;
		else if (!item->data)
			stage->invalid++;
		else
			stage->items[stage->count++] = *item;
	}
}

static void
frp_fetch(struct ffpf_view *view, struct ffpf_stage *stage)
{
	/* Acquire: pairs with the store in ffpf_ibuf_publish; makes entries and records, and lane->w, visible. */
	uint64_t published = atomic_load_explicit(&view->ibuf->w, memory_order_acquire);
	uint64_t w = atomic_load_explicit(&view->lane->w, memory_order_acquire);
	size_t at = 0;
	uint32_t copied = 0;

	stage->head = stage->count = 0;
	if (published - view->next > view->mask + 1) {
		uint64_t lost = published - view->next - view->mask - 1;

		stage->lapped += lost;
		view->next += lost;
	}
	while (copied < FFPF_STAGE_ITEMS && view->next != published) {
		size_t used;

		if (!copy_item(view, &stage->items[copied], w, stage->arena + at, stage->arena_bytes - at, &used,
			       stage->in_place))
			break;
		at += used;
		copied++;
		view->next++;
	}
	validate(view, stage, copied);
}

static bool
frp_still_whole(const struct ffpf_view *view, const struct ffpf_fetched *item)
{
	/* Relaxed, behind the caller's fence: a load before that fence that read something too young read what was
	 * stored, by release, after the intent it belongs to. */
	return atomic_load_explicit(&view->lane->intent, memory_order_relaxed) <= item->rec.stamp + view->size;
}

const struct ffpf_bms ffpf_bms_frp = {
	.id = FFPF_BMS_FRP,
	.name = "frp",
	.readers_race = true,
	.grant_index = frp_grant_index,
	.grant_cells = frp_grant_cells,
	.fetch = frp_fetch,
	.still_whole = frp_still_whole,
};
