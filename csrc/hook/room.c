/* SPDX-License-Identifier: BSD-3-Clause */
/* What a source may ask and say besides its packets: is there room, and what was lost before it came here. */
#include "hook/hook_internal.h"

#define TAG_BYTES 4

/* Of the largest record that a packet of cap_len octets may become. */
static uint32_t
cells_of(const struct ffpf_hook *hook, uint32_t cap_len)
{
	uint64_t snap_len = atomic_load_explicit(&hook->lane->snap_len, memory_order_relaxed);
	uint64_t stored = (uint64_t)cap_len + TAG_BYTES;

	if (stored > snap_len)
		stored = snap_len;
	/* what is too large for any record is dropped, however long one waits */
	return stored > FFPF_PACKET_MAX_BYTES ? UINT32_MAX : ffpf_record_cells((uint32_t)stored);
}

static bool
has_room(const struct ffpf_hook *hook, const struct ffpf_graph *graph, uint32_t cells)
{
	if (cells > hook->lane->max_cells)
		return true;
	for (uint32_t i = 0; i < graph->count; i++) {
		struct ffpf_ibuf *ibuf = graph->entries[i].ibuf;

		/* nothing waits for who is evicted, perhaps by this very question, or gets nothing */
		if (!graph->entries[i].left && !ibuf->evicted && !hook->bms->grant_index(ibuf) && !ibuf->evicted)
			return false;
	}
	return hook->bms->grant_cells(hook->lane, cells);
}

bool
ffpf_hook_has_room(struct ffpf_hook *hook, uint32_t cap_len)
{
	const uint32_t cells = cells_of(hook, cap_len);
	struct ffpf_graph *graph;
	bool room;

	if (!ffpf_hook_enter(hook, &graph))
		return false;
	room = has_room(hook, graph, cells);
	ffpf_hook_leave(hook);
	if (room)
		return true;
	ffpf_hook_flush(hook);
	if (!ffpf_hook_enter(hook, &graph))
		return false;
	/* Who waits for more packets than there is room for would wait for ever. */
	for (uint32_t i = 0; i < graph->count; i++) {
		struct ffpf_ibuf *ibuf = graph->entries[i].ibuf;

		if (ibuf->published != ffpf_ibuf_reader_r(ibuf))
			ffpf_wake(ibuf);
	}
	ffpf_hook_leave(hook);
	return false;
}

void
ffpf_hook_lost(struct ffpf_hook *hook, enum ffpf_drop cause, uint64_t n)
{
	struct ffpf_graph *graph;

	if (!n || !ffpf_hook_enter(hook, &graph))
		return;
	for (uint32_t i = 0; i < graph->count; i++) {
		struct ffpf_ibuf_page *page = graph->entries[i].ibuf->page;

		ffpf_count(&page->seen, n);
		ffpf_count(&page->dropped[cause], n);
	}
	ffpf_hook_leave(hook);
}
