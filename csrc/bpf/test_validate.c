/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs at the borders of both rule sets. Generated ones are compared with libpcap and the kernel in test_rules.py.
 */
#include "bpf/bpf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

#define RET_K                                                                                                          \
	{                                                                                                              \
		BPF_RET | BPF_K, 0, 0, 1                                                                               \
	}
#define AD(n) ((uint32_t)(SKF_AD_OFF + (n)))

struct rule_case {
	const char *name;
	bool libpcap, kernel; /* who accepts it */
	uint32_t n;
	struct ffpf_bpf_insn insns[6];
};

static const struct rule_case cases[] = {
	{ "a constant", true, true, 1, { RET_K } },
	{ "the accumulator", true, true, 1, { { BPF_RET | BPF_A, 0, 0, 0 } } },
	{ "nothing", false, false, 0, { RET_K } },
	{ "no return at the end", false, false, 1, { { BPF_LD | BPF_IMM, 0, 0, 0 } } },
	{ "return X", true, false, 1, { { BPF_RET | BPF_X, 0, 0, 0 } } },
	{ "return with a size", true, false, 1, { { BPF_RET | BPF_K | BPF_H, 0, 0, 0 } } },
	{ "a code beyond one octet", true, false, 2, { { 0x100 | BPF_LD | BPF_IMM, 0, 0, 0 }, RET_K } },
	{ "load in mode 6", false, false, 2, { { BPF_LD | 0xc0, 0, 0, 0 }, RET_K } },
	{ "load in mode 7", false, false, 2, { { BPF_LDX | 0xe0, 0, 0, 0 }, RET_K } },
	{ "X from the packet", true, false, 2, { { BPF_LDX | BPF_W | BPF_ABS, 0, 0, 0 }, RET_K } },
	{ "header length as word", true, false, 2, { { BPF_LDX | BPF_W | BPF_MSH, 0, 0, 0 }, RET_K } },
	{ "header length", true, true, 2, { { BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0xffffffff }, RET_K } },
	{ "immediate half", true, false, 2, { { BPF_LD | BPF_H | BPF_IMM, 0, 0, 0 }, RET_K } },
	{ "store to M[15]", true, true, 2, { { BPF_ST, 0, 0, 15 }, RET_K } },
	{ "store to M[16]", false, false, 2, { { BPF_ST, 0, 0, 16 }, RET_K } },
	{ "store X to M[16]", false, false, 2, { { BPF_STX, 0, 0, 16 }, RET_K } },
	{ "store with a mode", true, false, 2, { { BPF_ST | BPF_MEM, 0, 0, 0 }, RET_K } },
	{ "load of M[16]", false, false, 2, { { BPF_LD | BPF_MEM, 0, 0, 16 }, RET_K } },
	{ "load of X from M[16]", false, false, 2, { { BPF_LDX | BPF_MEM, 0, 0, 16 }, RET_K } },
	{ "unwritten M[0]", true, false, 2, { { BPF_LD | BPF_MEM, 0, 0, 0 }, RET_K } },
	{ "M[0] written", true, true, 3, { { BPF_STX, 0, 0, 0 }, { BPF_LD | BPF_MEM, 0, 0, 0 }, RET_K } },
	{ "M[0] written on one way of two",
	  true,
	  false,
	  4,
	  { { BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0 }, { BPF_ST, 0, 0, 0 }, { BPF_LDX | BPF_MEM, 0, 0, 0 }, RET_K } },
	{ "M[0] written on both ways",
	  true,
	  true,
	  6,
	  { { BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0 },
	    { BPF_ST, 0, 0, 0 },
	    { BPF_JMP | BPF_JA, 0, 0, 1 },
	    { BPF_STX, 0, 0, 0 },
	    { BPF_LDX | BPF_MEM, 0, 0, 0 },
	    RET_K } },
	{ "unwritten M[0] in code that nothing reaches",
	  true,
	  true,
	  4,
	  { { BPF_JMP | BPF_JA, 0, 0, 1 }, { BPF_LD | BPF_MEM, 0, 0, 0 }, { BPF_ST, 0, 0, 0 }, RET_K } },
	{ "unwritten M[0] behind a return", true, false, 3, { RET_K, { BPF_LD | BPF_MEM, 0, 0, 0 }, RET_K } },
	{ "divided by 0", false, false, 2, { { BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0 }, RET_K } },
	{ "modulo 0", false, false, 2, { { BPF_ALU | BPF_MOD | BPF_K, 0, 0, 0 }, RET_K } },
	{ "divided by X, k is 0", true, true, 2, { { BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0 }, RET_K } },
	{ "shifted by 31", true, true, 2, { { BPF_ALU | BPF_LSH | BPF_K, 0, 0, 31 }, RET_K } },
	{ "shifted by 32", true, false, 2, { { BPF_ALU | BPF_LSH | BPF_K, 0, 0, 32 }, RET_K } },
	{ "shifted right by 32", true, false, 2, { { BPF_ALU | BPF_RSH | BPF_K, 0, 0, 32 }, RET_K } },
	{ "negated X", true, false, 2, { { BPF_ALU | BPF_NEG | BPF_X, 0, 0, 0 }, RET_K } },
	{ "operation 11", false, false, 2, { { BPF_ALU | 0xb0, 0, 0, 0 }, RET_K } },
	{ "jump to the last", true, true, 2, { { BPF_JMP | BPF_JA, 0, 0, 0 }, RET_K } },
	{ "jump behind the last", false, false, 2, { { BPF_JMP | BPF_JA, 0, 0, 1 }, RET_K } },
	{ "jump to itself", true, false, 2, { { BPF_JMP | BPF_JA, 0, 0, 0xffffffff }, RET_K } },
	{ "jump before the first", false, false, 2, { { BPF_JMP | BPF_JA, 0, 0, 0xfffffffe }, RET_K } },
	{ "jump by X", true, false, 2, { { BPF_JMP | BPF_JA | BPF_X, 0, 0, 0 }, RET_K } },
	{ "true way out", false, false, 2, { { BPF_JMP | BPF_JSET | BPF_X, 1, 0, 0 }, RET_K } },
	{ "false way out", false, false, 2, { { BPF_JMP | BPF_JGE | BPF_K, 0, 255, 0 }, RET_K } },
	{ "jump operation 5", false, false, 2, { { BPF_JMP | 0x50, 0, 0, 0 }, RET_K } },
	{ "misc operation", true, false, 2, { { BPF_MISC | 0x40, 0, 0, 0 }, RET_K } },
	{ "ancillary VLAN tag", true, true, 2, { { BPF_LD | BPF_H | BPF_ABS, 0, 0, AD(SKF_AD_VLAN_TAG) }, RET_K } },
	{ "last ancillary", true, true, 2, { { BPF_LD | BPF_B | BPF_ABS, 0, 0, AD(SKF_AD_VLAN_TPID) }, RET_K } },
	{ "ancillary of no name", true, false, 2, { { BPF_LD | BPF_B | BPF_ABS, 0, 0, AD(SKF_AD_MAX) }, RET_K } },
	{ "between two ancillaries", true, false, 2, { { BPF_LD | BPF_W | BPF_ABS, 0, 0, AD(1) }, RET_K } },
	{ "ancillary behind X", true, true, 2, { { BPF_LD | BPF_W | BPF_IND, 0, 0, AD(1) }, RET_K } },
	{ "before the ancillaries", true, true, 2, { { BPF_LD | BPF_W | BPF_ABS, 0, 0, AD(-1) }, RET_K } },
	{ "network header", true, true, 2, { { BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF }, RET_K } },
};

