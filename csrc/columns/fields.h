/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_FIELDS_H
#define FFPF_COLUMNS_FIELDS_H
/*
 * Fields of packets as columns. One table says all of them (fields.c): a new field is one row. Values are integers in
 * host byte order, or octets as they lie in the packet; a packet that lacks the field has 0 and is marked.
 */
#include "columns/dissect.h"

enum ffpf_column_kind { FFPF_COLUMN_U8, FFPF_COLUMN_U16, FFPF_COLUMN_U32, FFPF_COLUMN_U64, FFPF_COLUMN_OCTETS16 };

struct ffpf_column_field {
	const char *name;
	enum ffpf_column_kind kind; /* of the column */
	enum ffpf_layer layer;
	uint16_t offset; /* in the layer's header */
	uint8_t octets;  /* there: 1, 2, 4, 6 or 16; big-endian */
	uint8_t shift;   /* the integer is shifted right by so much, and then and-ed with */
	uint64_t mask;   /* this */
	/* Instead of all that: false when the packet lacks it. */
	bool (*compute)(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out);
	const char *summary; /* one line, for people */
};

/* NULL: there is no such field, or no more (fields are counted from 0). */
const struct ffpf_column_field *ffpf_column_field_find(const char *name);
const struct ffpf_column_field *ffpf_column_field_number(uint32_t number);
uint32_t ffpf_column_field_bytes(const struct ffpf_column_field *field); /* of one value of the column */

/* The caller's memory: value and mark of row i. */
struct ffpf_column {
	const struct ffpf_column_field *field;
	void *values;
	uint8_t *valid; /* 1: the packet has the field; 0: it has not */
};

/* Writes rows first, first + 1 ... of all columns from n packets. */
void ffpf_columns_extract(const struct ffpf_column *columns, uint32_t column_count, uint32_t first,
			  const struct ffpf_row *rows, uint32_t n, const uint8_t *base, int dlt);

#endif
