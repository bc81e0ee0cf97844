/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What programs mean, one case each, on every engine. Generated programs, and those of libpcap's compiler, are compared
 * in test_engines.py and test_filters.py.
 */
#include "bpf/bpf.h"
#include "bpf/jit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

#define RET_A                                                                                                          \
	{                                                                                                              \
		BPF_RET | BPF_A, 0, 0, 0                                                                               \
	}
#define RET(k)                                                                                                         \
	{                                                                                                              \
		BPF_RET | BPF_K, 0, 0, (k)                                                                             \
	}
#define IMM(k)                                                                                                         \
	{                                                                                                              \
		BPF_LD | BPF_IMM, 0, 0, (k)                                                                            \
	}
#define IMMX(k)                                                                                                        \
	{                                                                                                              \
		BPF_LDX | BPF_IMM, 0, 0, (k)                                                                           \
	}
#define AD(n) ((uint32_t)(SKF_AD_OFF + (n)))
#define WIRE  1500

static const uint8_t octets[] = { 0x45, 0x11, 0x22, 0x33, 0x84, 0x55, 0xff, 0x77 };
static const struct ffpf_bpf_aux some_aux = {
	.ifindex = 0x12345678,
	.vlan_tci = 0xe064,
	.vlan_tpid = 0x88a8,
	.protocol = 0x86dd,
	.hatype = 772,
	.pkt_type = 4,
	.vlan_present = true,
};

struct run_case {
	const char *name;
	uint32_t expected;
	const struct ffpf_bpf_aux *aux;
	uint32_t n;
	struct ffpf_bpf_insn insns[6];
};

#define ALU_CASE(name, expected, code, a, x, k)                                                                        \
	{                                                                                                              \
		name, expected, NULL, 4,                                                                               \
		{                                                                                                      \
			IMM(a), IMMX(x), { BPF_ALU | (code), 0, 0, (k) }, RET_A                                        \
		}                                                                                                      \
	}
#define LOAD_CASE(name, expected, code, k)                                                                             \
	{                                                                                                              \
		name, expected, NULL, 2,                                                                               \
		{                                                                                                      \
			{ BPF_LD | (code), 0, 0, (k) }, RET_A                                                          \
		}                                                                                                      \
	}
#define INDIRECT_CASE(name, expected, size, x, k)                                                                      \
	{                                                                                                              \
		name, expected, NULL, 3,                                                                               \
		{                                                                                                      \
			IMMX(x), { BPF_LD | BPF_IND | (size), 0, 0, (k) }, RET_A                                       \
		}                                                                                                      \
	}
#define AUX_CASE(name, expected, aux, size, field)                                                                     \
	{                                                                                                              \
		name, expected, aux, 2,                                                                                \
		{                                                                                                      \
			{ BPF_LD | BPF_ABS | (size), 0, 0, AD(field) }, RET_A                                          \
		}                                                                                                      \
	}
/* 1 when A cmp (K or X) holds, else 2 */
#define JUMP_CASE(name, expected, code, a, operand)                                                                    \
	{                                                                                                              \
		name, expected, NULL, 5,                                                                               \
		{                                                                                                      \
			IMM(a), IMMX(operand), { BPF_JMP | (code), 0, 1, (operand) }, RET(1), RET(2)                   \
		}                                                                                                      \
	}
#define UNKNOWN_CASE(name, code)                                                                                       \
	{                                                                                                              \
		name, 0, NULL, 3,                                                                                      \
		{                                                                                                      \
			IMM(7), { (code), 0, 0, 0 }, RET(9)                                                            \
		}                                                                                                      \
	}

