/* SPDX-License-Identifier: BSD-3-Clause */
/* What a source asks and says besides its packets. */
#include "hook/hook_internal.h"
#include "hook/testing.h"

#define ROOM 64u

static uint64_t numbers[ROOM];

static void
room_ends_with_the_ibuf_and_comes_back_with_r(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *wide = test_flow(hook, 16, NULL), *narrow = test_flow(hook, 2, NULL);
	struct ffpf_reader *r = test_reader(narrow), *other = test_reader(wide);

	(void)state;
	for (uint64_t i = 0; i < 2; i++) {
		assert_true(ffpf_hook_has_room(hook, 16));
		assert_int_equal(test_send(hook, i, 16), 2);
	}
	assert_false(ffpf_hook_has_room(hook, 16));
	assert_int_equal(test_drain(other, numbers, ROOM), 2);
	assert_false(ffpf_hook_has_room(hook, 16));
	assert_int_equal(test_drain(r, numbers, ROOM), 2);
	assert_true(ffpf_hook_has_room(hook, 16));
	test_law(narrow, r);
	other->ops->close(other);
	must(ffpf_hook_detach(hook, wide, &test_err));
	ffpf_flow_destroy(wide);
	test_close(hook, narrow, r);
}

/* What is asked for is what the packet would take: with a tag, cut at the snap length. */
static void
room_ends_with_the_pbuf(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_SRP, 16);
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;

	(void)state;
	cfg.snap_len = 128 - FFPF_RECORD_DATA;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 64, NULL);
	r = test_reader(flow);
	for (uint64_t i = 0; i < 7; i++)
		assert_int_equal(test_send(hook, i, 200), 1); /* two cells each, as the snap length says */
	assert_int_equal(test_send(hook, 7, 16), 1);
	assert_true(ffpf_hook_has_room(hook, 12));  /* one cell is left */
	assert_false(ffpf_hook_has_room(hook, 16)); /* with a tag two would be needed */
	assert_false(ffpf_hook_has_room(hook, 200));
	assert_int_equal(test_drain(r, numbers, ROOM), 8);
	assert_true(ffpf_hook_has_room(hook, 200));
	test_close(hook, flow, r);
}

static void
nobody_waits_for_what_never_fits_or_for_who_is_evicted_or_lapped(void **state)
{
	struct ffpf_hook *small = test_hook(FFPF_BMS_SRP, 8), *frp = test_hook(FFPF_BMS_FRP, 8);
	struct ffpf_flow *flow = test_flow(small, 2, NULL), *lapped = test_flow(frp, 2, NULL);

	(void)state;
	test_send(small, 0, 16);
	test_send(small, 1, 16);
	assert_false(ffpf_hook_has_room(small, 16));
	assert_true(ffpf_hook_has_room(small, 4096));
	assert_true(ffpf_hook_has_room(small, UINT32_MAX));
	atomic_store(&flow->page->r[0], 99);
	assert_true(ffpf_hook_has_room(small, 16));
	assert_true(flow->lanes[0].ibuf->evicted);
	for (uint64_t i = 0; i < 20; i++) {
		assert_true(ffpf_hook_has_room(frp, 100));
		test_send(frp, i, 100);
	}
	test_close(small, flow, NULL);
	test_close(frp, lapped, NULL);
}

/* Both would wait for ever: the source for room, the reader for packets that have none. */
static void
who_waits_for_more_than_there_is_room_for_is_woken(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_SRP, 64);
	struct ffpf_lanes_config lanes = test_reader_config();
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r = NULL;

	(void)state;
	cfg.publish_batch = 100;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 4, NULL);
	lanes.want = 1000;
	must(ffpf_lanes_open_flow(&r, flow, &lanes, &test_err));
	for (uint64_t i = 0; i < 4; i++)
		test_send(hook, i, 16);
	assert_false(test_is_readable(r));
	assert_false(ffpf_hook_has_room(hook, 16));
	assert_true(test_is_readable(r));
	assert_int_equal(test_drain(r, numbers, ROOM), 4);
	assert_true(ffpf_hook_has_room(hook, 16));
	test_close(hook, flow, r);
}

static void
what_was_lost_before_counts_for_each_flow(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flow = test_flow(hook, 4, NULL);
	struct ffpf_reader *r = test_reader(flow);

	(void)state;
	ffpf_hook_lost(hook, FFPF_DROP_KERNEL, 5);
	ffpf_hook_lost(hook, FFPF_DROP_KERNEL, 0);
	ffpf_hook_lost(hook, FFPF_DROP_INVALID, 2);
	test_send(hook, 1, 16);
	assert_int_equal(test_dropped(flow, FFPF_DROP_KERNEL), 5);
	assert_int_equal(test_dropped(flow, FFPF_DROP_INVALID), 2);
	test_law(flow, r);
	test_close(hook, flow, r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_ends_with_the_ibuf_and_comes_back_with_r),
		cmocka_unit_test(room_ends_with_the_pbuf),
		cmocka_unit_test(nobody_waits_for_what_never_fits_or_for_who_is_evicted_or_lapped),
		cmocka_unit_test(who_waits_for_more_than_there_is_room_for_is_woken),
		cmocka_unit_test(what_was_lost_before_counts_for_each_flow),
	};

	return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
