/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets and octets by key, against sums made one by one. */
#include "columns/counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* the above before cmocka.h */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define ROWS 1000

static struct ffpf_error err;

static struct ffpf_column
column(const char *name, void *values, uint8_t *valid)
{
	const struct ffpf_column_field *field = ffpf_column_field_find(name);

	assert_non_null(field);
	return (struct ffpf_column){ field, values, valid };
}

/* Key i comes i % 7 + 1 times, in turns, so that the table grows while keys come again. */
static void
every_key_has_its_own_sums(void **state)
{
	enum { KEYS = 30000 };
	static uint32_t values[ROWS], lens[ROWS], got[KEYS];
	static uint8_t valid[ROWS];
	static uint64_t packets[KEYS], octets[KEYS];
	const struct ffpf_column key = column("ip.src", values, valid);
	struct ffpf_counts *counts;
	uint32_t n = 0;

	(void)state;
	memset(valid, 1, sizeof(valid));
	assert_int_equal(ffpf_counts_create(&counts, 4, &err), 0);
	for (uint32_t turn = 0; turn < 7; turn++) {
		for (uint32_t k = 0; k < KEYS; k++) {
			if (k % 7 >= turn) {
				values[n] = k * 2654435761u; /* odd: no two are the same */
				lens[n++] = k;
			}
			if (n == ROWS || (k == KEYS - 1 && turn == 6)) {
				assert_int_equal(ffpf_counts_add(counts, &key, 1, lens, n, &err), 0);
				n = 0;
			}
		}
	}
	assert_int_equal(ffpf_counts_size(counts), KEYS);
	ffpf_counts_get(counts, (uint8_t *)got, packets, octets);
	for (uint32_t k = 0; k < KEYS; k++) { /* in the order of the first turn, which had them all */
		assert_int_equal(got[k], k * 2654435761u);
		assert_int_equal(packets[k], k % 7 + 1);
		assert_int_equal(octets[k], (uint64_t)k * (k % 7 + 1));
	}
	ffpf_counts_destroy(counts);
}

static void
a_key_of_several_columns_is_all_of_them(void **state)
{
	uint8_t addresses[4][16] = { { 1 }, { 1 }, { 1 }, { 0 } }, valid[4] = { 1, 1, 1, 1 };
	uint8_t ports_valid[4] = { 1, 1, 1, 0 }, keys[2][18];
	uint16_t ports[4] = { 5, 6, 5, 5 };
	const uint32_t lens[4] = { 10, 20, 30, 40 };
	const struct ffpf_column columns[] = { column("ip6.src", addresses, valid),
					       column("tcp.dport", ports, ports_valid) };
	uint64_t packets[2], octets[2];
	struct ffpf_counts *counts;

	(void)state;
	assert_int_equal(ffpf_counts_create(&counts, 18, &err), 0);
	assert_int_equal(ffpf_counts_size(counts), 0);
	assert_int_equal(ffpf_counts_add(counts, columns, 1, lens, 4, &err), -FFPF_E_INVALID); /* 16 octets */
	assert_int_equal(ffpf_counts_add(counts, columns, 2, lens, 4, &err), 0);
	assert_int_equal(ffpf_counts_size(counts), 2); /* the last lacks its port */
	ffpf_counts_get(counts, keys[0], packets, octets);
	assert_int_equal(packets[0], 2);
	assert_int_equal(octets[0], 40);
	assert_int_equal(packets[1], 1);
	assert_memory_equal(keys[1], addresses[1], 16);
	assert_memory_equal(keys[1] + 16, &ports[1], 2);
	ffpf_counts_destroy(counts);
}

static void
keys_have_a_size(void **state)
{
	struct ffpf_counts *counts;

	(void)state;
	assert_int_equal(ffpf_counts_create(&counts, 0, &err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_counts_create(&counts, FFPF_COUNTS_KEY_MAX + 1, &err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_counts_create(&counts, FFPF_COUNTS_KEY_MAX, &err), 0);
	ffpf_counts_get(counts, NULL, NULL, NULL); /* nothing is there */
	ffpf_counts_destroy(counts);
	ffpf_counts_destroy(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_has_its_own_sums),
		cmocka_unit_test(a_key_of_several_columns_is_all_of_them),
		cmocka_unit_test(keys_have_a_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
