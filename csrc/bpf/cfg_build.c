/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs each block once for every different content of the variables that are live at its start, with values instead of
 * numbers. libpcap's optimizer shares the tail of two chains whose accumulator holds different fields; here they part
 * again.
 */
#include "bpf/ancillary.h"
#include "bpf/cfg.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

/* What a program may need: four nodes for every block and so many more (small programs: 128 for every block); so many
 * instructions run, and eight for each of its own. Blocks that are reached with many different states need more. */
#define SPARE_NODES 8192
#define SPARE_WORK  1000000
#define MAX_COST    64 /* operations of one value: it may be computed again for every test */

struct state {
	uint32_t vars[FFPF_CFG_VARS];
};

struct task { /* what node i, made but not yet filled, stands for */
	uint32_t block;
	struct state state; /* variables that are not live: FFPF_CFG_NONE */
};

struct builder {
	struct ffpf_cfg *cfg;
	const struct ffpf_bpf_insn *insns;
	const struct ffpf_cfg_blocks *blocks;
	struct task *tasks; /* parallel to cfg->nodes */
	uint32_t task_space, node_limit;
	uint64_t work_left;                       /* instructions */
	uint32_t *memo, memo_mask;                /* (block, state) -> node */
	uint32_t *leaves, leaf_count, leaf_space; /* RET_CONST nodes: few different ones */
	/* of the block that is being run */
	struct state state;
	uint32_t node;
	bool rejects; /* a check failed already: whatever the packet */
	int error;
};

static uint32_t
fail(struct builder *b, enum ffpf_code code)
{
	if (!b->error)
		b->error = -(int)code;
	return FFPF_CFG_NONE;
}

static uint32_t
state_hash(uint32_t block, const struct state *state)
{
	uint64_t h = block + 1;

	for (int i = 0; i < FFPF_CFG_VARS; i++)
		h = (h ^ state->vars[i]) * 0x9e3779b97f4a7c15u + (h >> 31);
	return (uint32_t)(h >> 32);
}

static uint32_t
node_add(struct builder *b, enum ffpf_cfg_kind kind)
{
	uint32_t node;

	if (b->cfg->node_count >= b->node_limit)
		return fail(b, FFPF_E_NOT_SUPPORTED);
	if (ffpf_cfg_grow((void **)&b->tasks, &b->task_space, b->cfg->node_count, sizeof(*b->tasks)) < 0)
		return fail(b, FFPF_E_NO_MEMORY);
	node = ffpf_cfg_node_add(b->cfg, kind);
	if (node == FFPF_CFG_NONE)
		return fail(b, FFPF_E_NO_MEMORY);
	b->tasks[node].block = FFPF_CFG_NONE;
	return node;
}

static uint32_t
leaf(struct builder *b, uint32_t konst)
{
	uint32_t node;

	for (uint32_t i = 0; i < b->leaf_count && i < 16; i++)
		if (b->cfg->nodes[b->leaves[i]].konst == konst)
			return b->leaves[i];
	node = node_add(b, FFPF_CFG_RET_CONST);
	if (node == FFPF_CFG_NONE)
		return node;
	if (ffpf_cfg_grow((void **)&b->leaves, &b->leaf_space, b->leaf_count, sizeof(*b->leaves)) < 0)
		return fail(b, FFPF_E_NO_MEMORY);
	b->cfg->nodes[node].konst = konst;
	b->leaves[b->leaf_count++] = node;
	return node;
}

/* The node for what begins at an instruction with the present state. */
static uint32_t
node_for(struct builder *b, uint32_t insn)
{
	const struct ffpf_bpf_insn *first = &b->insns[insn];
	uint32_t block = b->blocks->block_of[insn], at, node;
	struct state state;

	if (b->error)
		return FFPF_CFG_NONE;
	if (first->code == (BPF_RET | BPF_K))
		return leaf(b, first->k);
	for (int i = 0; i < FFPF_CFG_VARS; i++)
		state.vars[i] = b->blocks->items[block].live & (1u << i) ? b->state.vars[i] : FFPF_CFG_NONE;
	at = state_hash(block, &state) & b->memo_mask;
	while (b->memo[at] != FFPF_CFG_NONE) {
		const struct task *task = &b->tasks[b->memo[at]];

		if (task->block == block && memcmp(&task->state, &state, sizeof(state)) == 0)
			return b->memo[at];
		at = (at + 1) & b->memo_mask;
	}
	node = node_add(b, FFPF_CFG_GOTO);
	if (node != FFPF_CFG_NONE) {
		b->tasks[node] = (struct task){ block, state };
		b->memo[at] = node;
	}
	return node;
}

