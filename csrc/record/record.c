/* SPDX-License-Identifier: BSD-3-Clause */
#include "record/record.h"

#include <string.h>

#define VERSION      1u
#define HEADER_BYTES 128u
#define ROW_BYTES    48u
#define ENTRY_BYTES  10u /* of an external function, before its text */
#define ALIGNMENT    16u
#define MBUF_MIN     8u
#define MBUF_MAX     (1u << 24)

static const uint8_t magic[8] = { 0x89, 'F', 'P', 'L', 'O', '\r', '\n', 0x1a };

/* Where a header's fields stand. */
enum {
	AT_VERSION = 8,
	AT_SEAL = 10,
	AT_LEN = 12,
	AT_SECTIONS = 16,
	AT_DEEPEST = 20,
	AT_MBUF = 24,
	AT_STEPS = 32,
	AT_ROUNDS = 40,
	AT_KEY_ID = 48,
	AT_COMPILER = 64,
	AT_SOURCE = 96,
};

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t
get32(const uint8_t *at)
{
	return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t
get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static int
bad(struct ffpf_error *err, size_t at, const char *what)
{
	return ffpf_error_set(err, FFPF_E_FORMAT, "no compilation record: %s (octet %zu)", what, at);
}

static bool
is_zero(const uint8_t *octets, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (octets[i])
			return false;
	}
	return true;
}

/* The entry behind *at, which moves on; false: it is none. */
static bool
next_external(const uint8_t *octets, uint32_t len, uint32_t *at, struct ffpf_fplo_external *out)
{
	if (len - *at < ENTRY_BYTES)
		return false;
	*out = (struct ffpf_fplo_external){
		.text = (const char *)octets + *at + ENTRY_BYTES,
		.text_len = get16(octets + *at + 8),
		.reads = get32(octets + *at),
		.writes = get32(octets + *at + 4),
	};
	*at += ENTRY_BYTES;
	if (!out->text_len || out->text_len > FFPF_FPLO_TEXT_MAX || out->text_len > len - *at ||
	    memchr(out->text, 0, out->text_len))
		return false;
	*at += out->text_len;
	return true;
}

static bool
is_code(const struct ffpf_fplo_section *s)
{
	return s->machine && s->link_type && s->len <= FFPF_FPLO_CODE_MAX;
}

static bool
is_externals(const struct ffpf_fplo_section *s)
{
	struct ffpf_fplo_external external;
	uint32_t at = 0, count = 0;

	while (at < s->len) {
		if (++count > FFPF_FPLO_EXTERNALS_MAX || !next_external(s->octets, s->len, &at, &external))
			return false;
	}
	return !s->machine && !s->link_type;
}

static const struct {
	enum ffpf_fplo_kind kind;
	bool (*is_good)(const struct ffpf_fplo_section *section);
	const char *wrong;
} kinds[] = {
	{ FFPF_FPLO_NATIVE, is_code, "a section of machine code that cannot be such" },
	{ FFPF_FPLO_EXTERNALS, is_externals, "a list of external functions that cannot be such" },
};

static const uint8_t *
row_of(const struct ffpf_fplo *record, uint32_t i)
{
	return record->octets + HEADER_BYTES + (size_t)i * ROW_BYTES;
}

void
ffpf_fplo_section(const struct ffpf_fplo *record, uint32_t i, struct ffpf_fplo_section *out)
{
	const uint8_t *row = row_of(record, i);

	*out = (struct ffpf_fplo_section){
		.kind = get16(row),
		.machine = get16(row + 2),
		.link_type = get16(row + 4),
		.octets = record->octets + get32(row + 8),
		.len = get32(row + 12),
		.digest = row + 16,
	};
}

static uint64_t
rounded(uint64_t at)
{
	return (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Kind, machine and link type as one number, by which sections ascend. */
static uint64_t
rank(const uint8_t *row)
{
	return (uint64_t)get16(row) << 32 | (uint64_t)get16(row + 2) << 16 | get16(row + 4);
}

/* Section i must begin at `at`; *end: behind it and its padding. */
static int
check_section(const struct ffpf_fplo *record, uint32_t i, uint64_t at, uint64_t *end, struct ffpf_error *err)
{
	const uint8_t *row = row_of(record, i);
	const size_t row_at = (size_t)(row - record->octets);
	const uint64_t behind = at + get32(row + 12);
	struct ffpf_fplo_section section;

	if (get16(row + 6))
		return bad(err, row_at + 6, "a reserved field is not 0");
	if (i && rank(row) <= rank(row - ROW_BYTES))
		return bad(err, row_at, "its sections are not in order");
	if (get32(row + 8) != at)
		return bad(err, row_at + 8, "a section does not begin where the one before ends");
	if (!get32(row + 12) || rounded(behind) > record->seal_at)
		return bad(err, row_at + 12, "a section is empty, or longer than the record");
	*end = rounded(behind);
	if (!is_zero(record->octets + behind, *end - behind))
		return bad(err, behind, "padding is not zeros");
	ffpf_fplo_section(record, i, &section);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		if (kinds[k].kind == section.kind)
			return kinds[k].is_good(&section) ? 0 : bad(err, row_at, kinds[k].wrong);
	}
	return bad(err, row_at, "a kind of section that this version does not know");
}

static int
check_compiler(struct ffpf_fplo *record, struct ffpf_error *err)
{
	const uint8_t *text = record->octets + AT_COMPILER;
	size_t len = strnlen((const char *)text, FFPF_FPLO_COMPILER_LEN);

	if (!len || len == FFPF_FPLO_COMPILER_LEN || !is_zero(text + len, FFPF_FPLO_COMPILER_LEN - len))
		return bad(err, AT_COMPILER, "the compiler's name is no text");
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return bad(err, AT_COMPILER + i, "the compiler's name is no text");
	}
	memcpy(record->compiler, text, FFPF_FPLO_COMPILER_LEN);
	return 0;
}

