/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_AHO_CORASICK_H
#define FFPF_EXTERNS_AHO_CORASICK_H
/*
 * Many patterns at once: the automaton of Aho and Corasick (1975), all transitions worked out, as one flat table of
 * words that could lie in any memory:
 *
 *     next[row + class of octet] -> row of the state that follows, and AC_ENDS when a pattern ends there
 *
 * Octets that no pattern tells apart are one class, so a row has as many words as patterns have different octets, and
 * one. Rows lie in the order of their depth: those that most texts visit lie together. From the first state on, places
 * where no pattern's first two octets stand are passed over without the table.
 */
#include "common/error.h"
#include "externs/pattern_set.h"

#include <stdbool.h>
#include <stdint.h>

#define AC_ENDS      0x80000000u
#define AC_WORDS_MAX (64u << 20) /* of the table: 256 MiB */

struct aho_corasick {
	uint32_t *next;
	uint32_t classes, states;
	uint8_t class_of[256];
	uint32_t *pattern; /* by state: the longest that ends there, of equal ones the first */
	uint32_t *lengths; /* by pattern */
	uint32_t count;
	uint64_t pairs[1024]; /* bit a << 8 | b: a pattern may begin with these */
	bool first[256];      /* an octet that a pattern begins with */
};

struct ac_match {
	uint32_t pattern;
	uint32_t at, len; /* in the text */
};

/* The set may be empty, and its patterns not. -FFPF_E_NO_MEMORY; -FFPF_E_INVALID: the table would be too large. */
int ac_build(struct aho_corasick *ac, const struct pattern_set *set, struct ffpf_error *err);
/* The match that ends first. */
bool ac_find(const struct aho_corasick *ac, const uint8_t *text, uint32_t len, struct ac_match *out);
void ac_free(struct aho_corasick *ac); /* zeros are legal, and what is left */

#endif
