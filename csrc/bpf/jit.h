/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_JIT_H
#define FFPF_BPF_JIT_H
/*
 * Native code for a valid program. Users are prog.c and tests; everybody else goes through bpf.h.
 *
 * The code keeps the semantics of ffpf_bpf_interpret() for every packet, short ones too, reads no octet beyond cap_len,
 * calls nothing and writes nothing but its own stack, so it may be run by any number of threads at once. Its memory is
 * never writable and executable at the same time.
 */
#include "bpf/bpf.h"

struct ffpf_bpf_jit_code {
	uint32_t (*entry)(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
			  const struct ffpf_bpf_aux *aux); /* does not look at prog */
	void *mem;                                         /* one mapping: code, then the tables it reads */
	size_t mem_len;                                    /* of the mapping, a multiple of the page */
	size_t code_len;                                   /* octets used, tables included */
};

/* True on machines that there is a compiler for. */
bool ffpf_bpf_jit_available(void);

/* Compiles insns, which must have passed ffpf_bpf_validate() and are not kept. The caller owns *out and frees it with
 * ffpf_bpf_jit_free(); *out is untouched on failure. -FFPF_E_NOT_SUPPORTED: no compiler for this machine, or the
 * program is too large or too odd for it; -FFPF_E_NO_MEMORY; -FFPF_E_SYSTEM: the system grants no executable memory. */
int ffpf_bpf_jit_compile(struct ffpf_bpf_jit_code *out, const struct ffpf_bpf_insn *insns, uint32_t n,
			 struct ffpf_error *err);
/* All zero is legal: nothing happens. */
void ffpf_bpf_jit_free(struct ffpf_bpf_jit_code *code);

#endif
