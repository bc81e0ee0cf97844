/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program as it stands: one instruction after the other, each load with its own check. Serves programs that have no
 * graph (loops, division), and packets that are too short for what the graph's code does in another order.
 *
 * eax A, r9d X, r10d wire_len, r11 cap_len (all 64 bits), edi jumps back that are left, ecx and edx scratch. M[] lies
 * in the 128 octets below the stack pointer that the ABI leaves to functions that call nothing.
 */
#include "bpf/ancillary.h"
#include "bpf/jit_x86_64.h"

#include <linux/filter.h>
#include <stdlib.h>

#define A       FFPF_X86_RAX
#define X       FFPF_X86_R9
#define WIRE    FFPF_X86_R10
#define CAP     FFPF_X86_R11
#define PKT     FFPF_X86_PKT
#define BACK    FFPF_X86_RDI
#define SCRATCH FFPF_X86_RCX
#define HIGH    FFPF_X86_RDX

struct whole {
	struct ffpf_x86 *x;
	const struct ffpf_bpf_insn *insns;
	const struct ffpf_cfg_blocks *blocks;
	uint32_t first_label; /* of block i: first_label + i */
};

static struct ffpf_x86_mem
memory_word(uint32_t k)
{
	return ffpf_x86_at(FFPF_X86_RSP, -64 + 4 * (int32_t)k);
}

static uint32_t
label_of(const struct whole *w, uint32_t insn)
{
	return w->first_label + w->blocks->block_of[insn];
}

/* Loads octets at a constant offset, or ends with 0. */
static void
load_absolute(struct whole *w, enum ffpf_x86_reg to, uint32_t k, uint8_t size)
{
	struct ffpf_x86_mem from = ffpf_x86_at(PKT, (int32_t)k);

	if ((uint64_t)k + size > UINT32_MAX) {
		ffpf_x86_jump(w->x, w->x->reject);
		return;
	}
	ffpf_x86_ri(w->x, FFPF_X86_CMP, CAP, k + size);
	ffpf_x86_jcc(w->x, FFPF_X86_JB, w->x->reject);
	if (k > FFPF_CFG_MAX_OFFSET) {
		ffpf_x86_ri(w->x, FFPF_X86_MOV, SCRATCH, k);
		from = (struct ffpf_x86_mem){ PKT, SCRATCH, 1, 0 };
	}
	ffpf_x86_load(w->x, to, from, size);
	if (size > 1)
		ffpf_x86_swap(w->x, to, size);
}

/* Loads octets at X + k, or ends with 0. The sum has 64 bits. */
static void
load_indirect(struct whole *w, uint32_t k, uint8_t size)
{
	if (k <= FFPF_CFG_MAX_OFFSET) {
		ffpf_x86_lea(w->x, SCRATCH, ffpf_x86_at(X, (int32_t)k), true);
	} else {
		ffpf_x86_ri(w->x, FFPF_X86_MOV, SCRATCH, k);
		ffpf_x86_rr_64(w->x, FFPF_X86_ADD, SCRATCH, X);
	}
	ffpf_x86_lea(w->x, HIGH, ffpf_x86_at(SCRATCH, size), true);
	ffpf_x86_rr_64(w->x, FFPF_X86_CMP, HIGH, CAP);
	ffpf_x86_jcc(w->x, FFPF_X86_JA, w->x->reject);
	ffpf_x86_load(w->x, A, (struct ffpf_x86_mem){ PKT, SCRATCH, 1, 0 }, size);
	if (size > 1)
		ffpf_x86_swap(w->x, A, size);
}

static void
load(struct whole *w, const struct ffpf_bpf_insn *insn, uint8_t size)
{
	const struct ffpf_bpf_ancillary *aux = ffpf_bpf_ancillary_find(insn);

	if (BPF_MODE(insn->code) == BPF_IND) {
		load_indirect(w, insn->k, size);
	} else if (aux) {
		ffpf_x86_rr_64(w->x, FFPF_X86_TEST, FFPF_X86_AUX, FFPF_X86_AUX);
		ffpf_x86_jcc(w->x, FFPF_X86_JE, w->x->reject);
		ffpf_x86_load(w->x, A, ffpf_x86_at(FFPF_X86_AUX, aux->offset), aux->size);
	} else {
		load_absolute(w, A, insn->k, size);
	}
}

