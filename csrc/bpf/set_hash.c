/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Perfect hashing: a row is looked for in one place only. Small sets try multipliers until no two rows meet; for large
 * ones, rows that meet in a first hash get a displacement that keeps them apart in a second (Fox, Chen and Heath, "A
 * faster algorithm for constructing minimal perfect hash functions", SIGIR 1992).
 */
#include "bpf/set.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_ROWS    256
#define SMALL_WORDS   4096 /* the largest table that trying may end with */
#define TRIES         1000
#define DISPLACED_TRY 64

static uint64_t
random_next(uint64_t *state) /* splitmix64: the same program gives the same code */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint32_t
hash(const struct ffpf_set *set, const uint32_t *row, int which)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < set->key_count; i++)
		sum += row[i] * set->mult[which][i];
	return set->shift[which] < 32 ? sum >> set->shift[which] : 0;
}

static const uint32_t *
row_at(const struct ffpf_set *set, uint32_t i)
{
	return &set->rows[(size_t)i * set->key_count];
}

static int
compare_words(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return a < b ? -1 : a > b;
}

/* A key that alone tells all rows apart, else key_count. */
static uint32_t
telling_key(const struct ffpf_set *set)
{
	uint32_t *column = malloc(set->row_count * sizeof(*column)), key, i;

	for (key = 0; column && key < set->key_count; key++) {
		for (i = 0; i < set->row_count; i++)
			column[i] = row_at(set, i)[key];
		qsort(column, set->row_count, sizeof(*column), compare_words);
		for (i = 1; i < set->row_count && column[i] != column[i - 1]; i++)
			;
		if (i >= set->row_count)
			break;
	}
	free(column);
	return key;
}

static void
draw(struct ffpf_set *set, int which, uint32_t telling, uint64_t *seed)
{
	for (uint32_t i = 0; i < set->key_count; i++)
		set->mult[which][i] = telling == set->key_count || telling == i ? (uint32_t)random_next(seed) | 1 : 0;
}

static uint32_t
bits_for(uint32_t n)
{
	return n <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n - 1);
}

static uint32_t
slot_of(const struct ffpf_set *set, const uint32_t *row)
{
	if (set->form == FFPF_SET_HASH)
		return hash(set, row, 0);
	return (set->displacements[hash(set, row, 0)] + hash(set, row, 1)) & (set->slots - 1);
}

/* Lays the rows into their slots; false when two rows meet. */
static bool
lay(struct ffpf_set *set)
{
	memset(set->row_of_slot, 0xff, set->slots * sizeof(*set->row_of_slot));
	for (uint32_t i = 0; i < set->row_count; i++) {
		uint32_t slot = slot_of(set, row_at(set, i));

		if (set->row_of_slot[slot] != FFPF_CFG_NONE)
			return false;
		set->row_of_slot[slot] = i;
	}
	for (uint32_t slot = 0; slot < set->slots; slot++) {
		uint32_t row = set->row_of_slot[slot] == FFPF_CFG_NONE ? 0 : set->row_of_slot[slot];

		memcpy(&set->table[(size_t)slot * set->stride], row_at(set, row), set->key_count * sizeof(*set->table));
	}
	return true;
}

static bool
try_small(struct ffpf_set *set, uint32_t *stamps, uint32_t *stamp, uint64_t *seed, uint32_t telling)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t row;

		draw(set, 0, telling, seed);
		++*stamp;
		for (row = 0; row < set->row_count; row++) {
			uint32_t slot = hash(set, row_at(set, row), 0);

			if (stamps[slot] == *stamp)
				break;
			stamps[slot] = *stamp;
		}
		if (row == set->row_count)
			return true;
	}
	return false;
}

static int
find_small(struct ffpf_set *set, uint64_t *seed, uint32_t telling)
{
	uint32_t *stamps = calloc(SMALL_WORDS, sizeof(*stamps)), stamp = 0;
	uint32_t bits = bits_for(4 * set->row_count);
	int result = -FFPF_E_NOT_SUPPORTED;

	if (!stamps)
		return -FFPF_E_NO_MEMORY;
	for (; result < 0 && (set->stride << bits) <= SMALL_WORDS; bits++) {
		set->shift[0] = 32 - bits;
		set->slots = 1u << bits;
		if (try_small(set, stamps, &stamp, seed, telling))
			result = 0;
	}
	free(stamps);
	return result;
}

struct bucket {
	uint32_t first, count; /* in the list of rows by bucket */
};

