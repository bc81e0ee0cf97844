/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_TESTING_FLOW_H
#define FFPF_GRAPH_TESTING_FLOW_H
/* For tests of flows: an engine with a hook "h" and numbered packets for it, and savefiles. */
#include "graph/engine.h"
#include "graph/flow.h"
#include "graph/testing.h"
#include "source/savefile.h"

#include <stdio.h>

#define FEED "(device,hook:h) -> (sampler,2) -> c=(packetcount,,8)"

struct test_engine {
	struct ffpf_engine *engine;
	struct ffpf_engine_hook *hook;
	uint64_t sent; /* packets; number i is i seconds after 1970 and 60 + i % 10 octets long on the wire */
};

static inline void
test_engine_begin(struct test_engine *t, const struct ffpf_engine_config *cfg)
{
	struct ffpf_error err = { 0 };

	*t = (struct test_engine){ 0 };
	if (ffpf_engine_create(&t->engine, cfg, &err) ||
	    ffpf_engine_hook_open(&t->hook, t->engine, "h", TEST_DLT_EN10MB, &err))
		fail_msg("%s", err.text);
}

static inline void
test_engine_end(struct test_engine *t)
{
	ffpf_engine_destroy(t->engine);
}

/* A flow in the state asked for: POPULATED, INSTANTIATED or ACTIVE. */
static inline struct ffpf_graph_flow *
test_flow(struct test_engine *t, const char *name, const char *text, enum ffpf_graph_state state)
{
	struct ffpf_graph_error err = { 0 };
	struct ffpf_graph_flow *flow = NULL;

	if (ffpf_graph_flow_create(&flow, t->engine, name, FFPF_GRAPH_SHARE_ALL, &err.error) ||
	    ffpf_graph_flow_populate(flow, text, &err) ||
	    (state >= FFPF_GRAPH_INSTANTIATED && ffpf_graph_flow_instantiate(flow, &err)) ||
	    (state >= FFPF_GRAPH_ACTIVE && ffpf_graph_flow_activate(flow, &err.error)))
		fail_msg("%s: %s", text, err.error.text);
	return flow;
}

/* The next n packets, handed over one call or several of `at_once`. */
static inline void
test_send(struct test_engine *t, uint32_t n, uint32_t at_once)
{
	uint8_t octets[100][16];
	struct ffpf_packet pkts[100];
	struct ffpf_error err = { 0 };

	assert_true(at_once <= 100);
	while (n) {
		uint32_t now = n < at_once ? n : at_once;

		for (uint32_t i = 0; i < now; i++, t->sent++) {
			memset(octets[i], (int)t->sent, sizeof(octets[i]));
			pkts[i] = (struct ffpf_packet){
				.data = octets[i],
				.ts_sec = (int64_t)t->sent,
				.cap_len = sizeof(octets[i]),
				.wire_len = 60 + (uint32_t)(t->sent % 10),
			};
		}
		if (ffpf_engine_hook_handle_packets(t->hook, pkts, now, &err))
			fail_msg("%s", err.text);
		memset(octets, 0xee, sizeof(octets)); /* it is ours again */
		n -= now;
	}
}

static inline struct ffpf_node_counters
test_counters(struct ffpf_graph_flow *flow, uint32_t node)
{
	struct ffpf_node_counters c = { 0 };
	struct ffpf_error err = { 0 };
	uint64_t dropped = 0;

	if (ffpf_graph_flow_counters(flow, node, &c, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < FFPF_NODE_DROP_CAUSES; i++)
		dropped += c.dropped[i];
	assert_int_equal(c.in, c.out + c.filtered + dropped);
	return c;
}

static inline void
test_put32(FILE *fp, uint32_t value)
{
	assert_int_equal(fwrite(&value, sizeof(value), 1, fp), 1);
}

static inline void
test_close_file(void *fp)
{
	assert_int_equal(fclose(fp), 0);
}

/* A savefile of n packets from this second on, one every `step` seconds, as device given:NAME. */
static inline void
test_give_file(struct test_engine *t, const char *name, uint32_t n, uint32_t first, uint32_t step)
{
	struct ffpf_error err = { 0 };
	struct ffpf_reader *reader;
	FILE *fp = tmpfile();

	assert_non_null(fp);
	test_put32(fp, 0xa1b2c3d4);
	test_put32(fp, 4 << 16 | 2);
	test_put32(fp, 0);
	test_put32(fp, 0);
	test_put32(fp, 65535);
	test_put32(fp, TEST_DLT_EN10MB);
	for (uint32_t i = 0; i < n; i++) {
		test_put32(fp, first + i * step);
		test_put32(fp, 0);
		test_put32(fp, 4);
		test_put32(fp, 60);
		test_put32(fp, first + i * step); /* its octets */
	}
	rewind(fp);
	if (ffpf_savefile_open(&reader, fp, NULL, &err) ||
	    ffpf_engine_give_reader(t->engine, name, reader, test_close_file, fp, &err))
		fail_msg("%s", err.text);
}

/* Checks that a packet is whole: its octets say its time. */
static inline uint32_t
test_number_of(const struct ffpf_packet *pkt)
{
	uint32_t value;

	memcpy(&value, pkt->data, sizeof(value));
	assert_int_equal(pkt->ts_sec, value);
	return value;
}

static inline enum ffpf_outcome
test_next(struct ffpf_graph_flow *flow, uint32_t node, uint32_t max, struct ffpf_graph_batch *batch)
{
	struct ffpf_error err = { 0 };
	enum ffpf_outcome outcome = ffpf_graph_getnext_pkt(flow, node, max, -1, batch, &err);

	if (outcome == FFPF_FAILED)
		fail_msg("%s", err.text);
	return outcome;
}

static inline uint32_t
test_read_all(struct ffpf_graph_flow *flow, uint32_t node, uint32_t max)
{
	struct ffpf_graph_batch batch;
	uint32_t n = 0, last = 0;

	while (test_next(flow, node, max, &batch) == FFPF_BATCH) {
		for (uint32_t i = 0; i < batch.count; i++) {
			uint32_t number = test_number_of(&batch.pkts[i]);

			assert_true(number >= last);
			assert_int_equal(batch.link_types[i], TEST_DLT_EN10MB);
			last = number;
		}
		n += batch.count;
	}
	return n;
}

#endif
