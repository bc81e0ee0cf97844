/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes in an order in which each stands behind all that lead to it, so that what registers hold is known at its start.
 */
#include "bpf/jit_x86_64_graph.h"

#include <stdlib.h>
#include <string.h>

struct place {
	struct ffpf_gen_regs regs; /* what registers hold on all edges that were written so far */
	uint32_t edges_left;       /* edges into the node that are not written yet */
	bool reached;
};

struct graph {
	struct ffpf_gen gen;
	struct place *places; /* of each node */
	uint32_t *ready;      /* stack of nodes whose edges are all written */
	uint32_t ready_count;
	uint32_t whole;
	bool whole_used;
};

static uint32_t
label_of(const struct graph *g, uint32_t node)
{
	return g->gen.first_label + node;
}

static bool
is_return(const struct graph *g, uint32_t node)
{
	return g->gen.cfg->nodes[node].kind == FFPF_CFG_RET_CONST;
}

static void
edge(struct graph *g, uint32_t to)
{
	struct place *place = &g->places[to];

	if (place->reached)
		ffpf_gen_regs_join(&place->regs, &g->gen.regs);
	else
		place->regs = g->gen.regs;
	place->reached = true;
	if (--place->edges_left == 0 && !is_return(g, to))
		g->ready[g->ready_count++] = to;
}

/* The node that will stand behind the present code; NONE when none is ready. */
static uint32_t
next_node(const struct graph *g)
{
	return g->ready_count ? g->ready[g->ready_count - 1] : FFPF_CFG_NONE;
}

static void
go(struct graph *g, uint32_t to)
{
	if (is_return(g, to))
		ffpf_x86_return_const(g->gen.x, g->gen.cfg->nodes[to].konst);
	else if (next_node(g) != to)
		ffpf_x86_jump(g->gen.x, label_of(g, to));
}

static void
branch(struct graph *g, enum ffpf_x86_cc cc, uint32_t t, uint32_t f)
{
	edge(g, f);
	edge(g, t);
	if (is_return(g, t) && is_return(g, f)) {
		const struct ffpf_cfg_node *nodes = g->gen.cfg->nodes;

		ffpf_x86_return_select(g->gen.x, cc, nodes[t].konst, nodes[f].konst);
		return;
	}
	if (next_node(g) == t || (next_node(g) != f && is_return(g, t) && !is_return(g, f))) {
		ffpf_x86_jcc(g->gen.x, cc ^ 1u, label_of(g, f));
		go(g, t);
	} else {
		ffpf_x86_jcc(g->gen.x, cc, label_of(g, t));
		go(g, f);
	}
}

static void
checks(struct graph *g, const struct ffpf_cfg_node *node)
{
	struct ffpf_gen *gen = &g->gen;
	uint32_t failed = node->else_whole ? g->whole : gen->x->reject;

	if (node->else_whole && (node->need || node->need_aux || node->dyn_count))
		g->whole_used = true;
	if (node->need) {
		ffpf_x86_ri(gen->x, FFPF_X86_CMP, FFPF_X86_CAP_LEN, node->need);
		ffpf_x86_jcc(gen->x, FFPF_X86_JB, failed);
	}
	if (node->need_aux) {
		ffpf_x86_rr_64(gen->x, FFPF_X86_TEST, FFPF_X86_AUX, FFPF_X86_AUX);
		ffpf_x86_jcc(gen->x, FFPF_X86_JE, failed);
	}
	for (uint32_t i = 0; i < node->dyn_count; i++) {
		struct ffpf_cfg_dyn dyn = gen->cfg->dyns[node->dyn + i];
		bool wide = (uint64_t)gen->cfg->values[dyn.value].max + dyn.end > UINT32_MAX;
		enum ffpf_x86_reg value = ffpf_gen_value(gen, dyn.value), end;

		ffpf_gen_pin(gen, value);
		end = ffpf_gen_scratch(gen);
		ffpf_gen_unpin_all(gen);
		ffpf_x86_lea(gen->x, end, ffpf_x86_at(value, (int32_t)dyn.end), wide);
		if (wide)
			ffpf_x86_rr_64(gen->x, FFPF_X86_CMP, end, FFPF_X86_CAP_LEN);
		else
			ffpf_x86_rr(gen->x, FFPF_X86_CMP, end, FFPF_X86_CAP_LEN);
		ffpf_x86_jcc(gen->x, FFPF_X86_JA, failed);
	}
}

