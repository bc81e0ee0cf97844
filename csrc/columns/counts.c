/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries lie one behind the other in the order of their first packet: the key in whole words, packets, octets. Beside
 * them a table of their numbers, open addressing, at most half full. A slot keeps 32 bits of the hash: entries are
 * touched where these are equal only. Rows are counted in blocks, in three steps: where the slot is, where the entry
 * is, and the sums; each asks for the memory of the next, since all of it is larger than the cache when keys are many.
 */
#include "columns/counts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOTS_FIRST 1024u
#define BLOCK       64u
#define KEY_WORDS   (FFPF_COUNTS_KEY_MAX / 8)
#define SUMS        2u /* words behind a key: packets, octets */

struct slot {
	uint32_t hash;   /* its upper half */
	uint32_t number; /* of the entry, from 1; 0: empty */
};

struct ffpf_counts {
	uint32_t key_bytes, key_words;
	uint64_t seed; /* chosen by chance: whoever sends packets cannot choose keys that all meet */
	struct slot *slots;
	uint64_t slot_mask;
	uint64_t *entries; /* key_words + SUMS words each */
	uint32_t count, room;
};

/* A row that counts. */
struct counted {
	uint64_t key[KEY_WORDS];
	uint64_t hash;
	uint32_t len;
};

static uint64_t *
entry_of(const struct ffpf_counts *counts, uint32_t number)
{
	return counts->entries + (size_t)(number - 1) * (counts->key_words + SUMS);
}

