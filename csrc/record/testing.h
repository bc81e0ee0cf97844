/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RECORD_TESTING_H
#define FFPF_RECORD_TESTING_H
/* For tests: records made by hand, field by field, from docs/fpl-records.md. Digests and seal are left zeros. */
#include <stdint.h>
#include <string.h>

#define MADE_MAX  1024u
#define MADE_ROWS 128u /* where the table stands */

struct made {
	uint8_t octets[MADE_MAX];
	uint32_t len;
};

struct made_section {
	uint16_t kind, machine, link_type;
	const void *octets;
	uint32_t len;
};

static inline void
put(struct made *made, uint32_t at, uint64_t value, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		made->octets[at + i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t
made_section_at(const struct made *made, uint32_t i)
{
	const uint8_t *at = made->octets + MADE_ROWS + 48 * (size_t)i + 8;

	return (uint32_t)(at[0] | at[1] << 8);
}

/* Sections must be in order. signed_by_key: room for a signature, and a key id of 1, 2, 3 ... */
static inline void
make_record(struct made *made, const struct made_section *sections, uint32_t count, int signed_by_key)
{
	uint32_t at = (MADE_ROWS + 48 * count + 15) / 16 * 16;

	memset(made, 0, sizeof(*made));
	memcpy(made->octets,
	       "\x89"
	       "FPLO\r\n\x1a",
	       8);
	put(made, 8, 1, 2);
	put(made, 10, signed_by_key ? 2 : 1, 2);
	put(made, 16, count, 4);
	put(made, 20, 2, 4);
	put(made, 24, 64, 8);
	put(made, 32, 1000, 8);
	put(made, 40, 10, 8);
	for (uint8_t i = 0; i < 16 && signed_by_key; i++)
		made->octets[48 + i] = (uint8_t)(i + 1);
	memcpy(made->octets + 64, "by hand", 7);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t row = MADE_ROWS + 48 * i;

		put(made, row, sections[i].kind, 2);
		put(made, row + 2, sections[i].machine, 2);
		put(made, row + 4, sections[i].link_type, 2);
		put(made, row + 8, at, 4);
		put(made, row + 12, sections[i].len, 4);
		memcpy(made->octets + at, sections[i].octets, sections[i].len);
		at = (at + sections[i].len + 15) / 16 * 16;
	}
	made->len = at + (signed_by_key ? 64 : 32);
	put(made, 12, made->len, 4);
}

#endif
