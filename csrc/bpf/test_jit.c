/* SPDX-License-Identifier: BSD-3-Clause */
/* What generated programs seldom reach: large sets, short packets at each length, where the code lies, what is refused.
 */
#include "bpf/test_jit.h"

#include <linux/filter.h>
#include <pthread.h>
#include <stdlib.h>

#define ACCEPT 262144

struct program {
	struct ffpf_bpf_insn *insns;
	uint32_t n, space;
};

static void
add(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (p->n == p->space) {
		p->space = p->space ? 2 * p->space : 64;
		p->insns = realloc(p->insns, p->space * sizeof(*p->insns));
		assert_non_null(p->insns);
	}
	p->insns[p->n++] = (struct ffpf_bpf_insn){ code, jt, jf, k };
}

static uint32_t
mixed(uint32_t i)
{
	uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	return (uint32_t)(z >> 24);
}

/* One shape of chain, for any number of terms. */
struct chain {
	const char *name;
	uint16_t size;      /* BPF_W, BPF_H or BPF_B */
	uint32_t words;     /* tests of one term, of successive fields */
	uint32_t fields[2]; /* offsets of the first word; terms alternate between them when they differ */
	uint32_t mask;      /* 0: none */
	uint32_t targets;   /* terms lead to one of so many ends */
	uint32_t terms;
};

static uint32_t
term_constant(const struct chain *chain, uint32_t term, uint32_t word)
{
	uint32_t k = mixed(term * 7 + (word == chain->words - 1 ? 1 : word * 100000));

	if (word + 1 < chain->words) /* the last word tells terms apart, others repeat */
		k = mixed(word + term % 3 * 11);
	k &= chain->mask ? chain->mask : UINT32_MAX;
	return chain->size == BPF_W ? k : chain->size == BPF_H ? k & 0xffff : k & 0xff;
}

static uint32_t
octets_of(uint16_t size)
{
	return size == BPF_W ? 4 : size == BPF_H ? 2 : 1;
}

static void
chain_make(struct program *p, const struct chain *chain)
{
	uint32_t first, ends;

	for (uint32_t term = 0; term < chain->terms; term++) {
		first = p->n;
		for (uint32_t word = 0; word < chain->words; word++) {
			add(p, BPF_LD | BPF_ABS | chain->size, 0, 0,
			    chain->fields[term % 2] + word * octets_of(chain->size));
			if (chain->mask)
				add(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, chain->mask);
			add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, term_constant(chain, term, word));
		}
		add(p, BPF_JMP | BPF_JA, 0, 0, term % chain->targets); /* completed below */
		for (uint32_t at = first; at < p->n; at++)
			if (p->insns[at].code == (BPF_JMP | BPF_JEQ | BPF_K))
				p->insns[at].jf = (uint8_t)(p->n - at - 1);
	}
	add(p, BPF_RET | BPF_K, 0, 0, 0);
	ends = p->n;
	for (uint32_t at = 0; at < ends; at++)
		if (p->insns[at].code == (BPF_JMP | BPF_JA))
			p->insns[at].k += ends - at - 1;
	for (uint32_t i = 0; i < chain->targets; i++)
		add(p, BPF_RET | BPF_K, 0, 0, ACCEPT + i);
}

static void
put(uint8_t *at, uint32_t k, uint32_t octets)
{
	for (uint32_t i = 0; i < octets; i++)
		at[i] = (uint8_t)(k >> (8 * (octets - 1 - i)));
}

/* A packet that a term takes, but for a word that is off by `off`. */
static void
put_term(const struct chain *chain, uint8_t *pkt, uint32_t term, uint32_t off)
{
	for (uint32_t word = 0; word < chain->words; word++)
		put(pkt + chain->fields[term % 2] + word * octets_of(chain->size),
		    term_constant(chain, term, word) + (off == word + 1 ? 1 : 0), octets_of(chain->size));
}

