/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_JIT_X86_64_H
#define FFPF_BPF_JIT_X86_64_H
/*
 * Octets of x86-64 machine code: baseline instructions only, no callee-saved register, no call. Internal to this room.
 *
 * Functions append to a buffer that grows; lack of memory is remembered, and told at the end. A label is a place that
 * may be named before it is known.
 *
 * Registers at the entry of a filter, by the System V ABI: rdi prog (never looked at, so free), rsi packet, edx
 * wire_len, ecx cap_len, r8 aux. The upper halves of rdx and rcx are undefined there.
 */
#include "bpf/bpf.h"
#include "bpf/cfg.h"

enum ffpf_x86_reg {
	FFPF_X86_RAX,
	FFPF_X86_RCX,
	FFPF_X86_RDX,
	FFPF_X86_RBX,
	FFPF_X86_RSP,
	FFPF_X86_RBP,
	FFPF_X86_RSI,
	FFPF_X86_RDI,
	FFPF_X86_R8,
	FFPF_X86_R9,
	FFPF_X86_R10,
	FFPF_X86_R11,
	FFPF_X86_NO_REG = 0xff,
};

#define FFPF_X86_PKT      FFPF_X86_RSI
#define FFPF_X86_WIRE_LEN FFPF_X86_RDX
#define FFPF_X86_CAP_LEN  FFPF_X86_RCX
#define FFPF_X86_AUX      FFPF_X86_R8

/* Condition codes of jcc; the opposite of c is c ^ 1. */
enum ffpf_x86_cc { FFPF_X86_JB = 2, FFPF_X86_JAE, FFPF_X86_JE, FFPF_X86_JNE, FFPF_X86_JBE, FFPF_X86_JA };

/* Two-operand instructions by the opcode of their "register, register or memory" form. */
enum ffpf_x86_alu {
	FFPF_X86_ADD = 0x03,
	FFPF_X86_OR = 0x0b,
	FFPF_X86_AND = 0x23,
	FFPF_X86_SUB = 0x2b,
	FFPF_X86_XOR = 0x33,
	FFPF_X86_CMP = 0x3b,
	FFPF_X86_TEST = 0x85,
	FFPF_X86_MOV = 0x8b,
	FFPF_X86_IMUL = 0x0faf,
};

struct ffpf_x86_mem {                  /* base + index * scale + disp */
	enum ffpf_x86_reg base, index; /* index: FFPF_X86_NO_REG for none */
	uint8_t scale;                 /* 1, 2, 4 or 8 */
	int32_t disp;
};

struct ffpf_x86_fixup {
	uint32_t at, label; /* four octets at `at` get the distance from behind them to the label */
};

struct ffpf_x86 {
	uint8_t *code;
	uint32_t len, space;
	uint32_t *labels; /* place of each, FFPF_CFG_NONE while unknown */
	uint32_t label_count, label_space;
	struct ffpf_x86_fixup *fixups;
	uint32_t fixup_count, fixup_space;
	uint32_t reject; /* label of the code that returns 0 */
	int error;
};

uint32_t ffpf_x86_label_new(struct ffpf_x86 *x);
void ffpf_x86_label_here(struct ffpf_x86 *x, uint32_t label);
/* Fills every distance. 0, or -code: no memory, or code beyond what a distance can bridge. */
int ffpf_x86_finish(struct ffpf_x86 *x);
void ffpf_x86_free(struct ffpf_x86 *x);

void ffpf_x86_byte(struct ffpf_x86 *x, uint8_t byte);
void ffpf_x86_u32(struct ffpf_x86 *x, uint32_t word);
void ffpf_x86_align(struct ffpf_x86 *x, uint32_t to, uint8_t fill);
void ffpf_x86_jump(struct ffpf_x86 *x, uint32_t label);
void ffpf_x86_jcc(struct ffpf_x86 *x, enum ffpf_x86_cc cc, uint32_t label);
void ffpf_x86_return(struct ffpf_x86 *x);
void ffpf_x86_return_const(struct ffpf_x86 *x, uint32_t k);
/* Returns k when the condition holds, without a jump that could be foretold wrongly. Changes rdi. */
void ffpf_x86_return_select(struct ffpf_x86 *x, enum ffpf_x86_cc cc, uint32_t k, uint32_t otherwise);

