/* SPDX-License-Identifier: BSD-3-Clause */
/* Writers and readers at once. Each packet says which it is, so every one is accounted for; run under the thread
 * sanitizer too. */
#include "hook/testing.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define PACKETS 40000u

struct writer {
	struct ffpf_hook *hook;
	uint64_t first, count;
	uint32_t max_len;
	uint64_t seed;
	uint32_t burst; /* flush, and let others run, after so many */
};

static void *
write_packets(void *arg)
{
	struct writer *w = arg;
	uint8_t data[2048];

	for (uint64_t i = 0; i < w->count; i++) {
		uint32_t len = 8 + (uint32_t)(test_random(&w->seed) % (w->max_len - 7));
		const struct ffpf_hook_packet pkt = { .data = data, .cap_len = len, .wire_len = len };

		test_fill(data, w->first + i, len);
		ffpf_hook_handle_packet(w->hook, &pkt);
		if (i % w->burst == w->burst - 1) {
			ffpf_hook_flush(w->hook);
			sched_yield();
		}
	}
	ffpf_hook_close(w->hook);
	return NULL;
}

static struct ffpf_hook *
hook_of(enum ffpf_bms_id bms, uint64_t cells, uint32_t batch, enum ffpf_store_kind store)
{
	struct ffpf_hook_config cfg = test_hook_config(bms, cells);
	struct ffpf_hook *hook = NULL;

	cfg.publish_batch = batch;
	cfg.store = store;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	return hook;
}

static struct ffpf_reader *
blocking_reader(struct ffpf_flow *flow, enum ffpf_lanes_wait wait)
{
	/* nobody waits that long: a timeout is a lost wake-up */
	const struct ffpf_lanes_config cfg = {
		.snap_len = 65536, .tick = FFPF_TICK_NS, .timeout_ms = 20000, .want = 1, .wait = wait
	};
	struct ffpf_reader *r = NULL;

	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	return r;
}

/* Reads to the end; every packet must be whole, and of each writer's in order. */
static uint64_t
read_all(struct ffpf_reader *r, uint64_t per_writer)
{
	uint64_t next_of[4] = { 0 };
	struct ffpf_batch batch;
	uint64_t n = 0;
	int64_t last = 0;

	for (;;) {
		enum ffpf_outcome outcome = r->ops->next(r, &batch);

		if (outcome == FFPF_END)
			return n;
		if (outcome == FFPF_LAPPED)
			continue;
		assert_int_equal(outcome, FFPF_BATCH);
		for (uint32_t i = 0; i < batch.count; i++) {
			const struct ffpf_packet *p = &batch.pkts[i];
			uint64_t number = test_number(p->data);
			int64_t ns = p->ts_sec * 1000000000 + p->ts_frac;

			assert_true(test_is_whole(p->data, p->cap_len));
			assert_true(number / per_writer < 4);
			assert_true(number % per_writer >= next_of[number / per_writer]);
			next_of[number / per_writer] = number % per_writer + 1;
			assert_true(ns >= last); /* of one lane, or merged */
			last = ns;
			n++;
		}
		r->ops->release(r, batch.count);
	}
}

static const struct {
	uint64_t cells;
	uint32_t slots, batch, burst;
	enum ffpf_store_kind store;
	enum ffpf_lanes_wait wait;
} runs[] = {
	{ 4096, 1024, 1, 100, FFPF_STORE_MEMCPY, FFPF_LANES_WAIT_FUTEX },
	{ 64, 1024, 1, 1000, FFPF_STORE_MEMCPY, FFPF_LANES_WAIT_FD },
	{ 4096, 16, 1, 1000, FFPF_STORE_WORDS, FFPF_LANES_WAIT_FUTEX },
	{ 128, 64, 32, 320, FFPF_STORE_MEMCPY, FFPF_LANES_WAIT_FUTEX },
	{ 256, 8, 32, 64, FFPF_STORE_AUTO, FFPF_LANES_WAIT_FD },
};

#define RUNS (sizeof(runs) / sizeof(runs[0]))

