/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads on one flow, and processes that inherit one. */
#include "graph/testing_flow.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#define FED 2000

static void *
feed(void *arg)
{
	test_send(arg, FED, 3);
	ffpf_engine_hook_close(((struct test_engine *)arg)->hook);
	return NULL;
}

struct reading {
	struct ffpf_graph_flow *flow;
	uint32_t node, packets, refused;
};

static void *
read_in_a_thread(void *arg)
{
	struct reading *r = arg;

	for (;;) {
		struct ffpf_error err = { 0 };
		struct ffpf_graph_batch batch;
		enum ffpf_outcome outcome = ffpf_graph_getnext_pkt(r->flow, r->node, 0, -1, &batch, &err);

		if (outcome == FFPF_END)
			return NULL;
		if (outcome == FFPF_FAILED) {
			r->refused++;
			usleep(100);
			continue;
		}
		for (uint32_t i = 0; outcome == FFPF_BATCH && i < batch.count; i++)
			r->packets += batch.pkts[i].data[0] == (uint8_t)batch.pkts[i].ts_sec;
		ffpf_graph_release(r->flow, r->node, &err);
	}
}

/* One feeds, one reads the first node, two read the last one of the same flow, and one looks at the counters. */
static void
threads_share_a_flow(void **state)
{
	struct reading readings[3] = { { .node = 0 }, { .node = 2 }, { .node = 2 } };
	pthread_t threads[4];
	struct ffpf_error err = { 0 };
	struct test_engine t;
	struct ffpf_graph_flow *f;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_read_begin(f, 0, &err), 0);
	assert_int_equal(ffpf_graph_read_begin(f, 2, &err), 0);
	for (int i = 0; i < 3; i++) {
		readings[i].flow = f;
		assert_int_equal(pthread_create(&threads[i], NULL, read_in_a_thread, &readings[i]), 0);
	}
	assert_int_equal(pthread_create(&threads[3], NULL, feed, &t), 0);
	while (test_counters(f, 0).in < FED)
		usleep(200);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(readings[0].packets, FED);
	assert_int_equal(readings[1].packets + readings[2].packets, FED / 2);
	test_engine_end(&t);
}

static void *
close_soon(void *arg)
{
	struct ffpf_error err = { 0 };

	usleep(10000);
	assert_int_equal(ffpf_graph_flow_close(arg, &err), 0);
	return NULL;
}

static void
closing_ends_the_wait_of_another_thread(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_error err = { 0 };
	struct ffpf_graph_flow *f;
	struct test_engine t;
	pthread_t thread;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(pthread_create(&thread, NULL, close_soon, f), 0);
	assert_int_equal(ffpf_graph_getnext_pkt(f, 2, 0, -1, &batch, &err), FFPF_FAILED);
	assert_string_equal(err.text, "flow \"f\" is closed: reading is not possible now");
	assert_int_equal(pthread_join(thread, NULL), 0);
	test_engine_end(&t);
}

static int
use_in_the_child(struct test_engine *t, struct ffpf_graph_flow *f)
{
	struct ffpf_graph_batch batch;
	struct ffpf_error err = { 0 };
	char text[128];

	snprintf(text, sizeof(text), "the graph belongs to process %d, of which this one is a child: it needs its own",
		 (int)getppid());
	if (ffpf_graph_getnext_pkt(f, 0, 0, 0, &batch, &err) != FFPF_FAILED || strcmp(err.text, text) != 0)
		return 1;
	if (ffpf_graph_flow_pause(f, &err) != -FFPF_E_BUSY || ffpf_graph_flow_state(f) != FFPF_GRAPH_ACTIVE)
		return 2;
	if (ffpf_graph_flow_close(f, &err))
		return 3;
	ffpf_graph_flow_destroy(f);
	ffpf_engine_destroy(t->engine);
	return 0;
}

static void
a_forked_child_is_told(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *f;
	struct ffpf_graph_batch batch;
	int status = -1;
	pid_t child;

	(void)state;
	test_engine_begin(&t, NULL);
	test_give_file(&t, "x", 1000, 1, 1);
	f = test_flow(&t, "f", "(device,given:x)", FFPF_GRAPH_ACTIVE);
	assert_int_equal(test_next(f, 0, 10, &batch), FFPF_BATCH);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(use_in_the_child(&t, f));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(test_read_all(f, 0, 0), 990); /* the child's end has not moved the file */
	test_engine_end(&t);
}

/* ---- a class that takes long to open ---- */

static sem_t is_away, may_return;

static int
open_slowly(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	(void)instance;
	(void)err;
	env->away(env->away_arg, true);
	sem_post(&is_away);
	sem_wait(&may_return);
	env->away(env->away_arg, false);
	return 0;
}

static uint32_t
let_pass(void *instance, const struct ffpf_node_pkt *in)
{
	(void)instance;
	return in->result;
}

static const struct ffpf_class slow = {
	.name = "slow", .levels = FFPF_LEVEL_USERSPACE, .open = open_slowly, .filter = let_pass
};

static void *
open_one(void *arg)
{
	return test_flow(arg, "late", "(device,hook:h) -> (sampler,2) -> (slow)", FFPF_GRAPH_ACTIVE);
}

static void *
close_another(void *arg)
{
	struct ffpf_error err = { 0 };

	assert_int_equal(ffpf_graph_flow_close(arg, &err), 0);
	return NULL;
}

/* What the new node hangs on stays, though its only flow closes meanwhile: that waits. */
static void
packets_pass_while_a_class_is_being_opened(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_graph_flow *f;
	struct ffpf_error err = { 0 };
	struct test_engine t;
	pthread_t opens, closes;
	void *late;

	(void)state;
	assert_int_equal(sem_init(&is_away, 0, 0) | sem_init(&may_return, 0, 0), 0);
	test_engine_begin(&t, NULL);
	assert_int_equal(ffpf_engine_add_class(t.engine, &slow, &err), 0);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_read_begin(f, FFPF_GRAPH_LAST, &err), 0);
	assert_int_equal(pthread_create(&opens, NULL, open_one, &t), 0);
	sem_wait(&is_away);
	test_send(&t, 100, 10);
	assert_int_equal(ffpf_graph_getnext_pkt(f, FFPF_GRAPH_LAST, 0, 0, &batch, &err), FFPF_BATCH);
	assert_int_equal(batch.count, 50);
	assert_int_equal(pthread_create(&closes, NULL, close_another, f), 0);
	sem_post(&may_return);
	assert_int_equal(pthread_join(opens, &late), 0);
	assert_int_equal(pthread_join(closes, NULL), 0);
	test_send(&t, 100, 10);
	assert_int_equal(test_counters(late, 2).in, 50);
	test_engine_end(&t);
	sem_destroy(&is_away);
	sem_destroy(&may_return);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_flow),
		cmocka_unit_test(closing_ends_the_wait_of_another_thread),
		cmocka_unit_test(a_forked_child_is_told),
		cmocka_unit_test(packets_pass_while_a_class_is_being_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
