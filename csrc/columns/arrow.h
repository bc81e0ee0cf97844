/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_ARROW_H
#define FFPF_COLUMNS_ARROW_H
/*
 * A pull as an Arrow C stream: a table that pyarrow, polars, duckdb and others read without being known here. The
 * structures are those of the Arrow C data and C stream interfaces (arrow.apache.org/docs/format), which are a stable
 * ABI; who is given one calls its functions, and at last release.
 *
 * Columns: ts (timestamp in ns, UTC), caplen, len, result, ifindex, vlan (null without a tag), the fields asked for
 * (null where a packet lacks them; IPv6 addresses as 16 octets), and data (the octets), if they are wanted.
 */
#include "columns/pull.h"

struct ArrowSchema {
	const char *format;
	const char *name;
	const char *metadata;
	int64_t flags;
	int64_t n_children;
	struct ArrowSchema **children;
	struct ArrowSchema *dictionary;
	void (*release)(struct ArrowSchema *);
	void *private_data;
};

struct ArrowArray {
	int64_t length;
	int64_t null_count;
	int64_t offset;
	int64_t n_buffers;
	int64_t n_children;
	const void **buffers;
	struct ArrowArray **children;
	struct ArrowArray *dictionary;
	void (*release)(struct ArrowArray *);
	void *private_data;
};

struct ArrowArrayStream {
	int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
	int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
	const char *(*get_last_error)(struct ArrowArrayStream *);
	void (*release)(struct ArrowArrayStream *);
	void *private_data;
};

#define FFPF_ARROW_FIELDS_MAX 64

struct ffpf_arrow_config {
	const struct ffpf_column_field *const *fields; /* copied */
	uint32_t field_count;                          /* at most FFPF_ARROW_FIELDS_MAX */
	uint32_t rows;                                 /* of an array, at most; at least 1 */
	uint64_t octets_bytes;                         /* of the packets of an array, at most; 0: no column data */
};

/*
 * *out, allocated with malloc, is the caller's, who releases and frees it: ffpf_arrow_free does both. It holds the
 * pull. An array has at least one row, and is handed over as soon as no more packets are there at once. get_next waits
 * as the pull does; signals do not end its wait but for EINTR as its result, after which it may be called again.
 */
int ffpf_arrow_stream(struct ArrowArrayStream **out, struct ffpf_pull *pull, const struct ffpf_arrow_config *cfg,
		      struct ffpf_error *err);
void ffpf_arrow_free(struct ArrowArrayStream *stream); /* released by somebody else before, or not */

#endif
