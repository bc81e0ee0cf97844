/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * First each instruction by itself: its code, its operands. Then all ways from the first one on, each instruction once:
 * the depth of the stack before it is the same on every way, or the program is none.
 */
#include "fpl1/program.h"

#include <string.h>

#define NOT_REACHED (-1)

static int
bad(struct ffpf_error *err, uint32_t at, const char *what)
{
	return ffpf_error_set(err, FFPF_E_BAD_FILTER, "instruction %u: %s", at, what);
}

static bool
is_kind(uint32_t kind)
{
	return (kind & ~(uint32_t)FFPF_FPL1_KIND_SIGNED) <= 6;
}

static bool
is_whole(uint32_t bits, uint32_t kind)
{
	return (bits == 8 || bits == 16 || bits == 32 || bits == 64) && bits >= 1u << (kind & 7);
}

/* NULL, or what is wrong with its operands. */
static const char *
operands_wrong(const struct ffpf_fpl1 *p, const struct ffpf_fpl1_insn *insn, enum ffpf_fpl1_form form)
{
	bool a = insn->a, b = insn->b, k = insn->k; /* used, and so to be 0 where nothing looks at them */

	switch (form) {
	case FFPF_FPL1_PLAIN:
		break;
	case FFPF_FPL1_CASE:
		b = false;
		/* fall through */
	case FFPF_FPL1_JUMP:
		if (insn->k >= p->insn_count)
			return "it jumps out of the program";
		k = false;
		break;
	case FFPF_FPL1_MEMORY:
		if (!p->data_bytes)
			return "there is no memory";
		/* fall through */
	case FFPF_FPL1_NUMBER:
	case FFPF_FPL1_PACKET:
		k = false;
		break;
	case FFPF_FPL1_LOCAL:
		if (insn->a >= FFPF_FPL1_LOCALS)
			return "there is no such local";
		a = false;
		break;
	case FFPF_FPL1_FACT:
		if (insn->a >= FFPF_FPL1_FACTS)
			return "there is no such fact";
		a = false;
		break;
	case FFPF_FPL1_PART:
		if (!is_kind(insn->a) || !is_whole(insn->b, insn->a))
			return "there is no such part";
		a = b = false;
		break;
	case FFPF_FPL1_KIND:
		if (!is_kind(insn->a))
			return "there is no such kind";
		a = false;
		break;
	case FFPF_FPL1_HASH:
		if (!insn->b || insn->b > FFPF_FPL1_HASH_MAX)
			return "a hash is of 1 to 64 octets";
		b = k = false;
		break;
	case FFPF_FPL1_CALL:
		if (insn->k >= p->external_count)
			return "there is no such external function";
		k = false;
		break;
	}
	return a || b || k ? "an operand that it has not is not 0" : NULL;
}

static int
verify_alone(const struct ffpf_fpl1 *p, const struct ffpf_fpl1_insn *code, uint32_t *locals, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < p->insn_count; i++) {
		const struct ffpf_fpl1_op_info *info = ffpf_fpl1_op_info(code[i].op);
		const char *wrong = info ? operands_wrong(p, &code[i], info->form) : "there is no such operation";

		if (wrong)
			return bad(err, i, wrong);
		if (info->form == FFPF_FPL1_LOCAL && *locals <= code[i].a)
			*locals = code[i].a + 1u;
		if (code[i].op == FFPF_FPL1_OP_GETX || code[i].op == FFPF_FPL1_OP_SETX)
			*locals = FFPF_FPL1_LOCALS;
	}
	return 0;
}

/* The instructions that are to be looked at, and the depths that are known. */
struct ways {
	const struct ffpf_fpl1 *p;
	int8_t *depths;
	uint16_t *waiting;
	uint32_t count;
};

/* `to` is reached from `at` with so many values on the stack. */
static int
reach(struct ways *w, uint32_t at, uint32_t to, int depth, struct ffpf_error *err)
{
	if (to >= w->p->insn_count)
		return bad(err, at, "the program ends behind it without a result");
	if (w->depths[to] == NOT_REACHED) {
		w->depths[to] = (int8_t)depth;
		w->waiting[w->count++] = (uint16_t)to;
		return 0;
	}
	if (w->depths[to] == depth)
		return 0;
	return ffpf_error_set(err, FFPF_E_BAD_FILTER,
			      "instruction %u: it is reached with %d values on the stack, and with %d", to,
			      w->depths[to], depth);
}

/* What may be put into an area, a `case`, takes its target as a way, too. */
static int
reach_targets(struct ways *w, uint32_t at, int depth, struct ffpf_error *err)
{
	int status = 0;

	for (uint32_t i = 0; i < w->p->area_count && !status; i++) {
		if (w->p->areas[i].first != at)
			continue;
		if (!depth)
			return bad(err, at, "an area is reached with nothing on the stack to compare");
		status = reach(w, at, w->p->areas[i].target, depth, err);
	}
	return status;
}

static int
follow(struct ways *w, const struct ffpf_fpl1_insn *code, uint32_t at, struct ffpf_error *err)
{
	const struct ffpf_fpl1_op_info *info = ffpf_fpl1_op_info(code[at].op);
	int depth = w->depths[at], after = depth - info->takes + info->gives, status;

	if (depth < info->takes)
		return ffpf_error_set(err, FFPF_E_BAD_FILTER,
				      "instruction %u: %s takes %u values, and the stack has %d", at, info->name,
				      info->takes, depth);
	if (after > FFPF_FPL1_STACK_MAX)
		return bad(err, at, "more than 64 values are on the stack");
	status = reach_targets(w, at, depth, err);
	if (status || code[at].op == FFPF_FPL1_OP_RET || code[at].op == FFPF_FPL1_OP_RETK)
		return status;
	if (info->form == FFPF_FPL1_JUMP || info->form == FFPF_FPL1_CASE)
		status = reach(w, at, code[at].k, after, err);
	if (status || code[at].op == FFPF_FPL1_OP_JMP)
		return status;
	return reach(w, at, at + 1, after, err);
}

int
ffpf_fpl1_verify(struct ffpf_fpl1 *program, const struct ffpf_fpl1_insn *code, struct ffpf_error *err)
{
	struct ways ways = { .p = program, .depths = program->depths, .waiting = program->waiting };
	uint32_t locals = 0;
	int status = verify_alone(program, code, &locals, err);

	memset(ways.depths, NOT_REACHED, program->insn_count);
	if (!status)
		status = reach(&ways, 0, 0, 0, err);
	while (!status && ways.count)
		status = follow(&ways, code, ways.waiting[--ways.count], err);
	if (!status)
		program->locals = locals;
	return status;
}
