/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/jit_x86_64_graph.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_LINE  64 /* tables begin at a cache line */
#define SHARE_LIMIT 64 /* sets looked back at for an equal table */

static uint32_t
label_of(const struct ffpf_gen *gen, uint32_t set, uint32_t which)
{
	return gen->first_set_label + 3 * set + which;
}

/* The octets of one key, masked, in a register. */
static enum ffpf_x86_reg
key_value(struct ffpf_gen *gen, const struct ffpf_set_key *key)
{
	uint8_t size = gen->cfg->values[key->load].size;
	uint32_t full = size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
	enum ffpf_x86_reg load = ffpf_gen_value(gen, key->load), masked;
	uint32_t pinned = gen->pinned;

	if (key->mask == full)
		return load;
	ffpf_gen_pin(gen, load);
	masked = ffpf_gen_scratch(gen);
	gen->pinned = pinned;
	ffpf_x86_rr(gen->x, FFPF_X86_MOV, masked, load);
	ffpf_x86_ri(gen->x, FFPF_X86_AND, masked, key->mask);
	return masked;
}

/* The hash of all keys in a register that the caller may change; pinned. `known`: register of the only key, or NO_REG.
 */
static enum ffpf_x86_reg
hash(struct ffpf_gen *gen, const struct ffpf_set *set, int which, enum ffpf_x86_reg known)
{
	enum ffpf_x86_reg sum = FFPF_X86_NO_REG, part, key;
	uint32_t pinned = gen->pinned;

	for (uint32_t i = 0; i < set->key_count; i++) {
		if (!set->mult[which][i])
			continue;
		key = known != FFPF_X86_NO_REG ? known : key_value(gen, &set->keys[i]);
		ffpf_gen_pin(gen, key);
		part = ffpf_gen_scratch(gen);
		ffpf_x86_imul_rri(gen->x, part, key, set->mult[which][i]);
		gen->pinned = pinned;
		if (sum == FFPF_X86_NO_REG) {
			sum = part;
			ffpf_gen_pin(gen, sum);
			pinned = gen->pinned;
		} else {
			ffpf_x86_rr(gen->x, FFPF_X86_ADD, sum, part);
		}
	}
	if (set->shift[which] < 32)
		ffpf_x86_shift_right(gen->x, sum, (uint8_t)set->shift[which]);
	else
		ffpf_x86_rr(gen->x, FFPF_X86_XOR, sum, sum);
	return sum;
}

static enum ffpf_x86_cc
bitmap(struct ffpf_gen *gen, const struct ffpf_set *set, uint32_t table)
{
	enum ffpf_x86_reg key = ffpf_gen_value(gen, set->keys[0].load), word, base;

	ffpf_gen_pin(gen, key);
	word = ffpf_gen_scratch(gen);
	ffpf_gen_pin(gen, word);
	base = ffpf_gen_scratch(gen);
	ffpf_x86_rr(gen->x, FFPF_X86_MOV, word, key);
	ffpf_x86_shift_right(gen->x, word, 5);
	ffpf_x86_lea_label(gen->x, base, table);
	ffpf_x86_load(gen->x, word, (struct ffpf_x86_mem){ base, word, 4, 0 }, 4);
	ffpf_x86_bit_test(gen->x, word, key);
	return FFPF_X86_JB;
}

/* The number of the only slot that may hold the keys, pinned. */
static enum ffpf_x86_reg
slot_of(struct ffpf_gen *gen, const struct ffpf_set *set, uint32_t displacements, enum ffpf_x86_reg known)
{
	enum ffpf_x86_reg slot = hash(gen, set, 0, known), second, base;

	if (set->form == FFPF_SET_HASH)
		return slot;
	second = hash(gen, set, 1, known);
	base = ffpf_gen_scratch(gen);
	ffpf_x86_lea_label(gen->x, base, displacements);
	ffpf_x86_rm(gen->x, FFPF_X86_ADD, second, (struct ffpf_x86_mem){ base, slot, 4, 0 });
	ffpf_x86_ri(gen->x, FFPF_X86_AND, second, set->slots - 1);
	gen->pinned = 0;
	ffpf_gen_pin(gen, second);
	if (known != FFPF_X86_NO_REG)
		ffpf_gen_pin(gen, known);
	return second;
}

