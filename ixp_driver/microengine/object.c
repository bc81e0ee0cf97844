/* SPDX-License-Identifier: BSD-3-Clause */
#include "microengine/object.h"

#include <stdbool.h>
#include <string.h>

#define FIELD(word, low, bits) ((word) >> (low) & ((1u << (bits)) - 1))
#define IMPORT_LOW(dst)        ((uint32_t)IXP_OP_IMMED << 26 | (dst) << 20 | (uint32_t)IXP_IMMED_LOW << 16)
#define IMPORT_UPPER(dst)      ((uint32_t)IXP_OP_IMMED << 26 | (dst) << 20 | (uint32_t)IXP_IMMED_UPPER << 16)

enum format { NONE, ALU, MOV, IMM, BR, BIT, BYTE, REF, ARB, SIGNAL, CSR, RTN, HALT };

#define FORMAT_OF(name, code, format) [code] = (format),
static const uint8_t FORMATS[IXP_OPERATION_COUNT] = { IXP_OPERATIONS(FORMAT_OF) };

/* Bits that fields of the format have. */
static const uint32_t USED[] = {
	[NONE] = 0,         [ALU] = 0x03ffffff,  [MOV] = 0x03f80fe0,  [IMM] = 0x03ffffff, [BR] = 0x03c003ff,
	[BIT] = 0x03ff83ff, [BYTE] = 0x03ffffff, [REF] = 0x03ffffff,  [ARB] = 0x0000ffff, [SIGNAL] = 0x03c003ff,
	[CSR] = 0x03f800ff, [RTN] = 0x0007f000,  [HALT] = 0x0000ffff,
};

static bool
is_source(uint32_t operand)
{
	return operand < IXP_OPERAND_END || operand >= IXP_OPERAND_SMALL;
}

static bool
is_destination(uint32_t operand)
{
	return operand < IXP_OPERAND_END || operand == IXP_OPERAND_NONE;
}

/* Two GPRs are read at once from different banks. */
static bool
one_bank(uint32_t a, uint32_t b)
{
	return a < IXP_GPRS && b < IXP_GPRS && a / IXP_BANK_GPRS == b / IXP_BANK_GPRS;
}

static const char *
operands_fault(uint32_t word)
{
	uint32_t a = FIELD(word, 12, 7), b = FIELD(word, 5, 7);

	switch ((enum format)FORMATS[word >> 26]) {
	case ALU:
		if (!is_destination(FIELD(word, 19, 7)) || !is_source(a) || !is_source(b))
			return "no such register";
		return one_bank(a, b) ? "two registers of one bank are read" : NULL;
	case MOV:
		return is_destination(FIELD(word, 19, 7)) && is_source(b) ? NULL : "no such register";
	case RTN:
		return is_source(a) ? NULL : "no such register";
	case IMM:
		if (FIELD(word, 20, 6) >= IXP_OPERAND_END)
			return "no such register";
		if (word >> 26 == IXP_OP_BAL)
			return FIELD(word, 16, 4) ? "bits that have no meaning are set" : NULL;
		if (FIELD(word, 16, 4) >= IXP_IMMED_COUNT)
			return "no such way of making a number";
		return FIELD(word, 16, 4) == IXP_IMMED_UPPER && FIELD(word, 20, 6) >= IXP_GPRS
			   ? "half of what is no GPR would be kept"
			   : NULL;
	case BIT:
	case BYTE:
		return FIELD(word, 20, 6) < IXP_OPERAND_END ? NULL : "no such register";
	case BR:
		return FIELD(word, 22, 4) < IXP_CONDITION_COUNT ? NULL : "no such condition";
	case CSR:
		return (word >> 26 == IXP_OP_CSR_READ ? is_destination : is_source)(FIELD(word, 19, 7))
			   ? NULL
			   : "no such register";
	default:
		return NULL;
	}
}

static const char *
reference_fault(uint32_t word)
{
	uint32_t unit = FIELD(word, 23, 3), base = FIELD(word, 7, 7), offset = FIELD(word, 0, 7);
	uint32_t words = (FIELD(word, 14, 3) + 1) << (unit == IXP_UNIT_SDRAM);

	if (unit >= IXP_UNIT_COUNT)
		return "no such unit";
	if (!is_source(base) || !is_source(offset))
		return "no such register";
	if (one_bank(base, offset))
		return "two registers of one bank are read";
	return FIELD(word, 17, 3) + words <= IXP_TRANSFERS ? NULL : "more transfer registers than there are";
}

static bool
leads_somewhere(uint32_t operation)
{
	enum format format = (enum format)FORMATS[operation];

	return format == BR || format == BIT || format == BYTE || format == SIGNAL || operation == IXP_OP_BAL;
}

