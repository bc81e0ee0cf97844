/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_dedup.h"
#include "graph/testing_packets.h"

#include <stdio.h>

#define MS 1000000ull

static void
duplicates_in_time_and_number_are_turned_away(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "dedup", "packets=2", 0);
	assert_int_equal(test_packet(&f, "one", 3, 100 * MS), UINT32_MAX);
	assert_int_equal(test_packet(&f, "one", 3, 105 * MS), 0);
	assert_int_equal(test_packet(&f, "one", 3, 110 * MS), 0);          /* of the first, at 100 */
	assert_int_equal(test_packet(&f, "one", 3, 111 * MS), UINT32_MAX); /* too late for that one */
	assert_int_equal(test_packet(&f, "one", 3, 102 * MS), 0);          /* time went back */
	assert_int_equal(test_packet(&f, "two", 3, 111 * MS), UINT32_MAX);
	assert_int_equal(test_packet(&f, "one", 3, 111 * MS), 0);
	assert_int_equal(test_packet(&f, "six", 3, 111 * MS), UINT32_MAX);
	assert_int_equal(test_packet(&f, "one", 3, 111 * MS), UINT32_MAX);   /* two others have passed */
	assert_int_equal(test_packet(&f, "one\0", 4, 111 * MS), UINT32_MAX); /* longer by a zero */
	assert_int_equal(test_packet(&f, "", 0, 111 * MS), UINT32_MAX);
	assert_int_equal(test_packet(&f, "", 0, 111 * MS), 0);
	assert_report(&f, FFPF_REPORT_TEXT, "packets 12\nduplicates 5\nbytes 12\n");
	test_close(&f);
}

/* The same datagram as it left, as another VLAN carries it, and one router later; and a different one. */
static void
what_is_ignored_decides_what_is_equal(void **state)
{
	static const struct {
		const char *ignore;
		bool vlan, router; /* are duplicates */
	} cases[] = { { "none", false, false }, { "link", true, false }, { "hop", true, true } };

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		struct test_octets packets[4] = { { .len = 0 } };

		for (unsigned i = 0; i < 4; i++) {
			struct test_octets *o = &packets[i];
			uint32_t network;

			if (i == 1) {
				put_ether(o, 0x8100);
				put16(o, 5);
				put16(o, version == 4 ? 0x0800 : 0x86dd);
			} else {
				put_ether(o, version == 4 ? 0x0800 : 0x86dd);
			}
			network = o->len;
			if (version == 4)
				put_ipv4(o, &(struct test_ipv4){
						.src = 1, .dst = 2, .protocol = IPPROTO_UDP, .payload = 11 });
			else
				put_ipv6(o, 1, 2, IPPROTO_UDP, 11);
			if (i == 2) {
				o->data[0] ^= 8;
				o->data[network + (version == 4 ? 8 : 7)]--;
				if (version == 4)
					o->data[network + 10] ^= 1;
			}
			put_udp(o, 53, 53, 3);
			put(o, i == 3 ? "abd" : "abc", 3);
			if (i == 1)
				put(o, "padding", 7);
		}
		for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
			struct test_filter f;
			char text[32];

			snprintf(text, sizeof(text), "ignore=%s", cases[c].ignore);
			test_open(&f, "dedup", text, 0);
			assert_int_equal(test_octets(&f, &packets[0], MS), UINT32_MAX);
			assert_int_equal(test_octets(&f, &packets[1], MS) == 0, cases[c].vlan);
			assert_int_equal(test_octets(&f, &packets[2], MS) == 0, cases[c].router);
			assert_int_equal(test_octets(&f, &packets[3], MS), UINT32_MAX);
			assert_int_equal(test_packet(&f, "no network", 10, MS), UINT32_MAX);
			assert_int_equal(test_packet(&f, "no network", 10, MS), 0);
			assert_int_equal(test_packet(&f, "new network", 11, MS), UINT32_MAX);
			test_close(&f);
		}
	}
}

/* The rule of the header, said plainly: over all that passed, newest first. */
static void
random_packets_agree_with_the_rule(void **state)
{
	enum { PACKETS = 3000 };
	static uint64_t times[PACKETS];
	static unsigned kinds[PACKETS];
	uint64_t seed = 0x5eed000a;

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		unsigned passed = 0, last = 1 + (unsigned)(test_random(&seed) % 40);
		uint64_t now = 1000;
		struct test_filter f;
		char text[64];

		snprintf(text, sizeof(text), "window=1us packets=%u", last);
		test_open(&f, "dedup", text, 0);
		for (unsigned i = 0; i < PACKETS; i++) {
			unsigned kind = (unsigned)(test_random(&seed) % 30);
			uint8_t octets[40] = { [37] = (uint8_t)kind };
			bool duplicate = false;

			now += test_random(&seed) % 100 - 20;
			for (unsigned p = passed; p-- > 0 && passed - p <= last;)
				duplicate |=
				    kinds[p] == kind && (now > times[p] ? now - times[p] : times[p] - now) <= 1000;
			assert_int_equal(test_packet(&f, octets, 38 + kind % 3, now) == 0, duplicate);
			if (!duplicate) {
				kinds[passed] = kind;
				times[passed++] = now;
			}
		}
		test_close(&f);
	}
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("dedup", "packets=0", 0, "\"0\" is no number from 1 to 16777216", 8);
	assert_refused("dedup", "ignore=ttl", 0, "\"ttl\" is not none, link or hop", 7);
	assert_refused("dedup", "10ms", 0,
		       "what is \"10ms\"? Arguments: [window=TIME] [packets=N] [ignore=none|link|hop]", 0);
	assert_refused("dedup", "", 16, "an MBuf of 16 octets: 32 or more", 0);
	assert_canonical("dedup", "ignore=hop", "window=10000000ns packets=1024 ignore=hop");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(duplicates_in_time_and_number_are_turned_away),
		cmocka_unit_test(what_is_ignored_decides_what_is_equal),
		cmocka_unit_test(random_packets_agree_with_the_rule),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