static void
check_length(struct builder *b, uint64_t need)
{
	struct ffpf_cfg_node *node = &b->cfg->nodes[b->node];

	if (need > UINT32_MAX)
		b->rejects = true;
	else if (need > node->need)
		node->need = (uint32_t)need;
}

static uint32_t
load(struct builder *b, uint8_t size, uint32_t base, uint32_t k)
{
	uint32_t load_value, known;

	if (base != FFPF_CFG_NONE && ffpf_cfg_is_const(b->cfg, base, &known)) {
		if ((uint64_t)known + k > UINT32_MAX) {
			b->rejects = true;
			return ffpf_cfg_const(b->cfg, 0);
		}
		k += known;
		base = FFPF_CFG_NONE;
	}
	if ((uint64_t)k + size > UINT32_MAX) {
		b->rejects = true;
		return ffpf_cfg_const(b->cfg, 0);
	}
	if (k > FFPF_CFG_MAX_OFFSET)
		return fail(b, FFPF_E_NOT_SUPPORTED);
	if (base == FFPF_CFG_NONE) {
		check_length(b, (uint64_t)k + size);
	} else if (!b->rejects) {
		struct ffpf_cfg_node *node = &b->cfg->nodes[b->node];

		if (ffpf_cfg_dyn_add(b->cfg, base, k + size) < 0)
			return fail(b, FFPF_E_NO_MEMORY);
		if (node->dyn_count++ == 0)
			node->dyn = b->cfg->dyn_count - 1;
	}
	load_value = ffpf_cfg_leaf(b->cfg, FFPF_CFG_LOAD, size, base, k);
	if (load_value == FFPF_CFG_NONE || size == 1)
		return load_value;
	return ffpf_cfg_leaf(b->cfg, FFPF_CFG_SWAP, size, load_value, 0);
}

static uint32_t
load_absolute(struct builder *b, const struct ffpf_bpf_insn *insn, uint8_t size)
{
	const struct ffpf_bpf_ancillary *aux = ffpf_bpf_ancillary_find(insn);

	if (!aux)
		return load(b, size, FFPF_CFG_NONE, insn->k);
	b->cfg->nodes[b->node].need_aux = true;
	return ffpf_cfg_leaf(b->cfg, FFPF_CFG_AUX, aux->size, FFPF_CFG_NONE, aux->offset);
}

