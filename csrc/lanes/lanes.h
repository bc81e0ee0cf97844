/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_LANES_LANES_H
#define FFPF_LANES_LANES_H
/*
 * A flow's lanes as a reader (reader/reader.h): merged by time, in this process or another.
 *
 * Beyond reader.h, for this kind of reader:
 * - SRP: data points into PBuf, which is mapped read-only; R follows in next() and settle(). FRP: packets are copied
 * and validated before they are delivered; FFPF_LAPPED comes before the first packet behind a loss.
 * - Order: a lane's packets come as it stored them. Of packets of several lanes the older comes first; one is held back
 *   while another lane may still bring an older one (FFPF_WOULD_BLOCK for a non-blocking reader, and at most a
 *   millisecond's wait at a time).
 * - mem_lo and mem_hi are NULL for the zero-copy batches of several lanes, which lie in no one range.
 * - FFPF_PACKET_HEAD_WRITABLE is set where packets are copied.
 * - FFPF_END: every lane was closed and read. FFPF_FAILED with -FFPF_E_DENIED: evicted or detached.
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
	int timeout_ms; /* next() ends after so long at the latest; 0: only with `want` packets */
	uint32_t want;  /* packets worth waking for, at least 1 */
	bool nonblock;
	enum ffpf_lanes_wait wait;
};

/* What another process was given: mapped memories, and descriptors. Borrowed until close. */
struct ffpf_lanes_part {
	struct ffpf_region lane; /* read-only */
	struct ffpf_region ibuf; /* read-only */
};

struct ffpf_lanes_parts {
	const struct ffpf_lanes_part *lanes;
	uint32_t count;            /* 1 to FFPF_FLOW_LANES_MAX */
	struct ffpf_region reader; /* read-write */
	int event_fd;
	const struct ffpf_bpf_prog *prog; /* run by this reader over everything; NULL: none */
};

/* A flow has one reader at a time. *out is untouched on failure. */
int ffpf_lanes_open(struct ffpf_reader **out, const struct ffpf_lanes_parts *parts, const struct ffpf_lanes_config *cfg,
		    struct ffpf_error *err);
/* The same for a flow of this process: of the lanes it is attached to now. The flow outlives the reader. */
int ffpf_lanes_open_flow(struct ffpf_reader **out, struct ffpf_flow *flow, const struct ffpf_lanes_config *cfg,
			 struct ffpf_error *err);

#endif
