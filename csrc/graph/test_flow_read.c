/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/testing_flow.h"

#include <unistd.h>

static void
check_reader(struct ffpf_graph_flow *flow, uint32_t node, uint64_t let_through, uint64_t dropped)
{
	struct ffpf_graph_reader_counters c;
	struct ffpf_error err = { 0 };

	assert_int_equal(ffpf_graph_flow_reader_counters(flow, node, &c, &err), 0);
	assert_int_equal(c.let_through, let_through);
	assert_int_equal(c.dropped_ibuf + c.dropped_pbuf, dropped);
	assert_int_equal(c.let_through, c.delivered + c.waiting + c.dropped_ibuf + c.dropped_pbuf);
}

static void
a_file_is_read_to_its_end_at_any_node(void **state)
{
	static const struct {
		uint32_t node, max, packets;
	} cases[] = { { 0, 0, 5000 }, { 1, 0, 1666 }, { 2, 100, 1666 }, { FFPF_GRAPH_LAST, 1, 1666 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_graph_batch batch;
		struct ffpf_graph_flow *f;
		struct ffpf_error err = { 0 };
		struct test_engine t;

		test_engine_begin(&t, NULL);
		test_give_file(&t, "x", 5000, 1, 1);
		f = test_flow(&t, "f", "(device,given:x) -> (sampler,3) -> (packetcount,,8)", FFPF_GRAPH_ACTIVE);
		assert_int_equal(test_read_all(f, cases[i].node, cases[i].max), cases[i].packets);
		assert_int_equal(test_next(f, cases[i].node, 0, &batch), FFPF_END); /* and again */
		check_reader(f, cases[i].node, cases[i].packets, 0);
		assert_int_equal(test_counters(f, 0).in, 5000);
		assert_int_equal(test_counters(f, 2).in, 1666);
		assert_int_equal(ffpf_graph_flow_close(f, &err), 0);
		assert_int_equal(ffpf_graph_getnext_pkt(f, 0, 0, 0, &batch, &err), FFPF_FAILED);
		assert_string_equal(err.text, "flow \"f\" is closed: reading is not possible now");
		test_engine_end(&t);
	}
}

static void
files_are_merged_by_time(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *f;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "a", 3000, 0, 3);
	test_give_file(&t, "b", 2000, 1, 5);
	test_give_file(&t, "c", 0, 0, 1);
	f = test_flow(&t, "f", "(device,given:a) | (device,given:b) | (device,given:c)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(test_read_all(f, FFPF_GRAPH_LAST, 0), 5000); /* in order, which read_all checks */
	test_engine_end(&t);
}

static void
two_readers_in_turns_see_everything(void **state)
{
	struct ffpf_graph_batch a, b;
	struct ffpf_graph_flow *f, *g;
	uint32_t from_a = 0, from_b = 0;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "x", 5000, 1, 1);
	f = test_flow(&t, "f", "(device,given:x) -> (sampler,2)", FFPF_GRAPH_INSTANTIATED);
	g = test_flow(&t, "g", "(device,given:x) -> (sampler,3)", FFPF_GRAPH_INSTANTIATED);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 3); /* the file is shared: nothing was read yet */
	for (int i = 0; i < 2; i++) {
		struct ffpf_error err = { 0 };

		assert_int_equal(ffpf_graph_flow_activate(i ? g : f, &err), 0);
		assert_int_equal(ffpf_graph_read_begin(i ? g : f, 1, &err), 0);
	}
	for (;;) {
		enum ffpf_outcome one = test_next(f, 1, 100, &a), two = test_next(g, 1, 300, &b);

		for (uint32_t i = 0; i < a.count; i++) /* still as it was, though the other has driven on */
			assert_int_equal(test_number_of(&a.pkts[i]), 2 * ++from_a);
		for (uint32_t i = 0; i < b.count; i++)
			assert_int_equal(test_number_of(&b.pkts[i]), 3 * ++from_b);
		if (one == FFPF_END && two == FFPF_END)
			break;
	}
	assert_int_equal(from_a, 2500);
	assert_int_equal(from_b, 1666);
	test_engine_end(&t);
}

