/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/hashing.h"
#include "externs/testing.h"

static void
the_instruction_and_the_table_agree(void **state)
{
	uint64_t seed = 3720;
	uint8_t octets[97];

	(void)state;
	for (unsigned n = 0; n < 1000; n++) {
		uint32_t at = (uint32_t)(test_random(&seed) % 9), len = (uint32_t)(test_random(&seed) % 89);

		for (unsigned i = 0; i < sizeof(octets); i++)
			octets[i] = (uint8_t)test_random(&seed);
		assert_int_equal(crc32c(octets + at, len), crc32c_by_table(octets + at, len));
	}
	assert_int_equal(crc32c_by_table((const uint8_t *)"123456789", 9), 0xe3069283);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_instruction_and_the_table_agree) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
