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

/* Which of its lane's places a PBuf is in, or -1. */
static int
place_of(const struct ffpf_memories *m, uint32_t lane, const uint8_t *base)
{
	for (int n = 0; m->places[lane] && n < MEMORIES_PLACES; n++)
		if (base == m->places[lane] + (size_t)n * m->place_bytes[lane])
			return n;
	return -1;
}

static void
unmap(struct ffpf_memories *m, uint32_t lane, struct ffpf_lanes_part *part)
{
	int place = place_of(m, lane, part->lane.base);

	if (part->lane.base && place >= 0) {
		/* the addresses stay reserved: nobody else's memory may come to lie in the range */
		reserve(part->lane.base, m->place_bytes[lane]);
		m->used[lane] &= ~(1u << place);
		part->lane = (struct ffpf_region){ .fd = -1 };
	} else if (part->lane.base) {
		m->outside--;
	}
	ffpf_lanes_unmap_part(part);
}

/* Moves a PBuf to one of its lane's places. Without one that is free and large enough it stays outside. */
static void
line_up(struct ffpf_memories *m, uint32_t lane, struct ffpf_region *pbuf)
{
	m->outside++;
	for (int n = 0; m->places[lane] && pbuf->bytes <= m->place_bytes[lane] && n < MEMORIES_PLACES; n++) {
		uint8_t *at = m->places[lane] + (size_t)n * m->place_bytes[lane];

		if (m->used[lane] & 1u << n)
			continue;
		if (mremap(pbuf->base, pbuf->bytes, pbuf->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
			reserve(at, m->place_bytes[lane]); /* it may have been cleared */
			return;
		}
		pbuf->base = at;
		m->used[lane] |= 1u << n;
		m->outside--;
		return;
	}
}

/* Without addresses to reserve (RLIMIT_AS) every lane stays where it is. */
static void
line_up_all(struct ffpf_memories *m)
{
	size_t total = 0;
	uint8_t *at;

	for (uint32_t i = 0; i < m->count; i++)
		total += MEMORIES_PLACES * m->lanes[i].lane.bytes;
	at = reserve(NULL, total);
	if (at != MAP_FAILED) {
		m->range = at;
		m->range_bytes = total;
	}
	for (uint32_t i = 0; i < m->count; i++) {
		if (m->range) {
			m->places[i] = at;
			m->place_bytes[i] = m->lanes[i].lane.bytes;
			at += MEMORIES_PLACES * m->place_bytes[i];
		}
		line_up(m, i, &m->lanes[i].lane);
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
	if (m)
		line_up_all(m);
	if (rc)
		ffpf_memories_close(m);
	else
		*out = m;
	return rc;
}

void
ffpf_memories_close(struct ffpf_memories *memories)
{
	if (!memories)
		return;
	ffpf_memories_forget(memories);
	for (uint32_t i = 0; i < memories->count; i++)
		unmap(memories, i, &memories->lanes[i]);
	ffpf_region_close(&memories->reader);
	ffpf_region_close(&memories->counts);
	if (memories->range)
		munmap(memories->range, memories->range_bytes);
	free(memories);
}

int
ffpf_memories_succeed(struct ffpf_memories *memories, uint32_t lane, struct ffpf_client_lane *fds,
		      struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	int rc = ffpf_lanes_map_part(out, fds->lane_fd, fds->ibuf_fd, err);

	close(fds->lane_fd);
	close(fds->ibuf_fd);
	if (!rc)
		line_up(memories, lane, &out->lane);
	return rc;
}

void
ffpf_memories_retire(struct ffpf_memories *memories, uint32_t lane, const struct ffpf_lanes_part *part)
{
	if (part->lane.base == memories->lanes[lane].lane.base)
		memories->lanes[lane] = (struct ffpf_lanes_part){ { .fd = -1 }, { .fd = -1 } };
	if (memories->retired_count == FFPF_FLOW_LANES_MAX)
		ffpf_memories_forget(memories);
	memories->retired[memories->retired_count++] = (struct retired){ *part, lane };
}

void
ffpf_memories_forget(struct ffpf_memories *memories)
{
	for (; memories->retired_count > 0; memories->retired_count--) {
		struct retired *last = &memories->retired[memories->retired_count - 1];

		unmap(memories, last->lane, &last->part);
	}
}
