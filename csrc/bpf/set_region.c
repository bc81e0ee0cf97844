/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/set.h"

#include <stdlib.h>
#include <string.h>

#define MAX_GROUPS 256 /* different key lists in one region */

struct term {
	uint32_t nodes[FFPF_SET_KEYS], node_count;
	uint32_t target, next;
	uint32_t group;
	bool range;
	uint32_t low, high; /* of a range, host order */
};

struct group { /* terms of one region with the same keys */
	struct ffpf_set_key keys[FFPF_SET_KEYS];
	uint32_t key_count;
	uint32_t term_count, range_count;
	uint32_t first_term;
};

struct region {
	struct term *terms;
	uint32_t term_count, term_space;
	struct group groups[MAX_GROUPS];
	uint32_t group_count;
	uint32_t target, next; /* next: where the last term leads when it does not hold */
	bool by_target;        /* terms of one key that lead to different targets */
	bool mixed; /* terms of one group are apart, or checks stand between: asking in another order needs all checks
		       first */
};

struct pass {
	struct ffpf_cfg *cfg;
	uint8_t *done; /* nodes that begin no region any more */
	struct region region;
};

static bool
has_checks(const struct ffpf_cfg_node *node)
{
	return node->need || node->need_aux || node->dyn_count;
}

/* A node that only its predecessor in the term leads to, and that does nothing but test. */
static bool
is_inner(const struct ffpf_cfg_node *node, enum ffpf_cfg_kind kind)
{
	return node->kind == kind && node->preds == 1 && !has_checks(node);
}

static bool
parse_equal(const struct ffpf_cfg *cfg, uint32_t at, uint32_t key_limit, struct term *term)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at];

	if (node->kind != FFPF_CFG_EQ)
		return false;
	*term = (struct term){ .nodes = { at }, .node_count = 1, .target = node->t, .next = node->f };
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
parse_range(const struct ffpf_cfg *cfg, uint32_t at, struct term *term)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at], *inner;
	uint32_t low, high;

	if (node->kind != FFPF_CFG_CMP || (node->cmp != FFPF_CFG_CMP_GE && node->cmp != FFPF_CFG_CMP_GT) ||
	    !ffpf_cfg_is_const(cfg, node->b, &low) || short_load(cfg, node->a) == FFPF_CFG_NONE)
		return false;
	*term = (struct term){ .nodes = { at }, .node_count = 1, .target = node->t, .next = node->f, .range = true };
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
key_of(const struct ffpf_cfg *cfg, const struct term *term, uint32_t i)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[i]];

	if (!term->range)
		return (struct ffpf_set_key){ node->a, node->mask };
	return (struct ffpf_set_key){ short_load(cfg, node->a), cfg->values[node->a].max };
}

/* The group of the term's keys, a new one if need be; NONE when there are too many. */
static uint32_t
group_of(struct region *region, const struct ffpf_cfg *cfg, const struct term *term)
{
	uint32_t key_count = term->range ? 1 : term->node_count, g, i;
	struct group *group;

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
	if (g == MAX_GROUPS)
		return FFPF_CFG_NONE;
	group = &region->groups[region->group_count++];
	*group = (struct group){ .key_count = key_count, .first_term = region->term_count };
	for (i = 0; i < key_count; i++)
		group->keys[i] = key_of(cfg, term, i);
	return g;
}

