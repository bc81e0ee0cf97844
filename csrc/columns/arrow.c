/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/arrow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROW_COLUMNS   6 /* ts, caplen, len, result, ifindex, vlan */
#define NULLABLE      2 /* ARROW_FLAG_NULLABLE */
#define COLUMNS_MAX   (ROW_COLUMNS + FFPF_ARROW_FIELDS_MAX + 1)
#define BUFFERS_MAX   3
#define BYTES_OF_BITS 8

struct stream {
	struct ffpf_pull *pull;
	const struct ffpf_column_field *fields[FFPF_ARROW_FIELDS_MAX];
	struct ffpf_arrow_config cfg;
	struct ffpf_row *rows;
	struct ffpf_error err;
};

/* ---- schema ---- */

static const struct {
	const char *name, *format;
	int64_t flags;
} row_columns[ROW_COLUMNS] = {
	{ "ts", "tsn:UTC", 0 }, { "caplen", "I", 0 },  { "len", "I", 0 },
	{ "result", "I", 0 },   { "ifindex", "I", 0 }, { "vlan", "I", NULLABLE },
};

static const char *
format_of(const struct ffpf_column_field *field)
{
	switch (field->kind) {
	case FFPF_COLUMN_U8:
		return "C";
	case FFPF_COLUMN_U16:
		return "S";
	case FFPF_COLUMN_U32:
		return "I";
	case FFPF_COLUMN_U64:
		return "L";
	case FFPF_COLUMN_OCTETS16:
		return "w:16";
	}
	return "n";
}

static uint32_t
column_count(const struct stream *s)
{
	return ROW_COLUMNS + s->cfg.field_count + (s->cfg.octets_bytes ? 1 : 0);
}

/* A child says nothing that was allocated: names and formats are static, memory is the parent's. */
static void
release_child_schema(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

static void
release_schema(struct ArrowSchema *schema)
{
	for (int64_t i = 0; i < schema->n_children; i++)
		if (schema->children[i]->release)
			schema->children[i]->release(schema->children[i]);
	free(schema->private_data);
	schema->release = NULL;
}

struct schema_memory {
	struct ArrowSchema *pointers[COLUMNS_MAX];
	struct ArrowSchema children[COLUMNS_MAX];
};

static int
get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
	struct stream *s = stream->private_data;
	struct schema_memory *m = calloc(1, sizeof(*m));
	uint32_t n = column_count(s);

	if (!m) {
		ffpf_error_set(&s->err, FFPF_E_NO_MEMORY, "no memory for a schema");
		return ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct ArrowSchema *child = &m->children[i];
		uint32_t field = i - ROW_COLUMNS;

		m->pointers[i] = child;
		child->release = release_child_schema;
		if (i < ROW_COLUMNS) {
			child->name = row_columns[i].name;
			child->format = row_columns[i].format;
			child->flags = row_columns[i].flags;
		} else if (field < s->cfg.field_count) {
			child->name = s->fields[field]->name;
			child->format = format_of(s->fields[field]);
			child->flags = NULLABLE;
		} else {
			child->name = "data";
			child->format = "Z"; /* octets, 64-bit offsets */
		}
	}
	*out = (struct ArrowSchema){
		.format = "+s",
		.name = "",
		.n_children = n,
		.children = m->pointers,
		.release = release_schema,
		.private_data = m,
	};
	return 0;
}

/* ---- arrays ---- */

/* One array with all that it points to. Children may be moved out and released by themselves, so each owns its
 * buffers; the block with the structures is counted. */
struct block {
	uint32_t users;
	struct ArrowArray *pointers[COLUMNS_MAX];
	struct ArrowArray children[COLUMNS_MAX];
	const void *buffers[COLUMNS_MAX][BUFFERS_MAX];
	const void *no_validity[1];
};

static void
leave_block(struct block *block)
{
	if (__atomic_sub_fetch(&block->users, 1, __ATOMIC_ACQ_REL) == 0)
		free(block);
}

static void
release_child(struct ArrowArray *array)
{
	for (int64_t i = 0; i < array->n_buffers; i++)
		free((void *)array->buffers[i]);
	leave_block(array->private_data);
	array->release = NULL;
}

static void
release_array(struct ArrowArray *array)
{
	for (int64_t i = 0; i < array->n_children; i++)
		if (array->children[i]->release)
			array->children[i]->release(array->children[i]);
	leave_block(array->private_data);
	array->release = NULL;
}

static struct ArrowArray *
add_child(struct block *block, uint32_t number, uint32_t buffers)
{
	struct ArrowArray *child = &block->children[number];

	*child = (struct ArrowArray){
		.n_buffers = buffers,
		.buffers = block->buffers[number],
		.release = release_child,
		.private_data = block,
	};
	block->pointers[number] = child;
	block->users++;
	return child;
}