static const struct run_case cases[] = {
	LOAD_CASE("word", 0x45112233, BPF_W | BPF_ABS, 0),
	LOAD_CASE("half", 0xff77, BPF_H | BPF_ABS, 6),
	LOAD_CASE("octet", 0x84, BPF_B | BPF_ABS, 4),
	LOAD_CASE("last word", 0x8455ff77, BPF_W | BPF_ABS, 4),
	LOAD_CASE("word past the end", 0, BPF_W | BPF_ABS, 5),
	LOAD_CASE("half past the end", 0, BPF_H | BPF_ABS, 7),
	LOAD_CASE("octet past the end", 0, BPF_B | BPF_ABS, 8),
	LOAD_CASE("word across 2^32", 0, BPF_W | BPF_ABS, 0xfffffffe),
	LOAD_CASE("wire length", WIRE, BPF_LEN, 0),
	INDIRECT_CASE("indirect word", 0x112233u << 8 | 0x84, BPF_W, 1, 0),
	INDIRECT_CASE("indirect half", 0x2233, BPF_H, 1, 1),
	INDIRECT_CASE("indirect octet", 0x77, BPF_B, 3, 4),
	INDIRECT_CASE("indirect octet past the end", 0, BPF_B, 4, 4),
	INDIRECT_CASE("X + k does not wrap", 0, BPF_B, 0xffffffff, 1),
	INDIRECT_CASE("X + k does not wrap, half", 0, BPF_H, 2, 0xffffffff),
	INDIRECT_CASE("X + k does not wrap, word", 0, BPF_W, 0x80000000, 0x80000000),
	{ "header length",
	  20,
	  NULL,
	  3,
	  { { BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0 }, { BPF_MISC | BPF_TXA, 0, 0, 0 }, RET_A } },
	{ "header length past the end", 0, NULL, 2, { { BPF_LDX | BPF_B | BPF_MSH, 0, 0, 8 }, RET(9) } },
	{ "wire length in X",
	  WIRE,
	  NULL,
	  3,
	  { { BPF_LDX | BPF_LEN, 0, 0, 0 }, { BPF_MISC | BPF_TXA, 0, 0, 0 }, RET_A } },
	{ "A starts as 0", 0, NULL, 1, { RET_A } },
	{ "X starts as 0", 0, NULL, 3, { IMM(7), { BPF_MISC | BPF_TXA, 0, 0, 0 }, RET_A } },
	{ "M[] starts as 0", 0, NULL, 3, { IMM(7), { BPF_LD | BPF_MEM, 0, 0, 15 }, RET_A } },
	{ "M[] into X starts as 0",
	  0,
	  NULL,
	  4,
	  { IMMX(7), { BPF_LDX | BPF_MEM, 0, 0, 3 }, { BPF_MISC | BPF_TXA, 0, 0, 0 }, RET_A } },
	{ "M[] keeps A", 7, NULL, 5, { IMM(7), { BPF_ST, 0, 0, 5 }, IMM(8), { BPF_LD | BPF_MEM, 0, 0, 5 }, RET_A } },
	{ "M[] keeps X", 7, NULL, 4, { IMMX(7), { BPF_STX, 0, 0, 0 }, { BPF_LD | BPF_MEM, 0, 0, 0 }, RET_A } },
	{ "A to X",
	  14,
	  NULL,
	  4,
	  { IMM(7), { BPF_MISC | BPF_TAX, 0, 0, 0 }, { BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0 }, RET_A } },
	ALU_CASE("sum wraps", 1, BPF_ADD | BPF_K, 0xffffffff, 0, 2),
	ALU_CASE("sum with X", 5, BPF_ADD | BPF_X, 2, 3, 100),
	ALU_CASE("difference wraps", 0xffffffff, BPF_SUB | BPF_K, 1, 0, 2),
	ALU_CASE("difference with X", 0xffffffff, BPF_SUB | BPF_X, 2, 3, 0),
	ALU_CASE("product wraps", 0xfffffffe, BPF_MUL | BPF_K, 0xffffffff, 0, 2),
	ALU_CASE("product with X", 6, BPF_MUL | BPF_X, 2, 3, 0),
	ALU_CASE("quotient is unsigned", 0x7fffffff, BPF_DIV | BPF_K, 0xffffffff, 0, 2),
	ALU_CASE("quotient by X", 3, BPF_DIV | BPF_X, 10, 3, 0),
	ALU_CASE("quotient by X = 0", 0, BPF_DIV | BPF_X, 10, 0, 0),
	ALU_CASE("remainder is unsigned", 5, BPF_MOD | BPF_K, 0xffffffff, 0, 10),
	ALU_CASE("remainder by X", 1, BPF_MOD | BPF_X, 10, 3, 0),
	ALU_CASE("remainder by X = 0", 0, BPF_MOD | BPF_X, 10, 0, 0),
	ALU_CASE("and", 0x80000001, BPF_AND | BPF_K, 0x8000ff01, 0, 0xf00000ff & 0x800000ff),
	ALU_CASE("and X", 2, BPF_AND | BPF_X, 6, 3, 0),
	ALU_CASE("or", 7, BPF_OR | BPF_K, 6, 0, 3),
	ALU_CASE("or X", 7, BPF_OR | BPF_X, 6, 3, 0),
	ALU_CASE("xor", 5, BPF_XOR | BPF_K, 6, 0, 3),
	ALU_CASE("xor X", 5, BPF_XOR | BPF_X, 6, 3, 0),
	ALU_CASE("left by 31", 0x80000000, BPF_LSH | BPF_K, 3, 0, 31),
	ALU_CASE("left by 32 is by 0", 3, BPF_LSH | BPF_K, 3, 0, 32),
	ALU_CASE("left by 2^32-1 is by 31", 0x80000000, BPF_LSH | BPF_K, 3, 0, 0xffffffff),
	ALU_CASE("left by X = 31", 0x80000000, BPF_LSH | BPF_X, 3, 31, 0),
	ALU_CASE("left by X = 32", 0, BPF_LSH | BPF_X, 3, 32, 0),
	ALU_CASE("right by 31", 1, BPF_RSH | BPF_K, 0x80000000, 0, 31),
	ALU_CASE("right by 33 is by 1", 0x40000000, BPF_RSH | BPF_K, 0x80000000, 0, 33),
	ALU_CASE("right by X = 31", 1, BPF_RSH | BPF_X, 0x80000000, 31, 0),
	ALU_CASE("right by X = 2^32-1", 0, BPF_RSH | BPF_X, 0x80000000, 0xffffffff, 0),
	ALU_CASE("negated", 0xfffffff9, BPF_NEG, 7, 0, 0),
	ALU_CASE("negated least", 0x80000000, BPF_NEG, 0x80000000, 0, 0),
	JUMP_CASE("equal", 1, BPF_JEQ | BPF_K, 5, 5),
	JUMP_CASE("not equal", 2, BPF_JEQ | BPF_K, 5, 6),
	JUMP_CASE("equal to X", 1, BPF_JEQ | BPF_X, 5, 5),
	JUMP_CASE("greater is unsigned", 1, BPF_JGT | BPF_K, 0xffffffff, 1),
	JUMP_CASE("equal is not greater", 2, BPF_JGT | BPF_K, 5, 5),
	JUMP_CASE("greater than X", 2, BPF_JGT | BPF_X, 1, 0xffffffff),
	JUMP_CASE("equal is at least", 1, BPF_JGE | BPF_K, 5, 5),
	JUMP_CASE("at least is unsigned", 2, BPF_JGE | BPF_K, 0x7fffffff, 0x80000000),
	JUMP_CASE("at least X", 1, BPF_JGE | BPF_X, 0x80000000, 0x7fffffff),
	JUMP_CASE("some bit", 1, BPF_JSET | BPF_K, 0x80000001, 0x80000000),
	JUMP_CASE("no bit", 2, BPF_JSET | BPF_K, 5, 2),
	JUMP_CASE("some bit of X", 1, BPF_JSET | BPF_X, 6, 2),
	{ "jump over one", 2, NULL, 3, { { BPF_JMP | BPF_JA, 0, 0, 1 }, RET(1), RET(2) } },
	{ "jump back, once",
	  2,
	  NULL,
	  6,
	  { { BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 5 }, /* A = 5 only the second time */
	    { BPF_JMP | BPF_JA, 0, 0, 1 },
	    RET(2),
	    IMM(5),
	    { BPF_JMP | BPF_JA, 0, 0, (uint32_t)-5 },
	    RET(9) } },
	{ "jump to itself ends", 0, NULL, 2, { { BPF_JMP | BPF_JA, 0, 0, (uint32_t)-1 }, RET(9) } },
	/* regression: native code took the block behind a jump for the jump's own */
	{ "both ways to a return behind code that nothing reaches",
	  0x1c,
	  NULL,
	  4,
	  { IMM(0x1c), { BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0xff5f }, { BPF_LD | BPF_W | BPF_ABS, 0, 0, 64 }, RET_A } },
	UNKNOWN_CASE("load X from the packet", BPF_LDX | BPF_W | BPF_ABS),
	UNKNOWN_CASE("header length as word", BPF_LDX | BPF_W | BPF_MSH),
	UNKNOWN_CASE("header length to A", BPF_LD | BPF_B | BPF_MSH),
	UNKNOWN_CASE("immediate half", BPF_LD | BPF_H | BPF_IMM),
	UNKNOWN_CASE("store with a mode", BPF_ST | BPF_MEM),
	UNKNOWN_CASE("store X with a size", BPF_STX | BPF_B),
	UNKNOWN_CASE("negated X", BPF_ALU | BPF_NEG | BPF_X),
	UNKNOWN_CASE("jump by X", BPF_JMP | BPF_JA | BPF_X),
	UNKNOWN_CASE("misc operation", BPF_MISC | 0x40),
	UNKNOWN_CASE("return X", BPF_RET | BPF_X),
	UNKNOWN_CASE("return half", BPF_RET | BPF_H),
	UNKNOWN_CASE("a code beyond one octet", 0x100 | BPF_RET | BPF_K),
	UNKNOWN_CASE("a code beyond one octet that tests", 0x8000 | BPF_JMP | BPF_JEQ | BPF_K),
	{ "an unknown code that is not reached",
	  9,
	  NULL,
	  3,
	  { { BPF_JMP | BPF_JA, 0, 0, 1 }, { BPF_MISC | 0x40, 0, 0, 0 }, RET(9) } },
	AUX_CASE("protocol", 0x86dd, &some_aux, BPF_H, SKF_AD_PROTOCOL),
	AUX_CASE("packet type", 4, &some_aux, BPF_B, SKF_AD_PKTTYPE),
	AUX_CASE("interface", 0x12345678, &some_aux, BPF_W, SKF_AD_IFINDEX),
	AUX_CASE("hardware type", 772, &some_aux, BPF_H, SKF_AD_HATYPE),
	AUX_CASE("VLAN tag", 0xe064, &some_aux, BPF_B, SKF_AD_VLAN_TAG),
	AUX_CASE("VLAN tag, as word", 0xe064, &some_aux, BPF_W, SKF_AD_VLAN_TAG),
	AUX_CASE("VLAN present", 1, &some_aux, BPF_B, SKF_AD_VLAN_TAG_PRESENT),
	AUX_CASE("VLAN protocol", 0x88a8, &some_aux, BPF_H, SKF_AD_VLAN_TPID),
	AUX_CASE("mark is not known", 0, &some_aux, BPF_W, SKF_AD_MARK),
	AUX_CASE("payload offset is not known", 0, &some_aux, BPF_W, SKF_AD_PAY_OFFSET),
	AUX_CASE("between two fields", 0, &some_aux, BPF_B, SKF_AD_PKTTYPE + 1),
	{ "nothing known", 0, NULL, 2, { { BPF_LD | BPF_B | BPF_ABS, 0, 0, AD(SKF_AD_VLAN_TAG_PRESENT) }, RET(9) } },
	{ "ancillary behind X",
	  0,
	  &some_aux,
	  2,
	  { { BPF_LD | BPF_B | BPF_IND, 0, 0, AD(SKF_AD_VLAN_TAG_PRESENT) }, RET(9) } },
	{ "network header", 0, &some_aux, 2, { { BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF }, RET(9) } },
	{ "link header", 0, &some_aux, 2, { { BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)SKF_LL_OFF }, RET(9) } },
};