static void
divide(struct whole *w, const struct ffpf_bpf_insn *insn)
{
	enum ffpf_x86_reg by = X;

	if (BPF_SRC(insn->code) == BPF_K) {
		by = SCRATCH;
		ffpf_x86_ri(w->x, FFPF_X86_MOV, SCRATCH, insn->k);
	}
	ffpf_x86_rr(w->x, FFPF_X86_TEST, by, by);
	ffpf_x86_jcc(w->x, FFPF_X86_JE, w->x->reject);
	ffpf_x86_rr(w->x, FFPF_X86_XOR, HIGH, HIGH);
	ffpf_x86_divide(w->x, by);
	if (BPF_OP(insn->code) == BPF_MOD)
		ffpf_x86_rr(w->x, FFPF_X86_MOV, A, HIGH);
}

static void
shift_by_x(struct whole *w, bool left)
{
	uint32_t done = ffpf_x86_label_new(w->x);

	ffpf_x86_rr(w->x, FFPF_X86_MOV, SCRATCH, X);
	ffpf_x86_shift_by_cl(w->x, A, left);
	ffpf_x86_ri(w->x, FFPF_X86_CMP, X, 31);
	ffpf_x86_jcc(w->x, FFPF_X86_JBE, done);
	ffpf_x86_rr(w->x, FFPF_X86_XOR, A, A);
	ffpf_x86_label_here(w->x, done);
}

static void
arithmetic(struct whole *w, const struct ffpf_bpf_insn *insn)
{
	static const uint16_t ops[16] = {
		[BPF_ADD >> 4] = FFPF_X86_ADD, [BPF_SUB >> 4] = FFPF_X86_SUB, [BPF_MUL >> 4] = FFPF_X86_IMUL,
		[BPF_AND >> 4] = FFPF_X86_AND, [BPF_OR >> 4] = FFPF_X86_OR,   [BPF_XOR >> 4] = FFPF_X86_XOR,
	};
	bool by_x = BPF_SRC(insn->code) == BPF_X;

	switch (BPF_OP(insn->code)) {
	case BPF_DIV:
	case BPF_MOD:
		divide(w, insn);
		break;
	case BPF_LSH:
	case BPF_RSH:
		if (by_x)
			shift_by_x(w, BPF_OP(insn->code) == BPF_LSH);
		else if (BPF_OP(insn->code) == BPF_LSH)
			ffpf_x86_shift_left(w->x, A, insn->k & 31);
		else
			ffpf_x86_shift_right(w->x, A, insn->k & 31);
		break;
	case BPF_NEG:
		ffpf_x86_neg(w->x, A);
		break;
	default:
		if (by_x)
			ffpf_x86_rr(w->x, ops[BPF_OP(insn->code) >> 4], A, X);
		else
			ffpf_x86_ri(w->x, ops[BPF_OP(insn->code) >> 4], A, insn->k);
		break;
	}
}

static void
jump(struct whole *w, uint32_t at)
{
	static const uint8_t ccs[16] = {
		[BPF_JEQ >> 4] = FFPF_X86_JE,
		[BPF_JGT >> 4] = FFPF_X86_JA,
		[BPF_JGE >> 4] = FFPF_X86_JAE,
		[BPF_JSET >> 4] = FFPF_X86_JNE,
	};
	const struct ffpf_bpf_insn *insn = &w->insns[at];
	enum ffpf_x86_alu op = BPF_OP(insn->code) == BPF_JSET ? FFPF_X86_TEST : FFPF_X86_CMP;
	enum ffpf_x86_cc cc = ccs[BPF_OP(insn->code) >> 4];
	uint32_t next[2];

	if (ffpf_cfg_successors(w->insns, at, next) == 1) {
		if (next[0] <= at) {
			ffpf_x86_ri(w->x, FFPF_X86_SUB, BACK, 1);
			ffpf_x86_jcc(w->x, FFPF_X86_JB, w->x->reject);
		}
		if (next[0] != at + 1)
			ffpf_x86_jump(w->x, label_of(w, next[0]));
		return;
	}
	if (BPF_SRC(insn->code) == BPF_X)
		ffpf_x86_rr(w->x, op, A, X);
	else
		ffpf_x86_ri(w->x, op, A, insn->k);
	if (next[0] == at + 1) {
		ffpf_x86_jcc(w->x, cc ^ 1u, label_of(w, next[1]));
		return;
	}
	ffpf_x86_jcc(w->x, cc, label_of(w, next[0]));
	if (next[1] != at + 1)
		ffpf_x86_jump(w->x, label_of(w, next[1]));
}