static void
a_file_that_was_begun_is_not_shared(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_graph_flow *f, *g;
	struct ffpf_graph_error err;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "x", 1000, 1, 1);
	f = test_flow(&t, "f", "all=(device,given:x)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(test_next(f, 0, 0, &batch), FFPF_BATCH);
	g = test_flow(&t, "g", "(device,given:x)", FFPF_GRAPH_POPULATED);
	assert_int_equal(ffpf_graph_flow_instantiate(g, &err), -FFPF_E_NO_SUCH_DEVICE);
	ffpf_graph_flow_destroy(g);
	g = test_flow(&t, "g", "all -> (packetcount)", FFPF_GRAPH_ACTIVE); /* by its name it is */
	assert_int_equal(ffpf_graph_getnext_pkt(g, 1, 0, -1, &batch, &err.error), FFPF_FAILED);
	assert_string_equal(err.error.text, "flow \"f\" has packets of a device out: release them first");
	assert_int_equal(ffpf_graph_release(f, 0, &err.error), 0);
	assert_true(test_read_all(g, 1, 0) < 1000);
	test_engine_end(&t);
}

static void
who_does_not_read_loses_alone(void **state)
{
	const struct ffpf_engine_config cfg = { .batch = 16, .queue_slots = 64, .store_bytes = 1 << 20 };
	struct ffpf_graph_flow *f, *g;
	struct ffpf_error err = { 0 };
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, &cfg);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	g = test_flow(&t, "g", "(device,hook:h)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_read_begin(f, 2, &err), 0);
	assert_int_equal(ffpf_graph_read_begin(g, 0, &err), 0);
	for (int i = 0; i < 20; i++) {
		struct ffpf_graph_batch batch;

		test_send(&t, 10, 10);
		assert_int_equal(test_next(f, 2, 0, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 5);
	}
	check_reader(f, 2, 100, 0);
	check_reader(g, 0, 200, 200 - 64);
	assert_int_equal(ffpf_graph_wait_for_n_pkts(g, 0, 65, 0, NULL, &err), -FFPF_E_INVALID);
	assert_string_equal(err.text, "65 packets: the queue has room for 64");
	test_engine_end(&t);
}

static void
waiting_for_n_packets(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_error err = { 0 };
	enum ffpf_outcome outcome;
	struct ffpf_graph_flow *f;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "x", 1500, 1, 1);
	f = test_flow(&t, "f", "(device,given:x) -> (sampler,2)", FFPF_GRAPH_ACTIVE);
	assert_true(ffpf_graph_wait_for_n_pkts(f, 1, 600, -1, &outcome, &err) >= 600);
	assert_int_equal(outcome, FFPF_BATCH);
	assert_int_equal(test_next(f, 1, 600, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 600);
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(test_number_of(&batch.pkts[i]), 2 * (i + 1));
	assert_int_equal(ffpf_graph_wait_for_n_pkts(f, 1, 600, -1, &outcome, &err), 150);
	assert_int_equal(outcome, FFPF_END);
	ffpf_graph_flow_destroy(f);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_wait_for_n_pkts(f, 0, 3, 10, &outcome, &err), 0);
	assert_int_equal(outcome, FFPF_TIMEOUT);
	test_send(&t, 2, 2);
	assert_int_equal(ffpf_graph_wait_for_n_pkts(f, 0, 3, 0, &outcome, &err), 2);
	assert_int_equal(outcome, FFPF_WOULD_BLOCK);
	ffpf_engine_wake(t.engine);
	assert_int_equal(ffpf_graph_wait_for_n_pkts(f, 0, 3, -1, &outcome, &err), 2);
	assert_int_equal(outcome, FFPF_INTERRUPTED);
	assert_int_equal(ffpf_graph_flow_pause(f, &err), 0);
	assert_int_equal(test_next(f, 0, 0, &batch), FFPF_BATCH); /* what was queued before */
	assert_int_equal(test_next(f, 0, 0, &batch), FFPF_WOULD_BLOCK);
	test_engine_end(&t);
}

struct heard {
	struct ffpf_graph_flow *flow, *close;
	uint32_t calls, packets, sizes[64], until;
	int refused;
};

