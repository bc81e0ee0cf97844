/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/set_region.h"

#include <stdlib.h>
#include <string.h>

struct sorted_row {
	const struct ffpf_region *region;
	const struct ffpf_cfg *cfg;
	uint32_t term;
};

static int
compare_rows(const void *x, const void *y)
{
	const struct sorted_row *a = x, *b = y;
	const struct ffpf_term *ta = &a->region->terms[a->term], *tb = &b->region->terms[b->term];

	for (uint32_t i = 0; i < ta->node_count; i++) {
		uint32_t ka = a->cfg->nodes[ta->nodes[i]].konst, kb = b->cfg->nodes[tb->nodes[i]].konst;

		if (ka != kb)
			return ka < kb ? -1 : 1;
	}
	return a->term < b->term ? -1 : a->term > b->term; /* of equal rows the first decides */
}

static int
fill_rows(struct ffpf_set *set, const struct ffpf_region *region, const struct ffpf_cfg *cfg, uint32_t g)
{
	const struct ffpf_group *group = &region->groups[g];
	struct sorted_row *order = malloc(group->term_count * sizeof(*order));
	uint32_t n = 0;

	set->rows = malloc((size_t)group->term_count * group->key_count * sizeof(*set->rows));
	set->targets = region->by_target ? malloc(group->term_count * sizeof(*set->targets)) : NULL;
	if (!order || !set->rows || (region->by_target && !set->targets)) {
		free(order);
		return -FFPF_E_NO_MEMORY;
	}
	for (uint32_t i = group->first_term; i < region->term_count; i++)
		if (region->terms[i].group == g)
			order[n++] = (struct sorted_row){ region, cfg, i };
	qsort(order, n, sizeof(*order), compare_rows);
	for (uint32_t i = 0; i < n; i++) {
		const struct ffpf_term *term = &region->terms[order[i].term];
		uint32_t *row = &set->rows[(size_t)set->row_count * group->key_count];

		for (uint32_t k = 0; k < group->key_count; k++)
			row[k] = cfg->nodes[term->nodes[k]].konst;
		if (set->row_count && memcmp(row, row - group->key_count, group->key_count * sizeof(*row)) == 0)
			continue;
		if (set->targets)
			set->targets[set->row_count] = term->target;
		set->row_count++;
	}
	free(order);
	return 0;
}

static int
fill_bitmap(struct ffpf_set *set, const struct ffpf_region *region, const struct ffpf_cfg *cfg, uint32_t g)
{
	uint32_t size = cfg->values[set->keys[0].load].size;
	int error = ffpf_set_bitmap_make(set, 8 * size);

	for (uint32_t i = region->groups[g].first_term; i < region->term_count && !error; i++) {
		const struct ffpf_term *term = &region->terms[i];
		uint32_t konst = cfg->nodes[term->nodes[0]].konst; /* in the octets' order already, a range is not */

		if (term->group != g)
			continue;
		if (!term->range) {
			set->table[konst / 32] |= 1u << (konst % 32);
			continue;
		}
		for (uint32_t v = term->low; v <= term->high; v++) {
			uint32_t bit = size == 2 ? __builtin_bswap16((uint16_t)v) : v;

			set->table[bit / 32] |= 1u << (bit % 32);
		}
	}
	return error;
}

/* Appends the set of a group to the graph. As ffpf_set_hash_make(). */
static int
set_add(struct ffpf_cfg *cfg, const struct ffpf_region *region, uint32_t g)
{
	const struct ffpf_group *group = &region->groups[g];
	struct ffpf_set *set;
	int error;

	if (ffpf_cfg_grow((void **)&cfg->sets, &cfg->set_space, cfg->set_count, sizeof(*cfg->sets)) < 0)
		return -FFPF_E_NO_MEMORY;
	set = &cfg->sets[cfg->set_count];
	memset(set, 0, sizeof(*set));
	memcpy(set->keys, group->keys, sizeof(set->keys));
	set->key_count = group->key_count;
	set->target = region->target;
	if (!region->by_target && ffpf_group_is_bitmap(cfg, group)) {
		error = fill_bitmap(set, region, cfg, g);
	} else {
		error = fill_rows(set, region, cfg, g);
		if (!error)
			error = ffpf_set_hash_make(set);
	}
	if (error)
		ffpf_set_free(set);
	else
		cfg->set_count++;
	return error;
}

static void
drop_checks(struct ffpf_cfg_node *node)
{
	node->need = node->dyn_count = 0;
	node->need_aux = false;
}

static void
move_checks(struct ffpf_cfg_node *to, struct ffpf_cfg_node *from)
{
	to->need = from->need;
	to->need_aux = from->need_aux;
	to->dyn = from->dyn;
	to->dyn_count = from->dyn_count;
	drop_checks(from);
}

