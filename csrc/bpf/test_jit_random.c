/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Native code against the interpreter on generated programs and packets. FFPF_TEST_SEED=n begins with that seed, which
 * is printed when a program fails; FFPF_TEST_PROGRAMS=n makes so many.
 */
#include "bpf/test_codes.h"
#include "bpf/test_jit.h"

#include <linux/filter.h>
#include <stdlib.h>

#define MAX_INSNS 700
#define PROGRAMS  1500
#define PACKETS   40

struct maker {
	uint64_t state;
	struct ffpf_bpf_insn insns[MAX_INSNS];
	uint32_t n;
	uint8_t *mem; /* GUARDED_LEN octets, with a fault behind them */
	char origin[64];
};

static uint32_t
draw(struct maker *m, uint32_t below)
{
	uint64_t z = m->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % below;
}

static uint32_t
number(struct maker *m)
{
	static const uint32_t some[] = { 0,      1,          2,          4,          14,         31,         32,
					 33,     0xff,       0xfff,      0xffff,     0x10000,    0x7fffffff, 0x80000000,
					 0xfffe, 0xffff0000, 0xffffff00, 0xfffffff8, 0xfffffffc, 0xffffffff };

	switch (draw(m, 4)) {
	case 0:
		return some[draw(m, sizeof(some) / sizeof(some[0]))];
	case 1:
		return 1u << draw(m, 32);
	case 2:
		return draw(m, 80);
	default:
		return draw(m, UINT32_MAX);
	}
}

static void
add(struct maker *m, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	m->insns[m->n++] = (struct ffpf_bpf_insn){ code, jt, jf, k };
}

/* ---- any valid program */

static uint16_t
any_code(struct maker *m)
{
	static const uint16_t unknown[] = {
		BPF_ALU | BPF_NEG | BPF_X, BPF_RET | BPF_X,          BPF_JMP | BPF_JA | BPF_X,
		0x100 | BPF_LD | BPF_IMM,  BPF_LD | BPF_H | BPF_IMM,
	};

	if (draw(m, 3) == 0)
		return known_codes[draw(m, PACKET_LOAD_CODES)];
	if (draw(m, 80) == 0)
		return unknown[draw(m, sizeof(unknown) / sizeof(unknown[0]))];
	return known_codes[draw(m, KNOWN_CODES)];
}

static void
make_any(struct maker *m)
{
	uint32_t n = 1 + draw(m, 40), loops = draw(m, 6) == 0;

	for (uint32_t at = 0; at + 1 < n; at++) {
		uint16_t code = any_code(m);
		uint32_t left = n - at - 1, jump = left < 6 ? left : 6, k = number(m);

		if ((BPF_CLASS(code) == BPF_LD || BPF_CLASS(code) == BPF_LDX) && draw(m, 4))
			k = draw(m, 64);
		if ((code & 0xff) == (BPF_LD | BPF_W | BPF_ABS) && draw(m, 6) == 0)
			k = (uint32_t)(SKF_AD_OFF + 4 * (int)draw(m, 17));
		if (BPF_MODE(code) == BPF_MEM || BPF_CLASS(code) == BPF_ST || BPF_CLASS(code) == BPF_STX)
			k %= BPF_MEMWORDS;
		if (BPF_CLASS(code) == BPF_ALU && (BPF_OP(code) == BPF_DIV || BPF_OP(code) == BPF_MOD) && k == 0)
			k = 3;
		if (BPF_CLASS(code) == BPF_JMP && BPF_OP(code) == BPF_JA)
			k = loops && at && draw(m, 2) ? (uint32_t)-1 - draw(m, at) : draw(m, jump);
		if (BPF_CLASS(code) == BPF_RET && draw(m, 4))
			code = BPF_LD | BPF_H | BPF_ABS, k = 12;
		add(m, code, (uint8_t)draw(m, jump), (uint8_t)draw(m, jump), k);
	}
	add(m, draw(m, 2) ? BPF_RET | BPF_A : BPF_RET | BPF_K, 0, 0, number(m));
}

