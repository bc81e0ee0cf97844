/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RING_MBUF_H
#define FFPF_RING_MBUF_H
/*
 * MBuf: a filter's persistent memory, read and written by the filter and by its application. Paper, section 3.1.2.
 *
 * No offset is out of range: it is masked, and rounded down to a multiple of the access's size. Words are in host
 * order. Accesses are atomic one by one and relaxed: MBuf orders nothing else. add() is one step, so filter and
 * application may both count in the same cell.
 */
#include "ring/region.h"

struct ffpf_mbuf {
	struct ffpf_region region;
	uint8_t *data;
	uint32_t mask; /* size - 1 */
};

/* Words of any width may lie over each other. */
typedef uint8_t __attribute__((may_alias)) ffpf_mbuf_u8;
typedef uint16_t __attribute__((may_alias)) ffpf_mbuf_u16;
typedef uint32_t __attribute__((may_alias)) ffpf_mbuf_u32;
typedef uint64_t __attribute__((may_alias)) ffpf_mbuf_u64;

/* bytes: a power of two, FFPF_MBUF_MIN_BYTES to FFPF_MBUF_MAX_BYTES. Control plane. */
int ffpf_mbuf_create(struct ffpf_mbuf *out, uint32_t bytes, enum ffpf_memory memory, enum ffpf_peer peer,
		     struct ffpf_error *err);
/* The application's side. */
int ffpf_mbuf_map(struct ffpf_mbuf *out, int fd, struct ffpf_error *err);
void ffpf_mbuf_close(struct ffpf_mbuf *mbuf); /* zeros are legal */

static inline void *
ffpf_mbuf_at(const struct ffpf_mbuf *mbuf, uint32_t offset, uint32_t access_bytes)
{
	return mbuf->data + (offset & mbuf->mask & ~(access_bytes - 1));
}

static inline uint8_t
ffpf_mbuf_load8(const struct ffpf_mbuf *mbuf, uint32_t offset)
{
	return __atomic_load_n((ffpf_mbuf_u8 *)ffpf_mbuf_at(mbuf, offset, 1), __ATOMIC_RELAXED);
}

static inline void
ffpf_mbuf_store8(struct ffpf_mbuf *mbuf, uint32_t offset, uint8_t value)
{
	__atomic_store_n((ffpf_mbuf_u8 *)ffpf_mbuf_at(mbuf, offset, 1), value, __ATOMIC_RELAXED);
}

static inline uint16_t
ffpf_mbuf_load16(const struct ffpf_mbuf *mbuf, uint32_t offset)
{
	return __atomic_load_n((ffpf_mbuf_u16 *)ffpf_mbuf_at(mbuf, offset, 2), __ATOMIC_RELAXED);
}

static inline uint32_t
ffpf_mbuf_load32(const struct ffpf_mbuf *mbuf, uint32_t offset)
{
	return __atomic_load_n((ffpf_mbuf_u32 *)ffpf_mbuf_at(mbuf, offset, 4), __ATOMIC_RELAXED);
}

static inline void
ffpf_mbuf_store32(struct ffpf_mbuf *mbuf, uint32_t offset, uint32_t value)
{
	__atomic_store_n((ffpf_mbuf_u32 *)ffpf_mbuf_at(mbuf, offset, 4), value, __ATOMIC_RELAXED);
}

static inline uint32_t
ffpf_mbuf_add32(struct ffpf_mbuf *mbuf, uint32_t offset, uint32_t value)
{
	return __atomic_add_fetch((ffpf_mbuf_u32 *)ffpf_mbuf_at(mbuf, offset, 4), value, __ATOMIC_RELAXED);
}

static inline uint64_t
ffpf_mbuf_load64(const struct ffpf_mbuf *mbuf, uint32_t offset)
{
	return __atomic_load_n((ffpf_mbuf_u64 *)ffpf_mbuf_at(mbuf, offset, 8), __ATOMIC_RELAXED);
}

static inline void
ffpf_mbuf_store64(struct ffpf_mbuf *mbuf, uint32_t offset, uint64_t value)
{
	__atomic_store_n((ffpf_mbuf_u64 *)ffpf_mbuf_at(mbuf, offset, 8), value, __ATOMIC_RELAXED);
}

static inline uint64_t
ffpf_mbuf_add64(struct ffpf_mbuf *mbuf, uint32_t offset, uint64_t value)
{
	return __atomic_add_fetch((ffpf_mbuf_u64 *)ffpf_mbuf_at(mbuf, offset, 8), value, __ATOMIC_RELAXED);
}

#endif
