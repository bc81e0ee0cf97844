/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_distinct.h"
#include "graph/testing_packets.h"

#include <math.h>
#include <stdio.h>

static void
from(struct test_filter *f, uint32_t host)
{
	const struct test_octets o = tcp_packet(host, 1024, 0x0b000001, 80, 2);

	assert_int_equal(test_octets(f, &o, 1), UINT32_MAX);
}

static double
estimate(struct test_filter *f)
{
	const struct ffpf_mbuf_distinct *mbuf = f->env.mbuf;

	assert_int_equal(f->class->flush(f->instance, &f->err), 0);
	return mbuf->estimate;
}

/* Against exact counts, over the range where the original estimator was biased: within four standard errors. */
static void
estimates_are_within_the_stated_error(void **state)
{
	static const uint32_t precisions[] = { 8, 11, 14 };
	char text[64];

	(void)state;
	for (unsigned p = 0; p < 3; p++) {
		static const double errors[] = { 0.065, 0.0229806, 0.008125 }; /* 1.04 / sqrt(2^precision) */
		double error = 4 * errors[p];
		struct test_filter f;
		uint32_t next = 10;

		snprintf(text, sizeof(text), "of=ip.src precision=%u", precisions[p]);
		test_open(&f, "distinct", text, 0);
		assert_true(estimate(&f) == 0);
		for (uint32_t n = 1; n <= 100000; n++) {
			from(&f, 0x0a000000 + n);
			from(&f, 0x0a000000 + (n + 1) / 2); /* seen before: counts no more */
			if (n == next) {
				assert_true(fabs(estimate(&f) - n) <= n * error + 0.5);
				next = next * 3 / 2;
			}
		}
		test_close(&f);
	}
}

static void
registers_that_merge_count_the_union(void **state)
{
	struct test_filter a, b, both;
	struct ffpf_mbuf_distinct *ma, *mb, *mboth;

	(void)state;
	test_open(&a, "distinct", "of=ip.src precision=10", 0);
	test_open(&b, "distinct", "of=ip.src precision=10", 0);
	test_open(&both, "distinct", "of=ip.src precision=10", 0);
	ma = a.env.mbuf;
	mb = b.env.mbuf;
	mboth = both.env.mbuf;
	for (uint32_t n = 0; n < 3000; n++) {
		from(n % 3 ? &a : &b, n);
		from(&both, n);
	}
	for (unsigned i = 0; i < 1024; i++)
		if (mb->registers[i] > ma->registers[i])
			ma->registers[i] = mb->registers[i];
	assert_memory_equal(ma->registers, mboth->registers, 1024);
	assert_true(estimate(&a) == estimate(&both));
	memset(ma->registers, 0, 1024);
	assert_true(estimate(&a) == 0);
	memset(ma->registers, 0xff, 1024); /* whatever an application writes */
	assert_false(isnan(estimate(&a)));
	test_close(&a);
	test_close(&b);
	test_close(&both);
}

static void
estimate_is_made_once_a_second(void **state)
{
	const struct ffpf_mbuf_distinct *mbuf;
	struct test_filter f;

	(void)state;
	test_open(&f, "distinct", "of=tcp.dport", 0);
	mbuf = f.env.mbuf;
	from(&f, 1);
	f.class->tick(f.instance, 10000000000u);
	assert_true(fabs(mbuf->estimate - 1) < 0.01);
	assert_int_equal(mbuf->at_ns, 10000000000u);
	test_packet(&f, "no port", 7, 1);
	test_octets(&f, &(struct test_octets){ .len = 0 }, 1);
	f.class->tick(f.instance, 12000000000u);
	assert_int_equal(mbuf->at_ns, 10000000000u); /* nothing new */
	assert_report(&f, FFPF_REPORT_TEXT, "of tcp.dport\ndistinct 1\nstandard_error 0.00813\nnone 2\n");
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("distinct", "precision=19", 0, "\"19\" is no number from 4 to 18", 10);
	assert_refused("distinct", "ip.src", 0, "what is \"ip.src\"? Arguments: [of=FIELD] [precision=P]", 0);
	assert_refused("distinct", "precision=4", 32, "an MBuf of 32 octets: precision=4 takes 48", 0);
	assert_canonical("distinct", "", "of=flow precision=14");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(estimates_are_within_the_stated_error),
		cmocka_unit_test(registers_that_merge_count_the_union),
		cmocka_unit_test(estimate_is_made_once_a_second),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