/* ---- chains of equality tests, as filters of many hosts, nets, ports and ranges are */

#define MAX_TERMS 40

struct field {
	uint32_t at, size, mask;
	bool indirect;
};

static void
load_field(struct maker *m, const struct field *field)
{
	uint16_t size = field->size == 4 ? BPF_W : field->size == 2 ? BPF_H : BPF_B;

	if (field->indirect)
		add(m, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14);
	add(m, BPF_LD | size | (field->indirect ? BPF_IND : BPF_ABS), 0, 0, field->at);
	if (field->mask)
		add(m, BPF_ALU | BPF_AND | BPF_K, 0, 0, field->mask);
}

static uint32_t
constant(struct maker *m, const struct field *field)
{
	uint32_t k = draw(m, 2) ? draw(m, 60) * 0x01010101u : number(m);

	if (draw(m, 20)) /* now and then one that cannot be equal */
		k &= (field->size == 4 ? UINT32_MAX : (1u << (8 * field->size)) - 1) & (field->mask ? field->mask : k);
	return k;
}

/* A jump over the next one, to where a long jump leads: targets are filled in when they are known. */
static void
test_field(struct maker *m, const struct field *field)
{
	static const uint16_t tests[] = { BPF_JEQ, BPF_JEQ,  BPF_JEQ, BPF_JEQ, BPF_JEQ,
					  BPF_JEQ, BPF_JSET, BPF_JGE, BPF_JGT };

	add(m, BPF_JMP | tests[draw(m, sizeof(tests) / sizeof(tests[0]))] | BPF_K, 0, 0, constant(m, field));
}

/*
 * Terms of one to four tests: a test that does not hold leads to the next term, the last that does to one of the ends;
 * ranges are two tests. The ends follow all terms, so jumps are long ones: if (test) skip the jump to the next term.
 */
static void
make_chain(struct maker *m)
{
	struct field fields[5];
	uint32_t field_count = 1 + draw(m, 4), terms = 4 + draw(m, MAX_TERMS - 4), ends = 1 + draw(m, 3);
	uint32_t jumps[MAX_TERMS], jump_count = 0, width = 1 + draw(m, 3), loaded = UINT32_MAX;
	bool reload = draw(m, 3) == 0, only_equal = draw(m, 2);

	for (uint32_t i = 0; i < field_count; i++) {
		fields[i] = (struct field){ draw(m, 30), 1u << draw(m, 3), 0, draw(m, 6) == 0 };
		if (draw(m, 3) == 0)
			fields[i].mask = draw(m, 2) ? 0xffffff00u << (8 * draw(m, 3)) : number(m) | 1;
	}
	for (uint32_t term = 0; term < terms; term++) {
		uint32_t tests[4], count = 1 + (width > 1 ? draw(m, width) : 0), first = draw(m, field_count);

		for (uint32_t i = 0; i < count; i++) {
			uint32_t f = (first + i) % field_count;

			if (f != loaded || reload || (term && draw(m, 8) == 0))
				load_field(m, &fields[f]);
			loaded = count > 1 ? UINT32_MAX : f;
			test_field(m, &fields[f]);
			if (only_equal)
				m->insns[m->n - 1].code = BPF_JMP | BPF_JEQ | BPF_K;
			tests[i] = m->n - 1;
		}
		if (draw(m, 6) == 0 && count == 1) { /* a range */
			m->insns[tests[0]].code = BPF_JMP | BPF_JGE | BPF_K;
			add(m, BPF_JMP | BPF_JGT | BPF_K, 1, 0, m->insns[tests[0]].k + draw(m, 300));
		}
		jumps[jump_count++] = m->n;
		add(m, BPF_JMP | BPF_JA, 0, 0, 0);
		for (uint32_t i = 0; i < count; i++)
			m->insns[tests[i]].jf = (uint8_t)(m->n - tests[i] - 1);
		if (BPF_OP(m->insns[m->n - 2].code) == BPF_JGT && m->insns[m->n - 2].jt == 1)
			m->insns[m->n - 2].jf = 0;
	}
	add(m, BPF_RET | BPF_K, 0, 0, draw(m, 3) ? 0 : 7);
	for (uint32_t i = 0; i < jump_count; i++)
		m->insns[jumps[i]].k = m->n + draw(m, ends) - jumps[i] - 1;
	for (uint32_t i = 0; i < ends; i++)
		add(m, BPF_RET | BPF_K, 0, 0, i ? i * 100 : 262144);
}