static uint32_t
arithmetic(struct builder *b, const struct ffpf_bpf_insn *insn)
{
	static const uint8_t ops[16] = {
		[BPF_ADD >> 4] = FFPF_CFG_ADD, [BPF_SUB >> 4] = FFPF_CFG_SUB, [BPF_MUL >> 4] = FFPF_CFG_MUL,
		[BPF_AND >> 4] = FFPF_CFG_AND, [BPF_OR >> 4] = FFPF_CFG_OR,   [BPF_XOR >> 4] = FFPF_CFG_XOR,
		[BPF_LSH >> 4] = FFPF_CFG_LSH, [BPF_RSH >> 4] = FFPF_CFG_RSH, [BPF_DIV >> 4] = FFPF_CFG_RSH,
		[BPF_MOD >> 4] = FFPF_CFG_AND,
	};
	uint32_t a = b->state.vars[FFPF_CFG_A], operand, k;
	enum ffpf_cfg_op op = ops[BPF_OP(insn->code) >> 4];

	if (insn->code > 0xff || insn->code == (BPF_ALU | BPF_NEG | BPF_X)) {
		b->rejects = true; /* no BPF machine knows it */
		return a;
	}
	if (BPF_OP(insn->code) == BPF_NEG)
		return ffpf_cfg_binary(b->cfg, FFPF_CFG_SUB, ffpf_cfg_const(b->cfg, 0), a);
	operand = BPF_SRC(insn->code) == BPF_X ? b->state.vars[FFPF_CFG_X] : ffpf_cfg_const(b->cfg, insn->k);
	if (operand == FFPF_CFG_NONE || a == FFPF_CFG_NONE)
		return fail(b, FFPF_E_NO_MEMORY);
	switch (BPF_OP(insn->code)) {
	case BPF_LSH:
	case BPF_RSH:
		if (!ffpf_cfg_is_const(b->cfg, operand, &k))
			return fail(b, FFPF_E_NOT_SUPPORTED);
		if (BPF_SRC(insn->code) == BPF_K)
			operand = ffpf_cfg_const(b->cfg, k & 31);
		else if (k >= 32)
			return ffpf_cfg_const(b->cfg, 0);
		break;
	case BPF_DIV:
	case BPF_MOD: /* by a power of two: a shift, a mask */
		if (!ffpf_cfg_is_const(b->cfg, operand, &k) || (k & (k - 1)) != 0)
			return fail(b, FFPF_E_NOT_SUPPORTED);
		if (k == 0)
			b->rejects = true;
		else
			operand = ffpf_cfg_const(b->cfg, op == FFPF_CFG_AND ? k - 1 : (uint32_t)__builtin_ctz(k));
		break;
	default:
		break;
	}
	return ffpf_cfg_binary(b->cfg, op, a, operand);
}

/* 4 * (octet & 0xf), the length of an IPv4 header */
static uint32_t
load_header_length(struct builder *b, uint32_t k)
{
	uint32_t octet = load(b, 1, FFPF_CFG_NONE, k);

	octet = ffpf_cfg_binary(b->cfg, FFPF_CFG_AND, octet, ffpf_cfg_const(b->cfg, 15));
	return ffpf_cfg_binary(b->cfg, FFPF_CFG_LSH, octet, ffpf_cfg_const(b->cfg, 2));
}

/* Everything but jumps and returns. */
static void
run_insn(struct builder *b, const struct ffpf_bpf_insn *insn)
{
	uint32_t *vars = b->state.vars, to = BPF_CLASS(insn->code) == BPF_LDX ? FFPF_CFG_X : FFPF_CFG_A, value;

	switch (insn->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		value = load_absolute(b, insn, 4);
		break;
	case BPF_LD | BPF_H | BPF_ABS:
		value = load_absolute(b, insn, 2);
		break;
	case BPF_LD | BPF_B | BPF_ABS:
		value = load_absolute(b, insn, 1);
		break;
	case BPF_LD | BPF_W | BPF_IND:
		value = load(b, 4, vars[FFPF_CFG_X], insn->k);
		break;
	case BPF_LD | BPF_H | BPF_IND:
		value = load(b, 2, vars[FFPF_CFG_X], insn->k);
		break;
	case BPF_LD | BPF_B | BPF_IND:
		value = load(b, 1, vars[FFPF_CFG_X], insn->k);
		break;
	case BPF_LDX | BPF_B | BPF_MSH:
		value = load_header_length(b, insn->k);
		break;
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
		value = ffpf_cfg_leaf(b->cfg, FFPF_CFG_WIRE_LEN, 4, FFPF_CFG_NONE, 0);
		break;
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
		value = ffpf_cfg_const(b->cfg, insn->k);
		break;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
		value = vars[FFPF_CFG_M + insn->k];
		break;
	case BPF_ST:
	case BPF_STX:
		to = FFPF_CFG_M + insn->k;
		value = vars[insn->code == BPF_ST ? FFPF_CFG_A : FFPF_CFG_X];
		break;
	case BPF_MISC | BPF_TAX:
		to = FFPF_CFG_X;
		value = vars[FFPF_CFG_A];
		break;
	case BPF_MISC | BPF_TXA:
		value = vars[FFPF_CFG_X];
		break;
	default:
		if (BPF_CLASS(insn->code) != BPF_ALU) {
			b->rejects = true; /* no BPF machine knows it */
			return;
		}
		value = arithmetic(b, insn);
		break;
	}
	if (value == FFPF_CFG_NONE)
		fail(b, FFPF_E_NO_MEMORY);
	else if (b->cfg->values[value].cost > MAX_COST)
		fail(b, FFPF_E_NOT_SUPPORTED);
	vars[to] = value;
}