static void
transfer(struct whole *w, const struct ffpf_bpf_insn *insn)
{
	enum ffpf_x86_reg to = BPF_CLASS(insn->code) == BPF_LDX ? X : A;

	switch (insn->code) {
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
		ffpf_x86_ri(w->x, FFPF_X86_MOV, to, insn->k);
		break;
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
		ffpf_x86_rr(w->x, FFPF_X86_MOV, to, WIRE);
		break;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
		ffpf_x86_load(w->x, to, memory_word(insn->k), 4);
		break;
	case BPF_ST:
	case BPF_STX:
		ffpf_x86_store(w->x, memory_word(insn->k), insn->code == BPF_ST ? A : X);
		break;
	case BPF_MISC | BPF_TAX:
		ffpf_x86_rr(w->x, FFPF_X86_MOV, X, A);
		break;
	case BPF_MISC | BPF_TXA:
		ffpf_x86_rr(w->x, FFPF_X86_MOV, A, X);
		break;
	default: /* no BPF machine knows it */
		ffpf_x86_jump(w->x, w->x->reject);
		break;
	}
}

static void
instruction(struct whole *w, uint32_t at)
{
	const struct ffpf_bpf_insn *insn = &w->insns[at];

	switch (insn->code) {
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_W | BPF_IND:
		load(w, insn, 4);
		return;
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_H | BPF_IND:
		load(w, insn, 2);
		return;
	case BPF_LD | BPF_B | BPF_ABS:
	case BPF_LD | BPF_B | BPF_IND:
		load(w, insn, 1);
		return;
	case BPF_LDX | BPF_B | BPF_MSH:
		load_absolute(w, X, insn->k, 1);
		ffpf_x86_ri(w->x, FFPF_X86_AND, X, 15);
		ffpf_x86_shift_left(w->x, X, 2);
		return;
	case BPF_RET | BPF_K:
		ffpf_x86_return_const(w->x, insn->k);
		return;
	case BPF_RET | BPF_A:
		ffpf_x86_return(w->x);
		return;
	default:
		break;
	}
	if (BPF_CLASS(insn->code) == BPF_ALU && insn->code <= 0xff && insn->code != (BPF_ALU | BPF_NEG | BPF_X))
		arithmetic(w, insn);
	else if (BPF_CLASS(insn->code) == BPF_JMP && insn->code <= 0xff && insn->code != (BPF_JMP | BPF_JA | BPF_X))
		jump(w, at);
	else
		transfer(w, insn);
}

void
ffpf_jit_whole(struct ffpf_x86 *x, const struct ffpf_bpf_insn *insns, uint32_t n, const struct ffpf_cfg_blocks *blocks,
	       uint32_t entry)
{
	struct whole w = { .x = x, .insns = insns, .blocks = blocks, .first_label = x->label_count };

	for (uint32_t i = 0; i < blocks->count; i++)
		ffpf_x86_label_new(x);
	ffpf_x86_label_here(x, entry);
	ffpf_x86_rr(x, FFPF_X86_MOV, WIRE, FFPF_X86_WIRE_LEN);
	ffpf_x86_rr(x, FFPF_X86_MOV, CAP, FFPF_X86_CAP_LEN);
	ffpf_x86_rr(x, FFPF_X86_XOR, A, A);
	ffpf_x86_rr(x, FFPF_X86_XOR, X, X);
	if (blocks->loops)
		ffpf_x86_ri(x, FFPF_X86_MOV, BACK, FFPF_BPF_MAX_BACK_JUMPS);
	for (uint32_t k = 0; k < BPF_MEMWORDS; k++)
		if (blocks->items[0].live & (1u << (FFPF_CFG_M + k)))
			ffpf_x86_store_const(x, memory_word(k), 0);
	for (uint32_t at = 0; at < n && !x->error; at++) {
		if (blocks->block_of[at] != FFPF_CFG_NONE)
			ffpf_x86_label_here(x, w.first_label + blocks->block_of[at]);
		instruction(&w, at);
	}
}
