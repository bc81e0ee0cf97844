/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/ancillary.h"
#include "bpf/bpf.h"
#include "bpf/jit.h"

#include <stdlib.h>
#include <string.h>

struct program {
	struct ffpf_bpf_prog prog; /* what users see; the address of the whole */
	struct ffpf_bpf_jit_code code;
	struct ffpf_bpf_insn insns[];
};

static uint32_t
run_interpreter(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
		const struct ffpf_bpf_aux *aux)
{
	return ffpf_bpf_interpret(prog->insns, pkt, wire_len, cap_len, aux);
}

static bool
has_ancillary_load(const struct ffpf_bpf_insn *insns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (ffpf_bpf_ancillary_find(&insns[i]))
			return true;
	return false;
}

/* What the compiler refuses the interpreter serves, unless native code was asked for. */
static int
choose_engine(struct program *p, enum ffpf_bpf_engine engine, struct ffpf_error *err)
{
	int result;

	p->prog.run = run_interpreter;
	if (engine == FFPF_BPF_INTERPRETER)
		return 0;
	result = ffpf_bpf_jit_compile(&p->code, p->insns, p->prog.insn_count, err);
	if (result < 0)
		return engine == FFPF_BPF_AUTO ? 0 : result;
	p->prog.run = p->code.entry;
	p->prog.native = true;
	p->prog.code_len = p->code.code_len;
	return 0;
}

int
ffpf_bpf_prog_create(struct ffpf_bpf_prog **out, const struct ffpf_bpf_insn *insns, uint32_t n,
		     enum ffpf_bpf_engine engine, struct ffpf_error *err)
{
	size_t insns_len = n * sizeof(*insns);
	struct program *p;
	int result;

	result = ffpf_bpf_validate(insns, n, FFPF_BPF_RULES_LIBPCAP, err);
	if (result < 0)
		return result;
	p = calloc(1, sizeof(*p) + insns_len);
	if (!p)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a filter of %u instructions", n);
	memcpy(p->insns, insns, insns_len);
	p->prog.insns = p->insns;
	p->prog.insn_count = n;
	p->prog.reads_aux = has_ancillary_load(insns, n);
	result = choose_engine(p, engine, err);
	if (result < 0) {
		ffpf_bpf_prog_destroy(&p->prog);
		return result;
	}
	*out = &p->prog;
	return 0;
}

void
ffpf_bpf_prog_destroy(struct ffpf_bpf_prog *prog)
{
	struct program *p = (struct program *)prog;

	if (!p)
		return;
	ffpf_bpf_jit_free(&p->code);
	free(p);
}
