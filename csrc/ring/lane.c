/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/lane.h"

#include <stdlib.h>
#include <string.h>

static int
check_config(const struct ffpf_lane_config *cfg, struct ffpf_error *err)
{
	int rc = ffpf_size_check("PBuf octets", cfg->pbuf_bytes, (uint64_t)FFPF_PBUF_MIN_CELLS * FFPF_CELL_BYTES,
				 (uint64_t)FFPF_PBUF_MAX_CELLS * FFPF_CELL_BYTES, err);

	if (rc)
		return rc;
	if (cfg->snap_len > FFPF_PACKET_MAX_BYTES)
		return ffpf_error_set(err, FFPF_E_INVALID, "snap length: %u is more than %u", cfg->snap_len,
				      FFPF_PACKET_MAX_BYTES);
	/* half of the positions are left: at a cell a nanosecond they last 290 years */
	if (cfg->first_lap > (UINT64_MAX >> 1) / (cfg->pbuf_bytes / FFPF_CELL_BYTES))
		return ffpf_error_set(err, FFPF_E_INVALID, "first lap: %llu is too far on",
				      (unsigned long long)cfg->first_lap);
	if (!ffpf_store_find(cfg->store, cfg->pbuf_bytes))
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "this machine has no stores past the caches");
	return 0;
}

int
ffpf_lane_create(struct ffpf_lane **out, const struct ffpf_lane_config *cfg, struct ffpf_error *err)
{
	struct ffpf_lane *lane;
	struct ffpf_lane_page *page;
	int rc = check_config(cfg, err);

	if (rc)
		return rc;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a lane");
	rc = ffpf_region_create(&lane->region, FFPF_KIND_LANE, FFPF_PAGE_BYTES + cfg->pbuf_bytes + FFPF_SLACK_BYTES,
				cfg->memory, FFPF_PEER_READS, err);
	if (rc) {
		free(lane);
		return rc;
	}
	lane->size = cfg->pbuf_bytes / FFPF_CELL_BYTES;
	lane->max_cells = lane->size < FFPF_RECORD_MAX_CELLS ? (uint32_t)lane->size : FFPF_RECORD_MAX_CELLS;
	atomic_init(&lane->snap_len, cfg->snap_len ? cfg->snap_len : UINT32_MAX);
	lane->store = ffpf_store_find(cfg->store, cfg->pbuf_bytes);
	lane->w = lane->r_star = lane->intent = lane->size * (cfg->first_lap ? cfg->first_lap : 1);
	lane->page = page = lane->region.base;
	lane->cells = (uint8_t *)lane->region.base + FFPF_PAGE_BYTES;

	page->pbuf_offset = FFPF_PAGE_BYTES;
	page->cells_log2 = ffpf_size_log2(lane->size);
	page->slack_bytes = FFPF_SLACK_BYTES;
	page->bms = cfg->bms;
	page->link_type = cfg->link_type;
	page->snap_len = cfg->snap_len ? cfg->snap_len : FFPF_PACKET_MAX_BYTES;
	page->first_w = lane->w;
	/* nobody else has the memory yet */
	atomic_store_explicit(&page->w, lane->w, memory_order_relaxed);
	atomic_store_explicit(&page->intent, lane->w, memory_order_relaxed);
	atomic_store_explicit(&page->floor_ns, FFPF_FLOOR_IDLE, memory_order_relaxed);
	*out = lane;
	return 0;
}

void
ffpf_lane_destroy(struct ffpf_lane *lane)
{
	if (!lane)
		return;
	ffpf_region_close(&lane->region);
	free(lane);
}

uint8_t *
ffpf_lane_claim(struct ffpf_lane *lane, uint32_t cells)
{
	/* Pairs with the load of intent in frp.c. Relaxed is enough: every word of the record is a release store that
	 * comes later (copy_words, store_words), so who reads such a word sees this intent. */
	if (lane->intent < lane->w + cells)
		lane->intent = lane->w + cells;
	atomic_store_explicit(&lane->page->intent, lane->intent, memory_order_relaxed);
	return lane->cells + (lane->w & (lane->size - 1)) * FFPF_CELL_BYTES;
}

/* Words 1 to the last of the header; word 0, the stamp, is commit's. Pairs with ffpf_words_read (view.c). */
static void
store_words(uint8_t *cell, const struct ffpf_record *rec)
{
	_Atomic uint64_t *to = (_Atomic uint64_t *)(void *)cell;
	uint64_t words[FFPF_RECORD_WORDS];

	memcpy(words, rec, sizeof(words));
	for (unsigned i = 1; i < FFPF_RECORD_WORDS; i++)
		atomic_store_explicit(to + i, words[i], memory_order_release);
}

void
ffpf_lane_store(struct ffpf_lane *lane, uint8_t *cell, struct ffpf_record *rec, const uint8_t *head, uint32_t head_len,
		const uint8_t *rest)
{
	uint8_t *data = cell + FFPF_RECORD_DATA;

	store_words(cell, rec);
	if (head_len)
		lane->store->copy(data, head, head_len);
	if (rec->cap_len > head_len)
		lane->store->copy(data + head_len, rest, rec->cap_len - head_len);
}

uint64_t
ffpf_lane_commit(struct ffpf_lane *lane, uint8_t *cell, uint32_t cells)
{
	uint64_t position = lane->w;

	/* release, as the other words: pairs with ffpf_words_read */
	atomic_store_explicit((_Atomic uint64_t *)(void *)cell, position, memory_order_release);
	lane->w += cells;
	ffpf_count(&lane->page->records, 1);
	return position;
}

void
ffpf_lane_publish(struct ffpf_lane *lane)
{
	struct ffpf_lane_page *page = lane->page;

	if (lane->store->settle)
		lane->store->settle();
	atomic_store_explicit(&page->wrap, (lane->w - page->first_w) >> page->cells_log2, memory_order_relaxed);
	/* Pairs with the acquire loads of w in srp.c and frp.c: records below w, and wrap, are seen by who sees w. */
	atomic_store_explicit(&page->w, lane->w, memory_order_release);
}
