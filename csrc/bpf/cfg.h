/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_CFG_H
#define FFPF_BPF_CFG_H
/*
 * The decision graph: what a classic BPF program decides, without its registers.
 *
 * bytecode -> blocks (cfg_blocks.c) -> graph (cfg_build.c) -> threaded (cfg_thread.c) -> guarded (cfg_guard.c) -> sets
 * (set_region.c, set_lower.c) -> code (jit_x86_64_graph.c). A pass is a file; each leaves a graph that returns, for
 * every packet, what the program returns. Internal to this room.
 *
 *   node  := checks decision
 *   decision := ret const | ret value | goto node
 *          | key == const ? node : node
 *          | value cmp value ? node : node
 *          | keys in set ? node : node
 *   key   := load & mask
 *   value := const | wire_len | aux field | load | swap load | value op value
 *   load  := 1, 2 or 4 octets at offset [+ value]
 *   check := cap_len >= need | value + end <= cap_len | aux != NULL
 *
 * A check that fails ends the program with 0. Keys are compared as the octets lie in the packet: constants are swapped,
 * data are not.
 *
 * A value depends on the packet only, so a node may be reached over any path on which its checks, or earlier ones that
 * cover them, hold; nothing is stored, so the order of tests is free as far as the result allows.
 */
#include "bpf/bpf.h"

#define FFPF_CFG_NONE UINT32_MAX
#define FFPF_CFG_VARS 18 /* A, X, M[0] .. M[15] */
#define FFPF_CFG_A    0
#define FFPF_CFG_X    1
#define FFPF_CFG_M    2
/* Of loads: what an address can hold as a displacement, with room for the load. */
#define FFPF_CFG_MAX_OFFSET 0x7fff0000u

/* ---- blocks: instructions first..last run one after the other */
struct ffpf_cfg_block {
	uint32_t first, last;
	uint32_t live; /* bit per variable that some path from here reads before it writes it */
};

struct ffpf_cfg_blocks {
	struct ffpf_cfg_block *items; /* in the order of the program; items[0] is the entry */
	uint32_t count;
	uint32_t *block_of; /* of an instruction that begins a block; FFPF_CFG_NONE for others */
	bool loops;         /* some jump goes back: liveness then is "all" */
};

int ffpf_cfg_blocks_find(struct ffpf_cfg_blocks *out, const struct ffpf_bpf_insn *insns, uint32_t n);
void ffpf_cfg_blocks_free(struct ffpf_cfg_blocks *blocks);
/* The successors of the block's last instruction: 0, 1 or 2 instruction numbers, taken first. */
uint32_t ffpf_cfg_successors(const struct ffpf_bpf_insn *insns, uint32_t at, uint32_t next[2]);

/* ---- values, each once: equal values have equal numbers */
enum ffpf_cfg_op {
	FFPF_CFG_CONST, /* k */
	FFPF_CFG_WIRE_LEN,
	FFPF_CFG_AUX,  /* size octets at k in struct ffpf_bpf_aux, host order */
	FFPF_CFG_LOAD, /* size octets at k (+ a), as they lie, read as a little-endian number */
	FFPF_CFG_SWAP, /* load a (2 or 4 octets), in network order */
	FFPF_CFG_ADD,
	FFPF_CFG_SUB,
	FFPF_CFG_MUL,
	FFPF_CFG_AND,
	FFPF_CFG_OR,
	FFPF_CFG_XOR, /* a op b */
	FFPF_CFG_LSH,
	FFPF_CFG_RSH, /* a op constant b < 32 */
};

struct ffpf_cfg_value {
	uint8_t op, size;
	uint16_t cost; /* operations, those of shared operands counted as often as used */
	uint32_t a, b, k;
	uint32_t max;  /* no value is larger */
	uint32_t uses; /* by tests, returns and used values; filled by ffpf_cfg_order() */
};

/* ---- nodes */
enum ffpf_cfg_kind {
	FFPF_CFG_RET_CONST, /* konst */
	FFPF_CFG_RET_VALUE, /* a */
	FFPF_CFG_GOTO,      /* t */
	FFPF_CFG_EQ,        /* (load a & mask) == konst ? t : f; konst has no bit outside mask */
	FFPF_CFG_CMP,       /* a cmp b ? t : f */
	FFPF_CFG_IN,        /* sets[set] ? its targets : f */
};

