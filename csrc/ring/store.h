/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_STORE_H
#define FFPF_RING_STORE_H
/*
 * Ways to copy a packet into PBuf.
 *
 * dst is a multiple of 16. Up to 7 octets of zeros are stored behind the packet, which its last cell has room for: data
 * begins 48 octets into a cell. What is fastest is measured by lanes/bench_lanes.c.
 */
#include <stddef.h>
#include <stdint.h>

enum ffpf_store_kind {
	FFPF_STORE_AUTO,   /* what was measured to be fastest: stream for large PBufs where there is such a thing */
	FFPF_STORE_WORDS,  /* each 64-bit word one release store: readers may look while it is overwritten (FRP) */
	FFPF_STORE_MEMCPY, /* nobody looks before it is published (SRP) */
	FFPF_STORE_STREAM, /* as MEMCPY, and past the caches for packets of FFPF_STREAM_MIN_BYTES and more */
};

#define FFPF_STREAM_MIN_BYTES 512

struct ffpf_store {
	enum ffpf_store_kind kind;
	void (*copy)(uint8_t *dst, const uint8_t *src, size_t len);
	/* Makes what copy stored earlier than any later store; before records are published. NULL: it is so already. */
	void (*settle)(void);
};

/* NULL for FFPF_STORE_STREAM where the machine has no such stores. */
const struct ffpf_store *ffpf_store_find(enum ffpf_store_kind kind, uint64_t pbuf_bytes);
const struct ffpf_store *ffpf_store_stream(void);

#endif
