/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_IBUF_H
#define FFPF_RING_IBUF_H
/*
 * One flow's IBuf on one lane, the writer's side. Paper, section 3.1.
 *
 *   call      by            may be made
 *   append    the writer    when the BMS has granted the entry, and its record is committed
 *   publish   the writer    when the lane is published as far as the entries reach
 *   create, destroy         control plane, while no writer can reach it
 */
#include "ring/lane.h"
#include "ring/region.h"

/*
 * What a reader that wants a descriptor is woken with.
 *
 * An eventfd's flags belong to all who have it: a reader could take O_NONBLOCK away and fill the counter, and the
 * writer would stop for ever. (A pipe is no better: its lock is held while a reader's page is faulted in.) A timerfd
 * that is set to the next nanosecond never waits for anybody, and is read in the same way.
 */
enum ffpf_waker {
	FFPF_WAKER_EVENTFD, /* for readers of this process */
	FFPF_WAKER_TIMERFD, /* for readers that are not trusted */
};

struct ffpf_ibuf_config {
	uint32_t slots;     /* power of two, FFPF_IBUF_MIN_SLOTS to FFPF_IBUF_MAX_SLOTS */
	uint32_t lane;      /* which R of the reader page is ours */
	uint64_t first_pos; /* a multiple of 2^32: an R below is from before this IBuf */
	enum ffpf_memory memory;
	struct ffpf_reader_page *reader; /* the flow's; outlives the IBuf */
	int event_fd;                    /* the flow's */
	enum ffpf_waker waker;
};

struct ffpf_ibuf {
	struct ffpf_region region;
	struct ffpf_ibuf_page *page;
	struct ffpf_index *entries;
	uint32_t mask;
	bool evicted;       /* page->state says so too */
	uint64_t w;         /* position behind the last entry */
	uint64_t published; /* what page->w says */
	uint64_t r;         /* SRP: the last R that was accepted */
	uint64_t sweep;     /* FRP: w at the last sweep */
	uint64_t generation;
	/* SRP: the flow's IBuf on this lane before this one. While its reader has not come from there, its unread
	 * entries keep their records. Set while the writer cannot reach this one; destroyed with it. */
	struct ffpf_ibuf *before;

	struct ffpf_reader_page *reader;
	const _Atomic uint64_t *reader_r; /* not trusted */
	int event_fd;
	enum ffpf_waker waker;
	uint32_t woken;     /* value of reader->sleep that was answered with a wake-up */
	uint32_t due_sleep; /* value of reader->sleep that due_ns is of */
	uint64_t due_ns;    /* CLOCK_MONOTONIC */
};

int ffpf_ibuf_create(struct ffpf_ibuf **out, const struct ffpf_ibuf_config *cfg, struct ffpf_error *err);
void ffpf_ibuf_destroy(struct ffpf_ibuf *ibuf); /* and those before it; NULL is legal */

/* R as the reader says it, for whom nothing of this IBuf was read while it is below first_pos. */
static inline uint64_t
ffpf_ibuf_reader_r(const struct ffpf_ibuf *ibuf)
{
	/* Acquire: pairs with the release store of R in lanes/lanes.c. What the reader read before it gave its records
	 * back was read before the writer's next stores. */
	uint64_t r = atomic_load_explicit(ibuf->reader_r, memory_order_acquire);

	return r < ibuf->page->first_pos ? ibuf->page->first_pos : r;
}

void ffpf_ibuf_append(struct ffpf_ibuf *ibuf, uint64_t position, uint32_t result);
/* True when there was something to publish. */
bool ffpf_ibuf_publish(struct ffpf_ibuf *ibuf);

#endif
