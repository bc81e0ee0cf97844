/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/testing.h"

#define ROOM 4096

static uint64_t numbers[ROOM];

/* Ends a test of two flows; readers may be NULL. */
static void
close_two(struct ffpf_hook *hook, struct ffpf_flow *a, struct ffpf_reader *ra, struct ffpf_flow *b,
	  struct ffpf_reader *rb)
{
	if (rb)
		rb->ops->close(rb);
	must(ffpf_hook_detach(hook, b, &test_err));
	ffpf_flow_destroy(b);
	test_close(hook, a, ra);
}

static void
table_finds_by_id_and_name(void **state)
{
	(void)state;
	assert_ptr_equal(ffpf_bms_find(FFPF_BMS_SRP), &ffpf_bms_srp);
	assert_ptr_equal(ffpf_bms_find_name("frp"), &ffpf_bms_frp);
	assert_null(ffpf_bms_find(0));
	assert_null(ffpf_bms_find_name("lru"));
}

static void
srp_stops_at_r_star_and_goes_on_behind_it(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(test_send(hook, i, 16), i < 16);
	assert_int_equal(test_dropped(flow, FFPF_DROP_PBUF), 4);
	test_law(flow, r);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 16);
	r->ops->release(r, 10);
	/* released, but R advances in batches: with the next next() */
	assert_int_equal(test_send(hook, 20, 16), 0);
	test_law(flow, r);
	r->ops->release(r, 6);
	assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
	assert_int_equal(test_send(hook, 21, 16 + 15 * FFPF_CELL_BYTES), 1); /* the whole PBuf */
	assert_int_equal(test_send(hook, 22, 16), 0);
	assert_int_equal(test_drain(r, numbers, ROOM), 1);
	assert_int_equal(numbers[0], 21);
	test_law(flow, r);
	test_close(hook, flow, r);
}

static void
srp_slowest_reader_blocks_the_group(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *fast = test_flow(hook, 64, NULL), *slow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(fast), *lazy = test_reader(slow);

	(void)state;
	for (uint64_t i = 0; i < 16; i++) {
		assert_int_equal(test_send(hook, i, 16), 2);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
	}
	assert_int_equal(test_send(hook, 16, 16), 0);
	assert_int_equal(test_dropped(fast, FFPF_DROP_PBUF), 1);
	assert_int_equal(test_dropped(slow, FFPF_DROP_PBUF), 1);
	assert_int_equal(test_drain(lazy, numbers, ROOM), 16);
	assert_int_equal(test_send(hook, 17, 16), 2);
	test_law(fast, r);
	test_law(slow, lazy);
	close_two(hook, fast, r, slow, lazy);
}

static struct ffpf_bpf_prog *
filter_of(const struct ffpf_bpf_insn *insns, uint32_t n)
{
	struct ffpf_bpf_prog *prog = NULL;

	must(ffpf_bpf_prog_create(&prog, insns, n, FFPF_BPF_INTERPRETER, &test_err));
	return prog;
}

/* A flow whose IBuf is empty must not stop its group, however long ago its reader looked. */
static void
srp_empty_ibuf_does_not_constrain(void **state)
{
	static const struct ffpf_bpf_insn nothing[] = { { .code = 0x06, .k = 0 } };
	struct ffpf_bpf_prog *none = filter_of(nothing, 1);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *idle = test_flow(hook, 64, none), *busy = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(busy);

	(void)state;
	for (uint64_t i = 0; i < 200; i++) {
		assert_int_equal(test_send(hook, i, 16), 1);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
	}
	assert_int_equal(test_dropped(busy, FFPF_DROP_PBUF), 0);
	test_law(idle, NULL);
	close_two(hook, idle, NULL, busy, r);
	ffpf_bpf_prog_destroy(none);
}

static void
srp_full_ibuf_stops_its_flow_alone(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *small = test_flow(hook, 4, NULL), *large = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(small), *other = test_reader(large);

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(test_send(hook, i, 16), i < 4 ? 2 : 1);
	assert_int_equal(test_dropped(small, FFPF_DROP_IBUF), 6);
	assert_int_equal(test_drain(other, numbers, ROOM), 10);
	assert_int_equal(test_drain(r, numbers, ROOM), 4);
	assert_int_equal(test_send(hook, 10, 16), 2);
	test_law(small, r);
	test_law(large, other);
	close_two(hook, small, r, large, other);
}