/* Narrows a masked test to the octets that the mask has bits in. */
static void
narrow(uint32_t *mask, uint32_t *konst, uint8_t *size, int32_t *skip)
{
	uint32_t low = (uint32_t)__builtin_ctz(*mask) / 8, high = (31 - (uint32_t)__builtin_clz(*mask)) / 8;

	if (high == low) {
		*size = 1;
	} else if (high == low + 1) {
		*size = 2;
	} else {
		return;
	}
	*skip = (int32_t)low;
	*mask >>= 8 * low;
	*konst >>= 8 * low;
}

/* (octets & mask) == konst with the octets where they lie. */
static void
equal_in_memory(struct ffpf_gen *gen, struct ffpf_x86_mem mem, uint32_t mask, uint32_t konst, uint8_t size)
{
	uint32_t full = size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
	enum ffpf_x86_reg reg;

	if (size != 2 && mask == full) {
		ffpf_x86_mi(gen->x, FFPF_X86_CMP, mem, size, konst);
		return;
	}
	if (size != 2 && konst == 0) {
		ffpf_x86_mi(gen->x, FFPF_X86_TEST, mem, size, mask);
		return;
	}
	reg = ffpf_gen_scratch(gen);
	ffpf_x86_load(gen->x, reg, mem, size);
	if (mask != full && konst == 0) {
		ffpf_x86_ri(gen->x, FFPF_X86_TEST, reg, mask);
		return;
	}
	if (mask != full)
		ffpf_x86_ri(gen->x, FFPF_X86_AND, reg, mask);
	ffpf_x86_ri(gen->x, FFPF_X86_CMP, reg, konst);
}

static void
equal_in_register(struct ffpf_gen *gen, enum ffpf_x86_reg reg, uint32_t mask, uint32_t konst, uint32_t full)
{
	enum ffpf_x86_reg masked;

	if (mask == full) {
		ffpf_x86_ri(gen->x, FFPF_X86_CMP, reg, konst);
	} else if (konst == 0) {
		ffpf_x86_ri(gen->x, FFPF_X86_TEST, reg, mask);
	} else {
		ffpf_gen_pin(gen, reg);
		masked = ffpf_gen_scratch(gen);
		ffpf_x86_rr(gen->x, FFPF_X86_MOV, masked, reg);
		ffpf_x86_ri(gen->x, FFPF_X86_AND, masked, mask);
		ffpf_x86_ri(gen->x, FFPF_X86_CMP, masked, konst);
	}
}

static void
equal(struct ffpf_gen *gen, const struct ffpf_cfg_node *node)
{
	const struct ffpf_cfg_value value = gen->cfg->values[node->a];
	uint32_t mask = node->mask, konst = node->konst;
	struct ffpf_x86_mem mem;
	uint8_t size = value.size;
	int32_t skip = 0;

	/* A load that other tests ask for too is kept in a register. */
	if (value.uses > 1 || ffpf_gen_holds(gen, node->a)) {
		equal_in_register(gen, ffpf_gen_value(gen, node->a), mask, konst, value.max);
		return;
	}
	mem = ffpf_gen_address(gen, node->a);
	if (size > 1)
		narrow(&mask, &konst, &size, &skip);
	mem.disp += skip;
	equal_in_memory(gen, mem, mask, konst, size);
}

static enum ffpf_x86_cc
compare(struct ffpf_gen *gen, const struct ffpf_cfg_node *node)
{
	static const enum ffpf_x86_cc ccs[] = {
		[FFPF_CFG_CMP_EQ] = FFPF_X86_JE,
		[FFPF_CFG_CMP_GT] = FFPF_X86_JA,
		[FFPF_CFG_CMP_GE] = FFPF_X86_JAE,
		[FFPF_CFG_CMP_SET] = FFPF_X86_JNE,
	};
	enum ffpf_x86_alu op = node->cmp == FFPF_CFG_CMP_SET ? FFPF_X86_TEST : FFPF_X86_CMP;
	enum ffpf_x86_reg a = ffpf_gen_value(gen, node->a);
	uint32_t k;

	ffpf_gen_pin(gen, a);
	if (ffpf_cfg_is_const(gen->cfg, node->b, &k))
		ffpf_x86_ri(gen->x, op, a, k);
	else
		ffpf_x86_rr(gen->x, op, a, ffpf_gen_value(gen, node->b));
	return ccs[node->cmp];
}

