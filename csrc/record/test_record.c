/* SPDX-License-Identifier: BSD-3-Clause */
/* What is a record's form, and what is not: each field off by what somebody might try. */
#include "record/record.h"
#include "record/testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* the above before cmocka.h */
#include <cmocka.h>

#include <stdlib.h>

/* {4, 2, "drop"}, {0, 1, "top k=5"} */
static const uint8_t externals[] = "\4\0\0\0\2\0\0\0\4\0drop\0\0\0\0\1\0\0\0\7\0top k=5";
static const struct made_section sections[] = {
	{ 1, FFPF_FPLO_X86_64, 1, "\x31\xc0\xc3", 3 },
	{ 1, FFPF_FPLO_X86_64, 12, "\x90\x31\xc0\xc3", 4 },
	{ 2, 0, 0, externals, sizeof(externals) - 1 },
};
#define COUNT 3u

/* At the end of its own allocation: a read beyond it is seen by the sanitizer. */
static int
parse(const struct made *made, uint32_t len, struct ffpf_fplo *out, struct ffpf_error *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	int status;

	assert_non_null(copy);
	memcpy(copy, made->octets, len);
	status = ffpf_fplo_parse(out, copy, len, err);
	free(copy);
	return status;
}

static void
refused(const struct made *made, uint32_t len, const char *words)
{
	struct ffpf_fplo record;
	struct ffpf_error err = { 0 };

	assert_int_equal(parse(made, len, &record, &err), -FFPF_E_FORMAT);
	assert_non_null(strstr(err.text, words));
}

static void
test_what_a_record_says(void **state)
{
	struct ffpf_fplo_external found[2];
	struct ffpf_fplo_section section;
	struct ffpf_fplo record;
	struct ffpf_error err;
	struct made made;

	(void)state;
	make_record(&made, sections, COUNT, 1);
	assert_int_equal(ffpf_fplo_parse(&record, made.octets, made.len, &err), 0);
	assert_int_equal(record.section_count, COUNT);
	assert_int_equal(record.mbuf_bytes, 64);
	assert_int_equal(record.steps, 1000);
	assert_int_equal(record.rounds, 10);
	assert_int_equal(record.deepest, 2);
	assert_int_equal(record.key_id[15], 16);
	assert_string_equal(record.compiler, "by hand");
	assert_true(ffpf_fplo_code(&record, FFPF_FPLO_X86_64, 12, &section));
	assert_int_equal(section.len, 4);
	assert_int_equal(section.octets[0], 0x90);
	assert_false(ffpf_fplo_code(&record, FFPF_FPLO_AARCH64, 12, &section));
	assert_false(ffpf_fplo_code(&record, FFPF_FPLO_X86_64, 113, &section));
	assert_int_equal(ffpf_fplo_externals(&record, found, 1), 2);
	assert_int_equal(ffpf_fplo_externals(&record, found, 2), 2);
	assert_int_equal(found[0].reads, 4);
	assert_int_equal(found[0].writes, 2);
	assert_memory_equal(found[1].text, "top k=5", found[1].text_len);
}

static void
test_every_length_but_its_own_is_refused(void **state)
{
	struct ffpf_fplo record;
	struct ffpf_error err;
	struct made made;

	(void)state;
	make_record(&made, sections, COUNT, 0);
	for (uint32_t len = 0; len <= made.len + 64; len++)
		assert_int_equal(parse(&made, len, &record, &err), len == made.len ? 0 : -FFPF_E_FORMAT);
}

static void
test_fields_that_are_off(void **state)
{
	static const struct {
		uint32_t at, octets;
		uint64_t value;
		const char *words;
	} off[] = {
		{ 0, 1, 0, "does not begin" },
		{ 8, 2, 2, "a version" },
		{ 10, 2, 0, "a seal" },
		{ 10, 2, 3, "a seal" },
		{ 16, 4, 0, "no sections" },
		{ 16, 4, 33, "no sections" },
		{ 16, 4, UINT32_MAX, "no sections" },
		{ 16, 4, 32, "table of sections is longer" },
		{ 16, 4, 2, "does not begin where" },
		{ 24, 8, 63, "MBuf" },
		{ 24, 8, 4, "MBuf" },
		{ 24, 8, 1ull << 63, "MBuf" },
		{ 48, 1, 1, "is not signed" },
		{ 64, 1, 0, "the compiler's name" },
		{ 64, 1, 0x1f, "the compiler's name" },
		{ 90, 1, 'x', "the compiler's name" },
		{ MADE_ROWS, 2, 9, "a kind of section" },
		{ MADE_ROWS + 2, 2, 0, "machine code that cannot be" },
		{ MADE_ROWS + 4, 2, 12, "not in order" },
		{ MADE_ROWS + 6, 2, 1, "reserved" },
		{ MADE_ROWS + 8, 4, 0, "does not begin where" },
		{ MADE_ROWS + 8, 4, UINT32_MAX, "does not begin where" },
		{ MADE_ROWS + 12, 4, 0, "empty, or longer" },
		{ MADE_ROWS + 12, 4, UINT32_MAX, "empty, or longer" },
		{ MADE_ROWS + 12, 4, 2, "padding" },
		{ MADE_ROWS + 96, 2, 3, "a kind of section" },
		{ MADE_ROWS + 98, 2, 1, "external functions that cannot be" },
	};
	struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		make_record(&made, sections, COUNT, 0);
		put(&made, off[i].at, off[i].value, off[i].octets);
		refused(&made, made.len, off[i].words);
	}
}

static void
test_lists_of_externals_that_are_none(void **state)
{
	static const struct {
		const char *octets;
		uint32_t len;
	} lists[] = {
		{ "\4\0\0\0\2\0\0\0\4", 9 },                            /* cut off */
		{ "\4\0\0\0\2\0\0\0\0\0drop", 14 },                     /* no text */
		{ "\4\0\0\0\2\0\0\0\5\0drop", 14 },                     /* longer than the section */
		{ "\4\0\0\0\2\0\0\0\377\377drop", 14 },                 /* ... and by far */
		{ "\4\0\0\0\2\0\0\0\4\0dr\0p", 14 },                    /* a NUL, which would hide the rest */
		{ "\4\0\0\0\2\0\0\0\3\0drop", 14 },                     /* something behind */
		{ "\4\0\0\0\2\0\0\0\4\0drop\4\0\0\0\2\0\0\0\4\0", 24 }, /* the second has no text */
	};
	struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct made_section changed[COUNT];

		memcpy(changed, sections, sizeof(changed));
		changed[2].octets = lists[i].octets;
		changed[2].len = lists[i].len;
		make_record(&made, changed, COUNT, 0);
		refused(&made, made.len, "external functions that cannot be");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_record_says),
		cmocka_unit_test(test_every_length_but_its_own_is_refused),
		cmocka_unit_test(test_fields_that_are_off),
		cmocka_unit_test(test_lists_of_externals_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
