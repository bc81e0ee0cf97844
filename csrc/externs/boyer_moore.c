/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/boyer_moore.h"

#include <string.h>

/*
 * The way when `matched` octets of the end are right and the one before them is wrong: to the nearest place, from the
 * right, where that end stands in the pattern behind another octet, or hangs over its begin. Found by trying: a pattern
 * is short, and prepared once.
 */
static uint16_t
way_of_end(const uint8_t *pattern, uint32_t len, uint32_t matched)
{
	for (uint32_t way = 1; way < len; way++) {
		const uint32_t over = len - way; /* octets of the pattern that still lie over where it was */
		const uint32_t same = matched < over ? matched : over;

		if (memcmp(pattern + over - same, pattern + len - same, same) != 0)
			continue;
		if (over > matched && pattern[over - matched - 1] == pattern[len - matched - 1])
			continue;
		return (uint16_t)way;
	}
	return (uint16_t)len;
}

void
bm_prepare(struct boyer_moore *bm, const uint8_t *pattern, uint32_t len)
{
	bm->len = len;
	memcpy(bm->pattern, pattern, len);
	memset(bm->last, (int)len, sizeof(bm->last));
	for (uint32_t i = 0; i < len; i++)
		bm->last[bm->pattern[i]] = (uint8_t)(len - 1 - i);
	for (uint32_t matched = 0; matched < len; matched++)
		bm->end[matched] = way_of_end(bm->pattern, len, matched);
}

uint32_t
bm_find(const struct boyer_moore *bm, const uint8_t *text, uint32_t len)
{
	uint32_t at = 0;

	while (len >= bm->len && at <= len - bm->len) {
		const uint8_t *here = text + at;
		uint32_t matched = 0, way;
		int32_t by_octet;

		while (matched < bm->len && here[bm->len - 1 - matched] == bm->pattern[bm->len - 1 - matched])
			matched++;
		if (matched == bm->len)
			return at;
		way = bm->end[matched];
		by_octet = (int32_t)bm->last[here[bm->len - 1 - matched]] - (int32_t)matched;
		at += by_octet > (int32_t)way ? (uint32_t)by_octet : way;
	}
	return len;
}
