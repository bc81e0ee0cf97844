/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_TEST_JIT_H
#define FFPF_BPF_TEST_JIT_H
/* What the tests of native code share: a packet that ends where memory ends, and a program on both engines. */
#include "bpf/jit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define GUARDED_LEN 4096 /* the longest packet */

/* GUARDED_LEN octets, and behind them a page whose reading is a fault. */
static inline uint8_t *
guarded_memory(void)
{
	uint8_t *mem = mmap(NULL, 3 * GUARDED_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(mem != MAP_FAILED);
	assert_int_equal(mprotect(mem, GUARDED_LEN, PROT_NONE), 0);
	assert_int_equal(mprotect(mem + 2 * GUARDED_LEN, GUARDED_LEN, PROT_NONE), 0);
	return mem + GUARDED_LEN;
}

static inline void
guarded_free(uint8_t *mem)
{
	munmap(mem - GUARDED_LEN, 3 * GUARDED_LEN);
}

static inline void
print_program(const struct ffpf_bpf_insn *insns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fprintf(stderr, "{0x%04x, %u, %u, 0x%08x},\n", insns[i].code, insns[i].jt, insns[i].jf, insns[i].k);
}

static inline void
compile(struct ffpf_bpf_jit_code *code, const struct ffpf_bpf_insn *insns, uint32_t n)
{
	struct ffpf_error error;

	memset(code, 0, sizeof(*code));
	if (ffpf_bpf_validate(insns, n, FFPF_BPF_RULES_LIBPCAP, &error) < 0 ||
	    ffpf_bpf_jit_compile(code, insns, n, &error) < 0) {
		print_program(insns, n);
		fail_msg("%s", error.text);
	}
}

/* Runs both engines over a packet; fails with everything that is needed to see why, `origin` too. Returns what they
 * return. */
static inline uint32_t
run_both(const struct ffpf_bpf_jit_code *code, const struct ffpf_bpf_insn *insns, uint32_t n, const uint8_t *pkt,
	 uint32_t wire_len, uint32_t cap_len, const struct ffpf_bpf_aux *aux, const char *origin)
{
	uint32_t meant = ffpf_bpf_interpret(insns, pkt, wire_len, cap_len, aux);
	uint32_t got = code->entry(NULL, pkt, wire_len, cap_len, aux);

	if (meant != got) {
		print_program(insns, n);
		for (uint32_t i = 0; i < cap_len; i++)
			fprintf(stderr, "%02x", pkt[i]);
		fail_msg("%s: interpreter %u, native %u; cap_len %u, wire_len %u, aux %s", origin, meant, got, cap_len,
			 wire_len, aux ? "given" : "NULL");
	}
	return got;
}

#endif