static void
check_chain(const struct chain *chain)
{
	struct ffpf_bpf_jit_code code;
	struct program p = { 0 };
	uint8_t *mem = guarded_memory(), *pkt;
	uint32_t step = chain->terms / 150 + 1, accepted = 0;

	chain_make(&p, chain);
	compile(&code, p.insns, p.n);
	for (uint32_t term = 0; term < chain->terms; term += step) {
		for (uint32_t off = 0; off <= chain->words; off++) {
			pkt = mem + GUARDED_LEN - 64;
			memset(pkt, (int)term, 64);
			put_term(chain, pkt, term, off);
			accepted += run_both(&code, p.insns, p.n, pkt, 64, 64, NULL, chain->name) != 0;
		}
	}
	assert_true(accepted >= chain->terms / step);
	for (uint32_t len = 0; len <= 64; len++) { /* ends at the fault */
		pkt = mem + GUARDED_LEN - len;
		memset(pkt, 0, len);
		for (uint32_t term = 0; term < 6 && term < chain->terms; term++) {
			uint8_t whole[64] = { 0 };

			put_term(chain, whole, term, 0);
			memcpy(pkt, whole, len);
			run_both(&code, p.insns, p.n, pkt, 64, len, NULL, chain->name);
		}
	}
	ffpf_bpf_jit_free(&code);
	free(p.insns);
	guarded_free(mem);
}

static void
test_chains_of_every_size(void **state)
{
	static const struct chain shapes[] = {
		{ "hosts", BPF_W, 1, { 26, 26 }, 0, 1, 0 },
		{ "hosts, either direction", BPF_W, 1, { 26, 30 }, 0, 1, 0 },
		{ "nets", BPF_W, 1, { 26, 30 }, 0xffffff00, 1, 0 },
		{ "hosts with different ends", BPF_W, 1, { 26, 26 }, 0, 5, 0 },
		{ "nets with different ends", BPF_W, 1, { 26, 26 }, 0xfffffe00, 3, 0 },
		{ "pairs", BPF_W, 2, { 26, 26 }, 0, 1, 0 },
		{ "triples", BPF_W, 3, { 26, 26 }, 0, 1, 0 },
		{ "IPv6 hosts, either direction", BPF_W, 4, { 22, 38 }, 0, 1, 0 },
		{ "masked pairs", BPF_W, 2, { 26, 40 }, 0xfff8ffff, 1, 0 },
		{ "ports", BPF_H, 1, { 54, 54 }, 0, 1, 0 },
		{ "ports, either direction", BPF_H, 1, { 54, 56 }, 0, 1, 0 },
		{ "ports with different ends", BPF_H, 1, { 54, 54 }, 0, 4, 0 },
		{ "masked ports", BPF_H, 1, { 54, 56 }, 0xfff0, 1, 0 },
		{ "octets", BPF_B, 1, { 23, 23 }, 0, 1, 0 },
		{ "octets with different ends", BPF_B, 1, { 20, 20 }, 0, 2, 0 },
		{ "pairs of ports", BPF_H, 2, { 34, 34 }, 0, 1, 0 },
	};
	static const uint32_t sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 100, 255, 256, 257, 300, 1500, 9000 };

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct chain chain = shapes[i];

			chain.terms = sizes[s];
			check_chain(&chain);
		}
	}
}

static void
test_sixty_thousand_instructions(void **state)
{
	static const struct chain large[] = {
		{ "20000 hosts", BPF_W, 1, { 26, 30 }, 0, 1, 20000 },
		{ "6000 IPv6 hosts", BPF_W, 4, { 22, 38 }, 0, 1, 6000 },
		{ "20000 hosts with different ends", BPF_W, 1, { 26, 26 }, 0, 7, 20000 },
	};
	struct program p = { 0 };
	struct ffpf_bpf_jit_code code;
	uint8_t *mem = guarded_memory();

	(void)state;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		check_chain(&large[i]);
	for (uint32_t i = 0; i < 30000; i++) { /* no chain: each test of another octet, some with arithmetic */
		add(&p, BPF_LD | BPF_ABS | BPF_B, 0, 0, mixed(i) % 1000);
		if (i % 3 == 0)
			add(&p, BPF_ALU | BPF_XOR | BPF_K, 0, 0, mixed(i) % 7);
		add(&p, BPF_JMP | BPF_JGT | BPF_K, (uint8_t)(mixed(i) % 3), (uint8_t)(mixed(i) % 2), mixed(i) % 256);
	}
	for (uint32_t i = 0; i < 4; i++)
		add(&p, BPF_RET | BPF_K, 0, 0, i);
	compile(&code, p.insns, p.n);
	for (uint32_t i = 0; i < 20; i++) {
		for (uint32_t at = 0; at < 1100; at++)
			mem[GUARDED_LEN - 1100 + at] = (uint8_t)mixed(at + 1000 * i);
		run_both(&code, p.insns, p.n, mem + GUARDED_LEN - 1100, 1100, 1100, NULL, "60000");
	}
	ffpf_bpf_jit_free(&code);
	free(p.insns);
	guarded_free(mem);
}

