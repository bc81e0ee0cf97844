/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_LANE_H
#define FFPF_RING_LANE_H
/*
 * A lane's PBuf, the writer's side. Paper, section 3.1; the protocols: docs/memory.md.
 *
 *     claim -> store -> commit -> (index: ibuf.h) -> publish
 *
 *   call      by            may be made
 *   claim     the writer    when the BMS has granted the cells; without commit, the claim before is void
 *   store     the writer    after claim
 *   commit    the writer    after store; the record counts from now on, but nobody sees it yet
 *   publish   the writer    at any time; before the IBufs that point to the records are published
 *   create, destroy         control plane, while there is no writer
 *
 * A lane has exactly one writer: one thread at a time calls the first four.
 */
#include "ring/region.h"
#include "ring/store.h"

#include <stdatomic.h>

struct ffpf_ibuf;

struct ffpf_lane_config {
	uint64_t pbuf_bytes; /* power of two, FFPF_PBUF_MIN_CELLS to FFPF_PBUF_MAX_CELLS cells */
	enum ffpf_memory memory;
	enum ffpf_store_kind store;
	uint32_t bms;       /* for the lane page */
	uint32_t link_type; /* DLT_* */
	uint32_t snap_len;  /* octets stored of a packet; 0: all, and what is too large for a record is dropped */
	uint64_t first_lap; /* positions start at so many laps; 0: 1. Position 0 stays unused, so no zero is a stamp */
};

struct ffpf_lane {
	struct ffpf_region region;
	struct ffpf_lane_page *page;
	uint8_t *cells;
	uint64_t size;             /* in cells */
	_Atomic uint32_t snap_len; /* UINT32_MAX: not cut; the control plane's, loaded for each packet */
	uint32_t max_cells;        /* of a record: FFPF_RECORD_MAX_CELLS, or the whole of a small PBuf */
	const struct ffpf_store *store;
	uint64_t w;      /* position behind the last committed record */
	uint64_t intent; /* what page->intent says: it never goes back, since a void claim may have been stored to */
	uint64_t r_star; /* SRP: R*, as it was when last computed; never ahead of the truth */
	struct ffpf_ibuf **ibufs; /* of the flows that are attached; the hook's */
	uint32_t ibuf_count;
};

/* *out is untouched on failure. */
int ffpf_lane_create(struct ffpf_lane **out, const struct ffpf_lane_config *cfg, struct ffpf_error *err);
void ffpf_lane_destroy(struct ffpf_lane *lane); /* NULL is legal; readers in other processes keep their mappings */

/* Counters with one writer: whoever reads them may be a little late, never wrong for long. Orders nothing. */
static inline void
ffpf_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t
ffpf_counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Cells that a record takes. */
static inline uint32_t
ffpf_record_cells(uint32_t cap_len)
{
	return (uint32_t)((FFPF_RECORD_DATA + (uint64_t)cap_len + FFPF_CELL_BYTES - 1) / FFPF_CELL_BYTES);
}

/* Announces that the next `cells` cells, at most max_cells, are being overwritten. Returns the first. */
uint8_t *ffpf_lane_claim(struct ffpf_lane *lane, uint32_t cells);
/* Fills the claimed record: rec->cap_len octets, the first head_len of them (a multiple of 16, or all) from `head`, the
 * rest from `rest`. rec->stamp is set here. */
void ffpf_lane_store(struct ffpf_lane *lane, uint8_t *cell, struct ffpf_record *rec, const uint8_t *head,
		     uint32_t head_len, const uint8_t *rest);
/* Returns the record's position. */
uint64_t ffpf_lane_commit(struct ffpf_lane *lane, uint8_t *cell, uint32_t cells);
void ffpf_lane_publish(struct ffpf_lane *lane);

/* What an index says: the one position below w, and less than 2^32 away, with these low 32 bits. */
static inline uint64_t
ffpf_index_position(uint64_t w, uint32_t index)
{
	return w - (uint32_t)((uint32_t)w - index);
}

#endif
