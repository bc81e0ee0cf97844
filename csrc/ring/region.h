/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_REGION_H
#define FFPF_RING_REGION_H
/*
 * Shared memory: page-aligned, zero at first, opened by a struct ffpf_head that says what it is.
 *
 * Control plane only: nothing here is on a packet's path.
 */
#include "common/error.h"
#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ffpf_memory {
	FFPF_MEMORY_ANONYMOUS, /* shared with children by fork; no descriptor */
	FFPF_MEMORY_FD,        /* a sealed memfd, that another process can map */
};

/* What another process may do with the descriptor. Nobody can change its size, so a mapping never faults. */
enum ffpf_peer {
	FFPF_PEER_READS,  /* F_SEAL_FUTURE_WRITE: only the mapping made here can be written */
	FFPF_PEER_WRITES, /* the flow's reader: reader page and MBuf */
};

struct ffpf_region {
	void *base;
	size_t bytes; /* a multiple of the page size */
	int fd;       /* -1: none */
};

/* `bytes` is rounded up to whole pages. *out is untouched on failure. */
int ffpf_region_create(struct ffpf_region *out, enum ffpf_kind kind, uint64_t bytes, enum ffpf_memory memory,
		       enum ffpf_peer peer, struct ffpf_error *err);

/*
 * Maps what another process made, and keeps a descriptor of its own. Refuses a memory that could shrink, whose head is
 * not of this layout, version and kind, or says another size. *out is untouched on failure.
 */
int ffpf_region_map(struct ffpf_region *out, int fd, enum ffpf_kind kind, bool writable, struct ffpf_error *err);

/* The head of a mapped memory is what it should be: 0 or -FFPF_E_INVALID. */
int ffpf_region_check(const struct ffpf_region *region, enum ffpf_kind kind, struct ffpf_error *err);

/* Unmaps and closes; a region of zeros is legal. */
void ffpf_region_close(struct ffpf_region *region);

/* 0, or -FFPF_E_INVALID with a text that names `what`, when n is no power of two from lo to hi. */
int ffpf_size_check(const char *what, uint64_t n, uint64_t lo, uint64_t hi, struct ffpf_error *err);

/* Exponent of a power of two. */
static inline uint32_t
ffpf_size_log2(uint64_t n)
{
	return (uint32_t)__builtin_ctzll(n);
}

#endif
