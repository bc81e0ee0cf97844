/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/hashing.h"

#include <stdbool.h>
#include <string.h>

/* Of the polynomial 0x1edc6f41, the lowest bit first: what four bits more make of a remainder: sixteen words stay in
 * the cache beside what a program works on. */
static const uint32_t nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t
crc32c_by_table(const uint8_t *data, uint32_t len)
{
	uint32_t crc = UINT32_MAX;

	for (uint32_t i = 0; i < len; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ nibbles[crc & 15];
		crc = crc >> 4 ^ nibbles[crc & 15];
	}
	return ~crc;
}

#if defined(__x86_64__)

static bool
has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(const uint8_t *data, uint32_t len)
{
	uint64_t crc = UINT32_MAX, word;

	for (; len >= 8; len -= 8, data += 8) {
		memcpy(&word, data, 8);
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; len; len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *data++);
	return ~(uint32_t)crc;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

#define HWCAP_CRC32_BIT (1u << 7)

static bool
has_instruction(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32_BIT) != 0;
}

__attribute__((target("+crc"))) static uint32_t
by_instruction(const uint8_t *data, uint32_t len)
{
	uint32_t crc = UINT32_MAX;
	uint64_t word;

	for (; len >= 8; len -= 8, data += 8) {
		memcpy(&word, data, 8);
		crc = __builtin_aarch64_crc32cx(crc, word);
	}
	for (; len; len--)
		crc = __builtin_aarch64_crc32cb(crc, *data++);
	return ~crc;
}

#else

static bool
has_instruction(void)
{
	return false;
}

static uint32_t
by_instruction(const uint8_t *data, uint32_t len)
{
	return crc32c_by_table(data, len);
}

#endif

uint32_t
crc32c(const uint8_t *data, uint32_t len)
{
	return has_instruction() ? by_instruction(data, len) : crc32c_by_table(data, len);
}
