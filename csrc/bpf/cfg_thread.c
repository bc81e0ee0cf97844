/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known on an edge: keys that equal a constant, keys that do not, how long the packet is at least, which checks
 * held. An edge into a node whose outcome that decides goes to the outcome instead, as far as checks allow.
 *
 * Nodes are visited each before its successors, so every edge into a node has its final source when its knowledge is
 * joined. Work is bounded: what is not found within the limits below counts as unknown.
 */
#include "bpf/cfg.h"

#include <stdlib.h>
#include <string.h>

#define SEARCH_LIMIT 64  /* facts looked at for one question */
#define JOIN_LIMIT   256 /* facts walked to join two edges */
#define DYN_FACTS    4

struct fact {
	uint32_t before, depth; /* the facts known when this one was learnt: a list that edges share */
	uint32_t key, mask, konst;
};

struct known {
	uint32_t equal, differs; /* heads of lists in `facts` */
	uint32_t len;
	uint32_t dyn_count;
	struct ffpf_cfg_dyn dyns[DYN_FACTS];
	bool aux, reached;
};

struct pass {
	struct ffpf_cfg *cfg;
	struct known *known; /* of each node, joined over the edges into it */
	struct fact *facts;
	uint32_t fact_count, fact_space;
	uint64_t steps_left;
};

static uint32_t
learn(struct pass *p, uint32_t before, uint32_t key, uint32_t mask, uint32_t konst)
{
	uint32_t depth = before == FFPF_CFG_NONE ? 1 : p->facts[before].depth + 1;

	if (ffpf_cfg_grow((void **)&p->facts, &p->fact_space, p->fact_count, sizeof(*p->facts)) < 0)
		return before; /* knowing less is always right */
	p->facts[p->fact_count] = (struct fact){ before, depth, key, mask, konst };
	return p->fact_count++;
}

/* What two lists have in common. */
static uint32_t
join_lists(const struct pass *p, uint32_t x, uint32_t y)
{
	for (int i = 0; i < JOIN_LIMIT; i++) {
		if (x == y)
			return x;
		if (x == FFPF_CFG_NONE || y == FFPF_CFG_NONE)
			return FFPF_CFG_NONE;
		if (p->facts[x].depth >= p->facts[y].depth)
			x = p->facts[x].before;
		else
			y = p->facts[y].before;
	}
	return FFPF_CFG_NONE;
}

static const struct ffpf_cfg_dyn *
dyn_known(const struct known *known, uint32_t value)
{
	for (uint32_t i = 0; i < known->dyn_count; i++)
		if (known->dyns[i].value == value)
			return &known->dyns[i];
	return NULL;
}

static void
join(const struct pass *p, struct known *into, const struct known *from)
{
	uint32_t kept = 0;

	if (!into->reached) {
		*into = *from;
		into->reached = true;
		return;
	}
	into->equal = join_lists(p, into->equal, from->equal);
	into->differs = join_lists(p, into->differs, from->differs);
	into->len = into->len < from->len ? into->len : from->len;
	into->aux &= from->aux;
	for (uint32_t i = 0; i < into->dyn_count; i++) {
		const struct ffpf_cfg_dyn *other = dyn_known(from, into->dyns[i].value);
		struct ffpf_cfg_dyn both = into->dyns[i];

		if (!other)
			continue;
		both.end = both.end < other->end ? both.end : other->end;
		into->dyns[kept++] = both;
	}
	into->dyn_count = kept;
}

static bool
dyn_covered(const struct pass *p, const struct known *known, const struct ffpf_cfg_dyn *dyn)
{
	const struct ffpf_cfg_dyn *held = dyn_known(known, dyn->value);

	return (held && held->end >= dyn->end) || (uint64_t)p->cfg->values[dyn->value].max + dyn->end <= known->len;
}

static void
hold_dyn(struct known *known, const struct ffpf_cfg_dyn *dyn)
{
	struct ffpf_cfg_dyn *held = (struct ffpf_cfg_dyn *)dyn_known(known, dyn->value);

	if (held)
		held->end = dyn->end > held->end ? dyn->end : held->end;
	else if (known->dyn_count < DYN_FACTS)
		known->dyns[known->dyn_count++] = *dyn;
	if (dyn->end > known->len)
		known->len = dyn->end;
}

static bool
checks_covered(const struct pass *p, const struct known *known, const struct ffpf_cfg_node *node)
{
	if (node->need > known->len || (node->need_aux && !known->aux))
		return false;
	for (uint32_t i = 0; i < node->dyn_count; i++)
		if (!dyn_covered(p, known, &p->cfg->dyns[node->dyn + i]))
			return false;
	return true;
}

