/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The native compiler of machines that have none: the interpreter serves them. Whoever adds a compiler for another
 * machine takes that machine out here.
 */
#include "bpf/jit.h"

#if !defined(__x86_64__)

bool
ffpf_bpf_jit_available(void)
{
	return false;
}

int
ffpf_bpf_jit_compile(struct ffpf_bpf_jit_code *out, const struct ffpf_bpf_insn *insns, uint32_t n,
		     struct ffpf_error *err)
{
	(void)out;
	(void)insns;
	(void)n;
	return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "no native code for filters on this machine");
}

void
ffpf_bpf_jit_free(struct ffpf_bpf_jit_code *code)
{
	(void)code;
}

#endif