/* Bytes of marks to a bitmap, least significant bit first. NULL and *nulls 0: every row has a value. */
static int
pack_marks(struct ArrowArray *child, const uint8_t *valid, uint32_t n)
{
	uint8_t *bits;
	int64_t nulls = 0;

	for (uint32_t i = 0; i < n; i++)
		nulls += !valid[i];
	child->null_count = nulls;
	if (!nulls)
		return 0;
	bits = calloc(n / BYTES_OF_BITS + 1, 1);
	if (!bits)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		bits[i / BYTES_OF_BITS] |= (uint8_t)(valid[i] << i % BYTES_OF_BITS);
	child->buffers[0] = bits;
	return 0;
}

static uint32_t
row_value(const struct ffpf_row *row, uint32_t column)
{
	switch (column) {
	case 1:
		return row->caplen;
	case 2:
		return row->len;
	case 3:
		return row->result;
	case 4:
		return row->ifindex;
	default:
		return row->vlan;
	}
}

static int
fill_row_columns(struct block *block, const struct ffpf_row *rows, uint32_t n)
{
	int64_t *times = malloc(n * sizeof(*times));
	uint8_t *tagged = malloc(n);
	int rc = times && tagged ? 0 : -1;

	block->children[0].buffers[1] = times;
	for (uint32_t i = 0; i < n && !rc; i++) {
		times[i] = rows[i].ts_ns;
		tagged[i] = rows[i].vlan != 0;
	}
	for (uint32_t c = 1; c < ROW_COLUMNS && !rc; c++) {
		uint32_t *values = malloc(n * sizeof(*values));

		block->children[c].buffers[1] = values;
		for (uint32_t i = 0; i < n && values; i++)
			values[i] = row_value(&rows[i], c);
		rc = values ? 0 : -1;
	}
	if (!rc)
		rc = pack_marks(&block->children[ROW_COLUMNS - 1], tagged, n);
	free(tagged);
	return rc;
}

static int
fill_data(struct ArrowArray *child, const struct ffpf_row *rows, uint32_t n, uint64_t used)
{
	int64_t *offsets = malloc((n + 1ul) * sizeof(*offsets));

	child->buffers[1] = offsets;
	if (!offsets)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		offsets[i] = (int64_t)rows[i].offset;
	offsets[n] = (int64_t)used;
	return 0;
}

static struct block *
make_block(const struct stream *s)
{
	struct block *block = calloc(1, sizeof(*block));
	const uint32_t n = column_count(s);

	if (!block)
		return NULL;
	block->users = 1;
	for (uint32_t i = 0; i < n; i++)
		add_child(block, i, i == ROW_COLUMNS + s->cfg.field_count ? 3 : 2);
	return block;
}

static void
drop_block(struct block *block, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		block->children[i].release(&block->children[i]);
	leave_block(block);
}

/* Memory for what the pull writes itself: the fields' values and marks, and the octets. */
static int
prepare(struct stream *s, struct block *block, struct ffpf_rows *want, struct ffpf_column *columns, uint8_t *marks)
{
	for (uint32_t f = 0; f < s->cfg.field_count; f++) {
		void *values = malloc((size_t)s->cfg.rows * ffpf_column_field_bytes(s->fields[f]));

		block->children[ROW_COLUMNS + f].buffers[1] = values;
		columns[f] = (struct ffpf_column){ s->fields[f], values, marks + (size_t)f * s->cfg.rows };
		if (!values)
			return -1;
	}
	*want = (struct ffpf_rows){ .room = s->cfg.rows, .rows = s->rows, .columns = columns };
	want->column_count = s->cfg.field_count;
	if (!s->cfg.octets_bytes)
		return 0;
	want->octets = malloc(s->cfg.octets_bytes);
	want->octets_room = s->cfg.octets_bytes;
	block->children[ROW_COLUMNS + s->cfg.field_count].buffers[2] = want->octets;
	return want->octets ? 0 : -1;
}

/* One pull; a packet larger than the octets gets room of its own. */
static enum ffpf_outcome
pull_once(struct stream *s, struct block *block, struct ffpf_rows *want)
{
	enum ffpf_outcome outcome = ffpf_pull_next(s->pull, want, &s->err);

	if (outcome == FFPF_BATCH && want->octets_needed) {
		struct ArrowArray *data = &block->children[ROW_COLUMNS + s->cfg.field_count];

		free(want->octets);
		want->octets = malloc(want->octets_needed);
		want->octets_room = want->octets_needed;
		data->buffers[2] = want->octets;
		if (!want->octets) {
			ffpf_error_set(&s->err, FFPF_E_NO_MEMORY, "no memory for a packet");
			return FFPF_FAILED;
		}
		outcome = ffpf_pull_next(s->pull, want, &s->err);
	}
	return outcome;
}