/* SRP loses nothing that it does not count; FRP never delivers a torn record. */
static void
count_two_threads(enum ffpf_bms_id bms)
{
	uint64_t seed = test_seed();

	for (size_t i = 0; i < RUNS; i++) {
		struct ffpf_hook *hook = hook_of(bms, runs[i].cells, runs[i].batch, runs[i].store);
		struct ffpf_flow *flow = test_flow(hook, runs[i].slots, NULL);
		struct ffpf_reader *r = blocking_reader(flow, runs[i].wait);
		struct writer w = { hook, 0, PACKETS, 600, seed + i + 1, runs[i].burst };
		struct ffpf_counters c;
		pthread_t thread;
		uint64_t n;

		pthread_create(&thread, NULL, write_packets, &w);
		n = read_all(r, PACKETS);
		pthread_join(thread, NULL);
		r->ops->counters(r, &c);
		test_law(flow, r);
		assert_int_equal(c.delivered, n);
		assert_int_equal(c.waiting, 0);
		assert_int_equal(c.seen, PACKETS);
		assert_true(n > 0);
		if (bms == FFPF_BMS_SRP)
			assert_int_equal(n + c.dropped[FFPF_DROP_PBUF] + c.dropped[FFPF_DROP_IBUF], PACKETS);
		else
			assert_int_equal(n + c.dropped[FFPF_DROP_LAPPED], PACKETS);
		print_message("%zu: delivered %llu of %u\n", i, (unsigned long long)n, PACKETS);
		test_close(hook, flow, r);
	}
}

static void
srp_loses_nothing_uncounted(void **state)
{
	(void)state;
	count_two_threads(FFPF_BMS_SRP);
}

static void
frp_delivers_nothing_torn(void **state)
{
	(void)state;
	count_two_threads(FFPF_BMS_FRP);
}

static void
two_writers_are_merged_in_order(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		for (uint32_t batch = 1; batch <= 8; batch += 7) {
			struct ffpf_hook *a = hook_of(bms, 1024, batch, FFPF_STORE_MEMCPY);
			struct ffpf_hook *b = hook_of(bms, 1024, batch, FFPF_STORE_MEMCPY);
			struct ffpf_flow *flow = test_flow(a, 256, NULL);
			struct writer of_a = { a, 0, PACKETS / 2, 200, seed + 1, 50 };
			struct writer of_b = { b, PACKETS, PACKETS / 2, 200, seed + 2, 70 };
			struct ffpf_counters c;
			struct ffpf_reader *r;
			pthread_t threads[2];
			uint64_t n;

			must(ffpf_hook_attach(b, flow, &test_err));
			r = blocking_reader(flow, FFPF_LANES_WAIT_FUTEX);
			pthread_create(&threads[0], NULL, write_packets, &of_a);
			pthread_create(&threads[1], NULL, write_packets, &of_b);
			n = read_all(r, PACKETS);
			pthread_join(threads[0], NULL);
			pthread_join(threads[1], NULL);
			r->ops->counters(r, &c);
			assert_int_equal(c.seen, PACKETS);
			assert_int_equal(c.delivered, n);
			test_law(flow, r);
			test_end_two(r, flow, a, b);
		}
	}
}

struct sleeper {
	struct ffpf_reader *r;
	_Atomic uint64_t got;
};

static void *
sleep_and_count(void *arg)
{
	struct sleeper *s = arg;
	struct ffpf_batch batch;

	for (;;) {
		enum ffpf_outcome outcome = s->r->ops->next(s->r, &batch);

		if (outcome != FFPF_BATCH)
			return (void *)(intptr_t)outcome;
		s->r->ops->release(s->r, batch.count);
		atomic_fetch_add(&s->got, batch.count);
	}
}

/* One packet, and the next only when that one was read: every one finds the reader asleep, or on its way there. */
static void
no_wake_up_is_lost(void **state)
{
	(void)state;
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = hook_of(FFPF_BMS_SRP, 64, 1, FFPF_STORE_MEMCPY);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct sleeper s = { .r = blocking_reader(flow, wait) };
		pthread_t thread;
		void *outcome;

		pthread_create(&thread, NULL, sleep_and_count, &s);
		for (uint64_t i = 0; i < 1500; i++) {
			assert_int_equal(test_send(hook, i, 16), 1);
			while (atomic_load(&s.got) <= i)
				sched_yield();
		}
		ffpf_hook_close(hook);
		pthread_join(thread, &outcome);
		assert_int_equal((intptr_t)outcome, FFPF_END);
		test_close(hook, flow, s.r);
	}
}