/* In memory of its own length, so that the sanitizers see a read beyond. */
static uint8_t *
packet_copy(uint32_t cap_len)
{
	uint8_t *pkt = malloc(cap_len + (cap_len == 0));

	assert_non_null(pkt);
	memcpy(pkt, octets, cap_len);
	return pkt;
}

static void
run_on(const struct run_case *c, enum ffpf_bpf_engine engine, const uint8_t *pkt)
{
	struct ffpf_error err = { .text = "" };
	struct ffpf_bpf_prog *prog = NULL;
	uint32_t result;
	int made = ffpf_bpf_prog_create(&prog, c->insns, c->n, engine, &err);

	if (engine == FFPF_BPF_JIT && made == -FFPF_E_NOT_SUPPORTED) {
		assert_null(prog);
		return; /* the interpreter serves it */
	}
	if (made < 0)
		fail_msg("%s: %s", c->name, err.text);
	if (engine != FFPF_BPF_AUTO)
		assert_int_equal(prog->native, engine == FFPF_BPF_JIT);
	result = ffpf_bpf_run(prog, pkt, WIRE, sizeof(octets), c->aux);
	if (result != c->expected)
		fail_msg("%s: engine %d returns 0x%x, not 0x%x", c->name, engine, result, c->expected);
	ffpf_bpf_prog_destroy(prog);
}

