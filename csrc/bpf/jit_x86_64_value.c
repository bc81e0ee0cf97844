/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/jit_x86_64_graph.h"

static const enum ffpf_x86_reg pool[FFPF_GEN_REGS] = { FFPF_X86_RAX, FFPF_X86_RDI, FFPF_X86_R9, FFPF_X86_R10,
						       FFPF_X86_R11 };

static uint32_t
index_of(enum ffpf_x86_reg reg)
{
	uint32_t i = 0;

	while (pool[i] != reg)
		i++;
	return i;
}

void
ffpf_gen_pin(struct ffpf_gen *gen, enum ffpf_x86_reg reg)
{
	gen->pinned |= 1u << index_of(reg);
}

void
ffpf_gen_unpin_all(struct ffpf_gen *gen)
{
	gen->pinned = 0;
}

void
ffpf_gen_regs_join(struct ffpf_gen_regs *into, const struct ffpf_gen_regs *from)
{
	for (uint32_t i = 0; i < FFPF_GEN_REGS; i++)
		if (into->value[i] != from->value[i])
			into->value[i] = FFPF_CFG_NONE;
}

bool
ffpf_gen_holds(const struct ffpf_gen *gen, uint32_t value)
{
	for (uint32_t i = 0; i < FFPF_GEN_REGS; i++)
		if (gen->regs.value[i] == value)
			return true;
	return false;
}

/* The register used longest ago, empty ones first, that is not pinned. */
static uint32_t
take(struct ffpf_gen *gen)
{
	uint32_t best = FFPF_GEN_REGS;

	for (uint32_t i = 0; i < FFPF_GEN_REGS; i++) {
		if (gen->pinned & (1u << i))
			continue;
		if (gen->regs.value[i] == FFPF_CFG_NONE) {
			best = i;
			break;
		}
		if (best == FFPF_GEN_REGS || gen->stamp[i] < gen->stamp[best])
			best = i;
	}
	if (best == FFPF_GEN_REGS) {
		gen->error = gen->error ? gen->error : -FFPF_E_NOT_SUPPORTED;
		best = 0;
	}
	gen->regs.value[best] = FFPF_CFG_NONE;
	gen->stamp[best] = ++gen->clock;
	return best;
}

enum ffpf_x86_reg
ffpf_gen_scratch(struct ffpf_gen *gen)
{
	return pool[take(gen)];
}

struct ffpf_x86_mem
ffpf_gen_address(struct ffpf_gen *gen, uint32_t load)
{
	struct ffpf_cfg_value value = gen->cfg->values[load];
	struct ffpf_x86_mem mem = ffpf_x86_at(FFPF_X86_PKT, (int32_t)value.k);

	if (value.a != FFPF_CFG_NONE) {
		mem.index = ffpf_gen_value(gen, value.a);
		ffpf_gen_pin(gen, mem.index);
	}
	return mem;
}

static enum ffpf_x86_alu
alu_of(uint8_t op)
{
	static const uint16_t ops[] = {
		[FFPF_CFG_ADD] = FFPF_X86_ADD, [FFPF_CFG_SUB] = FFPF_X86_SUB, [FFPF_CFG_MUL] = FFPF_X86_IMUL,
		[FFPF_CFG_AND] = FFPF_X86_AND, [FFPF_CFG_OR] = FFPF_X86_OR,   [FFPF_CFG_XOR] = FFPF_X86_XOR,
	};

	return ops[op];
}

/* A register that holds the value `from`, in order to be changed: its own when nobody asks for the value again. */
static uint32_t
take_copy(struct ffpf_gen *gen, uint32_t from)
{
	enum ffpf_x86_reg reg = ffpf_gen_value(gen, from);
	uint32_t to;

	if (gen->cfg->values[from].uses == 1) {
		to = index_of(reg);
		gen->regs.value[to] = FFPF_CFG_NONE;
		return to;
	}
	ffpf_gen_pin(gen, reg);
	to = take(gen);
	ffpf_x86_rr(gen->x, FFPF_X86_MOV, pool[to], reg);
	return to;
}