enum ffpf_cfg_cmp { FFPF_CFG_CMP_EQ, FFPF_CFG_CMP_GT, FFPF_CFG_CMP_GE, FFPF_CFG_CMP_SET };

struct ffpf_cfg_node {
	uint8_t kind, cmp;
	bool need_aux;
	bool else_whole; /* a failed check does not end with 0 but starts over in the version that checks one by one */
	uint32_t need;   /* cap_len >= need; 0: no check */
	uint32_t dyn, dyn_count; /* checks dyns[dyn ..], after `need` */
	uint32_t a, b, mask, konst;
	uint32_t t, f;
	uint32_t set;
	uint32_t preds;  /* edges into this node; filled by ffpf_cfg_order() */
	uint32_t len_in; /* cap_len is known to be at least this on every edge into it; filled by cfg_thread.c and
			    cfg_guard.c */
};

struct ffpf_cfg_dyn {
	uint32_t value, end; /* value + end <= cap_len, in 64 bits */
};

struct ffpf_set; /* set.h */

struct ffpf_cfg {
	struct ffpf_cfg_value *values;
	uint32_t value_count, value_space;
	uint32_t *value_table, value_table_mask; /* hash of the values above */
	struct ffpf_cfg_node *nodes;
	uint32_t node_count, node_space;
	struct ffpf_cfg_dyn *dyns;
	uint32_t dyn_count, dyn_space;
	uint32_t *order; /* nodes that the root reaches, each before its successors; made by ffpf_cfg_order() */
	uint32_t order_count;
	struct ffpf_set *sets;
	uint32_t set_count, set_space;
	uint32_t root;
	uint32_t reject; /* the node that returns 0 */
};

/* cfg_build.c. 0, -FFPF_E_NO_MEMORY, or -FFPF_E_NOT_SUPPORTED: the program has a loop, an operation that the graph has
 * no value for (division, shift by X), or would need many more nodes than it has blocks. The caller frees *out in every
 * case. */
int ffpf_cfg_build(struct ffpf_cfg *out, const struct ffpf_bpf_insn *insns, const struct ffpf_cfg_blocks *blocks);
void ffpf_cfg_free(struct ffpf_cfg *cfg);

/* The passes: 0 or -FFPF_E_NO_MEMORY. */
int ffpf_cfg_thread(struct ffpf_cfg *cfg); /* edges skip tests and checks whose outcome is known on them */
int ffpf_cfg_guard(struct ffpf_cfg *cfg);  /* length checks move up to where their failure is certain to end with 0 */

/* cfg_graph.c: what all passes share. Fills order, preds and uses anew. */
int ffpf_cfg_order(struct ffpf_cfg *cfg);
uint32_t ffpf_cfg_successor_count(const struct ffpf_cfg *cfg, uint32_t node);
uint32_t ffpf_cfg_successor(const struct ffpf_cfg *cfg, uint32_t node, uint32_t i);
uint32_t ffpf_cfg_node_add(struct ffpf_cfg *cfg, enum ffpf_cfg_kind kind); /* FFPF_CFG_NONE: no memory */
int ffpf_cfg_dyn_add(struct ffpf_cfg *cfg, uint32_t value, uint32_t end);
/* Makes room for one more item of `size` octets; *items may move. */
int ffpf_cfg_grow(void **items, uint32_t *space, uint32_t count, size_t size);

/* cfg_value.c: each returns the number of a value, FFPF_CFG_NONE for lack of memory. Constants are folded. */
uint32_t ffpf_cfg_const(struct ffpf_cfg *cfg, uint32_t k);
uint32_t ffpf_cfg_leaf(struct ffpf_cfg *cfg, enum ffpf_cfg_op op, uint8_t size, uint32_t base, uint32_t k);
uint32_t ffpf_cfg_binary(struct ffpf_cfg *cfg, enum ffpf_cfg_op op, uint32_t a, uint32_t b);
bool ffpf_cfg_is_const(const struct ffpf_cfg *cfg, uint32_t value, uint32_t *k);
/* a == konst as a test of a key; false when a is not a load that is at most swapped and masked. *never: no packet
 * passes. */
bool ffpf_cfg_as_key(const struct ffpf_cfg *cfg, uint32_t a, uint32_t konst, struct ffpf_cfg_node *eq, bool *never);

#endif
