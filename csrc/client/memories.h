/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_MEMORIES_H
#define FFPF_CLIENT_MEMORIES_H
/*
 * The memories of a flow of ffpfd, mapped here. PBufs lie side by side in one range of addresses that is ours alone, so
 * that one comparison tells whether a pointer lies in one of them (struct ffpf_batch, mem_lo and mem_hi). A lane has
 * places there also for its successors: for one that is read, one that is left, and one to come.
 *
 *     | lane 0 |   -    |   -    | lane 1 |   -    |   -    | ...       -: reserved, no access
 */
#include "client/client.h"
#include "lanes/lanes.h"

#define MEMORIES_PLACES 3

struct ffpf_memories {
	uint8_t *range; /* NULL: no addresses were reserved */
	size_t range_bytes;
	uint32_t outside; /* PBufs that lie elsewhere */
	uint32_t count;
	struct ffpf_region counts, reader;                 /* counts.base NULL: there is none */
	struct ffpf_lanes_part lanes[FFPF_FLOW_LANES_MAX]; /* as they were opened; of zeros once retired */
	uint8_t *places[FFPF_FLOW_LANES_MAX];              /* the lane's first; NULL: it has none */
	size_t place_bytes[FFPF_FLOW_LANES_MAX];
	uint32_t used[FFPF_FLOW_LANES_MAX]; /* bit n: place n */
	struct retired {
		struct ffpf_lanes_part part;
		uint32_t lane;
	} retired[FFPF_FLOW_LANES_MAX]; /* until ffpf_memories_forget */
	uint32_t retired_count;
};

/* Maps all of the flow; its descriptors but the wake descriptor are closed, also on failure. */
int ffpf_memories_map(struct ffpf_memories **out, struct ffpf_client_flow *flow, struct ffpf_error *err);
void ffpf_memories_close(struct ffpf_memories *memories); /* NULL is legal; every successor must have been retired */

/* Maps a lane's successor, and closes its descriptors. */
int ffpf_memories_succeed(struct ffpf_memories *memories, uint32_t lane, struct ffpf_client_lane *fds,
			  struct ffpf_lanes_part *out, struct ffpf_error *err);
/* The lane is not read any more in this part; it stays mapped until the next call of ffpf_memories_forget. */
void ffpf_memories_retire(struct ffpf_memories *memories, uint32_t lane, const struct ffpf_lanes_part *part);
void ffpf_memories_forget(struct ffpf_memories *memories);

/* Every PBuf lies in the range. */
static inline bool
ffpf_memories_in_range(const struct ffpf_memories *memories)
{
	return memories->range && memories->outside == 0;
}

#endif
