/* SPDX-License-Identifier: BSD-3-Clause */
/* Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. */
#include "bpf/jit_x86_64.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CODE 0x40000000u /* so that every distance fits 32 bits with a sign */

void
ffpf_x86_byte(struct ffpf_x86 *x, uint8_t byte)
{
	if (x->len >= MAX_CODE)
		x->error = x->error ? x->error : -FFPF_E_NOT_SUPPORTED;
	else if (ffpf_cfg_grow((void **)&x->code, &x->space, x->len, 1) < 0)
		x->error = -FFPF_E_NO_MEMORY;
	else
		x->code[x->len++] = byte;
}

void
ffpf_x86_u32(struct ffpf_x86 *x, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		ffpf_x86_byte(x, (uint8_t)(word >> (8 * i)));
}

void
ffpf_x86_align(struct ffpf_x86 *x, uint32_t to, uint8_t fill)
{
	while (x->len % to && !x->error)
		ffpf_x86_byte(x, fill);
}

uint32_t
ffpf_x86_label_new(struct ffpf_x86 *x)
{
	if (ffpf_cfg_grow((void **)&x->labels, &x->label_space, x->label_count, sizeof(*x->labels)) < 0) {
		x->error = -FFPF_E_NO_MEMORY;
		return FFPF_CFG_NONE;
	}
	x->labels[x->label_count] = FFPF_CFG_NONE;
	return x->label_count++;
}

void
ffpf_x86_label_here(struct ffpf_x86 *x, uint32_t label)
{
	if (!x->error)
		x->labels[label] = x->len;
}

static void
distance(struct ffpf_x86 *x, uint32_t label)
{
	if (ffpf_cfg_grow((void **)&x->fixups, &x->fixup_space, x->fixup_count, sizeof(*x->fixups)) < 0)
		x->error = -FFPF_E_NO_MEMORY;
	else
		x->fixups[x->fixup_count++] = (struct ffpf_x86_fixup){ x->len, label };
	ffpf_x86_u32(x, 0);
}

int
ffpf_x86_finish(struct ffpf_x86 *x)
{
	for (uint32_t i = 0; i < x->fixup_count && !x->error; i++) {
		uint32_t d = x->labels[x->fixups[i].label] - (x->fixups[i].at + 4);

		for (int b = 0; b < 4; b++)
			x->code[x->fixups[i].at + b] = (uint8_t)(d >> (8 * b));
	}
	return x->error;
}

void
ffpf_x86_free(struct ffpf_x86 *x)
{
	free(x->code);
	free(x->labels);
	free(x->fixups);
	memset(x, 0, sizeof(*x));
}

/* REX prefix when one is needed: W, and the fourth bits of reg, index and base. `byte_reg`: reg is an octet register.
 */
static void
rex(struct ffpf_x86 *x, bool wide, unsigned reg, unsigned index, unsigned base)
{
	uint8_t prefix = (uint8_t)(0x40 | (wide << 3) | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3));

	if (prefix != 0x40)
		ffpf_x86_byte(x, prefix);
}

static void
opcode(struct ffpf_x86 *x, unsigned op)
{
	if (op > 0xff)
		ffpf_x86_byte(x, (uint8_t)(op >> 8));
	ffpf_x86_byte(x, (uint8_t)op);
}

