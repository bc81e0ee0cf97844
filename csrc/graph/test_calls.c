/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs call and read, without a compiler: a class whose text names what it calls, one after the other. */
#include "externs/externs.h"
#include "graph/testing_flow.h"

/* ---- (caller,a b): the sum of what a and b return; none of them reads or writes what it is not given ---- */

struct caller {
	char *text;
	struct ffpf_extern_set *set;
	void *mbuf;
	uint64_t *dropped;
};

#define CALLS_MAX 8

static int
caller_parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct caller *self = instance;

	(void)err;
	ffpf_text_add(&args->calls, "%s", args->text);
	self->text = strdup(args->text);
	return 0;
}

static int
caller_open(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct caller *self = instance;
	const char *uses[CALLS_MAX];
	char *copy = strdup(self->text), *rest = NULL;
	uint32_t count = 0;
	int status;

	for (char *word = strtok_r(copy, " ", &rest); word && count < CALLS_MAX; word = strtok_r(NULL, " ", &rest))
		uses[count++] = word;
	self->mbuf = env->mbuf;
	self->dropped = env->dropped;
	status = ffpf_extern_set_create(&self->set, uses, count, env->mbuf_bytes, env->externs, err);
	free(copy);
	return status;
}

static uint32_t
caller_filter(void *instance, const struct ffpf_node_pkt *in)
{
	struct caller *self = instance;
	uint64_t sum = 0;

	self->set->in = in;
	self->set->drop = false;
	for (uint32_t i = 0; i < self->set->count; i++)
		sum += self->set->uses[i]->call(self->set->uses[i], in->pkt->data, in->pkt->cap_len, self->mbuf, 0, 8);
	if (!self->set->drop)
		return (uint32_t)sum;
	++*self->dropped;
	return 0;
}

static void
caller_close(void *instance)
{
	struct caller *self = instance;

	ffpf_extern_set_destroy(self->set);
	free(self->text);
}

static const struct ffpf_class caller_class = {
	.name = "caller",
	.program = true,
	.instance_bytes = sizeof(struct caller),
	.parse = caller_parse,
	.open = caller_open,
	.filter = caller_filter,
	.close = caller_close,
};

/* ---- (probe,RESULT): adds one to the first word, drops every fourth packet; (probe,x) cannot be opened ---- */

static struct {
	uint32_t parsed, opened, ticked, flushed, closed;
} probes;

struct probe {
	uint64_t *word, *dropped;
	uint32_t result;
};

static int
probe_parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct probe *self = instance;

	assert_true(args->called);
	if (args->text[0] == '!')
		return ffpf_args_fail(args, 0, err, "not this");
	self->result = args->text[0] == 'x' ? UINT32_MAX : (uint32_t)(args->text[0] - '0');
	probes.parsed++;
	return 0;
}

static int
probe_open(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct probe *self = instance;

	if (self->result == UINT32_MAX)
		return ffpf_error_set(err, FFPF_E_DENIED, "it stays closed");
	self->word = env->mbuf;
	self->dropped = env->dropped;
	probes.opened++;
	return 0;
}

static void
probe_filter(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	struct probe *self = instance;

	for (uint32_t i = 0; i < count; i++) {
		const bool lost = in[i].ts_ns / 1000000000 % 4 == 3;

		ffpf_word_add(self->word, 1);
		*self->dropped += lost;
		results[i] = lost ? 0 : self->result;
	}
}

static void
probe_tick(void *instance, uint64_t now_ns)
{
	(void)instance;
	(void)now_ns;
	probes.ticked++;
}

static int
probe_flush(void *instance, struct ffpf_error *err)
{
	(void)instance;
	(void)err;
	probes.flushed++;
	return 0;
}

static void
probe_close(void *instance)
{
	(void)instance;
	probes.closed++;
}

static const struct ffpf_class probe_class = {
	.name = "probe",
	.summary = "",
	.instance_bytes = sizeof(struct probe),
	.mbuf_bytes = 8,
	.parse = probe_parse,
	.open = probe_open,
	.filter_batch = probe_filter,
	.tick = probe_tick,
	.flush = probe_flush,
	.close = probe_close,
};

static void
begin(struct test_engine *t)
{
	struct ffpf_error err = { 0 };

	memset(&probes, 0, sizeof(probes));
	test_engine_begin(t, NULL);
	assert_int_equal(ffpf_engine_add_class(t->engine, &caller_class, &err), 0);
	assert_int_equal(ffpf_engine_add_class(t->engine, &probe_class, &err), 0);
}

