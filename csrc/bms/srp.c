/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slow reader preference.
 *
 *        R*                        W            R* = position of the oldest record that an unread index points to,
 *     ---+----+----+----+----+-----+---              over the IBufs that are not empty; W when all are empty
 *        |    | kept for readers   | granted while W + cells - R* <= size
 *
 * R is a position in the reader's IBuf, and comes from a process that may be hostile: only last R <= R <= W is
 * accepted. Anything else evicts the flow: nothing waits for it any more, and nothing more is indexed for it.
 */
#include "bms/bms.h"

#define PREFETCH_AHEAD 8

static void
evict(struct ffpf_ibuf *ibuf)
{
	ibuf->evicted = true;
	/* Pairs with the acquire load in lanes/lanes.c, which only reports it. */
	atomic_store_explicit(&ibuf->page->state, FFPF_IBUF_EVICTED, memory_order_release);
}

static void
take_r(struct ffpf_ibuf *ibuf)
{
	uint64_t r = ffpf_ibuf_reader_r(ibuf);

	if (r < ibuf->r || r > ibuf->published)
		evict(ibuf);
	else
		ibuf->r = r;
}

static bool
srp_grant_index(struct ffpf_ibuf *ibuf)
{
	if (ibuf->w - ibuf->r <= ibuf->mask)
		return true;
	take_r(ibuf);
	return !ibuf->evicted && ibuf->w - ibuf->r <= ibuf->mask;
}

/* Position of the record that the flow's oldest unread index points to. */
static uint64_t
oldest_unread(const struct ffpf_lane *lane, const struct ffpf_ibuf *ibuf)
{
	/* our own store */
	uint32_t index = atomic_load_explicit(&ibuf->entries[ibuf->r & ibuf->mask].index, memory_order_relaxed);

	return ffpf_index_position(lane->w, index);
}

/* Of an IBuf that the flow has left: whatever R says, it is never taken back, and no more is there than there was. */
static void
take_r_before(struct ffpf_ibuf *ibuf)
{
	uint64_t r = ffpf_ibuf_reader_r(ibuf); /* acquire, as in take_r */

	if (r > ibuf->published)
		r = ibuf->published;
	if (r > ibuf->r)
		ibuf->r = r;
}

void
ffpf_bms_srp_take_r(struct ffpf_ibuf *ibuf)
{
	take_r(ibuf);
	if (ibuf->evicted)
		return;
	for (struct ffpf_ibuf *before = ibuf->before; before; before = before->before)
		take_r_before(before);
}

static void
constrain(struct ffpf_lane *lane, const struct ffpf_ibuf *ibuf)
{
	uint64_t position;

	if (ibuf->r == ibuf->w)
		return;
	position = oldest_unread(lane, ibuf);
	if (position < lane->r_star)
		lane->r_star = position;
}

void
ffpf_bms_srp_compute_r_star(struct ffpf_lane *lane)
{
	lane->r_star = lane->w;
	for (uint32_t i = 0; i < lane->ibuf_count; i++) {
		struct ffpf_ibuf *ibuf = lane->ibufs[i];

		if (ibuf->evicted)
			continue;
		ffpf_bms_srp_take_r(ibuf);
		if (ibuf->evicted)
			continue;
		constrain(lane, ibuf);
		for (const struct ffpf_ibuf *before = ibuf->before; before; before = before->before)
			constrain(lane, before);
	}
}

static bool
srp_grant_cells(struct ffpf_lane *lane, uint32_t cells)
{
	if (lane->w + cells - lane->r_star <= lane->size)
		return true;
	ffpf_bms_srp_compute_r_star(lane);
	return lane->w + cells - lane->r_star <= lane->size;
}

static uint32_t
index_at(const struct ffpf_view *view, uint64_t pos)
{
	return atomic_load_explicit(&view->entries[pos & view->mask].index, memory_order_relaxed);
}

static const uint8_t *
cell_of(const struct ffpf_view *view, uint32_t index)
{
	return view->cells + (index & (view->size - 1)) * FFPF_CELL_BYTES;
}

static void
srp_fetch(struct ffpf_view *view, struct ffpf_stage *stage)
{
	/* Acquire: pairs with the store in ffpf_ibuf_publish. It makes the entries, and the records that they point to,
	 * and lane->w, visible; until R passes them they do not change. */
	uint64_t available = atomic_load_explicit(&view->ibuf->w, memory_order_acquire) - view->next;
	uint64_t w = atomic_load_explicit(&view->lane->w, memory_order_relaxed);
	uint32_t n = available < FFPF_STAGE_ITEMS ? (uint32_t)available : FFPF_STAGE_ITEMS;

	stage->head = stage->count = 0;
	for (uint32_t i = 0; i < n && i < PREFETCH_AHEAD; i++)
		__builtin_prefetch(cell_of(view, index_at(view, view->next + i)));
	for (uint32_t i = 0; i < n; i++, view->next++) {
		const struct ffpf_index *entry = &view->entries[view->next & view->mask];
		uint32_t index = index_at(view, view->next);
		struct ffpf_fetched *item = &stage->items[stage->count];
		const uint8_t *cell = cell_of(view, index);

		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(cell_of(view, index_at(view, view->next + PREFETCH_AHEAD)));
		ffpf_words_read(&item->rec, cell, FFPF_RECORD_WORDS);
		if (item->rec.stamp != ffpf_index_position(w, index) || item->rec.cap_len > view->packet_max) {
			stage->invalid++;
			continue;
		}
		item->data = cell + FFPF_RECORD_DATA;
		item->in_place = false; /* nothing overwrites it */
		item->pos = view->next;
		item->result = atomic_load_explicit(&entry->result, memory_order_relaxed);
		stage->count++;
	}
}

const struct ffpf_bms ffpf_bms_srp = {
	.id = FFPF_BMS_SRP,
	.name = "srp",
	.readers_race = false,
	.grant_index = srp_grant_index,
	.grant_cells = srp_grant_cells,
	.fetch = srp_fetch,
};