/* 32-bit operations clear the upper half of their result. The _64 variants use whole registers. */
void ffpf_x86_rr(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, enum ffpf_x86_reg from);
void ffpf_x86_rr_64(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, enum ffpf_x86_reg from);
void ffpf_x86_rm(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg to, struct ffpf_x86_mem from);
void ffpf_x86_ri(struct ffpf_x86 *x, enum ffpf_x86_alu op, enum ffpf_x86_reg reg, uint32_t k); /* MOV and IMUL too */
/* CMP or TEST of 1 or 4 octets with a constant. */
void ffpf_x86_mi(struct ffpf_x86 *x, enum ffpf_x86_alu op, struct ffpf_x86_mem mem, uint8_t size, uint32_t k);
void ffpf_x86_imul_rri(struct ffpf_x86 *x, enum ffpf_x86_reg to, enum ffpf_x86_reg from, uint32_t k);
void ffpf_x86_shift_left(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t k);
void ffpf_x86_shift_right(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t k);
void ffpf_x86_shift_by_cl(struct ffpf_x86 *x, enum ffpf_x86_reg reg, bool left);
void ffpf_x86_neg(struct ffpf_x86 *x, enum ffpf_x86_reg reg);
void ffpf_x86_divide(struct ffpf_x86 *x, enum ffpf_x86_reg by); /* edx:eax */
/* Carry = the bit of that number, modulo 32: JB jumps when it is set. */
void ffpf_x86_bit_test(struct ffpf_x86 *x, enum ffpf_x86_reg word, enum ffpf_x86_reg bit);
void ffpf_x86_swap(struct ffpf_x86 *x, enum ffpf_x86_reg reg, uint8_t size); /* octets of the low 2 or 4 */
/* Of 1, 2 or 4 octets, zero-extended. */
void ffpf_x86_load(struct ffpf_x86 *x, enum ffpf_x86_reg to, struct ffpf_x86_mem from, uint8_t size);
void ffpf_x86_store(struct ffpf_x86 *x, struct ffpf_x86_mem to, enum ffpf_x86_reg from);
void ffpf_x86_store_const(struct ffpf_x86 *x, struct ffpf_x86_mem to, uint32_t k);
void ffpf_x86_lea(struct ffpf_x86 *x, enum ffpf_x86_reg to, struct ffpf_x86_mem from, bool wide);
void ffpf_x86_lea_label(struct ffpf_x86 *x, enum ffpf_x86_reg to, uint32_t label);
void ffpf_x86_jump_table(struct ffpf_x86 *x, enum ffpf_x86_reg base, enum ffpf_x86_reg slot, enum ffpf_x86_reg scratch);

static inline struct ffpf_x86_mem
ffpf_x86_at(enum ffpf_x86_reg base, int32_t disp)
{
	return (struct ffpf_x86_mem){ base, FFPF_X86_NO_REG, 1, disp };
}

/* jit_x86_64_whole.c: every instruction with its own checks, in the order of the program. The code begins at label
 * `entry`. */
void ffpf_jit_whole(struct ffpf_x86 *x, const struct ffpf_bpf_insn *insns, uint32_t n,
		    const struct ffpf_cfg_blocks *blocks, uint32_t entry);
/* jit_x86_64_graph.c: the graph, and behind it the tables of its sets. Begins at the present place. Checks with
 * else_whole lead to label `whole`; *whole_used says whether there are any. 0, -FFPF_E_NO_MEMORY, or
 * -FFPF_E_NOT_SUPPORTED: too few registers for some value. */
int ffpf_jit_graph(struct ffpf_x86 *x, struct ffpf_cfg *cfg, uint32_t whole, bool *whole_used);

#endif
