/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_TESTING_H
#define FFPF_EXTERNS_TESTING_H
/* For tests of external functions: one use, called with packet and MBuf that are as large as they are said to be, so
 * that a sanitizer sees each octet beyond. */
#include "externs/externs.h"
#include "graph/testing_packets.h"

struct test_use {
	struct ffpf_extern_set *set;
	uint8_t *mbuf; /* of set->mbuf_bytes */
};

static inline void
use_open(struct test_use *t, const char *text, uint32_t mbuf_bytes)
{
	struct ffpf_error err = { 0 };

	if (ffpf_extern_set_create(&t->set, &text, 1, mbuf_bytes, NULL, &err))
		fail_msg("%s: %s", text, err.text);
	t->mbuf = calloc(1, mbuf_bytes ? mbuf_bytes : 1);
	assert_non_null(t->mbuf);
}

static inline void
use_close(struct test_use *t)
{
	ffpf_extern_set_destroy(t->set);
	free(t->mbuf);
}

static inline uint64_t
use_call(struct test_use *t, const void *data, uint32_t len, uint64_t read_at, uint64_t write_at)
{
	struct ffpf_extern_use *use = t->set->uses[0];
	uint8_t *exact = malloc(len ? len : 1);
	const struct ffpf_packet pkt = { .data = exact, .cap_len = len, .wire_len = len, .result = UINT32_MAX };
	const struct ffpf_node_pkt in = { .pkt = &pkt, .result = UINT32_MAX, .link_type = TEST_DLT_EN10MB };
	uint64_t value;

	assert_non_null(exact);
	assert_true(ffpf_extern_fits(use, read_at, write_at));
	memcpy(exact, data, len);
	t->set->in = &in;
	value = use->call(use, exact, len, t->mbuf, read_at, write_at);
	assert_memory_equal(exact, data, len);
	free(exact);
	return value;
}

static inline uint64_t
use_call_octets(struct test_use *t, const struct test_octets *o)
{
	return use_call(t, o->data, o->len, 0, 0);
}

/* A TCP segment from 10.0.0.1:sport to 10.0.0.2:dport with this payload. */
static inline struct test_octets
tcp_text(unsigned sport, unsigned dport, const char *text)
{
	struct test_octets o = tcp_packet(0x0a000001, sport, 0x0a000002, dport, 24);

	put(&o, text, (uint32_t)strlen(text));
	o.data[16] = (uint8_t)((o.len - 14) >> 8); /* the length that IP states */
	o.data[17] = (uint8_t)(o.len - 14);
	return o;
}

#endif