enum ffpf_x86_cc
ffpf_gen_set(struct ffpf_gen *gen, uint32_t at, uint32_t miss, bool *jumped)
{
	const struct ffpf_set *set = &gen->cfg->sets[at];
	uint32_t table = label_of(gen, gen->table_of[at], 0);
	enum ffpf_x86_reg slot, base, key = FFPF_X86_NO_REG, scratch;
	struct ffpf_gen_regs at_first_jump;
	uint8_t scale = (uint8_t)(set->stride == 4 ? 1 : 4 * set->stride);

	*jumped = false;
	if (set->form == FFPF_SET_BITMAP)
		return bitmap(gen, set, table);
	if (set->key_count == 1) {
		key = key_value(gen, &set->keys[0]);
		ffpf_gen_pin(gen, key);
	}
	slot = slot_of(gen, set, label_of(gen, gen->table_of[at], 1), key);
	if (set->stride == 4)
		ffpf_x86_shift_left(gen->x, slot, 4);
	base = ffpf_gen_scratch(gen);
	ffpf_gen_pin(gen, base);
	ffpf_x86_lea_label(gen->x, base, table);
	at_first_jump = gen->regs;
	for (uint32_t i = 0; i < set->key_count; i++) {
		uint32_t pinned = gen->pinned;

		if (i == 1)
			at_first_jump = gen->regs;
		if (set->key_count > 1)
			key = key_value(gen, &set->keys[i]);
		gen->pinned = pinned;
		ffpf_x86_rm(gen->x, FFPF_X86_CMP, key, (struct ffpf_x86_mem){ base, slot, scale, 4 * (int32_t)i });
		if (i + 1 < set->key_count || set->targets)
			ffpf_x86_jcc(gen->x, FFPF_X86_JNE, miss);
	}
	if (set->key_count > 1)
		ffpf_gen_regs_join(&gen->regs, &at_first_jump);
	if (set->targets) {
		*jumped = true;
		gen->pinned = 0;
		ffpf_gen_pin(gen, base);
		ffpf_gen_pin(gen, slot);
		scratch = ffpf_gen_scratch(gen);
		ffpf_x86_lea_label(gen->x, base, label_of(gen, at, 2));
		ffpf_x86_jump_table(gen->x, base, slot, scratch);
	}
	return FFPF_X86_JE;
}

static bool
equal_tables(const struct ffpf_set *x, const struct ffpf_set *y)
{
	return x->form == y->form && x->stride == y->stride && x->table_words == y->table_words &&
	       x->displacement_count == y->displacement_count && memcmp(x->mult, y->mult, sizeof(x->mult)) == 0 &&
	       memcmp(x->shift, y->shift, sizeof(x->shift)) == 0 &&
	       memcmp(x->table, y->table, x->table_words * sizeof(*x->table)) == 0 &&
	       (!x->displacement_count ||
		memcmp(x->displacements, y->displacements, x->displacement_count * sizeof(*x->displacements)) == 0);
}

int
ffpf_gen_share_tables(struct ffpf_gen *gen)
{
	gen->table_of = malloc((gen->cfg->set_count + 1) * sizeof(*gen->table_of));
	if (!gen->table_of)
		return -FFPF_E_NO_MEMORY;
	for (uint32_t i = 0; i < gen->cfg->set_count; i++) {
		gen->table_of[i] = i;
		for (uint32_t back = 1; back <= i && back <= SHARE_LIMIT && gen->table_of[i] == i; back++)
			if (equal_tables(&gen->cfg->sets[i], &gen->cfg->sets[i - back]))
				gen->table_of[i] = gen->table_of[i - back];
	}
	return 0;
}

static void
words(struct ffpf_gen *gen, uint32_t label, const uint32_t *items, uint32_t count)
{
	ffpf_x86_align(gen->x, TABLE_LINE, 0xcc); /* int3: nothing runs into a table */
	ffpf_x86_label_here(gen->x, label);
	for (uint32_t i = 0; i < count && !gen->x->error; i++)
		ffpf_x86_u32(gen->x, items[i]);
}

/* Distances from the table to the code of each slot's node. Slots without a row match nothing, so their entry is never
 * read. */
static void
jumps(struct ffpf_gen *gen, uint32_t at)
{
	const struct ffpf_set *set = &gen->cfg->sets[at];
	uint32_t label = label_of(gen, at, 2), begin;

	ffpf_x86_align(gen->x, TABLE_LINE, 0xcc);
	ffpf_x86_label_here(gen->x, label);
	begin = gen->x->len;
	for (uint32_t slot = 0; slot < set->slots && !gen->x->error; slot++) {
		uint32_t row = set->row_of_slot[slot];
		uint32_t to = row == FFPF_CFG_NONE ? gen->x->reject : gen->first_label + set->targets[row];

		ffpf_x86_u32(gen->x, gen->x->labels[to] - begin);
	}
}

void
ffpf_gen_tables(struct ffpf_gen *gen)
{
	for (uint32_t i = 0; i < gen->cfg->set_count && !gen->x->error; i++) {
		const struct ffpf_set *set = &gen->cfg->sets[i];

		if (gen->table_of[i] == i) {
			words(gen, label_of(gen, i, 0), set->table, set->table_words);
			if (set->displacement_count)
				words(gen, label_of(gen, i, 1), set->displacements, set->displacement_count);
		}
		if (set->targets)
			jumps(gen, i);
	}
}
