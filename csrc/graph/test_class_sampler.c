/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_sampler.h"
#include "graph/testing_packets.h"

static void
every_nth_packet_passes_and_all_are_counted(void **state)
{
	const struct test_octets o = tcp_packet(1, 2, 3, 4, 2);
	struct test_filter f;

	(void)state;
	test_open(&f, "sampler", "3", 0);
	assert_int_equal(f.env.mbuf_bytes, 4);
	for (unsigned i = 1; i <= 10; i++)
		assert_int_equal(test_octets(&f, &o, i), i % 3 ? 0 : UINT32_MAX);
	assert_int_equal(((struct ffpf_mbuf_sampler_4 *)f.env.mbuf)->seen, 10);
	((struct ffpf_mbuf_sampler_4 *)f.env.mbuf)->seen = UINT32_MAX;
	assert_int_equal(test_octets(&f, &o, 11), 0);
	assert_int_equal(test_octets(&f, &o, 12), UINT32_MAX);
	assert_report(&f, FFPF_REPORT_JSON, "{\"seen\":1}");
	assert_int_equal(f.mbuf[0] >> 32, 0); /* nothing beyond the four octets */
	test_close(&f);
	test_open(&f, "sampler", "1", 8);
	assert_int_equal(test_octets(&f, &o, 1), UINT32_MAX);
	assert_int_equal(((struct ffpf_mbuf_sampler *)f.env.mbuf)->seen, 1);
	test_close(&f);
}

/* Binomial of 100,000 with 1/10: six deviations are 570. */
static void
chance_keeps_one_in_n_and_a_seed_repeats_it(void **state)
{
	const struct test_octets o = tcp_packet(1, 2, 3, 4, 2);
	struct test_filter f, g, other;
	unsigned kept = 0, differ = 0;

	(void)state;
	test_open(&f, "sampler", "1/10 random seed=7", 0);
	test_open(&g, "sampler", "1/10 random seed=7", 8);
	test_open(&other, "sampler", "1/10 random seed=8", 0);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t result = test_octets(&f, &o, i);

		assert_int_equal(test_octets(&g, &o, i), result);
		differ += test_octets(&other, &o, i) != result;
		kept += result != 0;
	}
	assert_true(kept > 10000 - 570 && kept < 10000 + 570);
	assert_true(differ > 10000);
	test_close(&f);
	test_close(&g);
	test_close(&other);
}

static void
generator_is_splitmix64(void **state)
{
	/* of seed 1234567, the generator's first values are 6457827717110365317, 3203168211198807973,
	 * 9817491932198370423, 4593380528125082431: half of 2^64 is 9223372036854775808 */
	static const bool kept[] = { true, true, false, true };
	const struct test_octets o = tcp_packet(1, 2, 3, 4, 2);
	struct test_filter f;

	(void)state;
	test_open(&f, "sampler", "1/2 random seed=1234567", 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(test_octets(&f, &o, i) != 0, kept[i]);
	test_close(&f);
}

static void
flows_are_kept_whole(void **state)
{
	struct test_filter f;
	unsigned kept = 0;

	(void)state;
	test_open(&f, "sampler", "1/8 hash", 0);
	for (unsigned i = 0; i < 8000; i++) {
		const struct test_octets there = tcp_packet(0x0a000000 + i, 1024 + i, 0x0a0000ff, 80, 2),
					 back = tcp_packet(0x0a0000ff, 80, 0x0a000000 + i, 1024 + i, 18);
		uint32_t result = test_octets(&f, &there, i);

		assert_int_equal(test_octets(&f, &back, i), result);
		kept += result != 0;
	}
	assert_true(kept > 1000 - 180 && kept < 1000 + 180); /* six deviations */
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("sampler", "", 0, "which packets? Arguments: N | 1/N random [seed=S] | 1/N hash [seed=S]", 0);
	assert_refused("sampler", "0", 0,
		       "\"0\" is no number from 1 to 4294967295 (N of \"N\", or of \"1/N random\" or \"1/N hash\")", 0);
	assert_refused("sampler", "1/10 often", 0,
		       "what is \"often\"? Arguments: N | 1/N random [seed=S] | 1/N hash [seed=S]", 5);
	assert_refused("sampler", "2 3", 0, "how many packets make a sample is said twice", 2);
	assert_refused("sampler", "2 seed=3", 0, "seed= is for random and hash alone", 0);
	assert_refused("sampler", "2 hash seed=-3", 0, "\"-3\" is no number from 0 to 18446744073709551615", 12);
	assert_refused("sampler", "2", 6, "an MBuf of 6 octets: 4, or 8 or more", 0);
	assert_canonical("sampler", "  2", "2");
	assert_canonical("sampler", "1/2", "2");
	assert_canonical("sampler", "hash 1/2", "1/2 hash seed=1");
	assert_canonical("sampler", "1/2  seed=5 random", "1/2 random seed=5");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_nth_packet_passes_and_all_are_counted),
		cmocka_unit_test(chance_keeps_one_in_n_and_a_seed_repeats_it),
		cmocka_unit_test(generator_is_splitmix64),
		cmocka_unit_test(flows_are_kept_whole),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
