/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_MEMORIES_H
#define FFPF_CLIENT_MEMORIES_H
/*
 * The memories of a flow of ffpfd, mapped here. PBufs lie side by side in one range of addresses that is ours alone, so
 * that one comparison tells whether a pointer lies in one of them (struct ffpf_batch, mem_lo and mem_hi).
 *
 *     | lane 0 | lane 1 | lane 2 | ...
 */
#include "client/client.h"
#include "lanes/lanes.h"

struct ffpf_memories {
	uint8_t *range; /* NULL: no addresses were reserved */
	size_t range_bytes;
	bool in_range; /* every lane is there */
	uint32_t count;
	struct ffpf_region counts, reader;                  /* counts.base NULL: there is none */
	struct ffpf_lanes_part lanes[FFPF_FLOW_LANES_MAX];  /* of zeros once the lane has moved */
	struct ffpf_lanes_part before[FFPF_FLOW_LANES_MAX]; /* what a lane was, until ffpf_memories_forget */
	bool moved;                                         /* some `before` is not zeros */
};

/* Maps all of the flow; its descriptors but the wake descriptor are closed, also on failure. */
int ffpf_memories_map(struct ffpf_memories **out, struct ffpf_client_flow *flow, struct ffpf_error *err);
void ffpf_memories_close(struct ffpf_memories *memories); /* NULL is legal */

/* Maps a lane's successor, which is the caller's, and closes its descriptors. */
int ffpf_memories_succeed(struct ffpf_memories *memories, struct ffpf_client_lane *fds, struct ffpf_lanes_part *out,
			  struct ffpf_error *err);
/* The lane is not read any more where it was; that stays mapped until the next call of ffpf_memories_forget. */
void ffpf_memories_retire(struct ffpf_memories *memories, uint32_t lane);
void ffpf_memories_forget(struct ffpf_memories *memories);

#endif