const char *
ixp_word_fault(uint32_t word, uint32_t words)
{
	uint32_t operation = word >> 26;
	uint32_t target = operation == IXP_OP_BAL ? word & 0xffff : FIELD(word, 0, 10);

	if (operation >= IXP_OPERATION_COUNT)
		return "no such operation";
	if (word & 0x03ffffffu & ~USED[FORMATS[operation]])
		return "bits that have no meaning are set";
	if (leads_somewhere(operation) && target >= words)
		return "a branch out of the program";
	return FORMATS[operation] == REF ? reference_fault(word) : operands_fault(word);
}

static uint32_t
number(const uint8_t *octets)
{
	return octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16 | (uint32_t)octets[3] << 24;
}

/* CRC-32 of the whole, as if the four octets at 24 were 0. */
static uint32_t
checksum(const uint8_t *octets, size_t len)
{
	uint32_t value = ~0u;

	for (size_t i = 0; i < len; i++) {
		value ^= i >= 24 && i < 28 ? 0 : octets[i];
		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (0xedb88320u & -(value & 1));
	}
	return ~value;
}

static int
wrong(struct ffpf_error *err, const char *what)
{
	return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: %s", what);
}

static int
parse_imports(struct ixp_object *object, const uint8_t *octets, struct ffpf_error *err)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < object->import_count; i++, octets += IXP_OBJECT_IMPORT) {
		struct ixp_import *import = &object->imports[i];
		size_t len = strnlen((const char *)octets, IXP_OBJECT_NAME);

		if (!len || len == IXP_OBJECT_NAME)
			return wrong(err, "an import without a name, or its end");
		for (size_t at = len; at < IXP_OBJECT_NAME; at++) {
			if (octets[at])
				return wrong(err, "octets behind the name of an import");
		}
		if (number(octets + 28))
			return wrong(err, "octets behind an import");
		memcpy(import->name, octets, IXP_OBJECT_NAME);
		import->word = number(octets + IXP_OBJECT_NAME);
		if ((i && import->word < last) || import->word + 1ull >= object->word_count)
			return wrong(err, "imports that are out of order, or of the program");
		last = import->word + 2;
	}
	return 0;
}

static int
parse_words(struct ixp_object *object, const uint8_t *octets, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < object->word_count; i++) {
		const char *fault;

		object->words[i] = number(octets + 4 * (size_t)i);
		fault = ixp_word_fault(object->words[i], object->word_count);
		if (fault)
			return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: word %u (0x%08x): %s", i,
					      object->words[i], fault);
	}
	for (uint32_t i = 0; i < object->import_count; i++) {
		const uint32_t *pair = &object->words[object->imports[i].word];
		uint32_t dst = FIELD(pair[0], 20, 6);

		if (dst >= IXP_GPRS || pair[0] != IMPORT_LOW(dst) || pair[1] != IMPORT_UPPER(dst))
			return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: word %u takes no import",
					      object->imports[i].word);
	}
	return 0;
}

int
ixp_object_parse(struct ixp_object *out, const uint8_t *octets, size_t len, struct ffpf_error *err)
{
	struct ixp_object object = { 0 };
	int rc;

	if (len < IXP_OBJECT_HEAD || memcmp(octets, "IXPO", 4) != 0)
		return wrong(err, "this is none");
	if (number(octets + 4) != IXP_OBJECT_VERSION)
		return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: version %u, not %u", number(octets + 4),
				      IXP_OBJECT_VERSION);
	object.contexts = number(octets + 12);
	object.word_count = number(octets + 16);
	object.import_count = number(octets + 20);
	if (object.contexts < 1 || object.contexts > IXP_CONTEXTS)
		return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: %u contexts", object.contexts);
	if (object.word_count < 1 || object.word_count > IXP_STORE_WORDS)
		return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: %u words; an engine's store has %u",
				      object.word_count, IXP_STORE_WORDS);
	if (object.import_count > IXP_OBJECT_IMPORTS_MAX)
		return ffpf_error_set(err, FFPF_E_FORMAT, "microcode: %u imports", object.import_count);
	if (number(octets + 8) != len || number(octets + 28) ||
	    len != IXP_OBJECT_HEAD + IXP_OBJECT_IMPORT * object.import_count + 4 * object.word_count)
		return wrong(err, "its length is not what it says");
	if (checksum(octets, len) != number(octets + 24))
		return wrong(err, "its checksum is wrong");
	octets += IXP_OBJECT_HEAD;
	rc = parse_imports(&object, octets, err);
	if (rc == 0)
		rc = parse_words(&object, octets + IXP_OBJECT_IMPORT * object.import_count, err);
	if (rc == 0)
		*out = object;
	return rc;
}

uint32_t
ixp_object_import(struct ixp_object *object, const char *name, uint32_t value)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < object->import_count; i++) {
		uint32_t *pair = &object->words[object->imports[i].word];

		if (strcmp(object->imports[i].name, name) != 0)
			continue;
		pair[0] = (pair[0] & ~0xffffu) | (value & 0xffff);
		pair[1] = (pair[1] & ~0xffffu) | value >> 16;
		found++;
	}
	return found;
}