static uint64_t
word_of(struct ffpf_graph_flow *flow, uint32_t node, uint32_t number)
{
	struct ffpf_error err = { 0 };
	size_t bytes;
	void *mbuf;

	assert_int_equal(ffpf_graph_flow_mbuf(flow, node, &mbuf, &bytes, &err), 0);
	return ffpf_word_load((uint64_t *)mbuf + number);
}

static void
callees_live_and_end_with_their_caller(void **state)
{
	static const char text[] = "a=(probe,2); b=(probe,3); unused=(probe,!); "
				   "(device,hook:h) -> (caller,a b,64) -> (packetcount)";
	struct ffpf_graph_flow *flow, *same;
	struct test_engine t;

	(void)state;
	begin(&t);
	flow = test_flow(&t, "f", text, FFPF_GRAPH_ACTIVE);
	assert_int_equal(probes.opened, 2);
	same = test_flow(&t, "g", text, FFPF_GRAPH_ACTIVE);
	assert_int_equal(probes.opened, 2); /* one caller, and what it calls */
	assert_int_equal(probes.parsed - probes.closed, 2);
	test_send(&t, 40, 10);
	assert_int_equal(word_of(flow, 1, 0), 80); /* two for each packet, in the caller's MBuf */
	assert_int_equal(test_counters(flow, 1).out, 30);
	assert_int_equal(test_counters(flow, 1).dropped[FFPF_NODE_DROP_CLASS], 10);
	assert_int_equal(test_counters(same, 2).in, 30);
	assert_int_equal(probes.ticked, 2 * 4);
	ffpf_graph_flow_destroy(flow);
	assert_int_equal(probes.flushed, 0);
	ffpf_graph_flow_destroy(same);
	assert_int_equal(probes.flushed, 2);
	assert_int_equal(probes.parsed, probes.closed);
	test_engine_end(&t);
}

static void
what_fails_leaves_nothing(void **state)
{
	static const struct {
		const char *text, *words;
		uint32_t column;
	} cases[] = {
		{ "a=(probe,2); b=(probe,!); (device,hook:h) -> (caller,a b,64)", "not this", 23 },
		{ "a=(probe,2); b=(probe,x); (device,hook:h) -> (caller,a b,64)", "it stays closed", 23 },
		{ "a=(probe,2); (device,hook:h) -> (caller,a b,64)", "there is no external function b", 41 },
		{ "a=(probe,2,64); (device,hook:h) -> (caller,a,8)", "it takes 64 octets of its caller's MBuf", 10 },
		{ "a=(caller,b); b=(probe,2); (device,hook:h) -> (caller,a,8)", "no external function b", 11 },
		{ "a=(probe,2); (device,hook:h) -> (caller,mem@n,64)", "no external function mem@n", 41 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_graph_error why = { 0 };
		struct ffpf_graph_flow *flow;
		struct test_engine t;

		begin(&t);
		flow = test_flow(&t, "f", cases[i].text, FFPF_GRAPH_POPULATED);
		assert_true(ffpf_graph_flow_instantiate(flow, &why) < 0);
		if (!strstr(why.error.text, cases[i].words) || why.column != cases[i].column)
			fail_msg("%s: %s", cases[i].text, why.error.text);
		assert_int_equal(ffpf_engine_instance_count(t.engine), 0);
		assert_int_equal(probes.parsed, probes.closed);
		test_engine_end(&t);
	}
}

static void
memory_is_read_whole_and_stays_while_it_is(void **state)
{
	struct ffpf_graph_flow *flow, *reader;
	struct test_engine t;

	(void)state;
	begin(&t);
	flow = test_flow(&t, "f", "(device,hook:h) -> n=(packetcount)", FFPF_GRAPH_INSTANTIATED);
	reader =
	    test_flow(&t, "g", "x=f.n; (device,hook:h) -> (caller,mem@x Mem@X) -> (packetcount)", FFPF_GRAPH_ACTIVE);
	test_send(&t, 10, 1);
	assert_int_equal(word_of(flow, 1, 0), 10);          /* it runs, for its reader */
	assert_int_equal(test_counters(reader, 2).out, 10); /* never 0: the packet was counted before it came here */
	ffpf_graph_flow_destroy(flow);
	test_send(&t, 10, 10);
	assert_int_equal(test_counters(reader, 2).out, 20);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 4);
	ffpf_graph_flow_destroy(reader);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 0);
	test_engine_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callees_live_and_end_with_their_caller),
		cmocka_unit_test(what_fails_leaves_nothing),
		cmocka_unit_test(memory_is_read_whole_and_stays_while_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
