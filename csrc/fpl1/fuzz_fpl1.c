/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Octets -> an object, and packets for it. What the loader takes runs, is extended by its own calls, and keeps to its
 * packet and its memory, each in an allocation of its own size.
 *
 * Input: form, length of the packet, packet, then the object in one of two forms:
 *   even  as it is in a file
 *   odd   areas and names left out: u8 instructions, 8 octets each with known operations and jumps that stay inside
 */
#include "common/fuzzing.h"
#include "fpl1/extend.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OCTETS 16384u
#define DATA_BYTES  64u
#define PACKETS     4u

static uint64_t
sum(void *context, const uint8_t *packet, uint32_t captured, uint8_t *memory, uint64_t read_at, uint64_t write_at)
{
	uint64_t value = 0;

	(void)context;
	for (uint32_t i = 0; i < captured; i++)
		value += packet[i];
	for (uint32_t i = 0; i < 4; i++)
		value += memory[read_at + i];
	memset(memory + write_at, (int)value, 2);
	return value;
}

static const struct ffpf_fpl1_external functions[] = {
	{ .name = "s", .reads = 4, .writes = 2, .function = sum },
};

static const struct ffpf_fpl1_external *
find(void *arg, const char *name, struct ffpf_error *err)
{
	(void)arg;
	for (uint32_t i = 0; i < FFPF_FPL1_EXTENDERS; i++) {
		if (strcmp(ffpf_fpl1_extenders[i].name, name) == 0)
			return &ffpf_fpl1_extenders[i];
	}
	ffpf_error_set(err, FFPF_E_DENIED, "no");
	return NULL;
}

/* An object of one area and three functions around instructions that are nearly right. */
static size_t
make_object(uint8_t *object, const uint8_t *input, size_t size)
{
	static const char *const names[] = { "s", "ExtendWithPort", "AddInstruction" };
	uint8_t known[256];
	uint32_t count = (uint32_t)(size / FFPF_FPL1_INSN_BYTES), ops = 0, len = 24;

	count = count > 200 ? 200 : count;
	for (uint32_t op = 0; op < 256; op++) {
		if (ffpf_fpl1_op_info((uint8_t)op))
			known[ops++] = (uint8_t)op;
	}
	memset(object, 0, MOST_OCTETS);
	memcpy(object, "FPL1\1", 5);
	object[9] = 4; /* 1,024 steps */
	object[12] = DATA_BYTES;
	object[16] = (uint8_t)(count + 6);
	object[18] = 1;
	object[20] = 3;
	for (uint32_t i = 0; i < count; i++, len += FFPF_FPL1_INSN_BYTES) {
		const struct ffpf_fpl1_op_info *info;

		memcpy(object + len, input + i * FFPF_FPL1_INSN_BYTES, FFPF_FPL1_INSN_BYTES);
		object[len] = known[object[len] % ops];
		info = ffpf_fpl1_op_info(object[len]);
		if (info->form != FFPF_FPL1_CASE && info->form != FFPF_FPL1_PART && info->form != FFPF_FPL1_HASH)
			object[len + 2] = object[len + 3] = 0;
		if (info->form == FFPF_FPL1_PLAIN)
			memset(object + len + 1, 0, 7);
		if (info->form == FFPF_FPL1_JUMP || info->form == FFPF_FPL1_CASE) {
			object[len + 4] = (uint8_t)(object[len + 4] % (count + 6));
			memset(object + len + 5, 0, 3);
		}
		if (info->form == FFPF_FPL1_CALL)
			object[len + 4] = object[len + 4] % 3, memset(object + len + 5, 0, 3);
	}
	/* push; area of two; drop; ret 1 */
	object[len] = FFPF_FPL1_OP_PUSH;
	object[len + 8] = object[len + 16] = FFPF_FPL1_OP_JMP;
	object[len + 12] = object[len + 20] = (uint8_t)(count + 3);
	object[len + 24] = FFPF_FPL1_OP_DROP;
	object[len + 32] = FFPF_FPL1_OP_RETK;
	object[len + 36] = 1;
	object[len + 40] = FFPF_FPL1_OP_RETK;
	len += 48;
	object[len] = (uint8_t)(count + 1);
	object[len + 2] = 2;
	object[len + 4] = (uint8_t)(count + 3);
	len += 8;
	for (uint32_t i = 0; i < 3; i++, len += FFPF_FPL1_NAME_BYTES)
		memcpy(object + len, names[i], strlen(names[i]));
	return len;
}

static void
run(struct ffpf_fpl1 *program, const uint8_t *octets, uint32_t len)
{
	const size_t bytes = ffpf_fpl1_memory_bytes(program);
	uint8_t *packet = malloc(len + !len), *memory = malloc(bytes);
	struct ffpf_fpl1_packet in = { .data = packet };

	MUST(packet && memory);
	memcpy(packet, octets, len);
	for (size_t i = 0; i < ffpf_fpl1_data_bytes(program); i++)
		memory[i] = len ? octets[i % len] : 0;
	ffpf_fpl1_attach(program, memory);
	for (uint32_t i = 0; i < PACKETS; i++) {
		in.facts[FFPF_FPL1_LEN] = len;
		in.facts[FFPF_FPL1_CAPLEN] = len - len * i / PACKETS;
		ffpf_fpl1_run(program, &in);
	}
	MUST(len == 0 || memcmp(packet, octets, len) == 0);
	free(packet);
	free(memory);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	const struct ffpf_fpl1_policy policy = { .externals = functions, .external_count = 1, .find = find };
	struct ffpf_fpl1 *program = NULL;
	struct ffpf_error err = { 0 };
	uint8_t *object = malloc(MOST_OCTETS);
	uint32_t len;

	MUST(object);
	if (size < 2 || size - 2 < input[1] || size > MOST_OCTETS) {
		free(object);
		return 0;
	}
	len = input[1];
	if (input[0] & 1) {
		size_t made = make_object(object, input + 2 + len, size - 2 - len);

		if (ffpf_fpl1_load(&program, object, made, &policy, 0, &err))
			MUST(err.text[0]);
	} else if (ffpf_fpl1_load(&program, input + 2 + len, size - 2 - len, &policy, 0, &err)) {
		MUST(err.text[0]);
	}
	if (program)
		run(program, input + 2, len);
	ffpf_fpl1_unload(program);
	free(object);
	return 0;
}
