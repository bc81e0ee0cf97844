/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as an object: no read beyond their end, and what is taken runs on an engine, whatever its words say,
 * without leaving its registers or its store. Lengths and checksum are made true first, since hardly any input would
 * come further.
 */
#include "common/fuzzing.h"
#include "microengine/engine.h"
#include "microengine/object.h"

#include <stdlib.h>
#include <string.h>

#define CYCLES 3000
/* References of every kind to 64 words; those beyond cannot be. */
static uint32_t
reference(void *board, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	uint32_t *memory = board;
	uint32_t words = (uint32_t)ref->count << (ref->unit == IXP_UNIT_SDRAM), at = ref->address / 4;

	MUST(words >= 1 && words <= IXP_TRANSFERS && ref->context < IXP_CONTEXTS);
	if (at > 64 - words)
		return IXP_BUS_FAULT;
	for (uint32_t i = 0; i < words; i++) {
		if (ref->command == IXP_COMMAND_WRITE || ref->command == IXP_COMMAND_PUSH)
			memory[at + i] = out[i];
		else
			in[i] = memory[at + i];
	}
	return 1 + ref->unit;
}

static bool
csr(void *board, const struct ixp_reference *from, uint8_t number, bool write, uint32_t *value)
{
	(void)board;
	if (!write)
		*value = from->context;
	return number < 20;
}

static void
run(const struct ixp_object *object)
{
	static struct ixp_engine engine;
	uint32_t memory[64] = { 0 };
	struct ixp_bus bus = { .board = memory, .reference = reference, .csr = csr };

	ixp_engine_init(&engine, 1, IXP_BRANCH_CYCLES);
	ixp_engine_store(&engine, object->words, object->word_count);
	ixp_engine_start(&engine, object->contexts);
	for (uint64_t until = 1000; until <= CYCLES; until += 1000) {
		enum ixp_stop stop = me_run(&engine, until, &bus);

		MUST(stop != IXP_STOP_WORD); /* such are refused before */
		for (uint32_t i = 0; i < IXP_CONTEXTS; i++)
			ixp_engine_signal(&engine, i, (enum ixp_signal)(8 + i));
	}
	MUST(engine.stop || engine.cycle >= CYCLES);
	MUST(engine.instructions + engine.branches + engine.stalled + engine.idle == engine.cycle);
}

static void
put(uint8_t *octets, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		octets[i] = (uint8_t)(value >> 8 * i);
}

static void
make_true(uint8_t *octets, size_t len)
{
	uint32_t value = ~0u, imports = octets[20] % 3u;

	if (len < IXP_OBJECT_HEAD + imports * IXP_OBJECT_IMPORT)
		imports = 0;
	put(octets + 8, (uint32_t)len);
	put(octets + 16, (uint32_t)(len - IXP_OBJECT_HEAD - imports * IXP_OBJECT_IMPORT) / 4);
	put(octets + 20, imports);
	put(octets + 24, 0);
	for (size_t i = 0; i < len; i++) {
		value ^= octets[i];
		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (0xedb88320u & -(value & 1));
	}
	put(octets + 24, ~value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t *copy = malloc(size + !size);
	struct ixp_object object;
	struct ffpf_error err;

	MUST(copy);
	memcpy(copy, input, size);
	if (size >= IXP_OBJECT_HEAD)
		make_true(copy, size);
	if (ixp_object_parse(&object, copy, size, &err) == 0) {
		for (uint32_t i = 0; i < object.word_count; i++)
			MUST(!ixp_word_fault(object.words[i], object.word_count));
		for (uint32_t i = 0; i < object.import_count; i++)
			MUST(ixp_object_import(&object, object.imports[i].name, 0xfffffff0u) >= 1);
		run(&object);
	}
	free(copy);
	return 0;
}
