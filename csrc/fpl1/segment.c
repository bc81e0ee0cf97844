/* SPDX-License-Identifier: BSD-3-Clause */
/* The code in memory, for those who look: written whole words at a time, since they may look, or write, at any time. */
#include "fpl1/extend.h"
#include "fpl1/program.h"

#include <stdlib.h>
#include <string.h>

static void
show(struct ffpf_fpl1 *p, uint32_t at)
{
	uint64_t *words = (uint64_t *)(void *)p->shown, word;

	memcpy(&word, &p->code[at], sizeof(word));
	__atomic_store_n(&words[at], word, __ATOMIC_RELAXED);
}

/* To odd and back to even: a reader that saw the same even turn before and after saw one state of the code. */
static void
turn(struct ffpf_fpl1_segment *segment, uint64_t now)
{
	__atomic_store_n(&segment->turn, now, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What differs from `before`, and what the segment says. */
static void
write_segment(struct ffpf_fpl1 *p, const struct ffpf_fpl1_insn *before)
{
	struct ffpf_fpl1_segment *segment = ffpf_fpl1_segment(p);

	p->turn += 1;
	turn(segment, p->turn);
	for (uint32_t i = 0; i < p->insn_count; i++) {
		if (!before || memcmp(&before[i], &p->code[i], sizeof(*before)) != 0)
			show(p, i);
	}
	__atomic_store_n(&segment->refused, p->refused, __ATOMIC_RELAXED);
	__atomic_store_n(&segment->data_bytes, p->data_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&segment->insn_count, p->insn_count, __ATOMIC_RELAXED);
	__atomic_store_n(&segment->extended, ffpf_fpl1_extended(p), __ATOMIC_RELAXED);
	__atomic_store_n(&segment->zero, 0, __ATOMIC_RELAXED);
	p->turn += 1;
	turn(segment, p->turn);
}

void
ffpf_fpl1_attach(struct ffpf_fpl1 *program, void *memory)
{
	program->data = memory;
	program->shown = program->data + program->data_bytes;
	write_segment(program, NULL);
}

int
ffpf_fpl1_attach_data(struct ffpf_fpl1 *program, void *data, struct ffpf_error *err)
{
	uint8_t *own = malloc(ffpf_fpl1_memory_bytes(program) - program->data_bytes);

	if (!own)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	program->data = data;
	program->shown = program->own = own;
	write_segment(program, NULL);
	return 0;
}

uint64_t
ffpf_fpl1_steps(const struct ffpf_fpl1 *program)
{
	return (uint64_t)program->steps + program->insn_count;
}

void
ffpf_fpl1_commit(struct ffpf_fpl1 *program)
{
	struct ffpf_fpl1_insn *before = program->code;

	program->code = program->next;
	program->next = before;
	program->staged = false;
	write_segment(program, before);
	memcpy(program->next, program->code, program->insn_count * sizeof(*program->next));
}
