/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_COUNTS_H
#define FFPF_COLUMNS_COUNTS_H
/*
 * How many packets, and octets, there were of each value of a field, or of each combination of several: counted from
 * columns while they are in the cache, so that nothing need be sorted but what is different.
 *
 *     columns (fields.h) --add--> table: key -> packets, octets --get--> the caller's arrays
 *
 * A key is the values of its columns, one behind the other, in host byte order (octets as they lie in the packet). One
 * thread at a time.
 */
#include "columns/fields.h"

#define FFPF_COUNTS_KEY_MAX 64

struct ffpf_counts;

/* key_bytes: of one key, 1 to FFPF_COUNTS_KEY_MAX. */
int ffpf_counts_create(struct ffpf_counts **out, uint32_t key_bytes, struct ffpf_error *err);
void ffpf_counts_destroy(struct ffpf_counts *counts); /* NULL is legal */

/* Counts n rows of key_count columns, together key_bytes wide; a row that lacks one of them counts nowhere. lens[i]:
 * what a row adds to octets. 0, or -FFPF_E_NO_MEMORY: rows before it are counted, and the table is as it was. */
int ffpf_counts_add(struct ffpf_counts *counts, const struct ffpf_column *keys, uint32_t key_count,
		    const uint32_t *lens, uint32_t n, struct ffpf_error *err);

/* How many keys there are; and all of them in the order in which they first came, each array with room for so many. */
uint64_t ffpf_counts_size(const struct ffpf_counts *counts);
void ffpf_counts_get(const struct ffpf_counts *counts, uint8_t *keys, uint64_t *packets, uint64_t *octets);

#endif
