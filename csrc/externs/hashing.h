/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_HASHING_H
#define FFPF_EXTERNS_HASHING_H
/* Sums of octets that are no secret's. */
#include <stdint.h>

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4), by the processor's instruction where there is one, else by a table.
 * Both are what tests compare. */
uint32_t crc32c(const uint8_t *data, uint32_t len);
uint32_t crc32c_by_table(const uint8_t *data, uint32_t len);

/* XXH64 (doc/xxhash_spec.md of xxHash, version 0.1.1), seed and all. */
uint64_t xxhash64(const uint8_t *data, uint32_t len, uint64_t seed);

#endif