/* 16 packets are stored, of which the reader says it has read `first`, and then `second`. Only last R <= R <= W keeps
 * it. */
static void
srp_hostile_r_evicts(void **state)
{
	static const struct {
		uint64_t first, second;
		bool evicted;
	} cases[] = {
		{ 0, 0, false },         { 16, 16, false },        { 3, 16, false }, { 3, 2, true },
		{ 3, 0, true },          { 3, 200, true },         { 17, 17, true }, { UINT64_MAX, 0, true },
		{ 1ull << 32, 1, true }, { 16, 1ull << 63, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL), *honest = test_flow(hook, 64, NULL);
		struct ffpf_reader *r = test_reader(honest);

		for (uint64_t n = 0; n < 16; n++)
			assert_int_equal(test_send(hook, n, 16), 2);
		assert_int_equal(test_drain(r, numbers, ROOM), 16);
		atomic_store(&flow->page->r[0], cases[i].first);
		test_send(hook, 16, 16);
		atomic_store(&flow->page->r[0], cases[i].second);
		for (uint64_t n = 17; n < 40; n++) {
			test_send(hook, n, 16);
			test_drain(r, numbers, ROOM);
			test_law(flow, NULL);
			test_law(honest, r);
		}
		assert_int_equal(atomic_load(&flow->lanes[0].ibuf->page->state) == FFPF_IBUF_EVICTED, cases[i].evicted);
		assert_int_equal(test_dropped(flow, FFPF_DROP_EVICTED) > 0, cases[i].evicted);
		/* the honest one goes on where the other is evicted, and waits for it where it is merely slow */
		assert_int_equal(test_send(hook, 40, 16), cases[i].evicted);
		close_two(hook, flow, NULL, honest, r);
	}
}

/* The paper's example: R 50, W 400, wrap 10, a set of 100; then W 450, wrap 11. Here with a PBuf of 512 cells. */
static void
frp_example_of_the_paper(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_FRP, 512);
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;
	struct ffpf_counters c;
	const struct ffpf_lane_page *page;
	uint64_t n = 0;

	(void)state;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 1024, NULL);
	r = test_reader(flow);
	page = ffpf_hook_lane(hook)->page;
	while (n < 10 * 512 + 50)
		test_send(hook, n++, 16);
	test_drain(r, numbers, ROOM);
	while (n < 10 * 512 + 400)
		test_send(hook, n++, 16);
	assert_int_equal(atomic_load(&page->wrap), 10);
	assert_int_equal(atomic_load(&page->w) % 512, 400);
	while (n < 11 * 512 + 450)
		test_send(hook, n++, 16);
	assert_int_equal(atomic_load(&page->wrap), 11);
	assert_int_equal(atomic_load(&page->w) % 512, 450);
	assert_int_equal(test_drain(r, numbers, ROOM), 512);
	assert_int_equal(numbers[0], n - 512);
	r->ops->counters(r, &c);
	assert_int_equal(c.dropped[FFPF_DROP_LAPPED], (10 * 512 + 50 - 512) + 400);
	test_law(flow, r);
	test_close(hook, flow, r);
}

static void
frp_loses_for_the_slow_reader_alone(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_FRP, 64);
	struct ffpf_flow *fast = test_flow(hook, 16, NULL), *slow = test_flow(hook, 16, NULL);
	struct ffpf_reader *r = test_reader(fast), *lazy = test_reader(slow);
	struct ffpf_batch batch;
	struct ffpf_counters c;

	(void)state;
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(test_send(hook, i, 16), 2);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
	}
	assert_int_equal(lazy->ops->next(lazy, &batch), FFPF_LAPPED);
	assert_int_equal(lazy->ops->next(lazy, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 16);
	assert_int_equal(test_number(batch.pkts[0].data), 84);
	lazy->ops->counters(lazy, &c);
	assert_int_equal(c.dropped[FFPF_DROP_LAPPED], 84);
	lazy->ops->release(lazy, 16);
	test_law(slow, lazy);
	r->ops->counters(r, &c);
	assert_int_equal(ffpf_counters_dropped(&c), 0);
	test_law(fast, r);
	close_two(hook, fast, r, slow, lazy);
}