/* 1 the test holds, 0 it does not, -1 nothing is known. */
static int
outcome(const struct pass *p, const struct known *known, const struct ffpf_cfg_node *test)
{
	uint32_t at = known->equal;

	for (int i = 0; i < SEARCH_LIMIT && at != FFPF_CFG_NONE; i++, at = p->facts[at].before) {
		const struct fact *fact = &p->facts[at];

		if (fact->key != test->a)
			continue;
		if ((fact->konst ^ test->konst) & fact->mask & test->mask)
			return 0;
		if ((test->mask & ~fact->mask) == 0)
			return 1;
	}
	at = known->differs;
	for (int i = 0; i < SEARCH_LIMIT && at != FFPF_CFG_NONE; i++, at = p->facts[at].before) {
		const struct fact *fact = &p->facts[at];

		if (fact->key == test->a && fact->mask == test->mask && fact->konst == test->konst)
			return 0;
	}
	return -1;
}

/* Where an edge to `to` really leads, given what is known on it. */
static uint32_t
follow(struct pass *p, const struct known *known, uint32_t to)
{
	while (p->steps_left) {
		const struct ffpf_cfg_node *node = &p->cfg->nodes[to];
		int holds = 1;

		p->steps_left--;
		if (node->kind == FFPF_CFG_EQ)
			holds = outcome(p, known, node);
		else if (node->kind != FFPF_CFG_GOTO)
			break;
		if (holds < 0 || !checks_covered(p, known, node))
			break;
		to = holds ? node->t : node->f;
	}
	return to;
}

/* Drops the checks of a node that the edges into it cover; known: afterwards, what holds behind the others. */
static void
settle_checks(struct pass *p, struct ffpf_cfg_node *node, struct known *known)
{
	uint32_t kept = 0;

	node->len_in = known->len;
	if (node->need <= known->len)
		node->need = 0;
	else
		known->len = node->need;
	if (known->aux)
		node->need_aux = false;
	known->aux |= node->need_aux;
	for (uint32_t i = 0; i < node->dyn_count; i++) {
		struct ffpf_cfg_dyn dyn = p->cfg->dyns[node->dyn + i];

		if (dyn_covered(p, known, &dyn))
			continue;
		hold_dyn(known, &dyn);
		p->cfg->dyns[node->dyn + kept++] = dyn;
	}
	node->dyn_count = kept;
}

static void
visit(struct pass *p, uint32_t at)
{
	struct ffpf_cfg_node *node = &p->cfg->nodes[at];
	struct known here = p->known[at], on_t, on_f;
	int holds = -1;

	settle_checks(p, node, &here);
	if (node->kind == FFPF_CFG_EQ)
		holds = outcome(p, &here, node);
	if (holds >= 0) {
		node->kind = FFPF_CFG_GOTO;
		node->t = holds ? node->t : node->f;
	}
	if (node->kind == FFPF_CFG_RET_CONST || node->kind == FFPF_CFG_RET_VALUE)
		return;
	on_t = on_f = here;
	if (node->kind == FFPF_CFG_EQ) {
		on_t.equal = learn(p, here.equal, node->a, node->mask, node->konst);
		on_f.differs = learn(p, here.differs, node->a, node->mask, node->konst);
		if ((node->mask & (node->mask - 1)) == 0) /* one bit: not clear is set */
			on_f.equal = learn(p, here.equal, node->a, node->mask, node->konst ^ node->mask);
	}
	node->t = follow(p, &on_t, node->t);
	if (node->kind != FFPF_CFG_GOTO)
		node->f = follow(p, &on_f, node->f);
	if (node->kind != FFPF_CFG_GOTO && node->t == node->f) {
		node->kind = FFPF_CFG_GOTO;
		on_t = here;
	}
	join(p, &p->known[node->t], &on_t);
	if (node->kind != FFPF_CFG_GOTO)
		join(p, &p->known[node->f], &on_f);
}

int
ffpf_cfg_thread(struct ffpf_cfg *cfg)
{
	struct pass p = { .cfg = cfg };
	struct known nothing = { .equal = FFPF_CFG_NONE, .differs = FFPF_CFG_NONE };
	int error = ffpf_cfg_order(cfg);

	if (error < 0)
		return error;
	p.steps_left = 16ull * cfg->order_count + 65536;
	p.known = calloc(cfg->node_count, sizeof(*p.known));
	if (!p.known)
		return -FFPF_E_NO_MEMORY;
	cfg->root = follow(&p, &nothing, cfg->root);
	join(&p, &p.known[cfg->root], &nothing);
	for (uint32_t i = 0; i < cfg->order_count; i++)
		if (p.known[cfg->order[i]].reached)
			visit(&p, cfg->order[i]);
	free(p.known);
	free(p.facts);
	return ffpf_cfg_order(cfg);
}
