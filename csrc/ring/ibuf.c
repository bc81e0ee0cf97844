/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ibuf.h"

#include <stdlib.h>

int
ffpf_ibuf_create(struct ffpf_ibuf **out, const struct ffpf_ibuf_config *cfg, struct ffpf_error *err)
{
	struct ffpf_ibuf *ibuf;
	int rc = ffpf_size_check("IBuf slots", cfg->slots, FFPF_IBUF_MIN_SLOTS, FFPF_IBUF_MAX_SLOTS, err);

	if (rc)
		return rc;
	if (cfg->lane >= FFPF_FLOW_LANES_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a flow has at most %u lanes", FFPF_FLOW_LANES_MAX);
	ibuf = calloc(1, sizeof(*ibuf));
	if (!ibuf)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for an IBuf");
	rc = ffpf_region_create(&ibuf->region, FFPF_KIND_IBUF,
				FFPF_PAGE_BYTES + cfg->slots * (uint64_t)sizeof(struct ffpf_index), cfg->memory,
				FFPF_PEER_READS, err);
	if (rc) {
		free(ibuf);
		return rc;
	}
	ibuf->page = ibuf->region.base;
	ibuf->page->entries_offset = FFPF_PAGE_BYTES;
	ibuf->page->slots_log2 = ffpf_size_log2(cfg->slots);
	ibuf->page->lane = cfg->lane;
	ibuf->page->first_pos = cfg->first_pos;
	ibuf->w = ibuf->published = ibuf->r = ibuf->sweep = cfg->first_pos;
	/* relaxed: nobody else has the memory yet */
	atomic_store_explicit(&ibuf->page->w, cfg->first_pos, memory_order_relaxed);
	atomic_store_explicit(&ibuf->page->intent, cfg->first_pos, memory_order_relaxed);
	ibuf->entries = (struct ffpf_index *)(void *)((uint8_t *)ibuf->region.base + FFPF_PAGE_BYTES);
	ibuf->mask = cfg->slots - 1;
	ibuf->reader = cfg->reader;
	ibuf->reader_r = &cfg->reader->r[cfg->lane];
	ibuf->event_fd = cfg->event_fd;
	ibuf->waker = cfg->waker;
	*out = ibuf;
	return 0;
}

void
ffpf_ibuf_destroy(struct ffpf_ibuf *ibuf)
{
	while (ibuf) {
		struct ffpf_ibuf *before = ibuf->before;

		ffpf_region_close(&ibuf->region);
		free(ibuf);
		ibuf = before;
	}
}

void
ffpf_ibuf_append(struct ffpf_ibuf *ibuf, uint64_t position, uint32_t result)
{
	struct ffpf_index *entry = &ibuf->entries[ibuf->w & ibuf->mask];

	/* Pairs with the load of intent in frp.c; relaxed, since the two release stores below come later. */
	atomic_store_explicit(&ibuf->page->intent, ibuf->w + 1, memory_order_relaxed);
	/* Release: pairs with the acquire loads in frp.c, whose reader must see the intent of what it read. */
	atomic_store_explicit(&entry->index, (uint32_t)position, memory_order_release);
	atomic_store_explicit(&entry->result, result, memory_order_release);
	ibuf->w++;
}

bool
ffpf_ibuf_publish(struct ffpf_ibuf *ibuf)
{
	if (ibuf->published == ibuf->w)
		return false;
	ibuf->published = ibuf->w;
	/* As release it pairs with the acquire loads of w in srp.c and frp.c. seq_cst, since the writer now looks
	 * whether the reader sleeps (ffpf_wake_if_due), and the reader looks at w after it said so (lanes/wait.c): one
	 * of the two comes later in the order of all such operations, and sees the other. */
	atomic_store_explicit(&ibuf->page->w, ibuf->w, memory_order_seq_cst);
	return true;
}
