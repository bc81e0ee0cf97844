/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BMS_BMS_H
#define FFPF_BMS_BMS_H
/*
 * Buffer management systems: what happens when W catches up with R. Paper, section 3.1.1. A BMS is one file and one row
 * of the table in bms.c.
 *
 *   SRP   slow reader preference: W stops at R*, the slowest reader's R; new packets are dropped and counted
 *   FRP   fast reader preference: W never waits; a reader that was overtaken counts its loss
 *
 * grant_* are the writer's, fetch is the reader's, perhaps in another process.
 */
#include "ring/ibuf.h"
#include "ring/lane.h"
#include "ring/view.h"

enum ffpf_bms_id { FFPF_BMS_SRP = 1, FFPF_BMS_FRP = 2 };

struct ffpf_bms {
	enum ffpf_bms_id id;
	const char *name; /* "srp", "frp" */

	/* Records are overwritten under the readers' eyes: the writer must store them by words (FFPF_STORE_WORDS), and
	 * fetch copies them, or leaves it to its caller to ask still_whole. */
	bool readers_race;

	/* May the next entry of the IBuf be written? False may mean that the IBuf was evicted: ibuf->evicted says so.
	 */
	bool (*grant_index)(struct ffpf_ibuf *ibuf);
	/* May the next `cells` cells, at most lane->max_cells, be overwritten? Looks at lane->ibufs. */
	bool (*grant_cells)(struct ffpf_lane *lane, uint32_t cells);

	/* Fills the empty stage from view->next on, and moves view->next past what was fetched or lost. The items stay
	 * as they are until R passes them (SRP), or until the stage is filled again (FRP). */
	void (*fetch)(struct ffpf_view *view, struct ffpf_stage *stage);

	/* readers_race only, else NULL: had the record of an item that was left in place not been touched by anything
	 * that came before this look? The caller puts an acquire fence between his loads of the packet and the look.
	 */
	bool (*still_whole)(const struct ffpf_view *view, const struct ffpf_fetched *item);
};

/* SRP: takes over what the reader says of R, into `r` of the IBuf and of those before it. What cannot be evicts, and
 * ibuf->evicted says so. Writer; grant_cells does it by itself. */
void ffpf_bms_srp_take_r(struct ffpf_ibuf *ibuf);
/* SRP: R*, from what the readers of lane->ibufs say now, into lane->r_star: for who looks after a writer that is none
 * of this process's code (ixp_driver/board), with lane->w, and w and published of each IBuf, as that writer has them.
 */
void ffpf_bms_srp_compute_r_star(struct ffpf_lane *lane);

extern const struct ffpf_bms ffpf_bms_srp;
extern const struct ffpf_bms ffpf_bms_frp;

const struct ffpf_bms *ffpf_bms_find(uint32_t id); /* NULL: there is none */
const struct ffpf_bms *ffpf_bms_find_name(const char *name);

#endif