static const struct ffpf_bpf_insn tcp_port_80[] = {
	/* tcpdump -d -y EN10MB "tcp port 80" */
	{ 0x28, 0, 0, 12 },  { 0x15, 0, 6, 0x86dd }, { 0x30, 0, 0, 20 },     { 0x15, 0, 15, 6 },     { 0x28, 0, 0, 54 },
	{ 0x15, 12, 0, 80 }, { 0x28, 0, 0, 56 },     { 0x15, 10, 11, 80 },   { 0x15, 0, 10, 0x800 }, { 0x30, 0, 0, 23 },
	{ 0x15, 0, 8, 6 },   { 0x28, 0, 0, 20 },     { 0x45, 6, 0, 0x1fff }, { 0xb1, 0, 0, 14 },     { 0x48, 0, 0, 14 },
	{ 0x15, 2, 0, 80 },  { 0x48, 0, 0, 16 },     { 0x15, 0, 1, 80 },     { 0x06, 0, 0, ACCEPT }, { 0x06, 0, 0, 0 },
};
#define TCP_PORT_80_LEN (sizeof(tcp_port_80) / sizeof(tcp_port_80[0]))

/* A TCP segment to port 80 over IPv4 without options. */
static void
http_fill(uint8_t *pkt, uint32_t len)
{
	uint8_t whole[60] = { [12] = 8, [14] = 0x45, [23] = 6, [37] = 80 };

	memcpy(pkt, whole, len < sizeof(whole) ? len : sizeof(whole));
}

static void
test_a_packet_cut_at_every_octet(void **state)
{
	struct ffpf_bpf_jit_code code;
	uint8_t *mem = guarded_memory();

	(void)state;
	compile(&code, tcp_port_80, TCP_PORT_80_LEN);
	for (uint32_t len = 0; len <= 60; len++) {
		uint8_t *pkt = mem + GUARDED_LEN - len;

		http_fill(pkt, len);
		assert_int_equal(run_both(&code, tcp_port_80, TCP_PORT_80_LEN, pkt, 60, len, NULL, "cut"),
				 len >= 38 ? ACCEPT : 0);
	}
	ffpf_bpf_jit_free(&code);
	guarded_free(mem);
}

/* The permissions of the mapping that begins at mem, as in /proc/self/maps. */
static void
permissions_of(const void *mem, char permissions[5])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned long long begin, end;

	assert_non_null(maps);
	permissions[0] = '\0';
	while (!permissions[0] && fgets(line, sizeof(line), maps)) {
		assert_int_equal(sscanf(line, "%llx-%llx %4s", &begin, &end, permissions), 3);
		if ((uintptr_t)mem < begin || (uintptr_t)mem >= end)
			permissions[0] = '\0';
	}
	fclose(maps);
}

static void
test_code_is_never_writable(void **state)
{
	struct ffpf_bpf_jit_code code;
	char permissions[5];

	(void)state;
	compile(&code, tcp_port_80, TCP_PORT_80_LEN);
	permissions_of(code.mem, permissions);
	assert_string_equal(permissions, "r-xp");
	assert_true(code.code_len > 0 && code.code_len <= code.mem_len);
	ffpf_bpf_jit_free(&code);
	ffpf_bpf_jit_free(&code); /* all zero now: legal */
}

