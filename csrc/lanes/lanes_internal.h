/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_LANES_LANES_INTERNAL_H
#define FFPF_LANES_LANES_INTERNAL_H
/*
 * The lanes reader's state, shared by lanes.c (operations), merge.c (order), judge.c (filters, descriptors), wait.c.
 *
 *     IBuf of each lane --fetch--> stage of the lane --merge--> items --judge--> packets (the batch)
 *
 *     items   | done with | open: served and not released, or turned away behind the last released | count
 *             0          open
 *
 * set_filter makes the open items be judged anew (again = true); they are what the next batch is made of.
 */
#include "bms/bms.h"
#include "lanes/lanes.h"

#define LANES_BATCH 128

struct lane {
	struct ffpf_view view;
	struct ffpf_stage stage;
	int64_t key;   /* latest time that was taken: within a lane time never goes back for the merge */
	int64_t bound; /* of an empty stage: no packet still to come is older */
};

struct item {
	struct ffpf_fetched fetched;
	uint32_t lane;
	bool passes; /* it has a descriptor */
};

struct lanes {
	struct ffpf_reader reader; /* first */
	struct ffpf_lanes_config cfg;
	const struct ffpf_bms *bms;
	struct ffpf_reader_page *page;
	int event_fd;
	struct ffpf_flow *flow;                  /* NULL: of another process */
	const struct ffpf_lanes_remote_ops *ops; /* of that process; NULL: there is nobody to ask */
	void *remote;
	const uint8_t *mem_lo, *mem_hi;
	uint8_t *arenas;

	const struct ffpf_bpf_prog *prog;
	uint64_t generation; /* of prog in the hooks; 0: they do not know it */
	enum ffpf_direction direction;
	uint8_t *untagged; /* a packet as its filter wants to see it */

	struct item items[LANES_BATCH];
	struct ffpf_packet packets[LANES_BATCH];
	uint32_t count, open;
	uint32_t carried; /* turned away since the last descriptor, and done with */
	bool again;
	bool has_last; /* the packet that was released last, whose memory settle must keep */
	uint32_t last_lane;
	uint64_t last_pos;

	/* waiting */
	_Atomic bool woken; /* set by wake, pairs with the exchange in lanes_next */
	uint32_t sleeps;    /* count for page->sleep */
	bool armed;         /* page->sleep says that we sleep on the event descriptor */
	bool due;           /* ... and somebody woke us */
	bool held;          /* there are packets that the merge must hold back */

	uint64_t delivered, filtered, lapped, invalid, evicted;
	bool lapped_news; /* to be reported */

	uint32_t lane_count;
	struct lane lanes[];
};

/* merge.c: fills items[0] on from the lanes; every item must be done with. Sets lapped_news, held. */
void lanes_merge(struct lanes *l);
uint64_t lanes_waiting(const struct lanes *l); /* packets indexed for us and not released or lost */

/* judge.c: judges items[open] on, makes descriptors of those that pass; how many */
uint32_t lanes_judge(struct lanes *l);
void lanes_use_filter(struct lanes *l, const struct ffpf_bpf_prog *prog);

/* lanes.c */
extern const struct ffpf_reader_ops lanes_ops;

/* wait.c */
bool lanes_ready(const struct lanes *l); /* next() has something to return */
void lanes_arm(struct lanes *l);         /* the event descriptor is readable when, and once, next() would not wait */
void lanes_disarm(struct lanes *l);
/* FFPF_BATCH: look again */
enum ffpf_outcome lanes_wait(struct lanes *l, uint64_t deadline_ns);
uint64_t lanes_now_ns(void); /* CLOCK_MONOTONIC */
void lanes_wake(struct ffpf_reader *r);

#endif
