/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_HOOK_FLOW_H
#define FFPF_HOOK_FLOW_H
/*
 * A flow: one filter, one reader, an IBuf on each lane that it is attached to, one reader page, perhaps an MBuf.
 * Control plane: create and destroy here, attach and detach in hook.h.
 *
 *     create -> attach to each hook -> open the reader (lanes/lanes.h) -> ... -> close it, or its process died
 *            -> detach from each hook -> destroy
 *
 * Detaching ends the protection of what the reader has not read yet; hence the order.
 */
#include "bpf/bpf.h"
#include "reader/reader.h"
#include "ring/ibuf.h"
#include "ring/mbuf.h"

struct ffpf_hook;

struct ffpf_flow_config {
	enum ffpf_memory memory;
	uint32_t ibuf_slots;              /* power of two */
	uint32_t mbuf_bytes;              /* power of two, or 0: no MBuf */
	const struct ffpf_bpf_prog *prog; /* NULL: every packet; the caller keeps it alive */
	enum ffpf_waker waker;            /* see ring/ibuf.h */
};

struct ffpf_flow_lane {
	struct ffpf_hook *hook; /* NULL: detached */
	struct ffpf_ibuf *ibuf;
	struct ffpf_region lane; /* the hook's mapping of the lane */
	uint64_t nested_after;   /* nested packets of the lane when it was detached */
	/* while the lane moves: see ffpf_flow_prepare */
	struct ffpf_hook *next_hook;
	struct ffpf_ibuf *next_ibuf;
	/* while it is left behind: where what it misses is counted, and, while that changes, where it was before */
	struct ffpf_hook *counting, *counted_before;
};

struct ffpf_flow {
	struct ffpf_flow_config cfg;
	struct ffpf_region reader; /* of `page` */
	struct ffpf_reader_page *page;
	struct ffpf_mbuf mbuf;
	int event_fd; /* non-blocking: a reader that sleeps on it */
	const struct ffpf_bpf_prog *prog;
	uint64_t generation; /* of prog: 1, 2 ... */
	bool left;           /* no packet is stored for it */
	struct ffpf_flow_lane *lanes;
	uint32_t lane_count;
	struct ffpf_counters past; /* what IBufs counted that the flow has left */
};

int ffpf_flow_create(struct ffpf_flow **out, const struct ffpf_flow_config *cfg, struct ffpf_error *err);
void ffpf_flow_destroy(struct ffpf_flow *flow); /* must be detached everywhere; NULL is legal */

/*
 * Swaps the filter on every lane, each between two packets. When this returns no hook runs the old one any more. The
 * filter's generation is flow->generation; from which entry on it decided stands in each IBuf's page.
 */
void ffpf_flow_set_filter(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog);
/* The same, for a control plane that counts generations itself: never down, and 1 at first. The flow gets packets. */
void ffpf_flow_set_generation(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog, uint64_t generation);

/*
 * Moves one lane of the flow to another hook, or to a larger IBuf on the same hook, for a reader that knows how to
 * follow (FFPF_IBUF_MOVED: layout.h). No packet is lost, and none comes twice:
 *
 *     prepare (each flow) -> leave (each flow) -> [to another hook: its source takes that one, and leaves `from`]
 *             -> arrive (each flow) -> the reader is given the new descriptors
 *
 * prepare makes the IBuf, and attaches the flow to `to` where that is another hook; on failure nothing has changed.
 * abandon takes it back, until leave. The last three cannot fail. arrive, on the same hook, waits until the hook's
 * source has published what it stored. On another one, the source that left `from` has (ffpf_hook_flush). A filter must
 * not be changed in between.
 */
int ffpf_flow_prepare(struct ffpf_flow *flow, struct ffpf_hook *from, struct ffpf_hook *to, uint32_t ibuf_slots,
		      struct ffpf_error *err);
void ffpf_flow_abandon(struct ffpf_flow *flow, struct ffpf_hook *from);
void ffpf_flow_leave(struct ffpf_flow *flow, struct ffpf_hook *from);
void ffpf_flow_arrive(struct ffpf_flow *flow, struct ffpf_hook *from);
/*
 * For a flow that is to be left behind: from now on what prog accepts is not stored for it, but counted, in its IBuf's
 * page, as FFPF_DROP_LEFT, until set_generation. Between two packets, so that each is the flow's or counted.
 */
void ffpf_flow_leave_out(struct ffpf_flow *flow, const struct ffpf_bpf_prog *prog);
/*
 * The flow, which is left out, stays on the hook `from`, whose source is about to go to the hook `to`: what it misses
 * there is counted, too. counted: the source has gone; uncount instead: it has not, and will not.
 */
int ffpf_flow_count_on(struct ffpf_flow *flow, struct ffpf_hook *from, struct ffpf_hook *to, struct ffpf_error *err);
void ffpf_flow_counted(struct ffpf_flow *flow, struct ffpf_hook *from);
void ffpf_flow_uncount(struct ffpf_flow *flow, struct ffpf_hook *from);
/* The flow stays on a hook that its source has left: the reader reads the rest, and is told that there is more
 * elsewhere. It may be moved later. */
void ffpf_flow_strand(struct ffpf_flow *flow, struct ffpf_hook *from);

/*
 * What the lanes counted: seen, filtered and dropped of *out; `delivered` is what was indexed, published or not. The
 * law holds exactly while no hook is handling a packet.
 */
void ffpf_flow_counters(const struct ffpf_flow *flow, struct ffpf_counters *out);

/* One lane of a flow as it stands: for people, and for who looks after slow readers. */
struct ffpf_flow_lane_status {
	uint32_t slots;
	uint64_t first_pos;      /* of the IBuf; less in r: the reader has not come to it yet */
	uint64_t w, r;           /* positions in the IBuf; r as the reader says it: not checked */
	uint64_t behind_cells;   /* that the oldest unread record lies behind the lane's W; 0: nothing is unread */
	uint64_t generation;     /* of the filter in force */
	uint64_t generation_pos; /* first entry that it has judged, or will */
};

void ffpf_flow_lane_status(const struct ffpf_flow *flow, uint32_t lane, struct ffpf_flow_lane_status *out);

#endif
