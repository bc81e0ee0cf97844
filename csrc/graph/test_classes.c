/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_bytecount.h"
#include "graph/class_packetcount.h"
#include "graph/testing.h"

static void
the_table_is_in_order_and_complete(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ffpf_class_count; i++) {
		const struct ffpf_class *class = ffpf_classes[i];

		if (i)
			assert_true(strcmp(ffpf_classes[i - 1]->name, class->name) < 0);
		assert_ptr_equal(ffpf_class_find(class->name, strlen(class->name)), class);
		assert_true(class->summary && class->arguments && class->levels);
		assert_int_equal(!class->filter + !class->filter_batch, class->source ? 2 : 1);
	}
	assert_null(ffpf_class_find("packetcoun", 10));
	assert_null(ffpf_class_find("packetcounts", 12));
}

static void
counters_count(void **state)
{
	struct test_filter packets, bytes;
	struct ffpf_report report;
	uint8_t octets[100] = { 0 };

	(void)state;
	test_open(&packets, "packetcount", "", 0);
	test_open(&bytes, "bytecount", " ", 0);
	for (uint32_t i = 1; i <= 10; i++) {
		assert_int_equal(test_packet(&packets, octets, i, i), UINT32_MAX);
		assert_int_equal(test_packet(&bytes, octets, i, i), UINT32_MAX);
	}
	assert_int_equal(((struct ffpf_mbuf_packetcount *)packets.env.mbuf)->packets, 10);
	assert_int_equal(((struct ffpf_mbuf_bytecount *)bytes.env.mbuf)->bytes, 55);
	((struct ffpf_mbuf_bytecount *)bytes.env.mbuf)->bytes = 1000; /* the application's right */
	test_packet(&bytes, octets, 1, 11);
	ffpf_report_begin(&report, FFPF_REPORT_JSON);
	bytes.class->describe(bytes.instance, &report);
	ffpf_report_finish(&report);
	assert_string_equal(ffpf_text_get(&report.out), "{\"bytes\":1001}");
	ffpf_text_free(&report.out);
	test_close(&packets);
	test_close(&bytes);
}

static void
arguments_that_nobody_asked_for_are_refused(void **state)
{
	struct test_filter f;

	(void)state;
	assert_int_equal(test_parse(&f, "packetcount", "  fast", 0), -FFPF_E_INVALID);
	assert_int_equal(f.args.error_at, 2);
	assert_string_equal(f.err.text, "this class has no arguments");
	test_close(&f);
}

static void
words_are_taken_apart(void **state)
{
	struct ffpf_class_args args = { .text = " k=10 by='a b'  'c d' e f=" };
	static const struct {
		const char *key, *value;
		size_t at;
	} words[] = { { "k", "10", 1 }, { "by", "a b", 6 }, { "", "c d", 16 }, { "", "e", 22 }, { "f", "", 24 } };
	struct ffpf_error err = { 0 };
	struct ffpf_arg arg;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char *value;

		assert_true(ffpf_args_next(&args, &arg, &err));
		assert_true(ffpf_arg_is(&arg, words[i].key));
		value = ffpf_arg_copy(&arg);
		assert_string_equal(value, words[i].value);
		free(value);
		assert_int_equal(arg.at, words[i].at);
	}
	assert_false(ffpf_args_next(&args, &arg, &err));
	assert_int_equal(err.code, 0);
	args = (struct ffpf_class_args){ .text = "a='b" };
	assert_false(ffpf_args_next(&args, &arg, &err));
	assert_string_equal(err.text, "the quote is not closed");
	assert_int_equal(args.error_at, 2);
}

static void
numbers_have_limits_and_units(void **state)
{
	static const struct {
		const char *text;
		int way;        /* 0 uint, 1 bytes, 2 duration */
		uint64_t value; /* 0: refused */
	} cases[] = {
		{ "x=7", 0, 7 },
		{ "x=101", 0, 0 },
		{ "x=", 0, 0 },
		{ "x=7k", 0, 0 },
		{ "x=-1", 0, 0 },
		{ "7", 0, 7 },
		{ "x=18446744073709551616", 0, 0 },
		{ "x=2k", 1, 2048 },
		{ "x=3M", 1, 3 << 20 },
		{ "x=1T", 1, 0 },
		{ "x=17179869185G", 1, 0 },
		{ "x=5ms", 2, 5000000 },
		{ "x=2m", 2, 120000000000 },
		{ "x=0", 2, 0 },
		{ "x=3", 2, 3000000000 },
		{ "x=3 s", 2, 3000000000 },
		{ "x=5years", 2, 0 },
	};
	struct ffpf_arg arg;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_class_args args = { .text = cases[i].text };
		struct ffpf_error err = { 0 };
		uint64_t value = 0;
		int status;

		assert_true(ffpf_args_next(&args, &arg, &err));
		if (cases[i].way == 0)
			status = ffpf_arg_uint(&args, &arg, 1, 100, &value, &err);
		else if (cases[i].way == 1)
			status = ffpf_arg_bytes(&args, &arg, 1, UINT64_MAX, &value, &err);
		else
			status = ffpf_arg_duration(&args, &arg, &value, &err);
		assert_int_equal(status, cases[i].value ? 0 : -FFPF_E_INVALID);
		assert_int_equal(value, cases[i].value);
		assert_int_equal(err.text[0] != 0, !cases[i].value);
	}
}

static void
reports_are_text_or_json(void **state)
{
	static const char *const expected[] = {
		"packets 12\nshare 0.5\nname a\"b.\ntop\n  host 10.0.0.1 bytes 7\n  host x bytes 8\nlast 1\n",
		"{\"packets\":12,\"share\":0.5,\"name\":\"a\\u0022b\\u0001\",\"top\":[{\"host\":\"10.0.0.1\",\"bytes\":"
		"7},"
		"{\"host\":\"x\",\"bytes\":8}],\"last\":1}",
	};
	struct ffpf_report r;

	(void)state;
	for (int form = FFPF_REPORT_TEXT; form <= FFPF_REPORT_JSON; form++) {
		ffpf_report_begin(&r, (enum ffpf_report_form)form);
		ffpf_report_uint(&r, "packets", 12);
		ffpf_report_real(&r, "share", 0.5);
		ffpf_report_text(&r, "name", "a\"b\001");
		ffpf_report_list(&r, "top");
		for (int i = 0; i < 2; i++) {
			ffpf_report_item(&r);
			ffpf_report_text(&r, "host", i ? "x" : "10.0.0.1");
			ffpf_report_uint(&r, "bytes", 7 + (uint64_t)i);
			ffpf_report_end(&r);
		}
		ffpf_report_end(&r);
		ffpf_report_uint(&r, "last", 1);
		ffpf_report_finish(&r);
		assert_string_equal(ffpf_text_get(&r.out), expected[form]);
		ffpf_text_free(&r.out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_in_order_and_complete),
		cmocka_unit_test(counters_count),
		cmocka_unit_test(arguments_that_nobody_asked_for_are_refused),
		cmocka_unit_test(words_are_taken_apart),
		cmocka_unit_test(numbers_have_limits_and_units),
		cmocka_unit_test(reports_are_text_or_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
