/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/jit_x86_64.h"
#include "bpf/jit.h"
#include "bpf/set.h"
#include "common/machine_code.h"

#include <string.h>

#if defined(__x86_64__)

#define MAX_INSNS  (1u << 20) /* larger programs are left to the interpreter */
#define CODE_ALIGN 64

bool
ffpf_bpf_jit_available(void)
{
	return true;
}

/* The passes, one after the other. 0, -FFPF_E_NO_MEMORY or -FFPF_E_NOT_SUPPORTED. */
static int
make_graph(struct ffpf_cfg *cfg, const struct ffpf_bpf_insn *insns, const struct ffpf_cfg_blocks *blocks)
{
	int error = ffpf_cfg_build(cfg, insns, blocks);

	if (!error)
		error = ffpf_cfg_thread(cfg);
	if (!error)
		error = ffpf_cfg_guard(cfg);
	if (!error)
		error = ffpf_set_find(cfg);
	return error;
}

static int
write_code(struct ffpf_x86 *x, const struct ffpf_bpf_insn *insns, uint32_t n, const struct ffpf_cfg_blocks *blocks)
{
	struct ffpf_cfg cfg;
	bool whole_used = true;
	uint32_t whole = ffpf_x86_label_new(x);
	int error;

	x->reject = ffpf_x86_label_new(x);
	error = make_graph(&cfg, insns, blocks);
	if (!error)
		error = ffpf_jit_graph(x, &cfg, whole, &whole_used);
	ffpf_cfg_free(&cfg);
	if (error == -FFPF_E_NOT_SUPPORTED && !x->error) { /* no graph: the program as it stands */
		x->len = x->fixup_count = 0;
		whole_used = true;
		error = 0;
		ffpf_jit_whole(x, insns, n, blocks, whole);
		ffpf_x86_label_here(x, x->reject);
		ffpf_x86_return_const(x, 0);
	} else if (!error && whole_used) {
		ffpf_x86_align(x, CODE_ALIGN, 0xcc);
		ffpf_jit_whole(x, insns, n, blocks, whole);
	}
	return error ? error : ffpf_x86_finish(x);
}

static int
make_executable(struct ffpf_bpf_jit_code *out, const struct ffpf_x86 *x, struct ffpf_error *err)
{
	struct ffpf_machine_code code;
	int rc = ffpf_machine_code_map(&code, x->code, x->len, err);

	if (rc)
		return rc;
	*out = (struct ffpf_bpf_jit_code){ .mem = code.mem, .mem_len = code.mem_len, .code_len = code.len };
	memcpy(&out->entry, &code.mem, sizeof(code.mem)); /* ISO C has no cast from data to function */
	return 0;
}

int
ffpf_bpf_jit_compile(struct ffpf_bpf_jit_code *out, const struct ffpf_bpf_insn *insns, uint32_t n,
		     struct ffpf_error *err)
{
	struct ffpf_cfg_blocks blocks = { 0 };
	struct ffpf_x86 x = { 0 };
	int error;

	if (n > MAX_INSNS)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "a filter of %u instructions is too large to compile",
				      n);
	error = ffpf_cfg_blocks_find(&blocks, insns, n);
	if (!error)
		error = write_code(&x, insns, n, &blocks);
	if (error == -FFPF_E_NO_MEMORY)
		ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory to compile a filter of %u instructions", n);
	else if (error)
		ffpf_error_set(err, (enum ffpf_code) - error, "the code of a filter of %u instructions is too large",
			       n);
	else
		error = make_executable(out, &x, err);
	ffpf_x86_free(&x);
	ffpf_cfg_blocks_free(&blocks);
	return error;
}

void
ffpf_bpf_jit_free(struct ffpf_bpf_jit_code *code)
{
	struct ffpf_machine_code mapped = { .mem = code->mem, .mem_len = code->mem_len };

	ffpf_machine_code_unmap(&mapped);
	memset(code, 0, sizeof(*code));
}

#endif
