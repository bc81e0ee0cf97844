/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_LANES_LANES_H
#define FFPF_LANES_LANES_H
/*
 * A flow's lanes as a reader (reader/reader.h): merged by time, in this process or another.
 *
 * Beyond reader.h, for this kind of reader:
 * - SRP: data points into PBuf, which is mapped read-only; R follows in next() and settle(). FRP: packets are copied
 * and validated before they are delivered; FFPF_LAPPED comes before the first packet behind a loss. With set_in_place
 * data points into PBuf there too, and `overwritten` validates.
 * - Order: a lane's packets come as it stored them. Of packets of several lanes the older comes first; one is held back
 *   while another lane may still bring an older one (FFPF_WOULD_BLOCK for a non-blocking reader, and at most a
 *   millisecond's wait at a time).
 * - mem_lo and mem_hi are NULL for the zero-copy batches of several lanes, which lie in no one range, and of FRP.
 * - FFPF_PACKET_HEAD_WRITABLE is set where packets are copied.
 * - FFPF_END: every lane was closed and read. FFPF_FAILED with -FFPF_E_DENIED: evicted, detached or left.
 * - IBufs may be second hand (layout.h): written by a reader of the lanes. Then theirs are order, state and end.
 * - FFPF_FAILED with -FFPF_E_DEVICE_GONE: the source said so, and all was read.
 * - set_filter of a reader that has its flow swaps the hook's filter too, and needs no memory. What the IBuf holds
 *   already, and what a hook judged by the old filter, is judged here.
 */
#include "hook/flow.h"
#include "reader/reader.h"

enum ffpf_lanes_wait {
	FFPF_LANES_WAIT_FUTEX, /* next() sleeps on the futex word of the reader page */
	FFPF_LANES_WAIT_FD,    /* ... on the event descriptor: for writers that can wake nothing else */
};

struct ffpf_lanes_config {
	uint32_t snap_len; /* octets delivered of a packet */
	enum ffpf_tick tick;
	int timeout_ms; /* next() ends after so long at the latest; 0: only with `want` packets, or when the event
			 * descriptor, which the caller could poll, was readable and nothing is there: FFPF_TIMEOUT */
	uint32_t want;  /* packets worth waking for, at least 1 */
	bool nonblock;
	bool cut;           /* a packet is cut at what its filter returned, as by the kernel */
	bool hooks_results; /* without a filter of this reader's, results are those of the hook; else UINT32_MAX */
	enum ffpf_lanes_wait wait;
};

/* What another process was given: mapped memories, and descriptors. Borrowed until close. */
struct ffpf_lanes_part {
	struct ffpf_region lane; /* read-only */
	struct ffpf_region ibuf; /* read-only */
};

/*
 * The flow's other end, in another process. Called by the reader's thread, in next() and the calls named as they are;
 * each may block, for a short and bounded time.
 */
struct ffpf_lanes_remote_ops {
	/* Swaps the hooks' filter for prog (NULL: everything). *generation: of the filter, as the IBufs will say it;
	 * 0: the hooks run none, and let everything through. On failure the old filter stays in force. */
	int (*set_filter)(void *remote, const struct ffpf_bpf_prog *prog, uint64_t *generation, struct ffpf_error *err);
	/*
	 * The IBuf of lane number `lane` has moved (FFPF_IBUF_MOVED), and all that it holds was read. 0: *out is where
	 * it goes on, mapped until it is retired. 1: not yet, ask again. -FFPF_E_DENIED: nowhere.
	 */
	int (*succeed)(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err);
	/* What lane number `lane` was opened with, or succeed gave, is not looked at any more, once the call of next()
	 * or close() that this comes from is over. At close only what succeed gave is retired. */
	void (*retire)(void *remote, uint32_t lane, const struct ffpf_lanes_part *part);
	int (*inject)(void *remote, const void *data, size_t len, struct ffpf_error *err); /* octets sent, or -code */
	void (*close)(void *remote);                                                       /* the reader is closed */
};

enum ffpf_lanes_event {
	FFPF_LANES_EVENT_EVENTFD,
	FFPF_LANES_EVENT_RINGBUF, /* a BPF ring buffer, written to by the kernel's hook */
	FFPF_LANES_EVENT_TIMERFD, /* set by a hook of another process: see ring/ibuf.h */
};

