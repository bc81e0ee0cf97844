/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_rate.h"
#include "graph/testing_packets.h"

#define SECOND 1000000000ull

static const uint8_t octets[2000];

static void
windows_follow_each_other_and_empty_ones_count(void **state)
{
	const struct ffpf_mbuf_rate *mbuf;
	struct test_filter f;

	(void)state;
	test_open(&f, "rate", "history=4", 0);
	mbuf = f.env.mbuf;
	assert_int_equal(f.env.mbuf_bytes, 144 + 4 * 32);
	assert_int_equal(test_packet(&f, octets, 100, 10 * SECOND + SECOND / 2), UINT32_MAX);
	test_packet(&f, octets, 1000, 11 * SECOND);
	test_packet(&f, octets, 50, 13 * SECOND + 1);
	test_packet(&f, octets, 50, 13 * SECOND + 2);
	test_packet(&f, octets, 50, 11 * SECOND); /* late: in the window that is open */
	test_packet(&f, octets, 60, 14 * SECOND + SECOND / 2);
	assert_int_equal(mbuf->closed, 4);
	assert_int_equal(mbuf->packets, 6);
	assert_int_equal(mbuf->history[0].begin_ns, 10 * SECOND);
	assert_int_equal(mbuf->history[0].packets, 1);
	assert_int_equal(mbuf->history[1].bytes, 1000);
	assert_int_equal(mbuf->history[2].begin_ns, 12 * SECOND);
	assert_int_equal(mbuf->history[2].packets, 0);
	assert_int_equal(mbuf->history[3].packets, 3);
	assert_int_equal(mbuf->open.bytes, 60);
	assert_int_equal(mbuf->peak_packets.begin_ns, 13 * SECOND);
	assert_int_equal(mbuf->peak_bytes.begin_ns, 11 * SECOND);
	assert_report(&f, FFPF_REPORT_TEXT,
		      "packets 6\nbytes 1310\nseconds 4\nwindows 4\nmean_packets_per_second 1.5\n"
		      "mean_bits_per_second 2620\npeak_packets_per_second 3\npeak_bits_per_second 8000\n");
	test_close(&f);
}

static void
a_gap_of_centuries_costs_no_more_than_the_ring(void **state)
{
	const struct ffpf_mbuf_rate *mbuf;
	struct test_filter f;

	(void)state;
	test_open(&f, "rate", "window=1ms history=8", 0);
	mbuf = f.env.mbuf;
	test_packet(&f, octets, 100, 5);
	f.class->tick(f.instance, UINT64_MAX);
	assert_int_equal(mbuf->closed, UINT64_MAX / 1000000);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(mbuf->history[i].packets, 0);
	assert_int_equal(mbuf->peak_packets.packets, 1);
	assert_int_equal(mbuf->peak_packets.begin_ns, 0);
	test_close(&f);
}

/* Windows counted one by one, the plain way. */
static void
random_times_agree_with_counting(void **state)
{
	enum { WINDOWS = 400, RING = 16 };
	uint64_t seed = 0x5eed0008;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		uint64_t packets[WINDOWS] = { 0 }, bytes[WINDOWS] = { 0 }, now = 0, first;
		const struct ffpf_mbuf_rate *mbuf;
		struct test_filter f;

		test_open(&f, "rate", "window=1us history=16", 0);
		mbuf = f.env.mbuf;
		first = test_random(&seed) % 1000;
		for (now = first; now < 1000 * (WINDOWS - 1);) {
			uint32_t len = (uint32_t)(test_random(&seed) % 2000);

			test_packet(&f, octets, len, now);
			packets[now / 1000]++;
			bytes[now / 1000] += len;
			for (uint64_t i = 0; i < mbuf->closed && i < RING; i++) {
				const struct ffpf_mbuf_rate_window *w = &mbuf->history[(mbuf->closed - 1 - i) % RING];

				assert_int_equal(w->begin_ns, (now / 1000 - 1 - i) * 1000);
				assert_int_equal(w->packets, packets[now / 1000 - 1 - i]);
				assert_int_equal(w->bytes, bytes[now / 1000 - 1 - i]);
			}
			assert_int_equal(mbuf->closed, now / 1000);
			assert_int_equal(mbuf->open.packets, packets[now / 1000]);
			now += test_random(&seed) % (test_random(&seed) % 20 ? 400 : 40000);
		}
		test_close(&f);
	}
}

static void
before_the_first_packet_there_is_no_window(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "rate", "", 0);
	f.class->tick(f.instance, 100 * SECOND);
	assert_report(&f, FFPF_REPORT_JSON,
		      "{\"packets\":0,\"bytes\":0,\"seconds\":0,\"windows\":0,\"peak_packets_per_second\":0,"
		      "\"peak_bits_per_second\":0}");
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("rate", "window=10ns", 0, "a window has one microsecond at least", 7);
	assert_refused("rate", "history=0", 0, "\"0\" is no number from 1 to 1048576", 8);
	assert_refused("rate", "", 144, "an MBuf of 144 octets: 144, and 32 for each window of history", 0);
	assert_refused("rate", "history=3", 144 + 64, "an MBuf of 208 octets: 144, and 32 for each window of history",
		       0);
	assert_refused("rate", "1s", 0, "what is \"1s\"? Arguments: [window=TIME] [history=N]", 0);
	assert_canonical("rate", "", "window=1000000000ns history=64");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_follow_each_other_and_empty_ones_count),
		cmocka_unit_test(a_gap_of_centuries_costs_no_more_than_the_ring),
		cmocka_unit_test(random_times_agree_with_counting),
		cmocka_unit_test(before_the_first_packet_there_is_no_window),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