static void
in_set(struct graph *g, const struct ffpf_cfg_node *node)
{
	const struct ffpf_set *set = &g->gen.cfg->sets[node->set];
	bool jumped;
	enum ffpf_x86_cc cc = ffpf_gen_set(&g->gen, node->set, label_of(g, node->f), &jumped);

	if (!jumped) {
		branch(g, cc, set->target, node->f);
		return;
	}
	for (uint32_t i = 0; i < set->row_count; i++)
		edge(g, set->targets[i]);
	edge(g, node->f);
}

static void
write_node(struct graph *g, uint32_t at)
{
	const struct ffpf_cfg_node *node = &g->gen.cfg->nodes[at];
	enum ffpf_x86_reg value;

	ffpf_x86_label_here(g->gen.x, label_of(g, at));
	g->gen.regs = g->places[at].regs;
	ffpf_gen_unpin_all(&g->gen);
	checks(g, node);
	ffpf_gen_unpin_all(&g->gen);
	switch (node->kind) {
	case FFPF_CFG_RET_VALUE:
		value = ffpf_gen_value(&g->gen, node->a);
		if (value != FFPF_X86_RAX)
			ffpf_x86_rr(g->gen.x, FFPF_X86_MOV, FFPF_X86_RAX, value);
		ffpf_x86_return(g->gen.x);
		break;
	case FFPF_CFG_GOTO:
		edge(g, node->t);
		go(g, node->t);
		break;
	case FFPF_CFG_EQ:
		equal(&g->gen, node);
		branch(g, FFPF_X86_JE, node->t, node->f);
		break;
	case FFPF_CFG_CMP:
		branch(g, compare(&g->gen, node), node->t, node->f);
		break;
	case FFPF_CFG_IN:
		in_set(g, node);
		break;
	default:
		break;
	}
}

static int
prepare(struct graph *g, struct ffpf_x86 *x, struct ffpf_cfg *cfg)
{
	bool wide = false;

	g->gen.x = x;
	g->gen.cfg = cfg;
	g->places = calloc(cfg->node_count, sizeof(*g->places));
	g->ready = malloc(cfg->node_count * sizeof(*g->ready));
	if (!g->places || !g->ready || ffpf_gen_share_tables(&g->gen) < 0)
		return -FFPF_E_NO_MEMORY;
	g->gen.first_label = x->label_count;
	for (uint32_t i = 0; i < cfg->node_count; i++) {
		ffpf_x86_label_new(x);
		g->places[i].edges_left = cfg->nodes[i].preds;
	}
	g->gen.first_set_label = x->label_count;
	for (uint32_t i = 0; i < 3 * cfg->set_count; i++)
		ffpf_x86_label_new(x);
	for (uint32_t i = 0; i < cfg->dyn_count; i++)
		wide |= (uint64_t)cfg->values[cfg->dyns[i].value].max + cfg->dyns[i].end > UINT32_MAX;
	if (wide)
		ffpf_x86_rr(x, FFPF_X86_MOV, FFPF_X86_CAP_LEN, FFPF_X86_CAP_LEN); /* clears the upper half */
	memset(&g->gen.regs, 0xff, sizeof(g->gen.regs));                          /* FFPF_CFG_NONE: nothing is held */
	g->places[cfg->root].edges_left++;
	edge(g, cfg->root);
	return 0;
}

int
ffpf_jit_graph(struct ffpf_x86 *x, struct ffpf_cfg *cfg, uint32_t whole, bool *whole_used)
{
	struct graph g = { .whole = whole };
	int error = prepare(&g, x, cfg);

	if (!error && is_return(&g, cfg->root))
		go(&g, cfg->root);
	while (!error && g.ready_count) {
		write_node(&g, g.ready[--g.ready_count]);
		error = g.gen.error ? g.gen.error : x->error;
	}
	for (uint32_t i = 0; i < cfg->order_count && !error; i++) {
		if (!is_return(&g, cfg->order[i]))
			continue;
		ffpf_x86_label_here(x, label_of(&g, cfg->order[i]));
		ffpf_x86_return_const(x, cfg->nodes[cfg->order[i]].konst);
	}
	if (!error) {
		ffpf_x86_label_here(x, x->reject);
		ffpf_x86_return_const(x, 0);
		ffpf_gen_tables(&g.gen);
	}
	*whole_used = g.whole_used;
	free(g.places);
	free(g.ready);
	free(g.gen.table_of);
	return error ? error : x->error;
}
