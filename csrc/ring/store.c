/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/store.h"

#include <stdatomic.h>
#include <string.h>

/* A PBuf of this size does not stay in a cache, so its cells come from memory only to be overwritten. */
#define STREAM_MIN_PBUF_BYTES (32u << 20)

/* Pairs with the acquire loads of ffpf_words_read (view.c): who reads one of these words also sees the intent that was
 * announced before it. */
static void
copy_words(uint8_t *dst, const uint8_t *src, size_t len)
{
	_Atomic uint64_t *to = (_Atomic uint64_t *)(void *)dst;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), src += sizeof(word)) {
		memcpy(&word, src, sizeof(word));
		atomic_store_explicit(to++, word, memory_order_release);
	}
	if (len) {
		word = 0;
		memcpy(&word, src, len);
		atomic_store_explicit(to, word, memory_order_release);
	}
}

static void
copy_plain(uint8_t *dst, const uint8_t *src, size_t len)
{
	memcpy(dst, src, len);
}

static const struct ffpf_store words = { FFPF_STORE_WORDS, copy_words, NULL };
static const struct ffpf_store plain = { FFPF_STORE_MEMCPY, copy_plain, NULL };

#if !defined(__x86_64__)
const struct ffpf_store *
ffpf_store_stream(void)
{
	return NULL;
}
#endif

const struct ffpf_store *
ffpf_store_find(enum ffpf_store_kind kind, uint64_t pbuf_bytes)
{
	const struct ffpf_store *stream = ffpf_store_stream();

	switch (kind) {
	case FFPF_STORE_WORDS:
		return &words;
	case FFPF_STORE_MEMCPY:
		return &plain;
	case FFPF_STORE_STREAM:
		return stream;
	case FFPF_STORE_AUTO:
		return stream && pbuf_bytes >= STREAM_MIN_PBUF_BYTES ? stream : &plain;
	}
	return NULL;
}