/* Finds the least displacement that brings all rows of a bucket to free slots. */
static bool
place(const struct ffpf_set *set, const uint32_t *list, const struct bucket *bucket, uint8_t *taken, uint32_t *found)
{
	for (uint32_t d = 0; d < set->slots; d++) {
		uint32_t i, slot;

		for (i = 0; i < bucket->count; i++) {
			slot = (d + hash(set, row_at(set, list[bucket->first + i]), 1)) & (set->slots - 1);
			if (taken[slot])
				break;
			taken[slot] = 1;
		}
		if (i == bucket->count) {
			*found = d;
			return true;
		}
		while (i-- > 0)
			taken[(d + hash(set, row_at(set, list[bucket->first + i]), 1)) & (set->slots - 1)] = 0;
	}
	return false;
}

/* Buckets by the first hash, then displacements, the largest buckets first. */
static bool
try_displaced(struct ffpf_set *set, struct bucket *buckets, uint32_t *list, uint8_t *taken)
{
	uint32_t at = 0, largest = 0;

	memset(buckets, 0, set->displacement_count * sizeof(*buckets));
	memset(taken, 0, set->slots);
	for (uint32_t i = 0; i < set->row_count; i++)
		buckets[hash(set, row_at(set, i), 0)].count++;
	for (uint32_t i = 0; i < set->displacement_count; i++) {
		buckets[i].first = at;
		at += buckets[i].count;
		largest = buckets[i].count > largest ? buckets[i].count : largest;
		buckets[i].count = 0;
	}
	if (largest > 16) /* rows that a better multiplier tells apart */
		return false;
	for (uint32_t i = 0; i < set->row_count; i++) {
		struct bucket *bucket = &buckets[hash(set, row_at(set, i), 0)];

		list[bucket->first + bucket->count++] = i;
	}
	for (uint32_t size = largest; size > 0; size--)
		for (uint32_t i = 0; i < set->displacement_count; i++)
			if (buckets[i].count == size && !place(set, list, &buckets[i], taken, &set->displacements[i]))
				return false;
	return true;
}

static int
find_displaced(struct ffpf_set *set, uint64_t *seed, uint32_t telling)
{
	uint32_t slot_bits = bits_for(set->row_count + set->row_count / 2), bits = bits_for(set->row_count) - 1;
	struct bucket *buckets = calloc(1u << bits, sizeof(*buckets));
	uint32_t *list = malloc(set->row_count * sizeof(*list));
	uint8_t *taken = malloc(1u << slot_bits);
	int result = -FFPF_E_NO_MEMORY;

	set->displacement_count = 1u << bits;
	set->slots = 1u << slot_bits;
	set->shift[0] = 32 - bits;
	set->shift[1] = 32 - slot_bits;
	set->displacements = calloc(set->displacement_count, sizeof(*set->displacements));
	if (buckets && list && taken && set->displacements) {
		result = -FFPF_E_NOT_SUPPORTED;
		for (int i = 0; i < DISPLACED_TRY && result < 0; i++) {
			draw(set, 0, telling, seed);
			draw(set, 1, telling, seed);
			if (try_displaced(set, buckets, list, taken))
				result = 0;
		}
	}
	free(buckets);
	free(list);
	free(taken);
	return result;
}

int
ffpf_set_hash_make(struct ffpf_set *set)
{
	uint64_t seed = 0x46465046u + set->row_count;
	uint32_t telling = telling_key(set);
	int result = -FFPF_E_NOT_SUPPORTED;

	set->stride = set->key_count == 3 ? 4 : set->key_count;
	if (set->row_count <= SMALL_ROWS) {
		set->form = FFPF_SET_HASH;
		result = find_small(set, &seed, telling);
	}
	if (result == -FFPF_E_NOT_SUPPORTED) {
		set->form = FFPF_SET_DISPLACED;
		result = find_displaced(set, &seed, telling);
	}
	if (result < 0)
		return result;
	set->table_words = set->slots * set->stride;
	set->table = calloc(set->table_words, sizeof(*set->table));
	set->row_of_slot = malloc(set->slots * sizeof(*set->row_of_slot));
	if (!set->table || !set->row_of_slot)
		return -FFPF_E_NO_MEMORY;
	return lay(set) ? 0 : -FFPF_E_NOT_SUPPORTED;
}

int
ffpf_set_bitmap_make(struct ffpf_set *set, uint32_t bits)
{
	set->form = FFPF_SET_BITMAP;
	set->table_words = bits < 5 ? 1 : 1u << (bits - 5);
	set->table = calloc(set->table_words, sizeof(*set->table));
	return set->table ? 0 : -FFPF_E_NO_MEMORY;
}

void
ffpf_set_free(struct ffpf_set *set)
{
	free(set->rows);
	free(set->targets);
	free(set->table);
	free(set->row_of_slot);
	free(set->displacements);
	memset(set, 0, sizeof(*set));
}