static void
every_engine_gives_what_the_table_says(void **state)
{
	uint8_t *pkt = packet_copy(sizeof(octets));

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct run_case *c = &cases[i];
		uint32_t result;

		assert_int_equal(ffpf_bpf_validate(c->insns, c->n, FFPF_BPF_RULES_LIBPCAP, NULL), 0);
		result = ffpf_bpf_interpret(c->insns, pkt, WIRE, sizeof(octets), c->aux);
		if (result != c->expected)
			fail_msg("%s: 0x%x, not 0x%x", c->name, result, c->expected);
		run_on(c, FFPF_BPF_INTERPRETER, pkt);
		run_on(c, FFPF_BPF_JIT, pkt);
		run_on(c, FFPF_BPF_AUTO, pkt);
	}
	assert_memory_equal(pkt, octets, sizeof(octets));
	free(pkt);
}

/* Counts down from A = jumps with one jump back for each. */
static uint32_t
count_down(enum ffpf_bpf_engine engine, uint32_t jumps)
{
	const struct ffpf_bpf_insn insns[] = {
		IMM(jumps),
		{ BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0 },
		{ BPF_ALU | BPF_SUB | BPF_K, 0, 0, 1 },
		{ BPF_JMP | BPF_JA, 0, 0, (uint32_t)-3 },
		RET(1),
	};
	struct ffpf_bpf_prog *prog;
	uint32_t result;

	assert_int_equal(ffpf_bpf_prog_create(&prog, insns, 5, engine, NULL), 0);
	result = ffpf_bpf_run(prog, octets, sizeof(octets), sizeof(octets), NULL);
	ffpf_bpf_prog_destroy(prog);
	return result;
}