static void
test_code_runs_anywhere(void **state)
{
	static const struct chain chain = { "moved", BPF_W, 1, { 26, 26 }, 0, 3, 100 };
	struct ffpf_bpf_jit_code code, moved;
	struct program p = { 0 };
	uint8_t pkt[64];

	(void)state;
	chain_make(&p, &chain);
	compile(&code, p.insns, p.n);
	moved = code;
	moved.mem = mmap(NULL, code.mem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(moved.mem != MAP_FAILED);
	memcpy(moved.mem, code.mem, code.code_len);
	assert_int_equal(mprotect(moved.mem, code.mem_len, PROT_READ | PROT_EXEC), 0);
	memcpy(&moved.entry, &moved.mem, sizeof(moved.mem));
	ffpf_bpf_jit_free(&code); /* nothing of it may be needed */
	for (uint32_t term = 0; term < chain.terms; term++) {
		memset(pkt, 0, sizeof(pkt));
		put_term(&chain, pkt, term, 0);
		assert_int_equal(run_both(&moved, p.insns, p.n, pkt, 64, 64, NULL, chain.name), ACCEPT + term % 3);
	}
	ffpf_bpf_jit_free(&moved);
	free(p.insns);
}

/* The ABI leaves the upper halves of 32-bit arguments undefined. */
static void
test_upper_halves_of_arguments_do_not_matter(void **state)
{
	static const struct ffpf_bpf_insn by_length[] = {
		/* the last octet of the packet: pkt[wire_len - 1] */
		{ BPF_LD | BPF_W | BPF_LEN, 0, 0, 0 }, { BPF_ALU | BPF_SUB | BPF_K, 0, 0, 1 },
		{ BPF_MISC | BPF_TAX, 0, 0, 0 },       { BPF_LD | BPF_B | BPF_IND, 0, 0, 0 },
		{ BPF_RET | BPF_A, 0, 0, 0 },
	};
	uint32_t (*entry)(const void *, const uint8_t *, uint64_t, uint64_t, const void *);
	struct ffpf_bpf_jit_code code;
	uint8_t pkt[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t above = 0xdeadbeef00000000u;

	(void)state;
	compile(&code, by_length, 5);
	memcpy(&entry, &code.entry, sizeof(entry));
	assert_int_equal(entry(NULL, pkt, above | 8, above | 8, NULL), 8);
	assert_int_equal(entry(NULL, pkt, above | 8, above | 7, NULL), 0);
	assert_int_equal(entry(NULL, pkt, above | 0, above | 8, NULL), 0); /* 0 - 1 is far behind */
	ffpf_bpf_jit_free(&code);
}

static void
test_too_large_a_program_is_refused(void **state)
{
	uint32_t n = (1u << 20) + 1;
	struct ffpf_bpf_insn *insns = calloc(n, sizeof(*insns));
	struct ffpf_bpf_jit_code code = { 0 };
	struct ffpf_bpf_prog *prog;
	struct ffpf_error error;

	(void)state;
	assert_non_null(insns);
	insns[n - 1] = (struct ffpf_bpf_insn){ BPF_RET | BPF_K, 0, 0, 5 };
	assert_int_equal(ffpf_bpf_jit_compile(&code, insns, n, &error), -FFPF_E_NOT_SUPPORTED);
	assert_int_equal(error.code, FFPF_E_NOT_SUPPORTED);
	assert_null(code.mem);
	assert_int_equal(ffpf_bpf_prog_create(&prog, insns, n, FFPF_BPF_AUTO, &error), 0);
	assert_false(prog->native);
	assert_int_equal(ffpf_bpf_run(prog, NULL, 0, 0, NULL), 5);
	ffpf_bpf_prog_destroy(prog);
	free(insns);
}

static void *
run_often(void *arg)
{
	const struct ffpf_bpf_jit_code *code = arg;
	uint8_t pkt[60];
	uintptr_t accepted = 0;

	http_fill(pkt, sizeof(pkt));
	for (int i = 0; i < 10000; i++)
		accepted += code->entry(NULL, pkt, 60, i % 60, NULL) != 0;
	return (void *)accepted;
}

static void
test_threads_share_code(void **state)
{
	struct ffpf_bpf_jit_code code;
	pthread_t threads[2];
	void *accepted[2];

	(void)state;
	compile(&code, tcp_port_80, TCP_PORT_80_LEN);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_often, &code), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], &accepted[i]), 0);
	assert_ptr_equal(accepted[0], accepted[1]);
	assert_int_equal((uintptr_t)accepted[0], 10000 / 60 * 22 + 10000 % 60 - 38);
	ffpf_bpf_jit_free(&code);
}

