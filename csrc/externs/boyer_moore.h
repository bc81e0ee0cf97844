/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_BOYER_MOORE_H
#define FFPF_EXTERNS_BOYER_MOORE_H
/*
 * The search of Boyer and Moore (1977), with both of its tables: what the text's octet that did not match allows, and
 * what the pattern's end that did match allows. The larger is the way that the pattern moves.
 */
#include <stdint.h>

#define BM_PATTERN_MAX 255

struct boyer_moore {
	uint32_t len;
	uint8_t pattern[BM_PATTERN_MAX];
	uint8_t last[256];                /* octet -> how far from the pattern's end it stands last; len: nowhere */
	uint16_t end[BM_PATTERN_MAX + 1]; /* octets of the pattern's end that matched -> the way */
};

/* len: 1 to BM_PATTERN_MAX. */
void bm_prepare(struct boyer_moore *bm, const uint8_t *pattern, uint32_t len);
/* Where the pattern stands first; len when it does not. */
uint32_t bm_find(const struct boyer_moore *bm, const uint8_t *text, uint32_t len);

#endif
