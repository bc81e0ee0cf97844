/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CROSS_CMOCKA_H
#define FFPF_CROSS_CMOCKA_H
/*
 * The part of cmocka's interface that the tests of the core use, for processors whose cmocka this system does not have:
 * programs that are compiled for such a processor find this header by cmocka's name. The first failure ends a
 * program, with exit code 1. The lines that test_programs.py reads are cmocka's.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
	const char *name;
	void (*run)(void **state);
	void *initial_state;
};

#define cmocka_unit_test(f)                 ((struct CMUnitTest){ #f, f, NULL })
#define cmocka_unit_test_prestate(f, state) ((struct CMUnitTest){ #f, f, state })

#define cmocka_run_group_tests(tests, setup, teardown) cmocka_run_group_tests_name(#tests, tests, setup, teardown)
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                                      \
	cross_run_tests(name, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)

static inline int
cross_run_tests(const char *name, const struct CMUnitTest *tests, size_t count, int (*setup)(void **),
		int (*teardown)(void **))
{
	void *group_state = NULL;

	printf("[==========] %s: Running %zu test(s).\n", name, count);
	if (setup && setup(&group_state) != 0)
		return 1;
	for (size_t i = 0; i < count; i++) {
		void *state = tests[i].initial_state ? tests[i].initial_state : group_state;

		printf("[ RUN      ] %s\n", tests[i].name);
		fflush(stdout);
		tests[i].run(&state);
		printf("[       OK ] %s\n", tests[i].name);
	}
	if (teardown && teardown(&group_state) != 0)
		return 1;
	printf("[==========] %s: %zu test(s) run.\n", name, count);
	return 0;
}

#define print_message(...) ((void)printf(__VA_ARGS__))

#define fail_msg(...)                                                                                                  \
	do {                                                                                                           \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                        \
		fprintf(stderr, __VA_ARGS__);                                                                          \
		fputc('\n', stderr);                                                                                   \
		exit(1);                                                                                               \
	} while (0)

static inline void
cross_check(bool holds, const char *text, uint64_t a, uint64_t b, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: %s: 0x%jx, 0x%jx\n", file, line, text, (uintmax_t)a, (uintmax_t)b);
	exit(1);
}

/* As in cmocka, integers and pointers are compared as the largest unsigned integer. */
#define CROSS_U64(x)                    ((uint64_t)(uintptr_t)(x))
#define CROSS_CHECK(holds, text, a, b)  cross_check(holds, text, a, b, __FILE__, __LINE__)
#define assert_true(c)                  CROSS_CHECK(!!(c), #c, 0, 1)
#define assert_false(c)                 CROSS_CHECK(!(c), "not " #c, 1, 0)
#define assert_null(p)                  CROSS_CHECK((p) == NULL, #p " is NULL", 1, 0)
#define assert_non_null(p)              CROSS_CHECK((p) != NULL, #p " is not NULL", 0, 1)
#define assert_int_equal(a, b)          CROSS_EQUAL(a, b, true)
#define assert_int_not_equal(a, b)      CROSS_EQUAL(a, b, false)
#define assert_ptr_equal(a, b)          CROSS_EQUAL(a, b, true)
#define assert_ptr_not_equal(a, b)      CROSS_EQUAL(a, b, false)
#define assert_string_equal(a, b)       CROSS_CHECK(strcmp(a, b) == 0, #a " as text is " #b, 0, 1)
#define assert_memory_equal(a, b, size) CROSS_CHECK(memcmp(a, b, size) == 0, #a " holds the octets of " #b, 0, 1)
#define CROSS_EQUAL(a, b, wanted)                                                                                      \
	do {                                                                                                           \
		uint64_t cross_a = CROSS_U64(a), cross_b = CROSS_U64(b);                                               \
		CROSS_CHECK((cross_a == cross_b) == (wanted), #a " against " #b, cross_a, cross_b);                    \
	} while (0)
#define assert_in_range(value, low, high)                                                                              \
	do {                                                                                                           \
		uint64_t cross_v = CROSS_U64(value);                                                                   \
		CROSS_CHECK(cross_v >= CROSS_U64(low) && cross_v <= CROSS_U64(high), #value " is in range", cross_v,   \
			    CROSS_U64(low));                                                                           \
	} while (0)

#endif
