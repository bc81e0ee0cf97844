/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/testing_packets.h"

static void
directions_have_one_result_and_flows_spread(void **state)
{
	struct test_filter plain, four, seeded;
	unsigned boxes[5] = { 0 }, differ = 0;

	(void)state;
	test_open(&plain, "flow_hash", "", 0);
	test_open(&four, "flow_hash", "mod=4", 0);
	test_open(&seeded, "flow_hash", "seed=2", 0);
	assert_null(plain.env.mbuf);
	for (unsigned i = 0; i < 4000; i++) {
		const struct test_octets there = tcp_packet(0x0a000001, 1024 + i, 0x0a0000ff, 80, 2),
					 back = tcp_packet(0x0a0000ff, 80, 0x0a000001, 1024 + i, 18);
		uint32_t result = test_octets(&plain, &there, i), box = test_octets(&four, &there, i);

		assert_int_equal(test_octets(&plain, &back, i), result);
		assert_int_not_equal(result, 0);
		assert_int_equal(box, 1 + ((uint64_t)result * 4 >> 32));
		differ += test_octets(&seeded, &there, i) != result;
		boxes[box]++;
	}
	assert_int_equal(differ, 4000);
	for (unsigned i = 1; i <= 4; i++)
		assert_true(boxes[i] > 1000 - 170 && boxes[i] < 1000 + 170); /* six deviations */
	test_close(&plain);
	test_close(&four);
	test_close(&seeded);
}

static void
packets_without_a_flow_pass_too(void **state)
{
	struct test_filter f;
	uint32_t result;

	(void)state;
	test_open(&f, "flow_hash", "", 0);
	result = test_packet(&f, "", 0, 1);
	assert_int_not_equal(result, 0);
	assert_int_equal(test_packet(&f, "short", 5, 2), result);
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("flow_hash", "mod=0", 0, "\"0\" is no number from 1 to 4294967295", 4);
	assert_refused("flow_hash", "4", 0, "what is \"4\"? Arguments: [mod=N] [seed=S]", 0);
	assert_canonical("flow_hash", "", "seed=1");
	assert_canonical("flow_hash", "seed=1 mod=3", "mod=3 seed=1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directions_have_one_result_and_flows_spread),
		cmocka_unit_test(packets_without_a_flow_pass_too),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