static int
finish(struct stream *s, struct block *block, const struct ffpf_rows *want, const uint8_t *marks)
{
	const uint32_t n = want->count;

	if (fill_row_columns(block, s->rows, n))
		return -1;
	for (uint32_t f = 0; f < s->cfg.field_count; f++)
		if (pack_marks(&block->children[ROW_COLUMNS + f], marks + (size_t)f * s->cfg.rows, n))
			return -1;
	if (want->octets &&
	    fill_data(&block->children[ROW_COLUMNS + s->cfg.field_count], s->rows, n, want->octets_used))
		return -1;
	for (uint32_t i = 0; i < column_count(s); i++)
		block->children[i].length = n;
	return 0;
}

static int
get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
	struct stream *s = stream->private_data;
	struct ffpf_column columns[FFPF_ARROW_FIELDS_MAX];
	struct block *block = make_block(s);
	uint8_t *marks = malloc((size_t)s->cfg.rows * s->cfg.field_count + 1);
	struct ffpf_rows want = { 0 };
	enum ffpf_outcome outcome = FFPF_FAILED;
	int rc = 0;

	ffpf_error_set(&s->err, FFPF_E_NO_MEMORY, "no memory for columns");
	if (block && marks && prepare(s, block, &want, columns, marks) == 0)
		do
			outcome = pull_once(s, block, &want);
		while (outcome == FFPF_TIMEOUT || outcome == FFPF_WOULD_BLOCK);
	if (outcome == FFPF_BATCH && finish(s, block, &want, marks)) {
		ffpf_error_set(&s->err, FFPF_E_NO_MEMORY, "no memory for columns");
		outcome = FFPF_FAILED;
	}
	free(marks);
	if (outcome == FFPF_BATCH) {
		*out = (struct ArrowArray){
			.length = want.count,
			.n_buffers = 1,
			.n_children = column_count(s),
			.buffers = block->no_validity,
			.children = block->pointers,
			.release = release_array,
			.private_data = block,
		};
		return 0;
	}
	if (block)
		drop_block(block, column_count(s));
	if (outcome == FFPF_END) {
		*out = (struct ArrowArray){ .release = NULL };
		return 0;
	}
	rc = outcome == FFPF_INTERRUPTED ? EINTR : s->err.code == FFPF_E_NO_MEMORY ? ENOMEM : EIO;
	if (outcome == FFPF_INTERRUPTED)
		ffpf_error_set(&s->err, FFPF_E_SYSTEM, "interrupted by a signal");
	return rc;
}

static const char *
get_last_error(struct ArrowArrayStream *stream)
{
	return ((struct stream *)stream->private_data)->err.text;
}

static void
release_stream(struct ArrowArrayStream *stream)
{
	struct stream *s = stream->private_data;

	ffpf_pull_drop(s->pull);
	free(s->rows);
	free(s);
	stream->release = NULL;
}

int
ffpf_arrow_stream(struct ArrowArrayStream **out, struct ffpf_pull *pull, const struct ffpf_arrow_config *cfg,
		  struct ffpf_error *err)
{
	struct ArrowArrayStream *stream = NULL;
	struct stream *s = NULL;

	if (cfg->field_count > FFPF_ARROW_FIELDS_MAX || !cfg->rows)
		return ffpf_error_set(err, FFPF_E_INVALID, "at most %d fields, and at least one row",
				      FFPF_ARROW_FIELDS_MAX);
	stream = malloc(sizeof(*stream));
	s = calloc(1, sizeof(*s));
	if (s)
		s->rows = malloc(cfg->rows * sizeof(*s->rows));
	if (!stream || !s || !s->rows) {
		free(stream);
		free(s);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a stream");
	}
	if (cfg->field_count)
		memcpy(s->fields, cfg->fields, cfg->field_count * sizeof(s->fields[0]));
	s->cfg = *cfg;
	s->pull = pull;
	ffpf_pull_hold(pull);
	*stream = (struct ArrowArrayStream){
		.get_schema = get_schema,
		.get_next = get_next,
		.get_last_error = get_last_error,
		.release = release_stream,
		.private_data = s,
	};
	*out = stream;
	/* cppcheck-suppress memleak; release_stream frees it */
	return 0;
}

void
ffpf_arrow_free(struct ArrowArrayStream *stream)
{
	if (stream->release)
		stream->release(stream);
	free(stream);
}
