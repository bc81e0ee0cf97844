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

static void
copy_stream(uint8_t *dst, const uint8_t *src, size_t len)
{
	if (len < FFPF_STREAM_MIN_BYTES) {
		memcpy(dst, src, len);
		return;
	}
	for (; len >= sizeof(__m128i); len -= sizeof(__m128i), src += sizeof(__m128i), dst += sizeof(__m128i))
		_mm_stream_si128((__m128i *)(void *)dst, _mm_loadu_si128((const __m128i *)(const void *)src));
	if (len) {
		uint8_t tail[sizeof(__m128i)] = { 0 };

		memcpy(tail, src, len);
		_mm_stream_si128((__m128i *)(void *)dst, _mm_loadu_si128((const __m128i *)(void *)tail));
	}
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
