/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_PATTERN_SET_H
#define FFPF_EXTERNS_PATTERN_SET_H
/* Patterns, many of them. Zeros are the empty set. */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_SET_FILE_MAX (16u << 20) /* octets of a file */
#define PATTERN_SET_MAX      1000000u

struct pattern_set {
	uint8_t *octets; /* of all, each ended by NUL */
	uint32_t *at, *len;
	uint32_t count, room;
	size_t used, bytes;
};

/* -FFPF_E_NO_MEMORY, or -FFPF_E_INVALID: no octets, or one pattern too many. */
int pattern_set_add(struct pattern_set *set, const uint8_t *octets, size_t len, struct ffpf_error *err);
/* Of a file in the folders for such (named_file.h). A pattern a line; empty lines are none. literal: octets with
 * escapes (pattern.h), else as they are. Errors name the file and the line. */
int pattern_set_read(struct pattern_set *set, const char *name, bool literal, struct ffpf_error *err);
void pattern_set_free(struct pattern_set *set);

#endif