/* What is certain of a comparison whatever the packet: 1 it holds, 0 it does not, -1 nothing. */
static int
foregone(const struct ffpf_cfg *cfg, const struct ffpf_cfg_node *node)
{
	const struct ffpf_cfg_value *a = &cfg->values[node->a], *right = &cfg->values[node->b];

	if (right->op != FFPF_CFG_CONST)
		return -1;
	switch (node->cmp) {
	case FFPF_CFG_CMP_EQ:
		return a->op == FFPF_CFG_CONST ? a->k == right->k : a->max < right->k ? 0 : -1;
	case FFPF_CFG_CMP_GT:
		return a->op == FFPF_CFG_CONST ? a->k > right->k : a->max <= right->k ? 0 : -1;
	case FFPF_CFG_CMP_GE:
		return a->op == FFPF_CFG_CONST ? a->k >= right->k : right->k == 0 ? 1 : a->max < right->k ? 0 : -1;
	default:
		return a->op == FFPF_CFG_CONST ? (a->k & right->k) != 0 : right->k == 0 ? 0 : -1;
	}
}

/* Tries to make the comparison one of a key. Returns as foregone(). */
static int
as_equality(struct builder *b, struct ffpf_cfg_node *node)
{
	uint32_t a = node->a, konst, t = node->t;
	bool never;

	if (!ffpf_cfg_is_const(b->cfg, node->b, &konst))
		return -1;
	if (node->cmp == FFPF_CFG_CMP_SET) { /* some bit of the mask is set: not (masked == 0) */
		a = ffpf_cfg_binary(b->cfg, FFPF_CFG_AND, a, node->b);
		konst = 0;
		if (a == FFPF_CFG_NONE) {
			fail(b, FFPF_E_NO_MEMORY);
			return -1;
		}
	} else if (node->cmp != FFPF_CFG_CMP_EQ) {
		return -1;
	}
	if (!ffpf_cfg_as_key(b->cfg, a, konst, node, &never))
		return -1;
	node->kind = FFPF_CFG_EQ;
	node->b = FFPF_CFG_NONE;
	if (node->cmp == FFPF_CFG_CMP_SET) {
		node->t = node->f;
		node->f = t;
	}
	return never ? 0 : node->mask == 0 ? 1 : -1;
}

/* Fills what decides: a test, or GOTO to the successor that is certain. */
static void
set_test(struct builder *b, const struct ffpf_bpf_insn *insn, uint32_t t, uint32_t f)
{
	static const uint8_t cmps[16] = {
		[BPF_JEQ >> 4] = FFPF_CFG_CMP_EQ,
		[BPF_JGT >> 4] = FFPF_CFG_CMP_GT,
		[BPF_JGE >> 4] = FFPF_CFG_CMP_GE,
		[BPF_JSET >> 4] = FFPF_CFG_CMP_SET,
	};
	uint32_t right = BPF_SRC(insn->code) == BPF_X ? b->state.vars[FFPF_CFG_X] : ffpf_cfg_const(b->cfg, insn->k);
	struct ffpf_cfg_node *node = &b->cfg->nodes[b->node];
	int certain;

	if (right == FFPF_CFG_NONE)
		fail(b, FFPF_E_NO_MEMORY);
	if (b->error)
		return;
	node->kind = FFPF_CFG_CMP;
	node->cmp = cmps[BPF_OP(insn->code) >> 4];
	node->a = b->state.vars[FFPF_CFG_A];
	node->b = right;
	node->t = t;
	node->f = f;
	certain = foregone(b->cfg, node);
	if (certain < 0)
		certain = as_equality(b, node);
	if (certain >= 0) {
		node->kind = FFPF_CFG_GOTO;
		node->t = certain ? node->t : node->f;
		node->a = node->b = FFPF_CFG_NONE;
	}
}

static bool
ends_program(uint16_t code) /* by a return, or as no BPF machine knows it */
{
	return BPF_CLASS(code) == BPF_RET || code > 0xff || code == (BPF_JMP | BPF_JA | BPF_X);
}