static void
direct(struct ffpf_x86 *x, bool wide, unsigned op, unsigned reg, unsigned rm)
{
	rex(x, wide, reg, 0, rm);
	opcode(x, op);
	ffpf_x86_byte(x, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

static void
memory(struct ffpf_x86 *x, bool wide, unsigned op, unsigned reg, struct ffpf_x86_mem mem)
{
	bool indexed = mem.index != FFPF_X86_NO_REG, sib = indexed || (mem.base & 7) == FFPF_X86_RSP;
	bool short_disp = mem.disp >= -128 && mem.disp < 128;
	unsigned mod = short_disp ? (mem.disp == 0 && (mem.base & 7) != FFPF_X86_RBP ? 0 : 1) : 2;

	rex(x, wide, reg, indexed ? mem.index : 0, mem.base);
	opcode(x, op);
	ffpf_x86_byte(x, (uint8_t)(mod << 6 | (reg & 7) << 3 | (sib ? 4u : (mem.base & 7u))));
	if (sib)
		ffpf_x86_byte(x, (uint8_t)((unsigned)__builtin_ctz(mem.scale) << 6 |
					   (indexed ? (mem.index & 7u) : 4u) << 3 | (mem.base & 7u)));
	if (mod == 1)
		ffpf_x86_byte(x, (uint8_t)mem.disp);
	else if (mod == 2)
		ffpf_x86_u32(x, (uint32_t)mem.disp);
}

void
ffpf_x86_jump(struct ffpf_x86 *x, uint32_t label)
{
	ffpf_x86_byte(x, 0xe9);
	distance(x, label);
}

void
ffpf_x86_jcc(struct ffpf_x86 *x, enum ffpf_x86_cc cc, uint32_t label)
{
	opcode(x, 0x0f80 + cc);
	distance(x, label);
}

void
ffpf_x86_return(struct ffpf_x86 *x)
{
	ffpf_x86_byte(x, 0xc3);
}

void
ffpf_x86_return_const(struct ffpf_x86 *x, uint32_t k)
{
	ffpf_x86_ri(x, FFPF_X86_MOV, FFPF_X86_RAX, k);
	ffpf_x86_return(x);
}

void
ffpf_x86_return_select(struct ffpf_x86 *x, enum ffpf_x86_cc cc, uint32_t k, uint32_t otherwise)
{
	const enum ffpf_x86_reg other = FFPF_X86_RDI;

	ffpf_x86_byte(x, 0xb8 | FFPF_X86_RAX); /* mov, which leaves the flags alone */
	ffpf_x86_u32(x, otherwise);
	ffpf_x86_byte(x, (uint8_t)(0xb8 | other));
	ffpf_x86_u32(x, k);
	direct(x, false, 0x0f40 + cc, FFPF_X86_RAX, other);
	ffpf_x86_return(x);
}

void
ffpf_x86_rr(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, enum ffpf_x86_reg from)
{
	direct(x, false, op, to, from);
}

void
ffpf_x86_rr_64(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, enum ffpf_x86_reg from)
{
	direct(x, true, op, to, from);
}

void
ffpf_x86_rm(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, struct ffpf_x86_mem from)
{
	memory(x, false, op, to, from);
}

void
ffpf_x86_ri(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg reg, uint32_t k)
{
	bool is_short = (int32_t)k >= -128 && (int32_t)k < 128;

	switch (op) {
	case FFPF_X86_MOV:
		if (k == 0) { /* clears the flags as well: never between a test and its jump */
			direct(x, false, FFPF_X86_XOR, reg, reg);
			return;
		}
		rex(x, false, 0, 0, reg);
		ffpf_x86_byte(x, (uint8_t)(0xb8 | (reg & 7)));
		ffpf_x86_u32(x, k);
		return;
	case FFPF_X86_IMUL:
		ffpf_x86_imul_rri(x, reg, reg, k);
		return;
	case FFPF_X86_TEST:
		direct(x, false, 0xf7, 0, reg);
		ffpf_x86_u32(x, k);
		return;
	default: /* the number of the operation is bits 3 to 5 of its opcode */
		direct(x, false, is_short ? 0x83 : 0x81, op >> 3, reg);
		if (is_short)
			ffpf_x86_byte(x, (uint8_t)k);
		else
			ffpf_x86_u32(x, k);
		return;
	}
}

void
ffpf_x86_mi(struct ffpf_x86 *x, enum ffpf_x86_alu op, struct ffpf_x86_mem mem, uint8_t size, uint32_t k)
{
	bool is_test = op == FFPF_X86_TEST, is_short = (int32_t)k >= -128 && (int32_t)k < 128;

	if (size == 1) {
		memory(x, false, is_test ? 0xf6 : 0x80, is_test ? 0 : op >> 3, mem);
		ffpf_x86_byte(x, (uint8_t)k);
	} else if (!is_test && is_short) {
		memory(x, false, 0x83, op >> 3, mem);
		ffpf_x86_byte(x, (uint8_t)k);
	} else {
		memory(x, false, is_test ? 0xf7 : 0x81, is_test ? 0 : op >> 3, mem);
		ffpf_x86_u32(x, k);
	}
}

void
ffpf_x86_imul_rri(struct ffpf_x86 *x, enum ffpf_x86_reg to, enum ffpf_x86_reg from, uint32_t k)
{
	direct(x, false, 0x69, to, from);
	ffpf_x86_u32(x, k);
}

static void
shift(struct ffpf_x86 *x, unsigned which, enum ffpf_x86_reg reg, uint8_t k)
{
	if (k == 0)
		return;
	direct(x, false, 0xc1, which, reg);
	ffpf_x86_byte(x, k);
}

void
ffpf_x86_shift_left(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t k)
{
	shift(x, 4, reg, k);
}

void
ffpf_x86_shift_right(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t k)
{
	shift(x, 5, reg, k);
}

void
ffpf_x86_shift_by_cl(struct ffpf_x86 *x, enum ffpf_x86_reg reg, bool left)
{
	direct(x, false, 0xd3, left ? 4 : 5, reg);
}

void
ffpf_x86_neg(struct ffpf_x86 *x, enum ffpf_x86_reg reg)
{
	direct(x, false, 0xf7, 3, reg);
}

void
ffpf_x86_divide(struct ffpf_x86 *x, enum ffpf_x86_reg by)
{
	direct(x, false, 0xf7, 6, by);
}

void
ffpf_x86_bit_test(struct ffpf_x86 *x, enum ffpf_x86_reg word, enum ffpf_x86_reg bit)
{
	direct(x, false, 0x0fa3, bit, word);
}

void
ffpf_x86_swap(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t size)
{
	if (size == 2) { /* rol reg16, 8 */
		ffpf_x86_byte(x, 0x66);
		direct(x, false, 0xc1, 0, reg);
		ffpf_x86_byte(x, 8);
		return;
	}
	rex(x, false, 0, 0, reg);
	opcode(x, 0x0fc8 | (reg & 7));
}

void
ffpf_x86_load(struct ffpf_x86 *x, enum ffpf_x86_reg to, struct ffpf_x86_mem from, uint8_t size)
{
	memory(x, false, size == 4 ? 0x8b : size == 2 ? 0x0fb7 : 0x0fb6, to, from);
}

void
ffpf_x86_store(struct ffpf_x86 *x, struct ffpf_x86_mem to, enum ffpf_x86_reg from)
{
	memory(x, false, 0x89, from, to);
}

void
ffpf_x86_store_const(struct ffpf_x86 *x, struct ffpf_x86_mem to, uint32_t k)
{
	memory(x, false, 0xc7, 0, to);
	ffpf_x86_u32(x, k);
}

void
ffpf_x86_lea(struct ffpf_x86 *x, enum ffpf_x86_reg to, struct ffpf_x86_mem from, bool wide)
{
	memory(x, wide, 0x8d, to, from);
}

void
ffpf_x86_lea_label(struct ffpf_x86 *x, enum ffpf_x86_reg to, uint32_t label)
{
	rex(x, true, to, 0, 0);
	ffpf_x86_byte(x, 0x8d);
	ffpf_x86_byte(x, (uint8_t)((to & 7) << 3 | 5)); /* relative to rip */
	distance(x, label);
}

void
ffpf_x86_jump_table(struct ffpf_x86 *x, enum ffpf_x86_reg base, enum ffpf_x86_reg slot, enum ffpf_x86_reg scratch)
{
	memory(x, true, 0x63, scratch, (struct ffpf_x86_mem){ base, slot, 4, 0 }); /* movsxd */
	direct(x, true, FFPF_X86_ADD, scratch, base);
	direct(x, false, 0xff, 4, scratch);
}