/* What is announced is lost already, although W does not say so yet. */
static void
frp_believes_the_intent_not_w(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_FRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);

	(void)state;
	for (uint64_t i = 0; i < 16; i++)
		test_send(hook, i, 16);
	ffpf_lane_claim((struct ffpf_lane *)(uintptr_t)ffpf_hook_lane(hook), 5);
	assert_int_equal(test_drain(r, numbers, ROOM), 11);
	assert_int_equal(numbers[0], 5);
	test_law(flow, r);
	test_close(hook, flow, r);
}

static const struct ffpf_bpf_insn first_octet_is_zero[] = {
	{ .code = 0x30, .k = 0 },          /* ldb [0] */
	{ .code = 0x15, .jf = 1, .k = 0 }, /* jeq #0 */
	{ .code = 0x06, .k = UINT32_MAX }, /* ret */
	{ .code = 0x06, .k = 0 },
};

/* 32 bits cannot tell a position from one 2^32 cells later. A flow that matches seldom must not deliver another packet.
 */
static void
frp_old_index_is_not_taken_for_a_young_one(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_FRP, 4096);
	struct ffpf_bpf_prog *seldom = filter_of(first_octet_is_zero, 4);
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow, *others;
	struct ffpf_reader *r;
	struct ffpf_lane *lane;
	struct ffpf_counters c;

	(void)state;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 16, seldom);
	others = test_flow(hook, 16, NULL);
	r = test_reader(flow);
	lane = (struct ffpf_lane *)(uintptr_t)ffpf_hook_lane(hook);
	assert_int_equal(test_send(hook, 256, 16), 2);
	/* 2^32 cells go by, of which the lane is told only where its sweeps are */
	for (unsigned half = 1; half <= 2; half++) {
		lane->w = (uint64_t)half << 31;
		lane->w -= 2;
		for (uint64_t i = 1; i < 5; i++)
			assert_int_equal(test_send(hook, i, 16), 1);
	}
	/* a record that begins exactly 2^32 cells after the first */
	lane->w = (1ull << 32) + 4096;
	assert_int_equal(test_send(hook, 257, 16), 1);
	assert_int_equal(test_drain(r, numbers, ROOM), 0);
	r->ops->counters(r, &c);
	assert_int_equal(c.dropped[FFPF_DROP_LAPPED], 1);
	close_two(hook, flow, r, others, NULL);
	ffpf_bpf_prog_destroy(seldom);
}

/* Positions cross 2^32 while everything goes on. */
static void
indexes_wrap_at_32_bits(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook_config cfg = test_hook_config(bms, 16);
		struct ffpf_hook *hook = NULL;
		struct ffpf_flow *flow;
		struct ffpf_reader *r;

		cfg.first_lap = (1ull << 28) - 2;
		must(ffpf_hook_create(&hook, &cfg, &test_err));
		flow = test_flow(hook, 8, NULL);
		r = test_reader(flow);
		for (uint64_t i = 0; i < 100; i++) {
			assert_int_equal(test_send(hook, i, 16 + (i % 3) * 64), 1);
			assert_int_equal(test_drain(r, numbers, ROOM), 1);
			assert_int_equal(numbers[0], i);
		}
		assert_true(ffpf_hook_lane(hook)->w > 1ull << 32);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_finds_by_id_and_name),
		cmocka_unit_test(srp_stops_at_r_star_and_goes_on_behind_it),
		cmocka_unit_test(srp_slowest_reader_blocks_the_group),
		cmocka_unit_test(srp_empty_ibuf_does_not_constrain),
		cmocka_unit_test(srp_full_ibuf_stops_its_flow_alone),
		cmocka_unit_test(srp_hostile_r_evicts),
		cmocka_unit_test(frp_example_of_the_paper),
		cmocka_unit_test(frp_loses_for_the_slow_reader_alone),
		cmocka_unit_test(frp_believes_the_intent_not_w),
		cmocka_unit_test(frp_old_index_is_not_taken_for_a_young_one),
		cmocka_unit_test(indexes_wrap_at_32_bits),
	};

	return cmocka_run_group_tests_name("bms", tests, NULL, NULL);
}
