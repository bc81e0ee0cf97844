/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_PROGRAM_H
#define FFPF_FPL1_PROGRAM_H
/* A loaded program, as the files of this room share it. */
#include "fpl1/fpl1.h"

struct ffpf_fpl1_area {
	uint16_t first;  /* instruction */
	uint16_t slots;  /* instructions from there on */
	uint16_t target; /* where `case` instructions that are added lead */
	uint16_t used;   /* of the slots */
};

struct ffpf_fpl1 {
	struct ffpf_fpl1_insn *code; /* verified, in force; one of the banks */
	struct ffpf_fpl1_insn *next; /* the other one: as code, and what is staged */
	bool staged;                 /* next is to be in force when this run has ended */
	uint32_t insn_count;
	uint32_t locals; /* 0 to 64: the first so many are used */
	uint32_t steps;
	uint32_t data_bytes;
	uint8_t *data;  /* NULL until attached */
	uint8_t *shown; /* code and segment; behind data, or `own` */
	uint8_t *own;   /* freed when it is unloaded; NULL: nothing is */
	uint64_t exhausted;
	uint64_t refused; /* extensions */
	uint64_t turn;    /* as in the segment, which others may write */
	uint32_t area_count, external_count;
	struct ffpf_fpl1_area areas[FFPF_FPL1_AREAS_MAX];
	const struct ffpf_fpl1_external *externals[FFPF_FPL1_EXTERNALS_MAX];
	int8_t *depths;    /* for verify: one for each instruction */
	uint16_t *waiting; /* likewise */
	struct ffpf_fpl1_insn banks[];
};

/* Whether these instructions, insn_count of them, are a program. Sets locals when they
 * are. The text names the instruction. */
int ffpf_fpl1_verify(struct ffpf_fpl1 *program, const struct ffpf_fpl1_insn *code, struct ffpf_error *err);

/* Puts what is staged into force, and into memory. */
void ffpf_fpl1_commit(struct ffpf_fpl1 *program);

static inline struct ffpf_fpl1_segment *
ffpf_fpl1_segment(const struct ffpf_fpl1 *program)
{
	return (struct ffpf_fpl1_segment *)(void *)(program->shown +
						    (size_t)program->insn_count * FFPF_FPL1_INSN_BYTES);
}

#endif