static int
check_header(struct ffpf_fplo *record, size_t len, struct ffpf_error *err)
{
	const uint8_t *octets = record->octets;
	const uint16_t seal = get16(octets + AT_SEAL);
	const uint32_t seal_len = seal == FFPF_FPLO_SEAL_ED25519 ? FFPF_FPLO_SIGNATURE_LEN : FFPF_FPLO_DIGEST_LEN;

	if (get16(octets + AT_VERSION) != VERSION)
		return bad(err, AT_VERSION, "a version that is not known");
	if (seal != FFPF_FPLO_SEAL_DIGEST && seal != FFPF_FPLO_SEAL_ED25519)
		return bad(err, AT_SEAL, "a seal that is not known");
	if (get32(octets + AT_LEN) != len)
		return bad(err, AT_LEN, "it is not as long as it says");
	record->seal = seal;
	record->section_count = get32(octets + AT_SECTIONS);
	if (!record->section_count || record->section_count > FFPF_FPLO_SECTIONS_MAX)
		return bad(err, AT_SECTIONS, "it has no sections, or too many");
	if (len < HEADER_BYTES + record->section_count * ROW_BYTES + seal_len)
		return bad(err, AT_SECTIONS, "its table of sections is longer than the record");
	record->len = (uint32_t)len;
	record->seal_at = record->len - seal_len;
	record->mbuf_bytes = get64(octets + AT_MBUF);
	if (record->mbuf_bytes && (record->mbuf_bytes < MBUF_MIN || record->mbuf_bytes > MBUF_MAX ||
				   record->mbuf_bytes & (record->mbuf_bytes - 1)))
		return bad(err, AT_MBUF, "its MBuf is no power of two, or too large");
	record->steps = get64(octets + AT_STEPS);
	record->rounds = get64(octets + AT_ROUNDS);
	record->deepest = get32(octets + AT_DEEPEST);
	record->key_id = octets + AT_KEY_ID;
	if (seal == FFPF_FPLO_SEAL_DIGEST && !is_zero(record->key_id, FFPF_FPLO_KEY_ID_LEN))
		return bad(err, AT_KEY_ID, "it names a key, and is not signed");
	record->source_digest = octets + AT_SOURCE;
	return check_compiler(record, err);
}

int
ffpf_fplo_parse(struct ffpf_fplo *out, const uint8_t *octets, size_t len, struct ffpf_error *err)
{
	struct ffpf_fplo record = { .octets = octets };
	uint64_t at;
	int status;

	if (len < sizeof(magic) || memcmp(octets, magic, sizeof(magic)) != 0)
		return bad(err, 0, "it does not begin as one");
	if (len < HEADER_BYTES || len > FFPF_FPLO_MAX)
		return bad(err, len, "it is cut off, or too long");
	status = check_header(&record, len, err);
	if (status)
		return status;
	at = rounded(HEADER_BYTES + record.section_count * ROW_BYTES);
	for (uint32_t i = 0; i < record.section_count; i++) {
		status = check_section(&record, i, at, &at, err);
		if (status)
			return status;
	}
	if (at != record.seal_at)
		return bad(err, at, "there is more behind its last section");
	*out = record;
	return 0;
}

bool
ffpf_fplo_code(const struct ffpf_fplo *record, uint16_t machine, uint16_t link_type, struct ffpf_fplo_section *out)
{
	for (uint32_t i = 0; i < record->section_count; i++) {
		ffpf_fplo_section(record, i, out);
		if (out->kind == FFPF_FPLO_NATIVE && out->machine == machine && out->link_type == link_type)
			return true;
	}
	return false;
}

uint32_t
ffpf_fplo_externals(const struct ffpf_fplo *record, struct ffpf_fplo_external *out, uint32_t room)
{
	struct ffpf_fplo_section section;
	struct ffpf_fplo_external external;
	uint32_t count = 0;

	for (uint32_t i = 0; i < record->section_count; i++) {
		uint32_t at = 0;

		ffpf_fplo_section(record, i, &section);
		if (section.kind != FFPF_FPLO_EXTERNALS)
			continue;
		while (at < section.len && next_external(section.octets, section.len, &at, &external)) {
			if (count < room)
				out[count] = external;
			count++;
		}
	}
	return count;
}
