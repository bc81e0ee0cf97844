/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/memories.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Addresses with nothing behind them, at `at` or anywhere. */
static void *
reserve(void *at, size_t bytes)
{
	return mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
}

static void
unmap(const struct ffpf_memories *m, struct ffpf_lanes_part *part)
{
	const uint8_t *base = part->lane.base;

	/* the addresses stay reserved: nobody else's memory may come to lie in the range */
	if (base && base >= m->range && base < m->range + m->range_bytes) {
		reserve(part->lane.base, part->lane.bytes);
		part->lane = (struct ffpf_region){ .fd = -1 };
	}
	ffpf_lanes_unmap_part(part);
}

/* Moves the lanes into one range. Without addresses to reserve (RLIMIT_AS) they stay where they are. */
static void
line_up(struct ffpf_memories *m)
{
	size_t total = 0;
	uint8_t *at;

	for (uint32_t i = 0; i < m->count; i++)
		total += m->lanes[i].lane.bytes;
	at = reserve(NULL, total);
	if (at == MAP_FAILED)
		return;
	m->range = at;
	m->range_bytes = total;
	m->in_range = true;
	for (uint32_t i = 0; i < m->count; i++) {
		struct ffpf_region *lane = &m->lanes[i].lane;
		void *moved = mremap(lane->base, lane->bytes, lane->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at);

		if (moved == MAP_FAILED)
			m->in_range = false;
		else
			lane->base = moved;
		at += lane->bytes;
	}
}

int
ffpf_memories_map(struct ffpf_memories **out, struct ffpf_client_flow *flow, struct ffpf_error *err)
{
	struct ffpf_memories *m = calloc(1, sizeof(*m));
	int wake_fd = flow->wake_fd;
	int rc = m ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a flow's mappings");

	if (!rc)
		rc = ffpf_lanes_map_reader(&m->reader, flow->reader_fd, err);
	if (!rc && flow->counts_fd != -1)
		rc = ffpf_lanes_map_counts(&m->counts, flow->counts_fd, err);
	for (uint32_t i = 0; !rc && i < flow->opened.lanes; i++) {
		rc = ffpf_lanes_map_part(&m->lanes[i], flow->lanes[i].lane_fd, flow->lanes[i].ibuf_fd, err);
		m->count += !rc;
	}
	flow->wake_fd = -1;
	ffpf_client_flow_close(flow);
	flow->wake_fd = wake_fd;
	if (rc) {
		ffpf_memories_close(m);
		return rc;
	}
	line_up(m);
	*out = m;
	return 0;
}

void
ffpf_memories_close(struct ffpf_memories *memories)
{
	if (!memories)
		return;
	ffpf_memories_forget(memories);
	for (uint32_t i = 0; i < memories->count; i++)
		unmap(memories, &memories->lanes[i]);
	ffpf_region_close(&memories->reader);
	ffpf_region_close(&memories->counts);
	if (memories->range)
		munmap(memories->range, memories->range_bytes);
	free(memories);
}

int
ffpf_memories_succeed(struct ffpf_memories *memories, struct ffpf_client_lane *fds, struct ffpf_lanes_part *out,
		      struct ffpf_error *err)
{
	int rc = ffpf_lanes_map_part(out, fds->lane_fd, fds->ibuf_fd, err);

	close(fds->lane_fd);
	close(fds->ibuf_fd);
	if (!rc)
		memories->in_range = false;
	return rc;
}

void
ffpf_memories_retire(struct ffpf_memories *memories, uint32_t lane)
{
	memories->before[lane] = memories->lanes[lane];
	memories->lanes[lane] = (struct ffpf_lanes_part){ { .fd = -1 }, { .fd = -1 } };
	memories->moved = true;
}

void
ffpf_memories_forget(struct ffpf_memories *memories)
{
	for (uint32_t i = 0; memories->moved && i < memories->count; i++)
		unmap(memories, &memories->before[i]);
	memories->moved = false;
}