/* The instruction that ends a block by a return. */
static void
set_return(struct builder *b, const struct ffpf_bpf_insn *insn)
{
	uint32_t node = b->node, t = b->cfg->reject;

	if (insn->code == (BPF_RET | BPF_A)) {
		b->cfg->nodes[node].kind = FFPF_CFG_RET_VALUE;
		b->cfg->nodes[node].a = b->state.vars[FFPF_CFG_A];
		return;
	}
	if (insn->code == (BPF_RET | BPF_K))
		t = leaf(b, insn->k);
	b->cfg->nodes[node].t = t;
}

static void
run_block(struct builder *b, uint32_t at)
{
	const struct ffpf_cfg_block *block = &b->blocks->items[b->tasks[at].block];
	const struct ffpf_bpf_insn *last = &b->insns[block->last];
	bool jumps = BPF_CLASS(last->code) == BPF_JMP, returns = BPF_CLASS(last->code) == BPF_RET;
	uint32_t end = block->last + (jumps || returns ? 0 : 1);
	uint32_t next[2], ways, t = FFPF_CFG_NONE, f = FFPF_CFG_NONE;

	b->node = at;
	b->state = b->tasks[at].state;
	b->rejects = false;
	if (b->work_left < end - block->first)
		fail(b, FFPF_E_NOT_SUPPORTED);
	else
		b->work_left -= end - block->first;
	for (uint32_t i = block->first; i < end && !b->rejects && !b->error; i++)
		run_insn(b, &b->insns[i]);
	if (b->rejects && !b->error) {
		struct ffpf_cfg_node *node = &b->cfg->nodes[at];

		node->need = node->dyn_count = 0;
		node->need_aux = false;
		node->t = b->cfg->reject;
	}
	if (b->rejects || b->error)
		return;
	if (end <= block->last && ends_program(last->code)) {
		set_return(b, last);
		return;
	}
	ways = ffpf_cfg_successors(b->insns, block->last, next);
	t = node_for(b, next[0]);
	if (ways == 2)
		f = node_for(b, next[1]);
	if (b->error)
		return;
	if (ways == 2)
		set_test(b, last, t, f);
	else
		b->cfg->nodes[at].t = t;
}

static int
prepare(struct builder *b, struct ffpf_cfg *cfg, const struct ffpf_cfg_blocks *blocks)
{
	uint32_t slots = 1024;

	b->cfg = cfg;
	b->node_limit = 4 * blocks->count + (blocks->count < SPARE_NODES / 128 ? 128 * blocks->count : SPARE_NODES);
	b->work_left = 8ull * (blocks->items[blocks->count - 1].last + 1) + SPARE_WORK;
	while (slots < 2 * b->node_limit)
		slots *= 2;
	b->memo = malloc(slots * sizeof(*b->memo));
	if (!b->memo)
		return -FFPF_E_NO_MEMORY;
	memset(b->memo, 0xff, slots * sizeof(*b->memo)); /* FFPF_CFG_NONE */
	b->memo_mask = slots - 1;
	cfg->reject = leaf(b, 0);
	for (int i = 0; i < FFPF_CFG_VARS; i++)
		b->state.vars[i] = ffpf_cfg_const(cfg, 0);
	return b->state.vars[0] == FFPF_CFG_NONE ? -FFPF_E_NO_MEMORY : b->error;
}

int
ffpf_cfg_build(struct ffpf_cfg *out, const struct ffpf_bpf_insn *insns, const struct ffpf_cfg_blocks *blocks)
{
	struct builder b = { .insns = insns, .blocks = blocks };

	memset(out, 0, sizeof(*out));
	if (blocks->loops)
		return -FFPF_E_NOT_SUPPORTED;
	b.error = prepare(&b, out, blocks);
	if (!b.error)
		out->root = node_for(&b, 0);
	for (uint32_t i = 0; i < out->node_count && !b.error; i++)
		if (b.tasks[i].block != FFPF_CFG_NONE)
			run_block(&b, i);
	free(b.tasks);
	free(b.memo);
	free(b.leaves);
	return b.error;
}
