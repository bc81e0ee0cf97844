/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_LANES_LANES_INTERNAL_H
#define FFPF_LANES_LANES_INTERNAL_H
/*
 * The lanes reader's state, shared by lanes.c (operations), merge.c (order), judge.c (filters, descriptors),
 * in_place.c (FRP without copies), count.c, succeed.c (lanes that move), wait.c, event.c.
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

	struct ffpf_lanes_part part; /* where it is now */
	uint32_t moves;              /* 0: where it was opened; else where `succeed` said */
	struct ffpf_lanes_part next; /* where it goes on, when what is left here was read */
	bool ended;                  /* it goes on nowhere */
	uint64_t past_indexed, past_filtered, past_dropped[FFPF_DROP_CAUSES];
};

struct lanes_event {
	int poll_fd;                     /* readable when somebody should look */
	int self_fd;                     /* the reader's own end: an eventfd */
	int timer_fd;                    /* the writer's end where it is a timerfd; -1 */
	int look_fd;                     /* a timerfd of ours: when to look again; -1: nothing is ever held back */
	int writer_fd;                   /* a pipe that hangs up when the writer has died; 0: there is none */
	bool own, own_self;              /* poll_fd, self_fd: ours to close */
	_Atomic unsigned long *consumer; /* of the BPF ring buffer; NULL: there is none */
	const _Atomic unsigned long *producer;
};

struct item {
	struct ffpf_fetched *fetched; /* in the lane's stage, which is not filled while an item is open */
	uint32_t lane;
	bool passes;      /* it has a descriptor */
	bool misdirected; /* it would, but for its direction */
	bool lapped;      /* overwritten in place: while it was judged, or until it was checked */
	int64_t key;      /* of its lane, before it was taken */
};

struct lanes {
	struct ffpf_reader reader; /* first */
	struct ffpf_lanes_config cfg;
	const struct ffpf_bms *bms;
	struct ffpf_reader_page *page;
	struct lanes_event event;
	struct ffpf_flow *flow;                  /* NULL: of another process */
	const struct ffpf_lanes_remote_ops *ops; /* NULL: there is no other end */
	void *remote;
	const struct ffpf_counts_page *counts; /* NULL: the lanes count what they see */
	const uint8_t *mem_lo, *mem_hi;
	uint8_t *arenas;
	bool in_place; /* under FRP: arenas are not used, and items are checked when they are done with */

	const struct ffpf_bpf_prog *prog;
	uint64_t generation; /* of prog in the hooks; 0: they do not know it */
	enum ffpf_direction direction;
	uint8_t *untagged; /* a packet as its filter wants to see it */

	struct item items[LANES_BATCH];
	struct ffpf_packet packets[LANES_BATCH];
	uint8_t described[LANES_BATCH]; /* the item that each of them is of */
	struct ffpf_lanes_holder *holders;
	uint32_t count, open;
	uint32_t served;  /* the item that the last batch began with */
	uint32_t checked; /* items before this one are known to be whole, or not */
	uint32_t carried; /* turned away since the last descriptor, and done with */
	bool again;
	bool has_last; /* the packet that was released last, whose memory settle must keep */
	uint32_t last_lane;
	uint64_t last_pos;

	/* waiting */
	_Atomic bool woken;     /* set by wake, pairs with the exchange in lanes_next */
	uint32_t sleeps;        /* count for page->sleep */
	uint32_t pace_want;     /* 0: as configured */
	uint64_t pace_until_ns; /* CLOCK_MONOTONIC; 0: as configured */
	bool armed;             /* page->sleep says that we sleep on the event descriptor */
	uint32_t want;          /* ... until so many packets are there */
	bool rung;              /* ... which we have rung ourselves */
	bool due;               /* ... and somebody woke us */
	bool held;              /* there are packets that the merge must hold back, or a lane that moves */
	bool looking;           /* ... and the event descriptor says when to look again */
	uint32_t looks;         /* ... so often it did, in vain */
	bool orphaned;          /* the writer has died: no lane is waited for */
	uint64_t owed;          /* packets that were there when we stopped waiting: they come before the next wait */