static bool
accepts(const struct ffpf_bpf_insn *insns, uint32_t n, enum ffpf_bpf_rules rules)
{
	struct ffpf_error err = { .text = "" };
	int result = ffpf_bpf_validate(insns, n, rules, &err);

	assert_true(result == 0 || result == -FFPF_E_BAD_FILTER);
	assert_int_equal(result == 0, err.text[0] == '\0');
	return result == 0;
}

static void
both_rule_sets_agree_with_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct rule_case *c = &cases[i];

		if (accepts(c->insns, c->n, FFPF_BPF_RULES_LIBPCAP) != c->libpcap)
			fail_msg("%s: libpcap %s it", c->name, c->libpcap ? "accepts" : "refuses");
		if (accepts(c->insns, c->n, FFPF_BPF_RULES_KERNEL) != c->kernel)
			fail_msg("%s: the kernel %s it", c->name, c->kernel ? "accepts" : "refuses");
	}
}

static void
only_the_kernel_limits_the_length(void **state)
{
	struct ffpf_bpf_insn *insns = calloc(70000, sizeof(*insns));

	(void)state;
	assert_non_null(insns);
	for (uint32_t i = 0; i < 70000; i++)
		insns[i] = (struct ffpf_bpf_insn)RET_K;
	assert_true(accepts(insns, 4096, FFPF_BPF_RULES_KERNEL));
	assert_false(accepts(insns, 4097, FFPF_BPF_RULES_KERNEL));
	assert_true(accepts(insns, 70000, FFPF_BPF_RULES_LIBPCAP));
	assert_false(accepts(insns, 0x80000000u, FFPF_BPF_RULES_LIBPCAP));
	free(insns);
}

static void
the_text_names_the_instruction(void **state)
{
	static const struct ffpf_bpf_insn insns[] = { { BPF_LD | BPF_IMM, 0, 0, 0 },
						      { BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0 },
						      RET_K };
	struct ffpf_error err;

	(void)state;
	assert_int_equal(ffpf_bpf_validate(insns, 3, FFPF_BPF_RULES_LIBPCAP, &err), -FFPF_E_BAD_FILTER);
	assert_int_equal(err.code, FFPF_E_BAD_FILTER);
	assert_string_equal(err.text, "filter instruction 1 (code 0x34, jt 0, jf 0, k 0x0): division by zero");
	assert_int_equal(ffpf_bpf_validate(insns, 3, FFPF_BPF_RULES_LIBPCAP, NULL), -FFPF_E_BAD_FILTER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_rule_sets_agree_with_the_table),
		cmocka_unit_test(only_the_kernel_limits_the_length),
		cmocka_unit_test(the_text_names_the_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
