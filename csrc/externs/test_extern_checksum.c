/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/testing.h"

static void
the_example_of_rfc_1071_and_odd_lengths(void **state)
{
	static const uint8_t example[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	struct test_use t;

	(void)state;
	use_open(&t, "checksum of=packet", 0);
	assert_int_equal(use_call(&t, example, 8, 0, 0), 0x220d);
	assert_int_equal(use_call(&t, example, 0, 0, 0), 0xffff);
	assert_int_equal(use_call(&t, "\x12", 1, 0, 0), 0xffff - 0x1200);
	assert_int_equal(use_call(&t, "\x12\x34\x56", 3, 0, 0), 0xffff - 0x6834);
	use_close(&t);
}

static void
a_range_is_cut_to_what_was_captured(void **state)
{
	static const struct {
		uint32_t offset, octets, sum;
	} cases[] = { { 1, 2, 0xffff - 0x0203 },
		      { 3, 1000, 0xffff - 0x0400 },
		      { 4, 1, 0xffff },
		      { UINT32_MAX, UINT32_MAX, 0xffff } };
	struct test_use t;

	(void)state;
	use_open(&t, "checksum", 16);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(t.mbuf + 3, &cases[i].offset, 4);
		memcpy(t.mbuf + 7, &cases[i].octets, 4);
		assert_int_equal(use_call(&t, "\1\2\3\4", 4, 3, 0), cases[i].sum);
	}
	use_close(&t);
}

/* The sum as RFC 1071 defines it, word by word. */
static uint16_t
plain_sum(const uint8_t *p, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void
memory_is_summed_as_the_definition_says(void **state)
{
	uint64_t seed = 1071;
	struct test_use t;

	(void)state;
	use_open(&t, "checksum of=mbuf:61", 64);
	for (unsigned n = 0; n < 500; n++) {
		for (unsigned i = 0; i < 64; i++)
			t.mbuf[i] = n % 3 ? (uint8_t)test_random(&seed) : 0xff;
		assert_int_equal(use_call(&t, "", 0, 3, 0), plain_sum(t.mbuf + 3, 61));
	}
	use_close(&t);
}

/* An IPv4 or IPv6 datagram with its sums filled in by plain_sum over a pseudo header that is put down here. */
static struct test_octets
summed(bool six, uint8_t protocol, uint32_t payload, uint32_t sum_at)
{
	struct test_octets o = { .len = 0 }, pseudo = { .len = 0 };
	uint32_t l3 = 14, l4;
	uint16_t sum;

	put_ether(&o, six ? 0x86dd : 0x0800);
	if (six)
		put_ipv6(&o, 1, 2, protocol, (uint16_t)payload);
	else
		put_ipv4(
		    &o, &(struct test_ipv4){
			    .src = 0xc0a80001, .dst = 0xc0a800c7, .protocol = protocol, .payload = (uint16_t)payload });
	l4 = o.len;
	for (uint32_t i = 0; i < payload; i++)
		put8(&o, i == 12 ? 0x50 : i == sum_at || i == sum_at + 1 ? 0 : i * 7 + 1);
	if (!six) {
		sum = plain_sum(o.data + l3, 20);
		o.data[l3 + 10] = (uint8_t)(sum >> 8);
		o.data[l3 + 11] = (uint8_t)sum;
	}
	if (protocol != IPPROTO_ICMP) {
		put(&pseudo, o.data + l3 + (six ? 8 : 12), six ? 32 : 8);
		put32(&pseudo, protocol);
		put32(&pseudo, payload);
	}
	put(&pseudo, o.data + l4, payload);
	sum = plain_sum(pseudo.data, pseudo.len);
	o.data[l4 + sum_at] = (uint8_t)(sum >> 8);
	o.data[l4 + sum_at + 1] = (uint8_t)sum;
	return o;
}

static void
headers_are_right_until_a_bit_turns(void **state)
{
	static const struct {
		bool six;
		uint8_t protocol;
		uint32_t payload, sum_at;
	} cases[] = {
		{ false, IPPROTO_TCP, 41, 16 }, { false, IPPROTO_UDP, 21, 6 },  { false, IPPROTO_ICMP, 33, 2 },
		{ true, IPPROTO_TCP, 20, 16 },  { true, IPPROTO_ICMPV6, 9, 2 }, { true, IPPROTO_UDP, 8, 6 },
	};
	struct test_use ip, l4;

	(void)state;
	use_open(&ip, "checksum of=ip", 0);
	use_open(&l4, "checksum of=l4", 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct test_octets o = summed(cases[i].six, cases[i].protocol, cases[i].payload, cases[i].sum_at);

		assert_int_equal(use_call_octets(&l4, &o), 1);
		assert_int_equal(use_call_octets(&ip, &o), cases[i].six ? 2 : 1);
		o.data[o.len - 1] ^= 0x10;
		assert_int_equal(use_call_octets(&l4, &o), 0);
		o.len--; /* cut short */
		assert_int_equal(use_call_octets(&l4, &o), 2);
		o.data[14 + 8] ^=
		    1; /* time to live, and nothing of IPv6's pseudo header's first octet but an address's */
		assert_int_equal(use_call_octets(&ip, &o), cases[i].six ? 2 : 0);
	}
	use_close(&ip);
	use_close(&l4);
}

static void
what_cannot_be_judged_is_said_to_be(void **state)
{
	struct test_octets o = { .len = 0 }, fragment = { .len = 0 };
	struct test_use l4;

	(void)state;
	use_open(&l4, "checksum of=l4", 0);
	put_ether(&o, 0x0800);
	put_ipv4(&o, &(struct test_ipv4){ .src = 1, .dst = 2, .protocol = IPPROTO_UDP, .payload = 8 });
	put_udp(&o, 53, 53, 0); /* without a sum */
	assert_int_equal(use_call_octets(&l4, &o), 2);
	put_ether(&fragment, 0x0800);
	put_ipv4(&fragment,
		 &(struct test_ipv4){ .src = 1, .dst = 2, .protocol = IPPROTO_TCP, .payload = 20, .piece = 0x2000 });
	put_tcp(&fragment, 1, 2, 3);
	assert_int_equal(use_call_octets(&l4, &fragment), 2);
	assert_int_equal(use_call(&l4, "arp?", 4, 0, 0), 2);
	use_close(&l4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_1071_and_odd_lengths),
		cmocka_unit_test(a_range_is_cut_to_what_was_captured),
		cmocka_unit_test(memory_is_summed_as_the_definition_says),
		cmocka_unit_test(headers_are_right_until_a_bit_turns),
		cmocka_unit_test(what_cannot_be_judged_is_said_to_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