static void
wake_ends_the_wait_of_another_thread(void **state)
{
	(void)state;
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = hook_of(FFPF_BMS_SRP, 64, 1, FFPF_STORE_MEMCPY);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct sleeper s = { .r = blocking_reader(flow, wait) };

		for (unsigned i = 0; i < 200; i++) {
			pthread_t thread;
			void *outcome;

			pthread_create(&thread, NULL, sleep_and_count, &s);
			if (i % 2)
				sched_yield();
			s.r->ops->wake(s.r);
			pthread_join(thread, &outcome);
			assert_int_equal((intptr_t)outcome, FFPF_INTERRUPTED);
		}
		test_close(hook, flow, s.r);
	}
}

static struct ffpf_bpf_prog *
second_octet_below(uint32_t k)
{
	const struct ffpf_bpf_insn insns[] = {
		{ .code = 0x30, .k = 1 },
		{ .code = 0x35, .jt = 1, .k = k }, /* jge */
		{ .code = 0x06, .k = 1 },
		{ .code = 0x06, .k = 0 },
	};
	struct ffpf_bpf_prog *prog = NULL;

	must(ffpf_bpf_prog_create(&prog, insns, 4, FFPF_BPF_INTERPRETER, &test_err));
	return prog;
}

/* One flow's filter changes all the time, and others come and go: it gets nothing that fails its filter, and the flow
 * beside it everything. */
static void
filters_and_flows_change_under_load(void **state)
{
	uint64_t seed = test_seed();
	struct ffpf_hook *hook = hook_of(FFPF_BMS_SRP, 65536, 4, FFPF_STORE_MEMCPY);
	struct ffpf_flow *steady = test_flow(hook, 65536, NULL), *changing = test_flow(hook, 4096, NULL);
	struct ffpf_reader *r = test_reader(changing), *other = test_reader(steady);
	struct writer w = { hook, 0, PACKETS, 30, seed, 200 };
	static uint64_t numbers[PACKETS];
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, write_packets, &w);
	for (unsigned i = 0; i < 300; i++) {
		uint32_t limit = 1 + (uint32_t)(test_random(&seed) % 255);
		struct ffpf_bpf_prog *prog = second_octet_below(limit);
		struct ffpf_flow *guest = test_flow(hook, 16, prog);
		struct ffpf_batch batch;

		must(r->ops->set_filter(r, prog));
		for (unsigned n = 0; n < 3 && r->ops->next(r, &batch) == FFPF_BATCH; n++) {
			for (uint32_t p = 0; p < batch.count; p++)
				assert_true(batch.pkts[p].data[1] < limit);
			r->ops->release(r, batch.count / 2);
			must(r->ops->set_filter(r, prog));
		}
		must(ffpf_hook_detach(hook, guest, &test_err));
		test_law(guest, NULL);
		ffpf_flow_destroy(guest);
		/* no hook may run it any more once this returns: the sanitizers watch */
		must(r->ops->set_filter(r, NULL));
		ffpf_bpf_prog_destroy(prog);
	}
	while (test_drain(r, numbers, PACKETS))
		;
	pthread_join(thread, NULL);
	while (test_drain(r, numbers, PACKETS))
		;
	assert_int_equal(test_drain(other, numbers, PACKETS), PACKETS);
	for (uint64_t i = 0; i < PACKETS; i++)
		assert_int_equal(numbers[i], i);
	test_law(changing, r);
	test_law(steady, other);
	r->ops->close(r);
	other->ops->close(other);
	must(ffpf_hook_detach(hook, changing, &test_err));
	must(ffpf_hook_detach(hook, steady, &test_err));
	ffpf_flow_destroy(changing);
	ffpf_flow_destroy(steady);
	ffpf_hook_destroy(hook);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(srp_loses_nothing_uncounted),
		cmocka_unit_test(frp_delivers_nothing_torn),
		cmocka_unit_test(two_writers_are_merged_in_order),
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(wake_ends_the_wait_of_another_thread),
		cmocka_unit_test(filters_and_flows_change_under_load),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
