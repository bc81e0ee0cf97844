/* SPDX-License-Identifier: BSD-3-Clause */
/* FRP without copies: what was overwritten while it was in use is named, and counted once. Alone, and with a writer
 * that runs meanwhile; the latter under the thread sanitizer too. */
#include "hook/testing.h"

#include <pthread.h>
#include <sched.h>

#define LEN    100 /* three cells with its header */
#define CELLS  32  /* ten records, and what the end of a lap leaves unused */
#define ROWS   128
#define WRITES 60000u

static struct ffpf_hook *
frp_hook(uint64_t cells)
{
	return test_hook(FFPF_BMS_FRP, cells);
}

static void
send_n(struct ffpf_hook *hook, uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(test_send(hook, first + i, LEN), 1);
}

static uint64_t
dropped(struct ffpf_reader *r, uint64_t *delivered)
{
	struct ffpf_counters c;

	must(r->ops->counters(r, &c));
	*delivered = c.delivered;
	return c.dropped[FFPF_DROP_LAPPED];
}

static void
expect(struct ffpf_flow *flow, struct ffpf_reader *r, uint64_t delivered, uint64_t lapped)
{
	uint64_t had;

	assert_int_equal(dropped(r, &had), lapped);
	assert_int_equal(had, delivered);
	test_law(flow, r);
}

static void
packets_lie_in_pbuf_and_nothing_is_lost_if_nothing_comes(void **state)
{
	struct ffpf_hook *hook = frp_hook(CELLS);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	const struct ffpf_lane *lane = ffpf_hook_lane(hook);
	struct ffpf_batch batch;
	uint8_t marks[ROWS];

	(void)state;
	assert_true(r->ops->set_in_place(r, true));
	send_n(hook, 7, 5);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		const struct ffpf_packet *p = &batch.pkts[i];

		assert_true(p->data >= lane->cells && p->data < lane->cells + CELLS * FFPF_CELL_BYTES);
		assert_int_equal(test_number(p->data), 7 + i);
		assert_true(test_is_whole(p->data, p->cap_len));
		assert_false(p->flags & FFPF_PACKET_HEAD_WRITABLE); /* it is a record of everybody's */
	}
	r->ops->release(r, 5);
	assert_int_equal(r->ops->overwritten(r, 0, 5, marks), 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(marks[i], 0);
	expect(flow, r, 5, 0);
	assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
	expect(flow, r, 5, 0);
	test_close(hook, flow, r);
}

/* A claim is enough: intent goes ahead, and the packet's cells may be half stored. */
static void
what_was_overwritten_is_named_and_counted_once(void **state)
{
	struct ffpf_hook *hook = frp_hook(CELLS);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;
	uint8_t marks[ROWS], again[ROWS];
	uint32_t lapped = 0;

	(void)state;
	r->ops->set_in_place(r, true);
	send_n(hook, 0, 8);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 8);
	r->ops->release(r, 8);
	expect(flow, r, 8, 0);
	send_n(hook, 100, 6); /* the first few are gone, the last still there */
	assert_int_equal(r->ops->overwritten(r, 0, 8, marks), r->ops->overwritten(r, 0, 8, again));
	assert_memory_equal(marks, again, 8);
	for (uint32_t i = 0; i < 8; i++) {
		bool there = test_number(batch.pkts[i].data) == i && test_is_whole(batch.pkts[i].data, LEN);

		lapped += marks[i];
		assert_true(marks[i] || there);
		assert_true(!i || marks[i] <= marks[i - 1]); /* the oldest first */
	}
	assert_in_range(lapped, 3, 6);
	assert_int_equal(r->ops->overwritten(r, 2, 3, again), marks[2] + marks[3] + marks[4]);
	assert_memory_equal(again, marks + 2, 3);
	expect(flow, r, 8 - lapped, lapped);
	send_n(hook, 200, 40); /* what was found whole was used before this, and stays delivered */
	assert_int_equal(r->ops->overwritten(r, 0, 8, again), lapped);
	expect(flow, r, 8 - lapped, lapped);
	test_close(hook, flow, r);
}

