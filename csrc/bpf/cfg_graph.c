/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/cfg.h"
#include "bpf/set.h"

#include <stdlib.h>
#include <string.h>

int
ffpf_cfg_grow(void **items, uint32_t *space, uint32_t count, size_t size)
{
	uint32_t more = *space ? *space * 2 : 64;
	void *moved;

	if (count < *space)
		return 0;
	moved = realloc(*items, more * size);
	if (!moved)
		return -FFPF_E_NO_MEMORY;
	*items = moved;
	*space = more;
	return 0;
}

uint32_t
ffpf_cfg_node_add(struct ffpf_cfg *cfg, enum ffpf_cfg_kind kind)
{
	struct ffpf_cfg_node *node;

	if (ffpf_cfg_grow((void **)&cfg->nodes, &cfg->node_space, cfg->node_count, sizeof(*cfg->nodes)) < 0)
		return FFPF_CFG_NONE;
	node = &cfg->nodes[cfg->node_count];
	memset(node, 0, sizeof(*node));
	node->kind = (uint8_t)kind;
	node->a = node->b = node->t = node->f = node->set = FFPF_CFG_NONE;
	return cfg->node_count++;
}

int
ffpf_cfg_dyn_add(struct ffpf_cfg *cfg, uint32_t value, uint32_t end)
{
	if (ffpf_cfg_grow((void **)&cfg->dyns, &cfg->dyn_space, cfg->dyn_count, sizeof(*cfg->dyns)) < 0)
		return -FFPF_E_NO_MEMORY;
	cfg->dyns[cfg->dyn_count++] = (struct ffpf_cfg_dyn){ value, end };
	return 0;
}

uint32_t
ffpf_cfg_successor_count(const struct ffpf_cfg *cfg, uint32_t at)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at];

	switch (node->kind) {
	case FFPF_CFG_GOTO:
		return 1;
	case FFPF_CFG_EQ:
	case FFPF_CFG_CMP:
		return 2;
	case FFPF_CFG_IN:
		return 1 + ffpf_set_target_count(&cfg->sets[node->set]);
	default:
		return 0;
	}
}

uint32_t
ffpf_cfg_successor(const struct ffpf_cfg *cfg, uint32_t at, uint32_t i)
{
	const struct ffpf_cfg_node *node = &cfg->nodes[at];

	if (node->kind == FFPF_CFG_GOTO)
		return node->t;
	if (i == 0)
		return node->f;
	return node->kind == FFPF_CFG_IN ? ffpf_set_target(&cfg->sets[node->set], i - 1) : node->t;
}

static void
count_uses(struct ffpf_cfg *cfg, const struct ffpf_cfg_node *node)
{
	if (node->kind == FFPF_CFG_EQ || node->kind == FFPF_CFG_CMP)
		cfg->values[node->a].uses++;
	if (node->kind == FFPF_CFG_CMP)
		cfg->values[node->b].uses++;
	for (uint32_t i = 0; node->kind == FFPF_CFG_IN && i < cfg->sets[node->set].key_count; i++)
		cfg->values[cfg->sets[node->set].keys[i].load].uses++;
	if (node->kind == FFPF_CFG_RET_VALUE)
		cfg->values[node->a].uses++;
	for (uint32_t i = 0; i < node->dyn_count; i++)
		cfg->values[cfg->dyns[node->dyn + i].value].uses++;
}

/* Operands have smaller numbers than what is made of them. */
static void
count_operand_uses(struct ffpf_cfg *cfg)
{
	for (uint32_t i = cfg->value_count; i-- > 0;) {
		const struct ffpf_cfg_value *value = &cfg->values[i];

		if (!value->uses)
			continue;
		if (value->a != FFPF_CFG_NONE)
			cfg->values[value->a].uses++;
		if (value->b != FFPF_CFG_NONE)
			cfg->values[value->b].uses++;
	}
}

struct visit {
	uint32_t node, next;
};

int
ffpf_cfg_order(struct ffpf_cfg *cfg)
{
	struct visit *stack = malloc((size_t)cfg->node_count * sizeof(*stack));
	uint8_t *seen = calloc(cfg->node_count, 1);
	uint32_t *order = malloc((size_t)cfg->node_count * sizeof(*order));
	uint32_t depth = 0, left = cfg->node_count;

	if (!stack || !seen || !order) {
		free(stack);
		free(seen);
		free(order);
		return -FFPF_E_NO_MEMORY;
	}
	for (uint32_t i = 0; i < cfg->node_count; i++)
		cfg->nodes[i].preds = 0;
	for (uint32_t i = 0; i < cfg->value_count; i++)
		cfg->values[i].uses = 0;
	/* A node is written, from the back, when all that follow it have been. */
	seen[cfg->root] = 1;
	stack[depth++] = (struct visit){ cfg->root, 0 };
	while (depth) {
		struct visit *top = &stack[depth - 1];

		if (top->next < ffpf_cfg_successor_count(cfg, top->node)) {
			uint32_t to = ffpf_cfg_successor(cfg, top->node, top->next++);

			cfg->nodes[to].preds++;
			if (!seen[to]) {
				seen[to] = 1;
				stack[depth++] = (struct visit){ to, 0 };
			}
			continue;
		}
		count_uses(cfg, &cfg->nodes[top->node]);
		order[--left] = top->node;
		depth--;
	}
	count_operand_uses(cfg);
	cfg->order_count = cfg->node_count - left;
	memmove(order, order + left, (size_t)cfg->order_count * sizeof(*order));
	free(cfg->order);
	cfg->order = order;
	free(stack);
	free(seen);
	return 0;
}

void
ffpf_cfg_free(struct ffpf_cfg *cfg)
{
	for (uint32_t i = 0; i < cfg->set_count; i++)
		ffpf_set_free(&cfg->sets[i]);
	free(cfg->sets);
	free(cfg->values);
	free(cfg->value_table);
	free(cfg->nodes);
	free(cfg->dyns);
	free(cfg->order);
	memset(cfg, 0, sizeof(*cfg));
}
