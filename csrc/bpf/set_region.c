/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/set_region.h"

#include <stdlib.h>
#include <string.h>

struct pass {
	struct ffpf_cfg *cfg;
	uint8_t *done; /* nodes that begin no region any more */
	struct ffpf_region region;
};

static bool
has_checks(const struct ffpf_cfg_node *node)
{
	return node->need || node->need_aux || node->dyn_count;
}

/* A node that only its predecessor in the term leads to. */
static bool
is_inner(const struct ffpf_cfg_node *node, enum ffpf_cfg_kind kind)
{
	return node->kind == kind && node->preds == 1 && !node->else_whole;
}

/* Some node of the term behind its first has checks of its own. */
static bool
checks_inside(const struct ffpf_cfg *cfg, const struct ffpf_term *term)
{
	for (uint32_t i = 1; i < term->node_count; i++)
		if (has_checks(&cfg->nodes[term->nodes[i]]))
			return true;
	return false;
}

static bool
parse_equal(const struct ffpf_cfg *cfg, uint32_t at, uint32_t key_limit, struct ffpf_term *term)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at];

	if (node->kind != FFPF_CFG_EQ)
		return false;
	*term = (struct ffpf_term){ .nodes = { at }, .node_count = 1, .target = node->t, .next = node->f };
	while (term->node_count < key_limit) {
		const struct ffpf_cfg_node *inner = &cfg->nodes[term->target];

		if (!is_inner(inner, FFPF_CFG_EQ) || inner->f != term->next)
			break;
		term->nodes[term->node_count++] = term->target;
		term->target = inner->t;
	}
	return true;
}

/* The load of a value that is an octet, or two in network order; NONE for others. */
static uint32_t
short_load(const struct ffpf_cfg *cfg, uint32_t at)
{
	const struct ffpf_cfg_value *value = &cfg->values[at];

	if (value->op == FFPF_CFG_LOAD && value->size == 1)
		return at;
	if (value->op == FFPF_CFG_SWAP && cfg->values[value->a].size == 2)
		return value->a;
	return FFPF_CFG_NONE;
}

/* value >= low, and then perhaps value > high, which leads on. */
static bool
parse_range(const struct ffpf_cfg *cfg, uint32_t at, struct ffpf_term *term)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at], *inner;
	uint32_t low, high;

	if (node->kind != FFPF_CFG_CMP || (node->cmp != FFPF_CFG_CMP_GE && node->cmp != FFPF_CFG_CMP_GT) ||
	    !ffpf_cfg_is_const(cfg, node->b, &low) || short_load(cfg, node->a) == FFPF_CFG_NONE)
		return false;
	*term =
	    (struct ffpf_term){ .nodes = { at }, .node_count = 1, .target = node->t, .next = node->f, .range = true };
	term->low = low + (node->cmp == FFPF_CFG_CMP_GT);
	term->high = cfg->values[node->a].max;
	inner = &cfg->nodes[node->t];
	if (is_inner(inner, FFPF_CFG_CMP) && (inner->cmp == FFPF_CFG_CMP_GE || inner->cmp == FFPF_CFG_CMP_GT) &&
	    inner->a == node->a && inner->t == node->f && ffpf_cfg_is_const(cfg, inner->b, &high) &&
	    high + (inner->cmp == FFPF_CFG_CMP_GT) > 0) {
		term->nodes[term->node_count++] = node->t;
		term->target = inner->f;
		term->high = high - (inner->cmp == FFPF_CFG_CMP_GE);
	}
	return true;
}

static struct ffpf_set_key
key_of(const struct ffpf_cfg *cfg, const struct ffpf_term *term, uint32_t i)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[i]];

	if (!term->range)
		return (struct ffpf_set_key){ node->a, node->mask };
	return (struct ffpf_set_key){ short_load(cfg, node->a), cfg->values[node->a].max };
}

/* The group of the term's keys, a new one if need be; NONE when there are too many. */
static uint32_t
group_of(struct ffpf_region *region, const struct ffpf_cfg *cfg, const struct ffpf_term *term)
{
	uint32_t key_count = term->range ? 1 : term->node_count, g, i;
	struct ffpf_group *group;

	for (g = 0; g < region->group_count; g++) {
		group = &region->groups[g];
		if (group->key_count != key_count)
			continue;
		for (i = 0; i < key_count; i++) {
			struct ffpf_set_key key = key_of(cfg, term, i);

			if (group->keys[i].load != key.load || group->keys[i].mask != key.mask)
				break;
		}
		if (i == key_count)
			return g;
	}
	if (g == FFPF_REGION_GROUPS)
		return FFPF_CFG_NONE;
	group = &region->groups[region->group_count++];
	*group = (struct ffpf_group){ .key_count = key_count, .first_term = region->term_count };
	for (i = 0; i < key_count; i++)
		group->keys[i] = key_of(cfg, term, i);
	return g;
}

