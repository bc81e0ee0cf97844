/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores past the caches. A cell of a large PBuf is not in a cache when its turn comes: an ordinary store would first
 * fetch the line from memory.
 *
 * These stores are not ordered with others, not even on x86: settle(), an SFENCE, stands between them and the store
 * that publishes the record. With it they are to C11 what plain stores before a release store are. They are for SRP
 * alone: under FRP the intent would have to be fenced off before each record as well.
 */
#include "ring/store.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#include <string.h>

#define LINE_BYTES 64

/* Whole lines only: such a store to a line that was just written, or of part of one, costs more than it saves. */
static void
copy_stream(uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t before = -(uintptr_t)dst % LINE_BYTES;

	if (len >= FFPF_STREAM_MIN_BYTES) {
		memcpy(dst, src, before);
		dst += before;
		src += before;
		len -= before;
		for (; len >= LINE_BYTES; len -= LINE_BYTES, src += LINE_BYTES, dst += LINE_BYTES) {
			const __m128i *from = (const __m128i *)(const void *)src;
			__m128i *to = (__m128i *)(void *)dst;

			_mm_stream_si128(to, _mm_loadu_si128(from));
			_mm_stream_si128(to + 1, _mm_loadu_si128(from + 1));
			_mm_stream_si128(to + 2, _mm_loadu_si128(from + 2));
			_mm_stream_si128(to + 3, _mm_loadu_si128(from + 3));
		}
	}
	memcpy(dst, src, len);
}

static void
settle(void)
{
	_mm_sfence();
}

static const struct ffpf_store stream = { FFPF_STORE_STREAM, copy_stream, settle };

const struct ffpf_store *
ffpf_store_stream(void)
{
	return &stream;
}
#endif