/* ---- packets that programs of this kind tell apart */

static void
put_constant(struct maker *m, uint8_t *pkt, uint32_t len)
{
	uint32_t at = draw(m, m->n), load = at, offset, size;

	while (load > 0 && (BPF_CLASS(m->insns[load].code) != BPF_LD || BPF_MODE(m->insns[load].code) == BPF_MEM))
		load--;
	offset = m->insns[load].k;
	if (BPF_MODE(m->insns[load].code) == BPF_IND && len > 14)
		offset += 4 * (pkt[14] & 15u);
	size = BPF_SIZE(m->insns[load].code) == BPF_W ? 4 : BPF_SIZE(m->insns[load].code) == BPF_H ? 2 : 1;
	if (offset > GUARDED_LEN || offset + size > len)
		return;
	for (uint32_t i = 0; i < size; i++)
		pkt[offset + i] = (uint8_t)(m->insns[at].k >> (8 * (size - 1 - i)));
}

static void
run_packets(struct maker *m, const struct ffpf_bpf_jit_code *code)
{
	const struct ffpf_bpf_aux aux = { 3, 0x2064, 0x88a8, 0x806, 1, 4, true };

	for (int i = 0; i < PACKETS; i++) {
		uint32_t len = draw(m, 8) ? draw(m, 60) : draw(m, GUARDED_LEN), wire_len = len + draw(m, 3);
		uint8_t *pkt = m->mem + GUARDED_LEN - len;
		uint32_t fill = draw(m, 3);

		for (uint32_t at = 0; at < len && at < 128; at++)
			pkt[at] = (uint8_t)(fill == 0 ? 0 : fill == 1 ? draw(m, 60) : draw(m, 256));
		for (uint32_t put = draw(m, 6); put > 0; put--)
			put_constant(m, pkt, len);
		run_both(code, m->insns, m->n, pkt, wire_len, len, draw(m, 2) ? &aux : NULL, m->origin);
	}
}

static void
run_programs(void (*make)(struct maker *m), uint64_t salt)
{
	const char *first = getenv("FFPF_TEST_SEED"), *count = getenv("FFPF_TEST_PROGRAMS");
	uint64_t seed = first ? strtoull(first, NULL, 0) : 1, programs = count ? strtoull(count, NULL, 0) : PROGRAMS;
	struct maker m = { .mem = guarded_memory() };

	for (uint64_t i = 0; i < programs; i++) {
		struct ffpf_bpf_jit_code code;

		m.state = (seed + i) * 0x2545f4914f6cdd1du + salt;
		m.n = 0;
		make(&m);
		snprintf(m.origin, sizeof(m.origin), "FFPF_TEST_SEED=%llu", (unsigned long long)(seed + i));
		if (i % 500 == 0) /* for crashes, which cannot tell */
			fprintf(stderr, "%s and up\n", m.origin);
		compile(&code, m.insns, m.n);
		run_packets(&m, &code);
		ffpf_bpf_jit_free(&code);
	}
	guarded_free(m.mem);
}

static void
test_any_program_means_the_same(void **state)
{
	(void)state;
	run_programs(make_any, 1);
}

static void
test_chains_mean_the_same(void **state)
{
	(void)state;
	run_programs(make_chain, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_program_means_the_same),
		cmocka_unit_test(test_chains_mean_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
