/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry, and what holds for every function of its table. */
#include "externs/testing.h"

#include <strings.h>

static void
the_table_is_sorted_and_says_all(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ffpf_extern_count; i++) {
		const struct ffpf_extern *f = ffpf_externs[i];

		if (i)
			assert_true(strcasecmp(ffpf_externs[i - 1]->name, f->name) < 0);
		assert_true(strlen(f->summary) > 0 && strlen(f->value) > 0);
		assert_true(f->levels & FFPF_LEVEL_USERSPACE);
		assert_int_equal(f->reads > 0, strlen(f->reads_what) > 0);
		assert_true(!f->writes || strlen(f->writes_what) > 0);
		assert_true(f->steps > 0);
		assert_non_null(f->call);
	}
}

static void
names_are_the_same_in_any_case_and_arguments_are_not(void **state)
{
	struct ffpf_extern_sizes sizes;
	struct ffpf_error err = { 0 };
	size_t at;

	(void)state;
	assert_int_equal(ffpf_extern_measure(&sizes, "CheckSum of=mbuf:24", NULL, &at, &err), 0);
	assert_string_equal(sizes.function->name, "checksum");
	assert_int_equal(sizes.reads, 24);
	assert_int_equal(ffpf_extern_measure(&sizes, "checksum of=PACKET", NULL, &at, &err), -FFPF_E_INVALID);
	assert_string_equal(err.text, "\"PACKET\" is not range, packet or payload, nor mbuf:N");
	assert_int_equal(at, 12);
}

static void
what_is_not_there_is_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "nothing", "there is no external function nothing" },
		{ "", "there is no external function " },
		{ "drop it", "drop takes no arguments" },
		{ "checksum of=mbuf:0", "\"0\" is no number from 1 to 1048576" },
		{ "checksum to=ip", "what is \"to\"? Arguments: [of=range|packet|payload|mbuf:N|ip|l4]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_extern_sizes sizes;
		struct ffpf_error err = { 0 };
		size_t at;

		assert_int_equal(ffpf_extern_measure(&sizes, cases[i].text, NULL, &at, &err), -FFPF_E_INVALID);
		if (strncmp(err.text, cases[i].error, strlen(cases[i].error)) != 0)
			fail_msg("%s: %s", cases[i].text, err.text);
	}
}

static void
a_set_needs_memory_for_all_of_it(void **state)
{
	const char *texts[] = { "drop", "checksum" };
	struct ffpf_extern_set *set = NULL;
	struct ffpf_error err = { 0 };

	(void)state;
	assert_int_equal(ffpf_extern_set_create(&set, texts, 2, 4, NULL, &err), -FFPF_E_INVALID);
	assert_string_equal(err.text, "checksum needs 8 octets of MBuf; there are 4");
	assert_null(set);
	assert_int_equal(ffpf_extern_set_create(&set, texts, 2, 8, NULL, &err), 0);
	assert_int_equal(set->count, 2);
	assert_string_equal(set->uses[1]->function->name, "checksum");
	assert_true(ffpf_extern_fits(set->uses[1], 0, 1000));
	assert_false(ffpf_extern_fits(set->uses[1], 1, 0));
	assert_false(ffpf_extern_fits(set->uses[1], UINT64_MAX, 0));
	ffpf_extern_set_destroy(set);
}

static void
others_come_from_the_scope_behind_the_table(void **state)
{
	const struct ffpf_extern own = { .name = "own", .reads = 3, .call = ffpf_externs[0]->call };
	const struct ffpf_extern *const rows[] = { &own };
	const struct ffpf_extern_scope scope = { rows, 1 };
	struct ffpf_extern_sizes sizes;
	struct ffpf_error err = { 0 };
	size_t at;

	(void)state;
	assert_int_equal(ffpf_extern_measure(&sizes, "Own", &scope, &at, &err), 0);
	assert_ptr_equal(sizes.function, &own);
	assert_int_equal(ffpf_extern_measure(&sizes, "drop", &scope, &at, &err), 0);
	assert_string_equal(sizes.function->name, "drop");
	assert_int_equal(ffpf_extern_measure(&sizes, "other", &scope, &at, &err), -FFPF_E_INVALID);
}

static void
dropping_is_said_to_whoever_runs_the_program(void **state)
{
	struct test_use t;

	(void)state;
	use_open(&t, "drop", 0);
	assert_false(t.set->drop);
	assert_int_equal(use_call(&t, "", 0, 0, 0), 0);
	assert_true(t.set->drop);
	use_close(&t);
}

/* Octets at random, and headers with octets at random behind them, cut anywhere. */
static struct test_octets
random_packet(uint64_t *seed)
{
	struct test_octets o = { .len = 0 };
	unsigned shape = test_random(seed) % 4;

	if (shape == 1)
		o = tcp_packet(0x0a000001, (unsigned)test_random(seed) & 0xffff, 0x0a000002, 554, 24);
	if (shape >= 2) {
		put_ether(&o, 0x0800);
		put_ipv4(&o,
			 &(struct test_ipv4){ .src = 1, .dst = 2, .protocol = shape == 2 ? 17 : 6, .payload = 300 });
	}
	while (o.len < 400)
		put8(&o, (unsigned)test_random(seed));
	o.len = (uint32_t)(test_random(seed) % (o.len + 1));
	return o;
}

/* A use of it, with the arguments that it cannot be without. */
static const char *
use_of(const struct ffpf_extern *f)
{
	return strcmp(f->name, "vectorscan") == 0 ? "vectorscan regex=a+b" : f->name;
}

static void
no_function_leaves_packet_and_memory(void **state)
{
	uint64_t seed = 20040612;

	(void)state;
	for (uint32_t i = 0; i < ffpf_extern_count; i++) {
		const struct ffpf_extern *f = ffpf_externs[i];
		const char *text = use_of(f);
		struct ffpf_extern_set *set;
		struct ffpf_error err;
		struct test_use t;

		if (ffpf_extern_set_create(&set, &text, 1, 1 << 20, NULL, &err) == -FFPF_E_NOT_SUPPORTED)
			continue; /* its library is not there for this processor; test_functions.py insists on it */
		ffpf_extern_set_destroy(set);
		use_open(&t, text, f->reads > f->writes ? f->reads : f->writes);
		for (unsigned n = 0; n < 1000; n++) {
			const struct test_octets o = random_packet(&seed);

			for (uint32_t at = 0; at < t.set->mbuf_bytes && n % 2; at++)
				t.mbuf[at] = (uint8_t)(test_random(&seed) & (n % 8 == 1 ? 0xff : at % 4 ? 0 : 0xff));
			use_call(&t, o.data, o.len, t.set->mbuf_bytes - f->reads, t.set->mbuf_bytes - f->writes);
		}
		use_close(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sorted_and_says_all),
		cmocka_unit_test(names_are_the_same_in_any_case_and_arguments_are_not),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(a_set_needs_memory_for_all_of_it),
		cmocka_unit_test(others_come_from_the_scope_behind_the_table),
		cmocka_unit_test(dropping_is_said_to_whoever_runs_the_program),
		cmocka_unit_test(no_function_leaves_packet_and_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