/* Sixteen tests that leave 65536 different contents of M[0], and long arithmetic behind them: no graph is made of that.
 */
static void
test_states_that_multiply(void **state)
{
	struct ffpf_bpf_jit_code code;
	struct program p = { 0 };
	uint8_t pkt[16];

	(void)state;
	for (uint32_t i = 0; i < 16; i++) {
		add(&p, BPF_LD | BPF_B | BPF_ABS, 0, 0, i);
		add(&p, BPF_JMP | BPF_JSET | BPF_K, 0, 3, 1);
		add(&p, BPF_LD | BPF_MEM, 0, 0, 0);
		add(&p, BPF_ALU | BPF_ADD | BPF_K, 0, 0, 1u << i);
		add(&p, BPF_ST, 0, 0, 0);
	}
	add(&p, BPF_LD | BPF_MEM, 0, 0, 0);
	for (uint32_t i = 0; i < 30000; i++)
		add(&p, BPF_ALU | (i % 2 ? BPF_ADD : BPF_XOR) | BPF_K, 0, 0, mixed(i));
	add(&p, BPF_RET | BPF_A, 0, 0, 0);
	compile(&code, p.insns, p.n);
	for (uint32_t i = 0; i < 200; i++) {
		for (uint32_t at = 0; at < sizeof(pkt); at++)
			pkt[at] = (uint8_t)mixed(16 * i + at);
		run_both(&code, p.insns, p.n, pkt, 16, 16, NULL, "states");
	}
	ffpf_bpf_jit_free(&code);
	free(p.insns);
}

/* Both targets of a jump behind an instruction that nothing reaches: the block ended too late. */
static void
test_instructions_that_nothing_reaches(void **state)
{
	static const struct ffpf_bpf_insn insns[] = {
		{ BPF_ALU | BPF_ADD | BPF_K, 0, 0, 0x1c },
		{ BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0xff5f },
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TPID) },
		{ BPF_RET | BPF_A, 0, 0, 0 },
	};
	struct ffpf_bpf_jit_code code;

	(void)state;
	compile(&code, insns, 4);
	assert_int_equal(run_both(&code, insns, 4, NULL, 0, 0, NULL, "unreached"), 0x1c);
	ffpf_bpf_jit_free(&code);
}

/* A chain on one key that ends where another key begins: a group without terms was left behind. */
static void
test_chain_that_ends_at_another_key(void **state)
{
	struct ffpf_bpf_jit_code code;
	struct program p = { 0 };
	uint8_t pkt[32] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		add(&p, BPF_LD | BPF_B | BPF_ABS, 0, 0, 9);
		add(&p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, i);
		add(&p, BPF_RET | BPF_K, 0, 0, 100 + i);
	}
	for (uint32_t i = 0; i < 5; i++) {
		add(&p, BPF_LD | BPF_B | BPF_ABS, 0, 0, 20 + i);
		add(&p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, i);
		add(&p, BPF_RET | BPF_K, 0, 0, 200 + i);
	}
	add(&p, BPF_RET | BPF_K, 0, 0, 0);
	compile(&code, p.insns, p.n);
	for (uint32_t i = 0; i < 7; i++) {
		pkt[9] = (uint8_t)i;
		assert_int_equal(run_both(&code, p.insns, p.n, pkt, 32, 32, NULL, "ends"), i < 5 ? 100 + i : 200);
	}
	ffpf_bpf_jit_free(&code);
	free(p.insns);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains_of_every_size),
		cmocka_unit_test(test_sixty_thousand_instructions),
		cmocka_unit_test(test_a_packet_cut_at_every_octet),
		cmocka_unit_test(test_code_is_never_writable),
		cmocka_unit_test(test_code_runs_anywhere),
		cmocka_unit_test(test_upper_halves_of_arguments_do_not_matter),
		cmocka_unit_test(test_too_large_a_program_is_refused),
		cmocka_unit_test(test_threads_share_code),
		cmocka_unit_test(test_states_that_multiply),
		cmocka_unit_test(test_instructions_that_nothing_reaches),
		cmocka_unit_test(test_chain_that_ends_at_another_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