struct ffpf_lanes_parts {
	const struct ffpf_lanes_part *lanes; /* the array is copied */
	uint32_t count;                      /* 1 to FFPF_FLOW_LANES_MAX */
	struct ffpf_region reader;           /* read-write */
	struct ffpf_region counts;           /* read-only; base NULL: the lanes count what they see themselves */
	int event_fd;
	enum ffpf_lanes_event event;
	/* Of IBufs that are second hand: the end of a pipe whose other end their writer has, and nobody else. Without a
	 * writer, and when all is read, FFPF_FAILED with -FFPF_E_DENIED. Else, and for writers that cannot die, 0. */
	int writer_fd;
	/* Run by this reader over everything that the hooks have not judged by it; NULL: none. */
	const struct ffpf_bpf_prog *prog;
	uint64_t generation;                     /* of prog in the hooks; 0: they do not know it */
	const struct ffpf_lanes_remote_ops *ops; /* NULL for lanes of this process */
	void *remote;
};

/*
 * Maps what was received: sealed memfds or frozen BPF maps, of which another process can change neither size nor
 * (other than through its hook) content. The descriptors stay the caller's, and may be closed afterwards. *out is
 * untouched on failure. Unmapped with ffpf_lanes_unmap_part and ffpf_region_close.
 */
int ffpf_lanes_map_part(struct ffpf_lanes_part *out, int lane_fd, int ibuf_fd, struct ffpf_error *err);
void ffpf_lanes_unmap_part(struct ffpf_lanes_part *part); /* zeros are legal */
int ffpf_lanes_map_reader(struct ffpf_region *out, int fd, struct ffpf_error *err);
int ffpf_lanes_map_counts(struct ffpf_region *out, int fd, struct ffpf_error *err);

/* Where descriptor `at` of the last batch lies, until next(). */
struct ffpf_lanes_place {
	uint32_t lane;   /* number among the lanes that the reader was opened with */
	uint64_t entry;  /* position in the reader's IBuf */
	uint64_t record; /* position in PBuf */
	int64_t time_ns; /* as it was delivered */
};
struct ffpf_lanes_place ffpf_lanes_place(const struct ffpf_reader *r, uint32_t at);

/* A lane as the reader has it now. */
struct ffpf_lanes_at {
	const struct ffpf_lane_page *lane;
	const struct ffpf_ibuf_page *ibuf;
	uint32_t number; /* which R of the reader page */
	uint32_t moves;  /* times that it has gone on elsewhere */
};
uint32_t ffpf_lanes_count(const struct ffpf_reader *r);
struct ffpf_lanes_at ffpf_lanes_at(const struct ffpf_reader *r, uint32_t lane);

/* Who hands packets on that this reader has released (csrc/relay). Called by the reader's thread, in next() and
 * settle(); both may make no call of the reader but the three above. */
struct ffpf_lanes_holder {
	struct ffpf_lanes_holder *next;
	/* R as it is about to be given back, by lane: lowered to what must stay, never raised */
	void (*hold)(struct ffpf_lanes_holder *holder, uint64_t *r);
	void (*moved)(struct ffpf_lanes_holder *holder, uint32_t lane); /* the reader has gone on there */
};
void ffpf_lanes_hold(struct ffpf_reader *r, struct ffpf_lanes_holder *holder); /* the caller's, until: */
void ffpf_lanes_release(struct ffpf_reader *r, struct ffpf_lanes_holder *holder);
bool ffpf_lanes_is(const struct ffpf_reader *r); /* it is one of these readers */

/* A flow has one reader at a time. *out is untouched on failure. */
int ffpf_lanes_open(struct ffpf_reader **out, const struct ffpf_lanes_parts *parts, const struct ffpf_lanes_config *cfg,
		    struct ffpf_error *err);
/* The same for a flow of this process: of the lanes it is attached to now. The flow outlives the reader. */
int ffpf_lanes_open_flow(struct ffpf_reader **out, struct ffpf_flow *flow, const struct ffpf_lanes_config *cfg,
			 struct ffpf_error *err);

#endif