/* One step of a multiply-and-fold hash: all bits of both come to all bits of the result. */
static uint64_t
fold(uint64_t a, uint64_t b)
{
	const unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
hash_of(const struct ffpf_counts *counts, const uint64_t *key)
{
	uint64_t hash = counts->seed;

	for (uint32_t i = 0; i < counts->key_words; i++)
		hash = fold(hash ^ key[i], 0x9e3779b97f4a7c15u);
	return fold(hash, 0xd6e8feb86659fd93u);
}

int
ffpf_counts_create(struct ffpf_counts **out, uint32_t key_bytes, struct ffpf_error *err)
{
	struct ffpf_counts *counts;

	if (!key_bytes || key_bytes > FFPF_COUNTS_KEY_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a key of %u octets: from 1 to %d", key_bytes,
				      FFPF_COUNTS_KEY_MAX);
	counts = calloc(1, sizeof(*counts));
	if (counts)
		counts->slots = calloc(SLOTS_FIRST, sizeof(*counts->slots));
	if (!counts || !counts->slots) {
		free(counts);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory to count in");
	}
	counts->key_bytes = key_bytes;
	counts->key_words = (key_bytes + 7) / 8;
	counts->slot_mask = SLOTS_FIRST - 1;
	if (getrandom(&counts->seed, sizeof(counts->seed), GRND_NONBLOCK) != (ssize_t)sizeof(counts->seed))
		counts->seed = (uintptr_t)counts->slots; /* before there is any chance: an address is the next best */
	*out = counts;
	return 0;
}

void
ffpf_counts_destroy(struct ffpf_counts *counts)
{
	if (!counts)
		return;
	free(counts->slots);
	free(counts->entries);
	free(counts);
}

static int
more_slots(struct ffpf_counts *counts)
{
	const uint64_t mask = 2 * counts->slot_mask + 1;
	struct slot *slots = calloc(mask + 1, sizeof(*slots));

	if (!slots)
		return -1;
	for (uint32_t number = 1; number <= counts->count; number++) {
		const uint64_t hash = hash_of(counts, entry_of(counts, number));
		uint64_t at = hash & mask;

		while (slots[at].number)
			at = (at + 1) & mask;
		slots[at] = (struct slot){ (uint32_t)(hash >> 32), number };
	}
	free(counts->slots);
	counts->slots = slots;
	counts->slot_mask = mask;
	return 0;
}

/* Room for one entry more, in all there is. */
static int
make_room(struct ffpf_counts *counts)
{
	const uint32_t room = counts->room ? 2 * counts->room : SLOTS_FIRST / 2;
	void *entries;

	if (counts->count < counts->room)
		return 0;
	if (room <= counts->room || (room > counts->slot_mask / 2 + 1 && more_slots(counts)))
		return -1;
	entries = realloc(counts->entries, (size_t)room * (counts->key_words + SUMS) * sizeof(*counts->entries));
	if (!entries)
		return -1;
	counts->entries = entries;
	counts->room = room;
	return 0;
}

static bool
same(const struct ffpf_counts *counts, const uint64_t *entry, const uint64_t *key)
{
	for (uint32_t i = 0; i < counts->key_words; i++)
		if (entry[i] != key[i])
			return false;
	return true;
}

static int
count_one(struct ffpf_counts *counts, const struct counted *row)
{
	const uint32_t upper = (uint32_t)(row->hash >> 32);
	uint64_t at = row->hash & counts->slot_mask;
	uint64_t *entry;

	for (; counts->slots[at].number; at = (at + 1) & counts->slot_mask) {
		if (counts->slots[at].hash != upper)
			continue;
		entry = entry_of(counts, counts->slots[at].number);
		if (same(counts, entry, row->key)) {
			entry[counts->key_words]++;
			entry[counts->key_words + 1] += row->len;
			return 0;
		}
	}
	if (counts->count == counts->room) {
		if (make_room(counts))
			return -1;
		at = row->hash & counts->slot_mask; /* the slots may be others now */
		while (counts->slots[at].number)
			at = (at + 1) & counts->slot_mask;
	}
	counts->slots[at] = (struct slot){ upper, ++counts->count };
	entry = entry_of(counts, counts->count);
	memcpy(entry, row->key, counts->key_words * sizeof(*entry));
	entry[counts->key_words] = 1;
	entry[counts->key_words + 1] = row->len;
	return 0;
}

/* The row's key; false: it lacks a part. */
static bool
key_of(const struct ffpf_counts *counts, uint64_t *key, const struct ffpf_column *columns, uint32_t column_count,
       uint32_t row)
{
	uint8_t *to = (uint8_t *)key;

	key[counts->key_words - 1] = 0; /* what is behind the key */
	for (uint32_t c = 0; c < column_count; c++) {
		const uint32_t bytes = ffpf_column_field_bytes(columns[c].field);
		const uint8_t *from = (const uint8_t *)columns[c].values + (size_t)row * bytes;

		if (!columns[c].valid[row])
			return false;
		switch (bytes) { /* lengths that the compiler knows */
		case 2:
			memcpy(to, from, 2);
			break;
		case 4:
			memcpy(to, from, 4);
			break;
		default:
			memcpy(to, from, bytes);
		}
		to += bytes;
	}
	return true;
}

int
ffpf_counts_add(struct ffpf_counts *counts, const struct ffpf_column *keys, uint32_t key_count, const uint32_t *lens,
		uint32_t n, struct ffpf_error *err)
{
	struct counted rows[BLOCK];
	uint32_t bytes = 0;

	for (uint32_t c = 0; c < key_count; c++)
		bytes += ffpf_column_field_bytes(keys[c].field);
	if (bytes != counts->key_bytes)
		return ffpf_error_set(err, FFPF_E_INVALID, "keys of %u octets, not %u", bytes, counts->key_bytes);
	for (uint32_t first = 0; first < n; first += BLOCK) {
		const uint32_t end = n - first < BLOCK ? n : first + BLOCK;
		uint32_t found = 0;

		for (uint32_t i = first; i < end; i++) {
			if (!key_of(counts, rows[found].key, keys, key_count, i))
				continue;
			rows[found].len = lens[i];
			rows[found].hash = hash_of(counts, rows[found].key);
			__builtin_prefetch(&counts->slots[rows[found].hash & counts->slot_mask]);
			found++;
		}
		for (uint32_t i = 0; i < found; i++) {
			const uint32_t number = counts->slots[rows[i].hash & counts->slot_mask].number;

			if (number)
				__builtin_prefetch(entry_of(counts, number), 1);
		}
		for (uint32_t i = 0; i < found; i++)
			if (count_one(counts, &rows[i]))
				return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory to count %u keys in",
						      counts->count);
	}
	return 0;
}

uint64_t
ffpf_counts_size(const struct ffpf_counts *counts)
{
	return counts->count;
}

void
ffpf_counts_get(const struct ffpf_counts *counts, uint8_t *keys, uint64_t *packets, uint64_t *octets)
{
	for (uint32_t i = 0; i < counts->count; i++) {
		const uint64_t *entry = entry_of(counts, i + 1);

		memcpy(keys + (size_t)i * counts->key_bytes, entry, counts->key_bytes);
		packets[i] = entry[counts->key_words];
		octets[i] = entry[counts->key_words + 1];
	}
}