/* Writes the code of a binary operation; returns the index of the register with the result. */
static uint32_t
binary(struct ffpf_gen *gen, const struct ffpf_cfg_value *value)
{
	enum ffpf_x86_reg other;
	uint32_t to, k;

	if (!ffpf_cfg_is_const(gen->cfg, value->b, &k)) {
		other = ffpf_gen_value(gen, value->b);
		ffpf_gen_pin(gen, other);
		to = take_copy(gen, value->a);
		ffpf_x86_rr(gen->x, alu_of(value->op), pool[to], other);
		return to;
	}
	if (value->op == FFPF_CFG_ADD) {
		other = ffpf_gen_value(gen, value->a);
		ffpf_gen_pin(gen, other);
		to = take(gen);
		ffpf_x86_lea(gen->x, pool[to], ffpf_x86_at(other, (int32_t)k), false);
		return to;
	}
	to = take_copy(gen, value->a);
	if (value->op == FFPF_CFG_LSH)
		ffpf_x86_shift_left(gen->x, pool[to], (uint8_t)k);
	else if (value->op == FFPF_CFG_RSH)
		ffpf_x86_shift_right(gen->x, pool[to], (uint8_t)k);
	else
		ffpf_x86_ri(gen->x, alu_of(value->op), pool[to], k);
	return to;
}

static uint32_t
load(struct ffpf_gen *gen, uint32_t at, uint8_t size, bool swap)
{
	struct ffpf_x86_mem mem = ffpf_gen_address(gen, at);
	uint32_t to = take(gen);

	ffpf_x86_load(gen->x, pool[to], mem, size);
	if (swap)
		ffpf_x86_swap(gen->x, pool[to], size);
	return to;
}

static uint32_t
swap(struct ffpf_gen *gen, uint32_t from)
{
	uint8_t size = gen->cfg->values[from].size;
	enum ffpf_x86_reg reg;
	uint32_t to;

	if (!ffpf_gen_holds(gen, from))
		return load(gen, from, size, true);
	reg = ffpf_gen_value(gen, from);
	ffpf_gen_pin(gen, reg);
	to = take(gen);
	ffpf_x86_rr(gen->x, FFPF_X86_MOV, pool[to], reg);
	ffpf_x86_swap(gen->x, pool[to], size);
	return to;
}

enum ffpf_x86_reg
ffpf_gen_value(struct ffpf_gen *gen, uint32_t at)
{
	struct ffpf_cfg_value value = gen->cfg->values[at];
	uint32_t pinned = gen->pinned, to;

	for (uint32_t i = 0; i < FFPF_GEN_REGS; i++) {
		if (gen->regs.value[i] == at) {
			gen->stamp[i] = ++gen->clock;
			return pool[i];
		}
	}
	switch (value.op) {
	case FFPF_CFG_CONST:
		to = take(gen);
		ffpf_x86_ri(gen->x, FFPF_X86_MOV, pool[to], value.k);
		break;
	case FFPF_CFG_WIRE_LEN: /* a copy, because the upper half of rdx is undefined */
		to = take(gen);
		ffpf_x86_rr(gen->x, FFPF_X86_MOV, pool[to], FFPF_X86_WIRE_LEN);
		break;
	case FFPF_CFG_AUX:
		to = take(gen);
		ffpf_x86_load(gen->x, pool[to], ffpf_x86_at(FFPF_X86_AUX, (int32_t)value.k), value.size);
		break;
	case FFPF_CFG_LOAD:
		to = load(gen, at, value.size, false);
		break;
	case FFPF_CFG_SWAP:
		to = swap(gen, value.a);
		break;
	default:
		to = binary(gen, &value);
		break;
	}
	gen->pinned = pinned; /* operands need not survive */
	gen->regs.value[to] = at;
	return pool[to];
}
