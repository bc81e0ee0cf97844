/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/hashing.h"

#include <endian.h>
#include <string.h>

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x85ebca77c2b2ae63u
#define P5 0x27d4eb2f165667c5u

static uint64_t
rotated(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static uint64_t
word64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, 8);
	return le64toh(word);
}

static uint64_t
word32(const uint8_t *p)
{
	uint32_t word;

	memcpy(&word, p, 4);
	return le32toh(word);
}

static uint64_t
mixed(uint64_t lane, uint64_t word)
{
	return rotated(lane + word * P2, 31) * P1;
}

/* 32 octets a round, in four lanes, then the lanes made one. */
static uint64_t
stripes(const uint8_t **data, uint32_t *len, uint64_t seed)
{
	uint64_t lane[4] = { seed + P1 + P2, seed + P2, seed, seed - P1 }, hash;

	for (; *len >= 32; *len -= 32, *data += 32) {
		for (unsigned i = 0; i < 4; i++)
			lane[i] = mixed(lane[i], word64(*data + 8 * i));
	}
	hash = rotated(lane[0], 1) + rotated(lane[1], 7) + rotated(lane[2], 12) + rotated(lane[3], 18);
	for (unsigned i = 0; i < 4; i++)
		hash = (hash ^ mixed(0, lane[i])) * P1 + P4;
	return hash;
}

uint64_t
xxhash64(const uint8_t *data, uint32_t len, uint64_t seed)
{
	const uint64_t total = len;
	uint64_t hash = len >= 32 ? stripes(&data, &len, seed) : seed + P5;

	hash += total;
	for (; len >= 8; len -= 8, data += 8)
		hash = rotated(hash ^ mixed(0, word64(data)), 27) * P1 + P4;
	if (len >= 4) {
		hash = rotated(hash ^ word32(data) * P1, 23) * P2 + P3;
		data += 4;
		len -= 4;
	}
	for (; len; len--)
		hash = rotated(hash ^ *data++ * P5, 11) * P1;
	hash = (hash ^ hash >> 33) * P2;
	hash = (hash ^ hash >> 29) * P3;
	return hash ^ hash >> 32;
}
