/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_TESTING_H
#define FFPF_GRAPH_TESTING_H
/* For tests of a class: one instance, as the engine would hold it, and packets for it. */
#include "graph/class.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define TEST_DLT_EN10MB 1u

struct test_filter {
	const struct ffpf_class *class;
	void *instance;
	uint64_t *mbuf;
	struct ffpf_class_args args;
	struct ffpf_class_env env;
	uint64_t dropped;
	uint32_t link_type;
	struct ffpf_error err;
};

/* parse() alone; what it returned. test_close() is for both outcomes. */
static inline int
test_parse(struct test_filter *f, const char *class, const char *text, uint64_t mbuf_bytes)
{
	int status = 0;

	memset(f, 0, sizeof(*f));
	f->class = ffpf_class_find(class, strlen(class));
	assert_non_null(f->class);
	f->link_type = TEST_DLT_EN10MB;
	f->args.text = text;
	f->args.mbuf_bytes = mbuf_bytes ? mbuf_bytes : f->class->mbuf_bytes;
	f->instance = calloc(1, f->class->instance_bytes ? f->class->instance_bytes : 1);
	assert_non_null(f->instance);
	if (f->class->parse)
		status = f->class->parse(f->instance, &f->args, &f->err);
	else
		status = ffpf_args_none(&f->args, &f->err);
	if (status) {
		free(f->instance);
		f->instance = NULL;
	}
	return status;
}

/* open() after test_parse() succeeded. */
static inline int
test_open_parsed(struct test_filter *f)
{
	size_t words = (f->args.mbuf_bytes + 7) / 8;

	f->mbuf = words ? calloc(words, 8) : NULL;
	f->env = (struct ffpf_class_env){
		.mbuf = f->mbuf,
		.mbuf_bytes = f->args.mbuf_bytes,
		.link_types = &f->link_type,
		.link_type_count = 1,
		.snap_len = 262144,
		.offline = true,
		.dropped = &f->dropped,
	};
	return f->class->open ? f->class->open(f->instance, &f->env, &f->err) : 0;
}

static inline void
test_open(struct test_filter *f, const char *class, const char *text, uint64_t mbuf_bytes)
{
	if (test_parse(f, class, text, mbuf_bytes) || test_open_parsed(f))
		fail_msg("(%s,\"%s\",%d): %s", class, text, (int)mbuf_bytes, f->err.text);
}

static inline void
test_close(struct test_filter *f)
{
	if (f->instance && f->class->close)
		f->class->close(f->instance);
	free(f->instance);
	free(f->mbuf);
	ffpf_text_free(&f->args.canonical);
	f->instance = NULL;
	f->mbuf = NULL;
}

static inline void
test_filter_batch(struct test_filter *f, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	if (f->class->filter_batch) {
		f->class->filter_batch(f->instance, in, count, results);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		results[i] = f->class->filter(f->instance, &in[i]);
}

/* One packet of these octets at this time; its result. */
static inline uint32_t
test_packet(struct test_filter *f, const void *data, uint32_t len, uint64_t ts_ns)
{
	const struct ffpf_packet pkt = {
		.data = data,
		.ts_sec = (int64_t)(ts_ns / 1000000000),
		.ts_frac = (int32_t)(ts_ns % 1000000000),
		.cap_len = len,
		.wire_len = len,
		.result = UINT32_MAX,
	};
	const struct ffpf_node_pkt in = {
		.pkt = &pkt, .ts_ns = ts_ns, .result = UINT32_MAX, .link_type = f->link_type
	};
	uint32_t result = 0;

	test_filter_batch(f, &in, 1, &result);
	return result;
}

#endif