/* Gathers terms from `at` on. by_target: single tests of one key, whatever they lead to. 0 or -FFPF_E_NO_MEMORY. */
static int
gather(struct region *region, const struct ffpf_cfg *cfg, uint32_t at, bool by_target)
{
	uint32_t last_group = 0;

	region->term_count = region->group_count = 0;
	region->by_target = by_target;
	region->mixed = false;
	region->next = at;
	for (;;) {
		const struct ffpf_cfg_node *node = &cfg->nodes[at];
		struct term term;

		if (!parse_equal(cfg, at, by_target ? 1 : FFPF_SET_KEYS, &term) &&
		    (by_target || !parse_range(cfg, at, &term)))
			break;
		if (region->term_count &&
		    (node->preds != region->terms[region->term_count - 1].node_count ||
		     (!by_target && term.target != region->target) || (by_target && has_checks(node))))
			break;
		term.group = group_of(region, cfg, &term);
		if (term.group == FFPF_CFG_NONE || (by_target && term.group > 0))
			break;
		if (region->term_count && (term.group < last_group || (term.group == last_group && has_checks(node))))
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

static bool
is_bitmap(const struct ffpf_cfg *cfg, const struct group *group)
{
	uint32_t size = cfg->values[group->keys[0].load].size;

	if (group->key_count != 1 || size > 2 || group->keys[0].mask != (1u << (8 * size)) - 1)
		return false;
	return group->range_count || size == 1 || group->term_count > 256;
}

/* A group that gains by becoming a set. */
static bool
pays(const struct ffpf_cfg *cfg, const struct group *group)
{
	if (group->range_count)
		return is_bitmap(cfg, group) && group->term_count > 2;
	return group->term_count >= FFPF_SET_MIN;
}

static uint32_t
largest_group(const struct region *region, const struct ffpf_cfg *cfg)
{
	uint32_t largest = 0;

	for (uint32_t g = 0; g < region->group_count; g++)
		if (pays(cfg, &region->groups[g]) && region->groups[g].term_count > largest)
			largest = region->groups[g].term_count;
	return largest;
}

struct sorted_row {
	const struct region *region;
	const struct ffpf_cfg *cfg;
	uint32_t term;
};

static int
compare_rows(const void *x, const void *y)
{
	const struct sorted_row *a = x, *b = y;
	const struct term *ta = &a->region->terms[a->term], *tb = &b->region->terms[b->term];

	for (uint32_t i = 0; i < ta->node_count; i++) {
		uint32_t ka = a->cfg->nodes[ta->nodes[i]].konst, kb = b->cfg->nodes[tb->nodes[i]].konst;

		if (ka != kb)
			return ka < kb ? -1 : 1;
	}
	return a->term < b->term ? -1 : a->term > b->term; /* of equal rows the first decides */
}

static int
fill_rows(struct ffpf_set *set, const struct region *region, const struct ffpf_cfg *cfg, uint32_t g)
{
	const struct group *group = &region->groups[g];
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
		const struct term *term = &region->terms[order[i].term];
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
fill_bitmap(struct ffpf_set *set, const struct region *region, const struct ffpf_cfg *cfg, uint32_t g)
{
	uint32_t size = cfg->values[set->keys[0].load].size;
	int error = ffpf_set_bitmap_make(set, 8 * size);

	for (uint32_t i = region->groups[g].first_term; i < region->term_count && !error; i++) {
		const struct term *term = &region->terms[i];
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
set_add(struct ffpf_cfg *cfg, const struct region *region, uint32_t g)
{
	const struct group *group = &region->groups[g];
	struct ffpf_set *set;
	int error;

	if (ffpf_cfg_grow((void **)&cfg->sets, &cfg->set_space, cfg->set_count, sizeof(*cfg->sets)) < 0)
		return -FFPF_E_NO_MEMORY;
	set = &cfg->sets[cfg->set_count];
	memset(set, 0, sizeof(*set));
	memcpy(set->keys, group->keys, sizeof(set->keys));
	set->key_count = group->key_count;
	set->target = region->target;
	if (!region->by_target && is_bitmap(cfg, group)) {
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

/* A node for the checks that asking in another order needs: all of the region, of which the first term's were made. */
static uint32_t
check_all(struct ffpf_cfg *cfg, const struct region *region)
{
	uint32_t at = ffpf_cfg_node_add(cfg, FFPF_CFG_GOTO), need = 0, first = cfg->dyn_count;

	for (uint32_t i = 1; i < region->term_count && at != FFPF_CFG_NONE; i++) {
		const struct ffpf_cfg_node *node = &cfg->nodes[region->terms[i].nodes[0]];

		need = node->need > need ? node->need : need;
		cfg->nodes[at].need_aux |= node->need_aux;
		for (uint32_t d = 0; d < node->dyn_count; d++) {
			struct ffpf_cfg_dyn dyn = cfg->dyns[node->dyn + d];

			if (ffpf_cfg_dyn_add(cfg, dyn.value, dyn.end) < 0)
				return FFPF_CFG_NONE;
		}
	}
	if (at != FFPF_CFG_NONE) {
		cfg->nodes[at].need = need;
		cfg->nodes[at].dyn = first;
		cfg->nodes[at].dyn_count = cfg->dyn_count - first;
		cfg->nodes[at].else_whole = true;
	}
	return at;
}

static void
move_checks(struct ffpf_cfg_node *to, struct ffpf_cfg_node *from)
{
	to->need = from->need;
	to->need_aux = from->need_aux;
	to->dyn = from->dyn;
	to->dyn_count = from->dyn_count;
	from->need = from->dyn_count = 0;
	from->need_aux = false;
}

/* Links the terms of a group one after the other, the last one to be linked by the caller. Returns the last one. */
static uint32_t
link_terms(struct ffpf_cfg *cfg, const struct region *region, uint32_t g)
{
	uint32_t last = FFPF_CFG_NONE;

	for (uint32_t i = region->groups[g].first_term; i < region->term_count; i++) {
		if (region->terms[i].group != g)
			continue;
		if (last != FFPF_CFG_NONE) {
			const struct term *term = &region->terms[last];

			for (uint32_t n = 0; n < term->node_count; n++) {
				struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[n]];

				*(term->range && n == 1 ? &node->t : &node->f) = region->terms[i].nodes[0];
			}
		}
		last = i;
	}
	return last;
}

static void
link_last(struct ffpf_cfg *cfg, const struct term *term, uint32_t next)
{
	for (uint32_t n = 0; n < term->node_count; n++) {
		struct ffpf_cfg_node *node = &cfg->nodes[term->nodes[n]];

		*(term->range && n == 1 ? &node->t : &node->f) = next;
	}
}

/* The nodes for one group, which lead to `next` when no term holds. Returns the first of them. */
static int
lower_group(struct ffpf_cfg *cfg, const struct region *region, uint32_t g, uint32_t next, uint32_t *entry)
{
	uint32_t first = region->terms[region->groups[g].first_term].nodes[0];
	int error = pays(cfg, &region->groups[g]) ? set_add(cfg, region, g) : -FFPF_E_NOT_SUPPORTED;

	if (error == -FFPF_E_NO_MEMORY)
		return error;
	if (error) {
		link_last(cfg, &region->terms[link_terms(cfg, region, g)], next);
		*entry = first;
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

/* The region's first node keeps its number, since others lead to it, and becomes the way to what replaces the region.
 */
static int
lower(struct ffpf_cfg *cfg, struct region *region)
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
	cfg->nodes[moved].need = cfg->nodes[moved].dyn_count = 0;
	cfg->nodes[moved].need_aux = false;
	for (uint32_t i = 1; i < region->term_count && region->mixed; i++)
		move_checks(&(struct ffpf_cfg_node){ 0 }, &cfg->nodes[region->terms[i].nodes[0]]);
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

static int
visit(struct pass *p, uint32_t at)
{
	struct region *region = &p->region;
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
	return largest_group(region, p->cfg) ? lower(p->cfg, region) : 0;
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