/* Nobody asks: next() does. */
static void
who_does_not_ask_has_it_counted_all_the_same(void **state)
{
	struct ffpf_hook *hook = frp_hook(CELLS);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;

	(void)state;
	r->ops->set_in_place(r, true);
	send_n(hook, 0, 6);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, 6);
	send_n(hook, 100, 30);
	assert_int_equal(r->ops->next(r, &batch), FFPF_LAPPED); /* and of the 30 some */
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, batch.count);
	expect(flow, r, batch.count, 36 - batch.count);
	test_close(hook, flow, r);
}

/* At the time that it is: then a lane without packets holds up no other. */
static void
send_now(struct ffpf_hook *hook, uint64_t number)
{
	uint8_t data[LEN];
	const struct ffpf_hook_packet pkt = { .data = data, .cap_len = LEN, .wire_len = LEN };

	test_fill(data, number, LEN);
	assert_int_equal(ffpf_hook_handle_packet(hook, &pkt), 1);
}

/* Descriptors that were not released come again, as copies; of the rest nothing comes twice. */
static void
both_ways_alternate(void **state)
{
	struct ffpf_hook *a = frp_hook(4096), *b = frp_hook(4096);
	struct ffpf_flow *flow = test_flow(a, 512, NULL);
	struct ffpf_reader *r;
	uint64_t sent = 0, got = 0;
	bool in_place = false;

	(void)state;
	must(ffpf_hook_attach(b, flow, &test_err));
	r = test_reader(flow);
	for (uint32_t round = 0; round < 60 || got < sent; round++) {
		struct ffpf_batch batch;
		uint8_t marks[ROWS];
		uint32_t n;

		for (uint32_t i = 0; round < 60 && i < 1 + round % 9; i++)
			send_now(sent % 3 ? a : b, sent), sent++;
		if (round % 2)
			in_place = !in_place;
		assert_true(r->ops->set_in_place(r, in_place)); /* also when it is so already */
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		n = 1 + round % batch.count;
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(test_number(batch.pkts[i].data), got++); /* the order of their times */
			assert_true(test_is_whole(batch.pkts[i].data, LEN));
		}
		r->ops->release(r, n);
		assert_int_equal(r->ops->overwritten(r, 0, n, marks), 0);
		expect(flow, r, got, 0);
	}
	assert_int_equal(got, sent);
	test_end_two(r, flow, a, b);
}

/* Another process's hooks know no filter: the reader runs it, over memory that may change. */
static void
a_filter_of_the_reader_judges_nothing_that_was_overwritten(void **state)
{
	const struct ffpf_bpf_insn insns[] = { { .code = 0x30, .k = 0 },
					       { .code = 0x54, .k = 1 },
					       { .code = 0x15, .jf = 1, .k = 1 },
					       { .code = 0x06, .k = 1000 },
					       { .code = 0x06, .k = 0 } };
	struct ffpf_bpf_prog *odd = NULL;
	struct ffpf_hook *hook = frp_hook(CELLS);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;
	uint8_t marks[ROWS];
	uint32_t lapped = 0;

	(void)state;
	must(ffpf_bpf_prog_create(&odd, insns, 5, FFPF_BPF_INTERPRETER, &test_err));
	r->ops->set_in_place(r, true);
	send_n(hook, 0, 8);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 8);
	send_n(hook, 101, 5);
	must(r->ops->set_filter(r, odd)); /* the eight come again */
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	for (uint32_t i = 0; i < batch.count; i++) {
		assert_int_equal(test_number(batch.pkts[i].data) % 2, 1);
		assert_true(test_number(batch.pkts[i].data) < 8);
		assert_true(test_is_whole(batch.pkts[i].data, LEN));
	}
	r->ops->release(r, batch.count);
	assert_int_equal(r->ops->overwritten(r, 0, batch.count, marks), 0);
	for (;;) {
		struct ffpf_counters c;
		enum ffpf_outcome outcome = r->ops->next(r, &batch);

		must(r->ops->counters(r, &c));
		lapped = (uint32_t)c.dropped[FFPF_DROP_LAPPED];
		test_law(flow, r);
		if (outcome == FFPF_WOULD_BLOCK)
			break;
		if (outcome == FFPF_BATCH)
			r->ops->release(r, batch.count);
	}
	assert_in_range(lapped, 3, 6);
	must(r->ops->set_filter(r, NULL));
	test_close(hook, flow, r);
	ffpf_bpf_prog_destroy(odd);
}

