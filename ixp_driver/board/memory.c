/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/memory.h"

#include <endian.h>
#include <stdatomic.h>
#include <string.h>

bool
board_memory_map(struct board_memory *memory, enum board_space space, uint32_t base, uint32_t bytes, uint8_t *octets)
{
	struct board_segment *segments = memory->segments[space];
	uint32_t count = memory->counts[space];

	if (count == BOARD_SEGMENTS_MAX || bytes > UINT32_MAX - base)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (base < segments[i].base + segments[i].bytes && segments[i].base < base + bytes)
			return false;
	}
	segments[count] = (struct board_segment){ base, bytes, octets };
	memory->counts[space]++;
	return true;
}

void
board_memory_unmap(struct board_memory *memory, enum board_space space, uint32_t base)
{
	struct board_segment *segments = memory->segments[space];

	for (uint32_t i = 0; i < memory->counts[space]; i++) {
		if (segments[i].base != base)
			continue;
		segments[i] = segments[--memory->counts[space]];
		return;
	}
}

uint8_t *
board_memory_at(const struct board_memory *memory, enum board_space space, uint32_t address, uint32_t bytes)
{
	const struct board_segment *segments = memory->segments[space];

	for (uint32_t i = 0; i < memory->counts[space]; i++) {
		uint32_t offset = address - segments[i].base;

		if (offset < segments[i].bytes && bytes <= segments[i].bytes - offset)
			return segments[i].memory + offset;
	}
	return NULL;
}

void
board_words_load(uint32_t *to, const uint8_t *from, uint32_t n, bool net)
{
	const _Atomic uint32_t *words = (const _Atomic uint32_t *)(const void *)from;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t word = atomic_load_explicit(words + i, memory_order_relaxed);

		to[i] = net ? be32toh(word) : word;
	}
}

/* Release, both: pair with the acquire loads of W, records and entries by readers (bms/srp.c, bms/frp.c, ring/view.h).
 */
static void
store_word(uint8_t *to, uint32_t word)
{
	atomic_store_explicit((_Atomic uint32_t *)(void *)to, word, memory_order_release);
}

static void
store_pair(uint8_t *to, uint32_t first, uint32_t second)
{
	const uint32_t words[2] = { first, second };
	uint64_t both;

	memcpy(&both, words, sizeof(both));
	atomic_store_explicit((_Atomic uint64_t *)(void *)to, both, memory_order_release);
}

void
board_words_store(uint8_t *to, const uint32_t *from, uint32_t n, bool net)
{
	for (uint32_t i = 0; i < n; i++, to += sizeof(uint32_t)) {
		uint32_t word = net ? htobe32(from[i]) : from[i];

		if (i + 1 == n || (uintptr_t)to % sizeof(uint64_t) != 0) {
			store_word(to, word);
			continue;
		}
		i++;
		store_pair(to, word, net ? htobe32(from[i]) : from[i]);
		to += sizeof(uint32_t);
	}
}

void
board_octets_store(uint8_t *to, const uint8_t *from, uint32_t len)
{
	for (uint32_t at = 0; at < len; at += sizeof(uint64_t)) {
		uint64_t word = 0;

		memcpy(&word, from + at, len - at < sizeof(word) ? len - at : sizeof(word));
		/* release: as above */
		atomic_store_explicit((_Atomic uint64_t *)(void *)(to + at), word, memory_order_release);
	}
}

uint32_t
board_memory_get(const struct board_memory *memory, enum board_space space, uint32_t address)
{
	uint32_t value;

	board_words_load(&value, board_memory_at(memory, space, address, sizeof(value)), 1, false);
	return value;
}

void
board_memory_put(struct board_memory *memory, enum board_space space, uint32_t address, uint32_t value)
{
	store_word(board_memory_at(memory, space, address, sizeof(value)), value);
}