static bool
hear(void *arg, const struct ffpf_graph_batch *batch)
{
	struct heard *heard = arg;
	struct ffpf_error err = { 0 };

	heard->sizes[heard->calls++ % 64] = batch->count;
	heard->packets += batch->count;
	heard->refused += ffpf_graph_wait_for_n_pkts(heard->flow, 0, 1, 0, NULL, &err) == -FFPF_E_INVALID;
	test_counters(heard->flow, 0); /* what does not wait may be called */
	if (heard->close)
		assert_int_equal(ffpf_graph_flow_close(heard->close, &err), 0);
	return !heard->until || heard->calls < heard->until;
}

static void
callbacks_come_with_n_packets(void **state)
{
	struct heard heard = { 0 };
	struct ffpf_graph_batch batch;
	struct ffpf_error err = { 0 };
	struct ffpf_graph_flow *f;
	struct test_engine t;
	uint64_t packets;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "x", 1050, 1, 1);
	heard.flow = f = test_flow(&t, "f", "(device,given:x)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_filter_callback(f, 0, hear, &heard, 100, 0, &err), 0);
	assert_int_equal(ffpf_graph_getnext_pkt(f, 0, 0, 0, &batch, &err), FFPF_FAILED);
	assert_string_equal(err.text, "a callback has the packets of this node");
	assert_int_equal(ffpf_engine_run(t.engine, 0, -1, &packets, &err), FFPF_END);
	assert_int_equal(packets, 1050);
	assert_int_equal(heard.calls, 11);
	assert_int_equal(heard.refused, 11);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(heard.sizes[i], 100);
	assert_int_equal(heard.sizes[10], 50); /* the rest, at the end */
	ffpf_graph_flow_destroy(f);

	/* its life is over: by its own word, by time, or taken away */
	heard = (struct heard){ .until = 2 };
	heard.flow = f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_filter_callback(f, 1, hear, &heard, 3, 0, &err), 0);
	test_send(&t, 100, 20);
	assert_int_equal(heard.calls, 2);
	assert_int_equal(test_next(f, 1, 0, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 50 - 6);
	assert_int_equal(ffpf_graph_release(f, 1, &err), 0);
	heard = (struct heard){ .flow = f };
	assert_int_equal(ffpf_graph_filter_callback(f, 1, hear, &heard, 1, 1, &err), 0);
	usleep(2000);
	test_send(&t, 10, 10);
	assert_int_equal(heard.calls, 0);
	assert_int_equal(ffpf_graph_filter_callback(f, 1, hear, &heard, 2, 3600000, &err), 0);
	assert_int_equal(ffpf_graph_filter_callback(f, 1, NULL, NULL, 2, 0, &err), 0);
	test_send(&t, 10, 10);
	assert_int_equal(heard.calls, 0);
	assert_int_equal(test_next(f, 1, 0, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 10);
	test_engine_end(&t);
}

static void
a_callback_may_close_another_flow_and_its_own(void **state)
{
	struct ffpf_error err = { 0 };
	struct ffpf_graph_flow *f, *g;
	struct test_engine t;
	struct heard heard;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	g = test_flow(&t, "g", "c -> (bytecount,,8)", FFPF_GRAPH_ACTIVE);
	heard = (struct heard){ .flow = f, .close = g };
	assert_int_equal(ffpf_graph_filter_callback(f, 2, hear, &heard, 2, 0, &err), 0);
	assert_int_equal(ffpf_graph_read_begin(g, 1, &err), 0);
	test_send(&t, 40, 20);
	assert_int_equal(heard.packets, 20);
	assert_int_equal(ffpf_graph_flow_state(g), FFPF_GRAPH_CLOSED);
	heard.close = f;
	test_send(&t, 40, 20);
	assert_int_equal(heard.packets, 22);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 0);
	test_engine_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_read_to_its_end_at_any_node),
		cmocka_unit_test(files_are_merged_by_time),
		cmocka_unit_test(two_readers_in_turns_see_everything),
		cmocka_unit_test(a_file_that_was_begun_is_not_shared),
		cmocka_unit_test(who_does_not_read_loses_alone),
		cmocka_unit_test(waiting_for_n_packets),
		cmocka_unit_test(callbacks_come_with_n_packets),
		cmocka_unit_test(a_callback_may_close_another_flow_and_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