static void
srp_has_nothing_to_ask_about(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, CELLS);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;

	(void)state;
	send_n(hook, 0, 3);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, 1);
	assert_false(r->ops->set_in_place(r, true)); /* descriptors stay as they are */
	assert_int_equal(test_number(batch.pkts[2].data), 2);
	r->ops->release(r, 2);
	assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
	expect(flow, r, 3, 0);
	test_close(hook, flow, r);
}

/* ---- a writer that does not wait ---- */

static void *
write_on(void *arg)
{
	struct ffpf_hook *hook = arg;

	for (uint32_t i = 0; i < WRITES; i++) {
		test_send(hook, i, 40 + i % 200);
		if (i % 64 == 63)
			sched_yield();
	}
	ffpf_hook_close(hook);
	return NULL;
}

/* A look at the packet of which no load is a race in the terms of C11, so that the thread sanitizer agrees. */
static bool
is_whole_now(const struct ffpf_packet *p)
{
	uint8_t octets[256];

	ffpf_words_read(octets, p->data, (p->cap_len + 7) / 8);
	return p->cap_len >= 40 && test_is_whole(octets, p->cap_len);
}

static void
nothing_torn_is_found_whole(void **state)
{
	struct ffpf_hook *hook = frp_hook(256);
	struct ffpf_flow *flow = test_flow(hook, 256, NULL);
	struct ffpf_lanes_config cfg = test_reader_config();
	uint64_t whole = 0, torn = 0, named = 0, last = 0;
	struct ffpf_counters c;
	struct ffpf_reader *r = NULL;
	pthread_t thread;

	(void)state;
	cfg.nonblock = false;
	cfg.timeout_ms = 20000;
	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	r->ops->set_in_place(r, true);
	pthread_create(&thread, NULL, write_on, hook);
	for (;;) {
		struct ffpf_batch batch;
		enum ffpf_outcome outcome = r->ops->next(r, &batch);
		bool good[ROWS];
		uint64_t numbers[ROWS];
		uint8_t marks[ROWS];

		if (outcome == FFPF_END)
			break;
		if (outcome == FFPF_LAPPED)
			continue;
		assert_int_equal(outcome, FFPF_BATCH);
		sched_yield(); /* be slow */
		for (uint32_t i = 0; i < batch.count; i++) {
			good[i] = is_whole_now(&batch.pkts[i]);
			ffpf_words_read(&numbers[i], batch.pkts[i].data, 1);
		}
		r->ops->release(r, batch.count);
		named += r->ops->overwritten(r, 0, batch.count, marks);
		for (uint32_t i = 0; i < batch.count; i++) {
			torn += !good[i];
			whole += !marks[i];
			if (marks[i])
				continue;
			assert_true(good[i]);
			assert_int_equal(batch.pkts[i].cap_len, 40 + numbers[i] % 200);
			assert_true(!numbers[i] || numbers[i] > last || !last);
			last = numbers[i];
		}
	}
	pthread_join(thread, NULL);
	must(r->ops->counters(r, &c));
	print_message("%llu whole, %llu named, %llu of them torn when looked at\n", (unsigned long long)whole,
		      (unsigned long long)named, (unsigned long long)torn);
	assert_true(named >= torn);
	assert_true(whole > 0);
	assert_int_equal(c.seen, WRITES);
	assert_int_equal(c.delivered, whole);
	assert_int_equal(c.delivered + c.dropped[FFPF_DROP_LAPPED], WRITES);
	test_law(flow, r);
	test_close(hook, flow, r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_lie_in_pbuf_and_nothing_is_lost_if_nothing_comes),
		cmocka_unit_test(what_was_overwritten_is_named_and_counted_once),
		cmocka_unit_test(who_does_not_ask_has_it_counted_all_the_same),
		cmocka_unit_test(both_ways_alternate),
		cmocka_unit_test(a_filter_of_the_reader_judges_nothing_that_was_overwritten),
		cmocka_unit_test(srp_has_nothing_to_ask_about),
		cmocka_unit_test(nothing_torn_is_found_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
