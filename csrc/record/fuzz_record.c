/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as a record: no read beyond their end (they lie in an allocation of their own), and what is found of one
 * that is taken lies inside, in order, and is all there is. The length that the record says is made true first, since
 * hardly any input would come further.
 */
#include "common/fuzzing.h"
#include "record/record.h"

#include <stdlib.h>
#include <string.h>

static void
check_sections(const struct ffpf_fplo *record)
{
	struct ffpf_fplo_section section;
	const uint8_t *before = record->octets;

	for (uint32_t i = 0; i < record->section_count; i++) {
		ffpf_fplo_section(record, i, &section);
		MUST(section.len && section.octets > before);
		MUST(section.octets + section.len <= record->octets + record->seal_at);
		MUST(section.digest + FFPF_FPLO_DIGEST_LEN <= record->octets + record->seal_at);
		before = section.octets + section.len - 1;
		if (section.kind == FFPF_FPLO_NATIVE)
			MUST(ffpf_fplo_code(record, section.machine, section.link_type, &section) && section.len);
	}
}

static void
check_externals(const struct ffpf_fplo *record)
{
	struct ffpf_fplo_external found[FFPF_FPLO_EXTERNALS_MAX];
	uint32_t count = ffpf_fplo_externals(record, found, FFPF_FPLO_EXTERNALS_MAX);

	MUST(count <= FFPF_FPLO_EXTERNALS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		MUST(found[i].text_len && !memchr(found[i].text, 0, found[i].text_len));
		MUST((const uint8_t *)found[i].text + found[i].text_len <= record->octets + record->seal_at);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t *copy = malloc(size + !size);
	struct ffpf_fplo record;
	struct ffpf_error err;

	MUST(copy);
	memcpy(copy, input, size);
	if (size >= 16) {
		for (unsigned i = 0; i < 4; i++)
			copy[12 + i] = (uint8_t)(size >> 8 * i);
	}
	if (ffpf_fplo_parse(&record, copy, size, &err) == 0) {
		check_sections(&record);
		check_externals(&record);
	}
	free(copy);
	return 0;
}
