/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_JIT_X86_64_GRAPH_H
#define FFPF_BPF_JIT_X86_64_GRAPH_H
/* What the files that make code of the graph share. Internal to this room. */
#include "bpf/jit_x86_64.h"
#include "bpf/set.h"

#define FFPF_GEN_REGS 5 /* rax, rdi, r9, r10, r11 hold values; the arguments stay where they are */

struct ffpf_gen_regs {
	uint32_t value[FFPF_GEN_REGS]; /* what each register holds; FFPF_CFG_NONE: nothing of use */
};

struct ffpf_gen {
	struct ffpf_x86 *x;
	struct ffpf_cfg *cfg;
	struct ffpf_gen_regs regs;            /* at the place that is being written */
	uint32_t stamp[FFPF_GEN_REGS], clock; /* last use of each */
	uint32_t pinned;                      /* bit per register that must not be given away */
	uint32_t first_label;                 /* of node i: first_label + i */
	uint32_t first_set_label;             /* of set i: three labels: table, displacements, jumps */
	uint32_t *table_of;                   /* set whose table a set uses: equal tables are kept once */
	int error;
};

/* jit_x86_64_value.c: a register for a value: the one that holds it already, or a new one. Pin what must survive the
 * next call. */
enum ffpf_x86_reg ffpf_gen_value(struct ffpf_gen *gen, uint32_t value);
/* A register that holds nothing, for the caller to fill. */
enum ffpf_x86_reg ffpf_gen_scratch(struct ffpf_gen *gen);
void ffpf_gen_pin(struct ffpf_gen *gen, enum ffpf_x86_reg reg);
void ffpf_gen_unpin_all(struct ffpf_gen *gen);
/* Keeps what both hold. */
void ffpf_gen_regs_join(struct ffpf_gen_regs *into, const struct ffpf_gen_regs *from);
bool ffpf_gen_holds(const struct ffpf_gen *gen, uint32_t value);
/* The place of a load in the packet; pins the register of its base. */
struct ffpf_x86_mem ffpf_gen_address(struct ffpf_gen *gen, uint32_t load);

/* jit_x86_64_set.c: code that leaves the outcome of a set in the flags, for the caller to jump on with the condition
 * that is returned. Leads to label `miss` early where the set can tell. A set with targets jumps to them itself:
 * *jumped, then the code behind is reached by no packet. */
enum ffpf_x86_cc ffpf_gen_set(struct ffpf_gen *gen, uint32_t set, uint32_t miss, bool *jumped);
/* The tables of all sets, behind the code. */
void ffpf_gen_tables(struct ffpf_gen *gen);
int ffpf_gen_share_tables(struct ffpf_gen *gen);

#endif
