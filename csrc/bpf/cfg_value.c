/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/cfg.h"

#include <stdlib.h>

#define FIRST_TABLE 256

static uint32_t
hash_of(const struct ffpf_cfg_value *value)
{
	uint64_t h = value->op * 0x9e3779b97f4a7c15u + value->size;

	h = (h ^ value->a) * 0xff51afd7ed558ccdu;
	h = (h ^ (h >> 32) ^ value->b) * 0xc4ceb9fe1a85ec53u;
	h = (h ^ (h >> 29) ^ value->k) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static bool
same(const struct ffpf_cfg_value *x, const struct ffpf_cfg_value *y)
{
	return x->op == y->op && x->size == y->size && x->a == y->a && x->b == y->b && x->k == y->k;
}

static int
table_grow(struct ffpf_cfg *cfg)
{
	uint32_t slots = cfg->value_table ? 2 * (cfg->value_table_mask + 1) : FIRST_TABLE;
	uint32_t *table;

	if (cfg->value_table && cfg->value_count < cfg->value_table_mask / 2)
		return 0;
	table = malloc(slots * sizeof(*table));
	if (!table)
		return -FFPF_E_NO_MEMORY;
	for (uint32_t i = 0; i < slots; i++)
		table[i] = FFPF_CFG_NONE;
	for (uint32_t i = 0; i < cfg->value_count; i++) {
		uint32_t at = hash_of(&cfg->values[i]) & (slots - 1);

		while (table[at] != FFPF_CFG_NONE)
			at = (at + 1) & (slots - 1);
		table[at] = i;
	}
	free(cfg->value_table);
	cfg->value_table = table;
	cfg->value_table_mask = slots - 1;
	return 0;
}

static uint32_t
intern(struct ffpf_cfg *cfg, const struct ffpf_cfg_value *value)
{
	uint32_t at;

	if (table_grow(cfg) < 0 ||
	    ffpf_cfg_grow((void **)&cfg->values, &cfg->value_space, cfg->value_count, sizeof(*cfg->values)) < 0)
		return FFPF_CFG_NONE;
	at = hash_of(value) & cfg->value_table_mask;
	while (cfg->value_table[at] != FFPF_CFG_NONE) {
		if (same(&cfg->values[cfg->value_table[at]], value))
			return cfg->value_table[at];
		at = (at + 1) & cfg->value_table_mask;
	}
	cfg->values[cfg->value_count] = *value;
	cfg->value_table[at] = cfg->value_count;
	return cfg->value_count++;
}

uint32_t
ffpf_cfg_const(struct ffpf_cfg *cfg, uint32_t k)
{
	return intern(cfg, &(struct ffpf_cfg_value){ .op = FFPF_CFG_CONST, .k = k, .max = k });
}

static uint32_t
max_of_size(uint8_t size)
{
	return size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
}

uint32_t
ffpf_cfg_leaf(struct ffpf_cfg *cfg, enum ffpf_cfg_op op, uint8_t size, uint32_t base, uint32_t k)
{
	struct ffpf_cfg_value value = { .op = (uint8_t)op, .size = size, .cost = 1, .a = base, .k = k };

	value.max = max_of_size(size);
	if ((op == FFPF_CFG_LOAD || op == FFPF_CFG_SWAP) && base != FFPF_CFG_NONE)
		value.cost = (uint16_t)(cfg->values[base].cost + 1);
	return intern(cfg, &value);
}

bool
ffpf_cfg_is_const(const struct ffpf_cfg *cfg, uint32_t value, uint32_t *k)
{
	if (cfg->values[value].op != FFPF_CFG_CONST)
		return false;
	*k = cfg->values[value].k;
	return true;
}

static uint32_t
fold(enum ffpf_cfg_op op, uint32_t a, uint32_t b)
{
	switch (op) {
	case FFPF_CFG_ADD:
		return a + b;
	case FFPF_CFG_SUB:
		return a - b;
	case FFPF_CFG_MUL:
		return a * b;
	case FFPF_CFG_AND:
		return a & b;
	case FFPF_CFG_OR:
		return a | b;
	case FFPF_CFG_XOR:
		return a ^ b;
	case FFPF_CFG_LSH:
		return a << b;
	default:
		return a >> b;
	}
}

/* The largest number with as many bits as x. */
static uint32_t
all_bits(uint32_t x)
{
	return x ? UINT32_MAX >> __builtin_clz(x) : 0;
}

static uint32_t
max_of(enum ffpf_cfg_op op, const struct ffpf_cfg_value *a, const struct ffpf_cfg_value *b)
{
	uint64_t max = UINT32_MAX;

	switch (op) {
	case FFPF_CFG_ADD:
		max = (uint64_t)a->max + b->max;
		break;
	case FFPF_CFG_MUL:
		max = (uint64_t)a->max * b->max;
		break;
	case FFPF_CFG_AND:
		max = a->max < b->max ? a->max : b->max;
		break;
	case FFPF_CFG_OR:
	case FFPF_CFG_XOR:
		max = all_bits(a->max | b->max);
		break;
	case FFPF_CFG_LSH:
		max = (uint64_t)a->max << b->k;
		break;
	case FFPF_CFG_RSH:
		max = a->max >> b->k;
		break;
	default:
		break;
	}
	return max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
}

uint32_t
ffpf_cfg_binary(struct ffpf_cfg *cfg, enum ffpf_cfg_op op, uint32_t a, uint32_t b)
{
	struct ffpf_cfg_value value = { .op = (uint8_t)op, .a = a, .b = b }, va, vb;
	uint32_t cost, ka, kb;

	if (a == FFPF_CFG_NONE || b == FFPF_CFG_NONE)
		return FFPF_CFG_NONE;
	va = cfg->values[a];
	vb = cfg->values[b];
	if (ffpf_cfg_is_const(cfg, b, &kb)) {
		if (ffpf_cfg_is_const(cfg, a, &ka))
			return ffpf_cfg_const(cfg, fold(op, ka, kb));
		if (kb == 0 && op != FFPF_CFG_MUL && op != FFPF_CFG_AND)
			return a;
		if (kb == 0)
			return b;
		if (op == FFPF_CFG_AND && va.op == FFPF_CFG_AND && ffpf_cfg_is_const(cfg, va.b, &ka))
			return ffpf_cfg_binary(cfg, op, va.a, ffpf_cfg_const(cfg, ka & kb));
		if (op == FFPF_CFG_AND && (all_bits(va.max) & ~kb) == 0)
			return a;
	} else if (ffpf_cfg_is_const(cfg, a, &ka) && op <= FFPF_CFG_XOR && op != FFPF_CFG_SUB) {
		return ffpf_cfg_binary(cfg, op, b, a);
	}
	cost = va.cost + vb.cost + 1u;
	value.cost = (uint16_t)(cost > UINT16_MAX ? UINT16_MAX : cost);
	value.max = max_of(op, &va, &vb);
	return intern(cfg, &value);
}

static uint32_t
swapped(uint32_t k, uint8_t size)
{
	return size == 4 ? __builtin_bswap32(k) : size == 2 ? __builtin_bswap16((uint16_t)k) : k;
}

bool
ffpf_cfg_as_key(const struct ffpf_cfg *cfg, uint32_t a, uint32_t konst, struct ffpf_cfg_node *eq, bool *never)
{
	const struct ffpf_cfg_value *value = &cfg->values[a];
	uint32_t mask = UINT32_MAX, load = a;

	if (value->op == FFPF_CFG_AND && ffpf_cfg_is_const(cfg, value->b, &mask)) {
		load = value->a;
		value = &cfg->values[load];
	}
	if (value->op == FFPF_CFG_SWAP) {
		load = value->a;
		value = &cfg->values[load];
	} else if (value->op != FFPF_CFG_LOAD || value->size != 1) {
		return false;
	}
	mask &= max_of_size(value->size);
	*never = (konst & ~mask) != 0;
	eq->a = load;
	eq->mask = swapped(mask, value->size);
	eq->konst = swapped(konst & mask, value->size);
	return true;
}
