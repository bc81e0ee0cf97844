/* SPDX-License-Identifier: BSD-3-Clause */
/* Filter classes of the application's own, and what a run says of a device that failed. */
#include "graph/testing_flow.h"

struct odd {
	uint64_t *seen;
	uint32_t modulus;
};

static uint32_t closed;

static int
odd_parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct odd *odd = instance;

	if (args->text[0] < '2' || args->text[0] > '9')
		return ffpf_args_fail(args, 0, err, "a digit from 2 to 9");
	odd->modulus = (uint32_t)(args->text[0] - '0');
	return 0;
}

static int
odd_open(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct odd *odd = instance;

	(void)err;
	odd->seen = env->mbuf;
	return 0;
}

static uint32_t
odd_filter(void *instance, const struct ffpf_node_pkt *in)
{
	struct odd *odd = instance;

	ffpf_word_add(odd->seen, 1);
	return in->pkt->wire_len % odd->modulus;
}

static void
odd_close(void *instance)
{
	(void)instance;
	closed++;
}

static const struct ffpf_class odd_class = {
	.name = "odd",
	.summary = "packets whose length is no multiple of N",
	.arguments = "N",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct odd),
	.mbuf_bytes = sizeof(uint64_t),
	.parse = odd_parse,
	.open = odd_open,
	.filter = odd_filter,
	.close = odd_close,
};

static void
a_class_of_ones_own_is_like_any(void **state)
{
	struct ffpf_graph_error why = { 0 };
	struct ffpf_error err = { 0 };
	struct ffpf_graph_flow *flow, *other;
	struct test_engine t;
	size_t bytes;
	void *mbuf;

	(void)state;
	closed = 0;
	test_engine_begin(&t, NULL);
	assert_int_equal(ffpf_engine_add_class(t.engine, &odd_class, &err), 0);
	flow = test_flow(&t, "f", "(device,hook:h) -> (odd,3)", FFPF_GRAPH_ACTIVE);
	other = test_flow(&t, "g", "(device,hook:h) -> (odd,3) -> (packetcount)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(closed, 1); /* the one that was there already */
	test_send(&t, 30, 10);
	assert_int_equal(ffpf_graph_flow_mbuf(flow, 1, &mbuf, &bytes, &err), 0);
	assert_int_equal(bytes, 8);
	assert_int_equal(*(uint64_t *)mbuf, 30); /* once a packet, for both flows */
	assert_int_equal(test_counters(other, 2).in, test_counters(flow, 1).out);
	assert_int_equal(test_counters(flow, 1).filtered, 3 * 4); /* 60, 63, 66, 69 of every ten */

	assert_int_equal(ffpf_graph_flow_create(&flow, t.engine, "x", FFPF_GRAPH_SHARE_ALL, &err), 0);
	assert_int_equal(ffpf_graph_flow_populate(flow, "(device,hook:h) -> (odd,1)", &why), 0);
	assert_true(ffpf_graph_flow_instantiate(flow, &why) < 0);
	assert_int_equal(why.column, 25);
	assert_int_equal(closed, 1);
	test_engine_end(&t);
	assert_int_equal(closed, 2);
}

static void
names_of_classes_are_taken_once(void **state)
{
	struct ffpf_class class = odd_class;
	struct ffpf_error err = { 0 };
	struct ffpf_graph_error why = { 0 };
	struct ffpf_graph_flow *flow;
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	assert_int_equal(ffpf_engine_add_class(t.engine, &odd_class, &err), 0);
	assert_int_equal(ffpf_engine_add_class(t.engine, &odd_class, &err), -FFPF_E_INVALID);
	class.name = "packetcount";
	assert_int_equal(ffpf_engine_add_class(t.engine, &class, &err), -FFPF_E_INVALID);
	class.name = "od d";
	assert_int_equal(ffpf_engine_add_class(t.engine, &class, &err), -FFPF_E_INVALID);
	class.name = "";
	assert_int_equal(ffpf_engine_add_class(t.engine, &class, &err), -FFPF_E_INVALID);
	flow = test_flow(&t, "f", "(device,hook:h) -> (even,1)", FFPF_GRAPH_POPULATED);
	assert_true(ffpf_graph_flow_instantiate(flow, &why) < 0);
	assert_non_null(strstr(why.error.text, "there is no class \"even\""));
	test_engine_end(&t);
}

/* A savefile of one packet, and a piece of another. */
static void
give_cut_file(struct test_engine *t)
{
	static const uint32_t words[] = { 0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, TEST_DLT_EN10MB, 7, 0, 4, 60, 7, 8, 0 };
	struct ffpf_error err = { 0 };
	struct ffpf_reader *reader;
	FILE *fp = tmpfile();

	assert_non_null(fp);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		test_put32(fp, words[i]);
	rewind(fp);
	if (ffpf_savefile_open(&reader, fp, NULL, &err) ||
	    ffpf_engine_give_reader(t->engine, "x", reader, test_close_file, fp, &err))
		fail_msg("%s", err.text);
}

static void
a_run_tells_once_that_a_device_failed(void **state)
{
	struct ffpf_error err = { 0 };
	struct ffpf_graph_flow *flow;
	struct test_engine t;
	uint64_t packets;

	(void)state;
	test_engine_begin(&t, NULL);
	give_cut_file(&t);
	flow = test_flow(&t, "f", "(device,given:x) -> (packetcount)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_engine_run(t.engine, 0, -1, &packets, &err), FFPF_FAILED);
	assert_int_equal(packets, 1);
	assert_int_equal(err.code, FFPF_E_TRUNCATED);
	assert_int_equal(ffpf_engine_run(t.engine, 0, -1, &packets, &err), FFPF_END);
	assert_int_equal(test_counters(flow, 1).in, 1);
	test_engine_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_class_of_ones_own_is_like_any),
		cmocka_unit_test(names_of_classes_are_taken_once),
		cmocka_unit_test(a_run_tells_once_that_a_device_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