	uint64_t delivered, filtered, misdirected, lapped, invalid, evicted;
	bool lapped_news;          /* to be reported */
	int64_t latest_ns;         /* time of the packet that was taken last */
	int64_t latest_before_ns;  /* ... before items[0] was */
	int64_t second, second_ns; /* the second that the packet described last lies in, and its first nanosecond */
	struct ffpf_error ended;   /* why a lane goes on nowhere */

	bool second_hand; /* its IBufs are */
	uint32_t lane_count;
	struct lane lanes[];
};

/* merge.c: fills items[0] on from the lanes; every item must be done with. Sets lapped_news, held. */
void lanes_merge(struct lanes *l);
bool lanes_go_on(struct lanes *l);             /* what lanes_merge held back may be merged by now */
uint64_t lanes_waiting(const struct lanes *l); /* packets indexed for us and not released or lost */

/* judge.c: judges items[open] on, makes descriptors of those that pass; how many */
uint32_t lanes_judge(struct lanes *l);
void lanes_use_filter(struct lanes *l, const struct ffpf_bpf_prog *prog);

/* No more will come of it. acquire: what was published before is seen after */
static inline bool
lane_is_closed(const struct lanes *l, const struct lane *lane)
{
	if (l->second_hand)
		return atomic_load_explicit(&lane->view.ibuf->state, memory_order_acquire) == FFPF_IBUF_CLOSED;
	return atomic_load_explicit(&lane->view.lane->state, memory_order_acquire) == FFPF_LANE_CLOSED;
}

/* lanes.c */
extern const struct ffpf_reader_ops lanes_ops;

/* Positions of the first entry of each lane that is not done with. */
void lanes_unread(const struct lanes *l, uint64_t r[FFPF_FLOW_LANES_MAX]);

/* in_place.c */
bool lanes_set_in_place(struct ffpf_reader *r, bool on);
uint32_t lanes_overwritten(struct ffpf_reader *r, uint32_t first, uint32_t n, uint8_t *marks);
void lanes_check(struct lanes *l); /* those that were released and overwritten are lapped */
/* Looks at one item, now that all loads of its packet are over. */
bool lanes_item_is_whole(const struct lanes *l, const struct item *item);

/* count.c */
int lanes_counters(struct ffpf_reader *r, struct ffpf_counters *out);
bool lanes_source_is_gone(const struct lanes *l);

/* succeed.c: lets lanes that moved, and were read, go on. Not 0: all of them have ended; l->reader.err says why. Only
 * when every item is done with. Sets held: a lane waits for its successor. */
int lanes_follow(struct lanes *l);
bool lane_has_moved(const struct lane *lane);
void lanes_retire_all(struct lanes *l); /* what was given by `succeed` */

/* wait.c */
bool lanes_ready(struct lanes *l);          /* next() has something to return */
uint32_t lanes_want(const struct lanes *l); /* packets that next() waits for */
/* The event descriptor is readable when, and once, next() would not wait; or, if there is less than the configuration
 * wants, `want` packets are there. Where packets are held back nobody says when they are not any more: then it is
 * readable now and then, for a look. */
void lanes_arm(struct lanes *l, uint32_t want);
void lanes_arm_for_caller(struct lanes *l); /* who waits on the descriptor itself */
void lanes_disarm(struct lanes *l);
/* FFPF_BATCH: look again */
enum ffpf_outcome lanes_wait(struct lanes *l, uint64_t deadline_ns);
void lanes_wake(struct ffpf_reader *r);

/* event.c */
int lanes_event_open(struct lanes_event *e, const struct ffpf_lanes_parts *parts, struct ffpf_error *err);
void lanes_event_close(struct lanes_event *e);
void lanes_event_ring(const struct lanes_event *e); /* async-signal-safe */
/* Readable after so many nanoseconds, until it is drained; 0: not any more. */
void lanes_event_look(const struct lanes_event *e, uint64_t ns);
bool lanes_event_drain(const struct lanes_event *e);    /* somebody had rung */
bool lanes_event_orphaned(const struct lanes_event *e); /* the writer has died */

#endif
