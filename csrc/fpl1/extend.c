/* SPDX-License-Identifier: BSD-3-Clause */
#include "fpl1/extend.h"
#include "fpl1/program.h"

#include <string.h>

static bool
refuse(struct ffpf_fpl1 *p)
{
	p->refused++;
	__atomic_store_n(&ffpf_fpl1_segment(p)->refused, p->refused, __ATOMIC_RELAXED);
	return false;
}

bool
ffpf_fpl1_add(struct ffpf_fpl1 *program, uint32_t area, struct ffpf_fpl1_insn insn)
{
	struct ffpf_fpl1_area *in = area < program->area_count ? &program->areas[area] : NULL;
	struct ffpf_fpl1_insn *slot, before;

	if (!in || in->used == in->slots || insn.op == FFPF_FPL1_OP_CALL)
		return refuse(program);
	slot = &program->next[in->first + in->used];
	before = *slot;
	*slot = insn;
	if (ffpf_fpl1_verify(program, program->next, NULL)) {
		*slot = before;
		return refuse(program);
	}
	in->used++;
	program->staged = true;
	return true;
}

static bool
has(const struct ffpf_fpl1 *p, const struct ffpf_fpl1_area *area, const struct ffpf_fpl1_insn *insn)
{
	for (uint32_t i = 0; i < area->used; i++) {
		if (memcmp(&p->next[area->first + i], insn, sizeof(*insn)) == 0)
			return true;
	}
	return false;
}

/* The application may change memory at any time: words are read once. */
static uint64_t
word(const uint8_t *memory, uint64_t at)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < sizeof(value); i++)
		((uint8_t *)&value)[i] = __atomic_load_n(&memory[at + i], __ATOMIC_RELAXED);
	return value;
}

static uint64_t
extend_with_port(struct ffpf_fpl1 *caller, const uint8_t *memory, uint64_t read_at)
{
	uint32_t asked[2]; /* port, area */
	const uint64_t value = word(memory, read_at);
	struct ffpf_fpl1_insn insn = { .op = FFPF_FPL1_OP_CASE };

	memcpy(asked, &value, sizeof(asked));
	if (!asked[0] || asked[0] > UINT16_MAX || asked[1] >= caller->area_count)
		return refuse(caller);
	insn.b = (uint16_t)asked[0];
	insn.k = caller->areas[asked[1]].target;
	return has(caller, &caller->areas[asked[1]], &insn) || ffpf_fpl1_add(caller, asked[1], insn);
}

static uint64_t
add_instruction(struct ffpf_fpl1 *caller, const uint8_t *memory, uint64_t read_at)
{
	const uint64_t first = word(memory, read_at), second = word(memory, read_at + 8);
	struct ffpf_fpl1_insn insn;
	uint32_t rest[2]; /* area, 0 */

	memcpy(&insn, &first, sizeof(insn));
	memcpy(rest, &second, sizeof(rest));
	return rest[1] ? refuse(caller) : ffpf_fpl1_add(caller, rest[0], insn);
}

const struct ffpf_fpl1_external ffpf_fpl1_extenders[FFPF_FPL1_EXTENDERS] = {
	{ .name = "ExtendWithPort", .reads = 8, .extender = extend_with_port },
	{ .name = "AddInstruction", .reads = 16, .extender = add_instruction },
};

uint32_t
ffpf_fpl1_extended(const struct ffpf_fpl1 *program)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < program->area_count; i++)
		sum += program->areas[i].used;
	return sum;
}

uint64_t
ffpf_fpl1_refused(const struct ffpf_fpl1 *program)
{
	return program->refused;
}