/* Adds the checks of a node to those of another. */
static int
add_checks(struct ffpf_cfg *cfg, uint32_t to, const struct ffpf_cfg_node *from)
{
	struct ffpf_cfg_node *all = &cfg->nodes[to];

	all->need = from->need > all->need ? from->need : all->need;
	all->need_aux |= from->need_aux;
	for (uint32_t d = 0; d < from->dyn_count; d++) {
		struct ffpf_cfg_dyn dyn = cfg->dyns[from->dyn + d];

		if (ffpf_cfg_dyn_add(cfg, dyn.value, dyn.end) < 0)
			return -FFPF_E_NO_MEMORY;
		all->dyn_count++;
	}
	return 0;
}

/* A node for the checks that asking in another order needs: all of the region but those of its first node. */
static uint32_t
check_all(struct ffpf_cfg *cfg, const struct ffpf_region *region)
{
	uint32_t at = ffpf_cfg_node_add(cfg, FFPF_CFG_GOTO);

	if (at == FFPF_CFG_NONE)
		return at;
	cfg->nodes[at].dyn = cfg->dyn_count;
	cfg->nodes[at].else_whole = true;
	for (uint32_t i = 0; i < region->term_count; i++) {
		const struct ffpf_term *term = &region->terms[i];

		for (uint32_t n = i == 0; n < term->node_count; n++) {
			struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[n]];

			if (add_checks(cfg, at, node) < 0)
				return FFPF_CFG_NONE;
			drop_checks(node);
		}
	}
	return at;
}

/* Leads from a term that does not hold to `next`. */
static void
link_term(struct ffpf_cfg *cfg, const struct ffpf_term *term, uint32_t next)
{
	for (uint32_t n = 0; n < term->node_count; n++) {
		struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[n]];

		*(term->range && n == 1 ? &node->t : &node->f) = next;
	}
}

/* The terms of a group as a chain of tests, which leads to `next` when none holds. Returns the first test. */
static uint32_t
link_terms(struct ffpf_cfg *cfg, const struct ffpf_region *region, uint32_t g, uint32_t next)
{
	for (uint32_t i = region->term_count; i-- > region->groups[g].first_term;) {
		if (region->terms[i].group != g)
			continue;
		link_term(cfg, &region->terms[i], next);
		next = region->terms[i].nodes[0];
	}
	return next;
}

/* The nodes for one group, which lead to `next` when no term holds. Returns the first of them. */
static int
lower_group(struct ffpf_cfg *cfg, const struct ffpf_region *region, uint32_t g, uint32_t next, uint32_t *entry)
{
	uint32_t first = region->terms[region->groups[g].first_term].nodes[0];
	int error = ffpf_group_pays(cfg, &region->groups[g]) ? set_add(cfg, region, g) : -FFPF_E_NOT_SUPPORTED;

	if (error == -FFPF_E_NO_MEMORY)
		return error;
	if (error) {
		*entry = link_terms(cfg, region, g, next);
		return 0;
	}
	*entry = ffpf_cfg_node_add(cfg, FFPF_CFG_IN);
	if (*entry == FFPF_CFG_NONE)
		return -FFPF_E_NO_MEMORY;
	move_checks(&cfg->nodes[*entry], &cfg->nodes[first]);
	cfg->nodes[*entry].set = cfg->set_count - 1;
	cfg->nodes[*entry].f = next;
	return 0;
}

int
ffpf_region_lower(struct ffpf_cfg *cfg, struct ffpf_region *region)
{
	uint32_t head = region->terms[0].nodes[0], moved = ffpf_cfg_node_add(cfg, FFPF_CFG_GOTO), next = region->next;
	uint32_t guard = FFPF_CFG_NONE;

	if (moved == FFPF_CFG_NONE)
		return -FFPF_E_NO_MEMORY;
	if (region->mixed) {
		guard = check_all(cfg, region);
		if (guard == FFPF_CFG_NONE)
			return -FFPF_E_NO_MEMORY;
	}
	cfg->nodes[moved] = cfg->nodes[head];
	region->terms[0].nodes[0] = moved;
	cfg->nodes[head].kind = FFPF_CFG_GOTO;
	drop_checks(&cfg->nodes[moved]);
	for (uint32_t g = region->group_count; g-- > 0;) {
		int error = lower_group(cfg, region, g, next, &next);

		if (error)
			return error;
	}
	if (guard != FFPF_CFG_NONE)
		cfg->nodes[guard].t = next;
	cfg->nodes[head].t = guard != FFPF_CFG_NONE ? guard : next;
	return 0;
}
