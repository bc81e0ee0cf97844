/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_SET_H
#define FFPF_BPF_SET_H
/*
 * Chains of equality tests as a search. Internal to this room.
 *
 *   region := term ; else term ; else ... ; else default
 *   term   := key1 == c1 and key2 == c2 ...     up to FFPF_SET_KEYS
 *           | low <= key <= high
 *
 * Every term of a region leads to the same target, or every term has the same single key.
 * Terms of one region that test the same keys become one set: a row of constants per term. Tests have no effect but
 * their outcome, so terms that lead to one target may be asked in any order once all their loads are known to be in
 * bounds.
 */
#include "bpf/cfg.h"

#define FFPF_SET_KEYS 4 /* an IPv6 address is four words */
#define FFPF_SET_MIN  4 /* shorter chains are faster as they are */

struct ffpf_set_key {
	uint32_t load, mask;
};

enum ffpf_set_form {
	FFPF_SET_HASH,      /* slot = hash(words, mult[0]) >> shift[0]; no two rows share one */
	FFPF_SET_DISPLACED, /* slot = (displacement[hash 0] + hash 1) mod slots */
	FFPF_SET_BITMAP,    /* one key of at most 16 bits: bit (octets of the key as a little-endian number) */
};

struct ffpf_set {
	enum ffpf_set_form form;
	struct ffpf_set_key keys[FFPF_SET_KEYS];
	uint32_t key_count;
	uint32_t stride;   /* words of a slot: key_count, but 4 for 3 */
	uint32_t *rows;    /* row_count * key_count words, each row once, sorted; masked, in the octets' order */
	uint32_t *targets; /* node of each row, or NULL: `target` for all */
	uint32_t row_count;
	uint32_t target;
	/* the search, made by ffpf_set_hash_make() */
	/* hash i = sum of key * mult[i][key], its upper 32 - shift[i] bits; a key with 0 is not used */
	uint32_t mult[2][FFPF_SET_KEYS];
	uint32_t shift[2];
	/* slots * stride words, or the bits; a slot without a row of its own repeats a row that lies elsewhere */
	uint32_t *table;
	uint32_t *row_of_slot; /* only with targets: FFPF_CFG_NONE for slots without a row of their own */
	uint32_t table_words;
	uint32_t slots; /* power of two */
	uint32_t *displacements;
	uint32_t displacement_count;
};

/* set_region.c: a pass over the graph; see cfg.h. Makes FFPF_CFG_IN nodes. */
int ffpf_set_find(struct ffpf_cfg *cfg);

/* set_hash.c: fills the search. 0, -FFPF_E_NO_MEMORY, or -FFPF_E_NOT_SUPPORTED: no hash was found, keep the chain. */
int ffpf_set_hash_make(struct ffpf_set *set);
/* Fills a bitmap of 2^bits bits, all clear. */
int ffpf_set_bitmap_make(struct ffpf_set *set, uint32_t bits);
void ffpf_set_free(struct ffpf_set *set);

static inline uint32_t
ffpf_set_target_count(const struct ffpf_set *set)
{
	return set->targets ? set->row_count : 1;
}

static inline uint32_t
ffpf_set_target(const struct ffpf_set *set, uint32_t i)
{
	return set->targets ? set->targets[i] : set->target;
}

#endif
