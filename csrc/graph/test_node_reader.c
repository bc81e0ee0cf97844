/* SPDX-License-Identifier: BSD-3-Clause */
/* A node as a reader, and pulls of it: what is not taken waits in the graph again. */
#include "columns/pull.h"
#include "graph/node_reader.h"
#include "graph/testing_flow.h"

#include <pcap/dlt.h>
#include <pthread.h>
#include <unistd.h>

static struct ffpf_error err;

static struct ffpf_pull *
pull_of(struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_reader **reader)
{
	struct ffpf_pull *pull;

	if (ffpf_graph_node_reader(reader, flow, node, NULL, NULL, &err) ||
	    ffpf_pull_create(&pull, *reader, NULL, false, &err))
		fail_msg("%s", err.text);
	return pull;
}

static uint64_t
waiting(struct ffpf_graph_flow *flow, uint32_t node)
{
	struct ffpf_graph_reader_counters c;

	assert_int_equal(ffpf_graph_flow_reader_counters(flow, node, &c, &err), 0);
	assert_int_equal(c.let_through, c.delivered + c.waiting);
	return c.waiting;
}

static void
what_is_not_taken_waits_in_the_graph(void **state)
{
	struct ffpf_row rows[8];
	uint8_t octets[3 * 16 + 5]; /* for three packets of the hook's */
	struct ffpf_rows want = { .room = 8, .rows = rows, .octets = octets, .octets_room = sizeof(octets) };
	struct ffpf_reader *reader;
	struct ffpf_graph_flow *flow;
	struct ffpf_pull *pull;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	flow = test_flow(&t, "f", "(device,hook:h) -> (packetcount)", FFPF_GRAPH_ACTIVE);
	pull = pull_of(flow, 1, &reader);
	test_send(&t, 10, 10);
	for (uint32_t seen = 0; seen < 10; seen += want.count) {
		assert_int_equal(waiting(flow, 1), 10 - seen);
		assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_BATCH);
		assert_int_equal(want.count, seen == 9 ? 1 : 3);
		assert_int_equal(want.link_type, DLT_EN10MB);
		for (uint32_t i = 0; i < want.count; i++) {
			assert_int_equal(rows[i].ts_ns, (seen + i) * 1000000000ull);
			assert_int_equal(octets[rows[i].offset], seen + i);
		}
	}
	test_send(&t, 1, 1); /* nothing is out: the graph goes on */
	want.room = 1;
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_BATCH);
	ffpf_graph_node_reader_wait(reader, 1);
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_TIMEOUT);
	assert_int_equal(ffpf_pull_set_nonblock(pull, true, &err), 0);
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_WOULD_BLOCK);
	assert_int_equal(ffpf_pull_set_filter(pull, NULL, &err), -FFPF_E_NOT_SUPPORTED);
	ffpf_pull_drop(pull);
	test_engine_end(&t);
}

static void
a_pull_has_one_link_type(void **state)
{
	static const char *const names[] = { "a", "b" };
	const uint8_t octets[20] = { 0x45 };
	struct ffpf_engine_hook *hooks[2];
	struct ffpf_rows want = { .room = 100 };
	struct ffpf_reader *reader;
	struct ffpf_graph_flow *flow;
	struct ffpf_pull *pull;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ffpf_engine_hook_open(&hooks[i], t.engine, names[i], i ? DLT_RAW : DLT_EN10MB, &err),
				 0);
	flow = test_flow(&t, "f", "(device,hook:a) | (device,hook:b) -> (packetcount)", FFPF_GRAPH_ACTIVE);
	pull = pull_of(flow, 2, &reader);
	for (int i = 0; i < 6; i++) { /* a a a b b a */
		const struct ffpf_packet pkt = { .data = octets, .cap_len = 20, .wire_len = 20, .ts_sec = i };

		assert_int_equal(ffpf_engine_hook_handle_packets(hooks[i == 3 || i == 4], &pkt, 1, &err), 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_BATCH);
		assert_int_equal(want.count, 3 - i);
		assert_int_equal(want.link_type, i == 1 ? DLT_RAW : DLT_EN10MB);
	}
	assert_int_equal(waiting(flow, 2), 0);
	ffpf_pull_drop(pull);
	test_engine_end(&t);
}

static void *
stop_soon(void *pull)
{
	usleep(50000);
	ffpf_pull_stop(pull);
	return NULL;
}

static void
stop_reaches_one_that_waits(void **state)
{
	struct ffpf_rows want = { .room = 1 };
	struct ffpf_reader *reader;
	struct ffpf_graph_flow *flow;
	struct ffpf_pull *pull;
	struct test_engine t;
	pthread_t thread;

	(void)state;
	test_engine_begin(&t, NULL);
	flow = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	pull = pull_of(flow, FFPF_GRAPH_LAST, &reader);
	assert_int_equal(pthread_create(&thread, NULL, stop_soon, pull), 0);
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_END);
	assert_int_equal(pthread_join(thread, NULL), 0);
	ffpf_pull_drop(pull);
	test_engine_end(&t);
}

static void
note(void *arg)
{
	++*(int *)arg;
}

static void
a_closed_flow_is_told_and_the_reader_outlives_it(void **state)
{
	struct ffpf_rows want = { .room = 1 };
	struct ffpf_reader *reader;
	struct ffpf_graph_flow *flow;
	struct ffpf_pull *pull;
	struct test_engine t;
	int closed = 0;

	(void)state;
	test_engine_begin(&t, NULL);
	flow = test_flow(&t, "f", FEED, FFPF_GRAPH_POPULATED);
	assert_int_equal(ffpf_graph_node_reader(&reader, flow, 0, note, &closed, &err), -FFPF_E_INVALID);
	ffpf_graph_flow_destroy(flow);
	flow = test_flow(&t, "g", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_node_reader(&reader, flow, 0, note, &closed, &err), 0);
	assert_int_equal(ffpf_pull_create(&pull, reader, NULL, false, &err), 0);
	test_send(&t, 3, 3);
	assert_int_equal(ffpf_graph_flow_close(flow, &err), 0);
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_FAILED);
	assert_string_equal(err.text, "flow \"g\" is closed: reading is not possible now");
	ffpf_pull_stop(pull);
	assert_int_equal(closed, 0);
	ffpf_pull_drop(pull);
	assert_int_equal(closed, 1);
	test_engine_end(&t);
}

static void
only_what_is_out_is_given_back(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_graph_flow *flow;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	flow = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_read_begin(flow, 0, &err), 0);
	test_send(&t, 5, 5);
	assert_int_equal(ffpf_graph_getnext_pkt(flow, 0, 4, 0, &batch, &err), FFPF_BATCH);
	assert_int_equal(ffpf_graph_give_back(flow, 0, 5, &err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_graph_give_back(flow, 0, 3, &err), 0);
	assert_int_equal(waiting(flow, 0), 4);
	assert_int_equal(ffpf_graph_getnext_pkt(flow, 0, 0, 0, &batch, &err), FFPF_BATCH);
	assert_int_equal(batch.count, 4);
	assert_int_equal(batch.pkts[0].data[0], 1);
	test_engine_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_taken_waits_in_the_graph),
		cmocka_unit_test(a_pull_has_one_link_type),
		cmocka_unit_test(stop_reaches_one_that_waits),
		cmocka_unit_test(a_closed_flow_is_told_and_the_reader_outlives_it),
		cmocka_unit_test(only_what_is_out_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
