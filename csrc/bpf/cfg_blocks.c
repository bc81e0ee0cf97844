/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/cfg.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

uint32_t
ffpf_cfg_successors(const struct ffpf_bpf_insn *insns, uint32_t at, uint32_t next[2])
{
	const struct ffpf_bpf_insn *insn = &insns[at];

	switch (BPF_CLASS(insn->code)) {
	case BPF_RET:
		return 0;
	case BPF_JMP:
		next[0] = BPF_OP(insn->code) == BPF_JA ? at + 1 + insn->k : at + 1 + insn->jt; /* JA: k is signed */
		next[1] = at + 1 + insn->jf;
		return BPF_OP(insn->code) == BPF_JA ? 1 : 2;
	default:
		next[0] = at + 1;
		return 1;
	}
}

#define A_BIT (1u << FFPF_CFG_A)
#define X_BIT (1u << FFPF_CFG_X)

/* What one instruction reads and writes, as bits of variables. */
static void
effects(const struct ffpf_bpf_insn *insn, uint32_t *reads, uint32_t *writes)
{
	bool by_x = BPF_SRC(insn->code) == BPF_X;

	*reads = *writes = 0;
	switch (BPF_CLASS(insn->code)) {
	case BPF_LD:
	case BPF_LDX:
		*writes = BPF_CLASS(insn->code) == BPF_LD ? A_BIT : X_BIT;
		if (BPF_MODE(insn->code) == BPF_MEM)
			*reads = 1u << (FFPF_CFG_M + insn->k);
		else if (BPF_MODE(insn->code) == BPF_IND)
			*reads = X_BIT;
		break;
	case BPF_ST:
	case BPF_STX:
		*reads = BPF_CLASS(insn->code) == BPF_ST ? A_BIT : X_BIT;
		*writes = 1u << (FFPF_CFG_M + insn->k);
		break;
	case BPF_ALU:
		*reads = A_BIT | (by_x && BPF_OP(insn->code) != BPF_NEG ? X_BIT : 0);
		*writes = A_BIT;
		break;
	case BPF_JMP:
		if (BPF_OP(insn->code) != BPF_JA)
			*reads = A_BIT | (by_x ? X_BIT : 0);
		break;
	case BPF_RET:
		*reads = BPF_RVAL(insn->code) == BPF_A ? A_BIT : 0;
		break;
	default: /* TAX, TXA */
		*reads = BPF_MISCOP(insn->code) == BPF_TAX ? A_BIT : X_BIT;
		*writes = BPF_MISCOP(insn->code) == BPF_TAX ? X_BIT : A_BIT;
		break;
	}
}

static void
find_liveness(struct ffpf_cfg_blocks *blocks, const struct ffpf_bpf_insn *insns)
{
	for (uint32_t b = blocks->count; b-- > 0;) {
		struct ffpf_cfg_block *block = &blocks->items[b];
		uint32_t next[2], reads, writes, live = 0;
		uint32_t ways = ffpf_cfg_successors(insns, block->last, next);

		for (uint32_t i = 0; i < ways; i++)
			live |= blocks->items[blocks->block_of[next[i]]].live;
		for (uint32_t at = block->last + 1; at-- > block->first;) {
			effects(&insns[at], &reads, &writes);
			live = (live & ~writes) | reads;
		}
		block->live = blocks->loops ? (1u << FFPF_CFG_VARS) - 1 : live;
	}
}

int
ffpf_cfg_blocks_find(struct ffpf_cfg_blocks *out, const struct ffpf_bpf_insn *insns, uint32_t n)
{
	struct ffpf_cfg_blocks blocks = { 0 };
	uint32_t next[2];

	blocks.block_of = calloc(n, sizeof(*blocks.block_of));
	blocks.items = calloc(n, sizeof(*blocks.items));
	if (!blocks.block_of || !blocks.items) {
		ffpf_cfg_blocks_free(&blocks);
		return -FFPF_E_NO_MEMORY;
	}
	blocks.block_of[0] = 1;
	for (uint32_t at = 0; at < n; at++) {
		uint32_t ways = ffpf_cfg_successors(insns, at, next);

		for (uint32_t i = 0; i < ways; i++) {
			if (BPF_CLASS(insns[at].code) == BPF_JMP)
				blocks.block_of[next[i]] = 1;
			blocks.loops |= next[i] <= at;
		}
		if ((BPF_CLASS(insns[at].code) == BPF_RET || BPF_CLASS(insns[at].code) == BPF_JMP) && at + 1 < n)
			blocks.block_of[at + 1] = 1;
	}
	for (uint32_t at = 0; at < n; at++) {
		if (blocks.block_of[at]) {
			blocks.items[blocks.count].first = at;
			blocks.block_of[at] = blocks.count++;
		} else {
			blocks.block_of[at] = FFPF_CFG_NONE;
		}
		blocks.items[blocks.count - 1].last = at;
	}
	find_liveness(&blocks, insns);
	*out = blocks;
	return 0;
}

void
ffpf_cfg_blocks_free(struct ffpf_cfg_blocks *blocks)
{
	free(blocks->items);
	free(blocks->block_of);
	memset(blocks, 0, sizeof(*blocks));
}
