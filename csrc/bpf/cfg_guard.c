/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node is certain to end with 0 for packets shorter than `sure` octets: itself checks so much, or both ways on from
 * it are certain to. So its own check may ask for `sure` at once, and the checks behind it fall away.
 */
#include "bpf/cfg.h"

#include <stdlib.h>

#define ALWAYS UINT32_MAX /* every packet ends with 0 */

static uint32_t
larger(uint32_t x, uint32_t y)
{
	return x > y ? x : y;
}

static uint32_t
own_length(const struct ffpf_cfg *cfg, const struct ffpf_cfg_node *node)
{
	uint32_t len = node->need;

	for (uint32_t i = 0; i < node->dyn_count; i++)
		len = larger(len, cfg->dyns[node->dyn + i].end);
	return len;
}

static uint32_t
sure_of(const struct ffpf_cfg *cfg, const uint32_t *sure, uint32_t at)
{
	uint32_t ways = ffpf_cfg_successor_count(cfg, at), least = ways ? ALWAYS : 0;

	if (at == cfg->reject)
		return ALWAYS;
	for (uint32_t i = 0; i < ways; i++) {
		uint32_t next = sure[ffpf_cfg_successor(cfg, at, i)];

		least = next < least ? next : least;
	}
	return larger(least, own_length(cfg, &cfg->nodes[at]));
}

static void
lead(struct ffpf_cfg *cfg, const uint32_t *sure, uint32_t *to, uint32_t len)
{
	struct ffpf_cfg_node *node;

	if (sure[*to] == ALWAYS)
		*to = cfg->reject;
	node = &cfg->nodes[*to];
	node->len_in = node->len_in < len ? node->len_in : len;
}

int
ffpf_cfg_guard(struct ffpf_cfg *cfg)
{
	uint32_t *sure = calloc(cfg->node_count, sizeof(*sure));

	if (!sure)
		return -FFPF_E_NO_MEMORY;
	for (uint32_t i = cfg->order_count; i-- > 0;) {
		sure[cfg->order[i]] = sure_of(cfg, sure, cfg->order[i]);
		cfg->nodes[cfg->order[i]].len_in = ALWAYS;
	}
	lead(cfg, sure, &cfg->root, 0);
	for (uint32_t i = 0; i < cfg->order_count; i++) {
		uint32_t at = cfg->order[i];
		struct ffpf_cfg_node *node = &cfg->nodes[at];
		uint32_t len;

		if (sure[at] == ALWAYS)
			continue;
		if (node->need > node->len_in || (node->len_in == 0 && sure[at] > 0))
			node->need = sure[at];
		else
			node->need = 0;
		len = larger(node->len_in, own_length(cfg, node));
		if (node->kind == FFPF_CFG_GOTO || node->kind == FFPF_CFG_EQ || node->kind == FFPF_CFG_CMP)
			lead(cfg, sure, &node->t, len);
		if (node->kind == FFPF_CFG_EQ || node->kind == FFPF_CFG_CMP)
			lead(cfg, sure, &node->f, len);
	}
	free(sure);
	return ffpf_cfg_order(cfg);
}
