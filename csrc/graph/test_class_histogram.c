/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_histogram.h"
#include "graph/testing_packets.h"

#include <stdio.h>

static uint32_t
of_length(struct test_filter *f, uint32_t len)
{
	const struct ffpf_packet pkt = { .data = (const uint8_t *)"", .wire_len = len };
	const struct ffpf_node_pkt in = { .pkt = &pkt, .result = 5, .link_type = DLT_EN10MB };
	uint32_t result = 0;

	test_filter_batch(f, &in, 1, &result);
	return result;
}

static void
values_fall_into_bins_of_equal_width(void **state)
{
	struct test_filter f;
	const struct ffpf_mbuf_histogram *mbuf;

	(void)state;
	test_open(&f, "histogram", "bins=3 from=60 to=70", 0);
	mbuf = f.env.mbuf;
	assert_int_equal(f.env.mbuf_bytes, 48 + 3 * 8);
	for (uint32_t len = 58; len < 73; len++)
		assert_int_equal(of_length(&f, len), 5);
	assert_int_equal(mbuf->below, 2);
	assert_int_equal(mbuf->above, 3);
	assert_report(&f, FFPF_REPORT_TEXT,
		      "of len\nbelow 2\nabove 3\nnone 0\nbins\n"
		      "  from 60 to 63 count 4\n  from 64 to 66 count 3\n  from 67 to 69 count 3\n");
	test_close(&f);
}

static void
values_fall_into_bins_that_double(void **state)
{
	struct test_filter f;
	const struct ffpf_mbuf_histogram *mbuf;

	(void)state;
	test_open(&f, "histogram", "scale=log bins=4", 0);
	mbuf = f.env.mbuf;
	for (uint32_t len = 0; len < 100; len++)
		of_length(&f, len);
	assert_int_equal(mbuf->scale, 1);
	assert_int_equal(mbuf->counts[0], 1);
	assert_int_equal(mbuf->counts[1], 1);
	assert_int_equal(mbuf->counts[2], 2);
	assert_int_equal(mbuf->counts[3], 96);
	assert_report(&f, FFPF_REPORT_JSON,
		      "{\"of\":\"len\",\"below\":0,\"above\":0,\"none\":0,\"bins\":["
		      "{\"from\":0,\"to\":0,\"count\":1},{\"from\":1,\"to\":1,\"count\":1},"
		      "{\"from\":2,\"to\":3,\"count\":2},{\"from\":4,\"to\":18446744073709551615,\"count\":96}]}");
	test_close(&f);
}

/* Every value is in the bin whose edges hold it: against a search by edges, in numbers of 128 bits. */
static void
random_ranges_and_values_agree_with_the_edges(void **state)
{
	uint64_t seed = 0x5eed0001;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		uint64_t bins = 1 + test_random(&seed) % 40, from = test_random(&seed) % 1000,
			 to = from + bins + test_random(&seed) % 5000;
		uint64_t expected[40] = { 0 };
		struct test_filter f;
		char text[128];

		snprintf(text, sizeof(text), "bins=%u from=%u to=%u", (unsigned)bins, (unsigned)from, (unsigned)to);
		test_open(&f, "histogram", text, 0);
		for (unsigned i = 0; i < 50; i++) {
			uint64_t value = from + test_random(&seed) % (to - from);

			for (uint64_t b = 0; b < bins; b++) {
				/* (to - from) * b / bins <= value - from, exactly */
				if ((to - from) * b <= (value - from) * bins &&
				    (value - from) * bins < (to - from) * (b + 1))
					expected[b]++;
			}
			of_length(&f, (uint32_t)value);
		}
		if (memcmp(((struct ffpf_mbuf_histogram *)f.env.mbuf)->counts, expected, bins * 8) != 0)
			fail_msg("round %u: %s", round, text);
		test_close(&f);
	}
}

static void
largest_range_has_no_overflow(void **state)
{
	const struct test_octets o = tcp_packet(1, 2, 3, 65535, 2);
	struct test_filter f;

	(void)state;
	test_open(&f, "histogram", "of=tcp.dport bins=1048576 to=18446744073709551615", 0);
	test_octets(&f, &o, 1);
	assert_int_equal(((struct ffpf_mbuf_histogram *)f.env.mbuf)->counts[0], 1);
	test_close(&f);
}

static void
both_ends_count_and_packets_without_the_field_are_told(void **state)
{
	const struct test_octets o = tcp_packet(1, 1024, 3, 80, 2);
	struct test_filter f;

	(void)state;
	test_open(&f, "histogram", "of=port bins=4 to=4096", 0);
	assert_int_equal(test_octets(&f, &o, 1), UINT32_MAX);
	assert_int_equal(test_packet(&f, "no ports", 8, 2), UINT32_MAX);
	assert_report(
	    &f, FFPF_REPORT_TEXT,
	    "of port\nbelow 0\nabove 0\nnone 1\nbins\n  from 0 to 1023 count 1\n  from 1024 to 2047 count 1\n");
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	struct test_filter f;

	(void)state;
	assert_int_equal(test_parse(&f, "histogram", "bins=5 of=ip.src", 0), -FFPF_E_INVALID);
	assert_non_null(strstr(f.err.text, "\"ip.src\" is no number: len caplen "));
	assert_int_equal(f.args.error_at, 10);
	test_close(&f);
	assert_int_equal(test_parse(&f, "histogram", "of=nothing", 0), -FFPF_E_INVALID);
	assert_non_null(strstr(f.err.text, "\"nothing\" is no field: "));
	test_close(&f);
	assert_refused("histogram", "bins=11 from=5 to=15", 0, "11 bins from 5 to 15: each must hold a whole number",
		       0);
	assert_refused("histogram", "from=5 to=5", 0, "64 bins from 5 to 5: each must hold a whole number", 0);
	assert_refused("histogram", "scale=log to=5", 0,
		       "scale=log has no from and to: its bins are 0, 1, 2..3, 4..7 ...", 0);
	assert_refused("histogram", "scale=log bins=66", 0, "scale=log has at most 65 bins", 0);
	assert_refused("histogram", "scale=cubic", 0, "\"cubic\" is not linear or log", 6);
	assert_refused("histogram", "bins=4", 64, "an MBuf of 64 octets: 4 bins take 80", 0);
	assert_canonical("histogram", "", "of=len bins=64 from=0 to=65536");
	assert_canonical("histogram", "scale=log of=ip.ttl", "of=ip.ttl bins=65 scale=log");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_fall_into_bins_of_equal_width),
		cmocka_unit_test(values_fall_into_bins_that_double),
		cmocka_unit_test(random_ranges_and_values_agree_with_the_edges),
		cmocka_unit_test(largest_range_has_no_overflow),
		cmocka_unit_test(both_ends_count_and_packets_without_the_field_are_told),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