static void
jumps_back_are_counted(void **state)
{
	static const enum ffpf_bpf_engine engines[] = { FFPF_BPF_INTERPRETER, FFPF_BPF_AUTO };

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(count_down(engines[i], 0), 1);
		assert_int_equal(count_down(engines[i], FFPF_BPF_MAX_BACK_JUMPS), 1);
		assert_int_equal(count_down(engines[i], FFPF_BPF_MAX_BACK_JUMPS + 1), 0);
	}
}

static void
a_program_keeps_its_own_copy(void **state)
{
	struct ffpf_bpf_insn insns[] = { { BPF_LD | BPF_W | BPF_ABS, 0, 0, AD(SKF_AD_IFINDEX) }, RET(7) };
	struct ffpf_bpf_prog *prog;

	(void)state;
	assert_int_equal(ffpf_bpf_prog_create(&prog, insns, 2, FFPF_BPF_INTERPRETER, NULL), 0);
	memset(insns, 0, sizeof(insns));
	assert_int_equal(prog->insn_count, 2);
	assert_int_equal(prog->insns[1].k, 7);
	assert_true(prog->reads_aux);
	assert_int_equal(prog->code_len, 0);
	assert_int_equal(ffpf_bpf_run(prog, NULL, 0, 0, &some_aux), 7);
	assert_int_equal(ffpf_bpf_run(prog, NULL, 0, 0, NULL), 0);
	ffpf_bpf_prog_destroy(prog);
	ffpf_bpf_prog_destroy(NULL);
}

static void
a_bad_program_leaves_the_pointer_alone(void **state)
{
	const struct ffpf_bpf_insn bad[] = { { BPF_JMP | BPF_JA, 0, 0, 9 }, RET(7) };
	struct ffpf_bpf_prog *const marker = (struct ffpf_bpf_prog *)(uintptr_t)&bad;
	struct ffpf_bpf_prog *prog = marker;
	struct ffpf_error err;

	(void)state;
	assert_int_equal(ffpf_bpf_prog_create(&prog, bad, 2, FFPF_BPF_AUTO, &err), -FFPF_E_BAD_FILTER);
	assert_int_equal(ffpf_bpf_prog_create(&prog, bad, 0, FFPF_BPF_AUTO, &err), -FFPF_E_BAD_FILTER);
	assert_ptr_equal(prog, marker);
}

static void
native_code_is_used_where_there_is_a_compiler(void **state)
{
	const struct ffpf_bpf_insn insns[] = { { BPF_LD | BPF_H | BPF_ABS, 0, 0, 2 }, RET_A };
	struct ffpf_bpf_prog *prog = NULL;

	(void)state;
	assert_int_equal(ffpf_bpf_prog_create(&prog, insns, 2, FFPF_BPF_AUTO, NULL), 0);
	assert_int_equal(prog->native, ffpf_bpf_jit_available());
	assert_int_equal(prog->code_len > 0, ffpf_bpf_jit_available());
	assert_false(prog->reads_aux);
	ffpf_bpf_prog_destroy(prog);
	assert_int_equal(ffpf_bpf_prog_create(&prog, insns, 2, FFPF_BPF_JIT, NULL),
			 ffpf_bpf_jit_available() ? 0 : -FFPF_E_NOT_SUPPORTED);
	if (ffpf_bpf_jit_available())
		ffpf_bpf_prog_destroy(prog);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_engine_gives_what_the_table_says),
		cmocka_unit_test(jumps_back_are_counted),
		cmocka_unit_test(a_program_keeps_its_own_copy),
		cmocka_unit_test(a_bad_program_leaves_the_pointer_alone),
		cmocka_unit_test(native_code_is_used_where_there_is_a_compiler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