/* Gathers terms from `at` on. by_target: single tests of one key, whatever they lead to. 0 or -FFPF_E_NO_MEMORY. */
static int
gather(struct ffpf_region *region, const struct ffpf_cfg *cfg, uint32_t at, bool by_target)
{
	uint32_t last_group = 0;

	region->term_count = region->group_count = 0;
	region->by_target = by_target;
	region->mixed = false;
	region->next = at;
	for (;;) {
		const struct ffpf_cfg_node *node = &cfg->nodes[at];
		struct ffpf_term term;

		if (!parse_equal(cfg, at, by_target ? 1 : FFPF_SET_KEYS, &term) &&
		    (by_target || !parse_range(cfg, at, &term)))
			break;
		if (region->term_count &&
		    (node->preds != region->terms[region->term_count - 1].node_count ||
		     (!by_target && term.target != region->target) || (by_target && has_checks(node))))
			break;
		term.group = group_of(region, cfg, &term);
		if (by_target && term.group > 0)
			region->group_count = 1; /* another key: not of this region */
		if (term.group == FFPF_CFG_NONE || (by_target && term.group > 0))
			break;
		if (checks_inside(cfg, &term) ||
		    (region->term_count && (term.group < last_group || (term.group == last_group && has_checks(node)))))
			region->mixed = true;
		last_group = term.group > last_group ? term.group : last_group;
		if (ffpf_cfg_grow((void **)&region->terms, &region->term_space, region->term_count,
				  sizeof(*region->terms)) < 0)
			return -FFPF_E_NO_MEMORY;
		region->terms[region->term_count++] = term;
		region->groups[term.group].term_count++;
		region->groups[term.group].range_count += term.range;
		region->target = term.target;
		region->next = at = term.next;
	}
	return 0;
}

bool
ffpf_group_is_bitmap(const struct ffpf_cfg *cfg, const struct ffpf_group *group)
{
	uint32_t size = cfg->values[group->keys[0].load].size;

	if (group->key_count != 1 || size > 2 || group->keys[0].mask != (1u << (8 * size)) - 1)
		return false;
	return group->range_count || size == 1 || group->term_count > 256;
}

bool
ffpf_group_pays(const struct ffpf_cfg *cfg, const struct ffpf_group *group)
{
	if (group->range_count)
		return ffpf_group_is_bitmap(cfg, group) && group->term_count > 2;
	return group->term_count >= FFPF_SET_MIN;
}

static uint32_t
largest_group(const struct ffpf_region *region, const struct ffpf_cfg *cfg)
{
	uint32_t largest = 0;

	for (uint32_t g = 0; g < region->group_count; g++)
		if (ffpf_group_pays(cfg, &region->groups[g]) && region->groups[g].term_count > largest)
			largest = region->groups[g].term_count;
	return largest;
}

static int
visit(struct pass *p, uint32_t at)
{
	struct ffpf_region *region = &p->region;
	uint32_t in_groups;
	int error;

	error = gather(region, p->cfg, at, false);
	if (error)
		return error;
	in_groups = largest_group(region, p->cfg);
	if (!in_groups || region->term_count > in_groups) {
		error = gather(region, p->cfg, at, true);
		if (!error && largest_group(region, p->cfg) <= in_groups)
			error = gather(region, p->cfg, at, false);
	}
	if (error)
		return error;
	for (uint32_t i = 0; i < region->term_count; i++)
		for (uint32_t n = 0; n < region->terms[i].node_count; n++)
			p->done[region->terms[i].nodes[n]] = 1;
	return largest_group(region, p->cfg) ? ffpf_region_lower(p->cfg, region) : 0;
}

int
ffpf_set_find(struct ffpf_cfg *cfg)
{
	struct pass *p = calloc(1, sizeof(*p));
	int error = p ? 0 : -FFPF_E_NO_MEMORY;

	if (p) {
		p->cfg = cfg;
		p->done = calloc(cfg->node_count, 1);
		error = p->done ? 0 : -FFPF_E_NO_MEMORY;
	}
	for (uint32_t i = 0; i < cfg->order_count && !error; i++)
		if (!p->done[cfg->order[i]])
			error = visit(p, cfg->order[i]);
	if (p) {
		free(p->done);
		free(p->region.terms);
		free(p);
	}
	return error ? error : ffpf_cfg_order(cfg);
}
