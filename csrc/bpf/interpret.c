/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interpreter: each instruction ends by jumping to the code of the next one, so that the processor predicts each of
 * these jumps by itself. The table holds distances from `unknown`: a code that is not named in it leads there.
 */
#include "bpf/ancillary.h"
#include "bpf/bpf.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <string.h>

#define CODES 256 /* all that are known are below */

static inline uint32_t
load_w(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static inline uint32_t
load_h(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return ntohs(v);
}

/* A load at an offset beyond the packet: false when it is no ancillary one, or there is nothing to load from. */
static bool
load_ancillary(const struct ffpf_bpf_insn *insn, const struct ffpf_bpf_aux *aux, uint32_t *a)
{
	const struct ffpf_bpf_ancillary *field = ffpf_bpf_ancillary_find(insn);

	if (!field || !aux)
		return false;
	*a = ffpf_bpf_ancillary_load(field, aux);
	return true;
}

/*
 * As a branch, so that the next instruction does not wait for jt or jf to be loaded: in a chain of tests the processor
 * foresees that they are 0. Compilers would rather add the 0; the empty assembly stands in their way.
 */
static inline const struct ffpf_bpf_insn *
skip(const struct ffpf_bpf_insn *pc, uint8_t count)
{
	if (count) {
		pc += count;
		__asm__("" : "+r"(pc));
	}
	return pc;
}

#define IS(code, label) [code] = &&label - &&unknown
#define RUN(insn)       goto *(&&unknown + ((insn)->code < CODES ? distance[(insn)->code] : 0))
#define NEXT()                                                                                                         \
	do {                                                                                                           \
		pc++;                                                                                                  \
		RUN(pc);                                                                                               \
	} while (0)
#define BRANCH(condition)                                                                                              \
	do {                                                                                                           \
		pc = (condition) ? skip(pc, pc->jt) : skip(pc, pc->jf);                                                \
		NEXT();                                                                                                \
	} while (0)
#define LOAD_ABS(size, load)                                                                                           \
	do {                                                                                                           \
		if ((uint64_t)pc->k + (size) <= cap_len)                                                               \
			a = load(pkt + pc->k);                                                                         \
		else if (!load_ancillary(pc, aux, &a))                                                                 \
			return 0;                                                                                      \
		NEXT();                                                                                                \
	} while (0)
#define LOAD_IND(size, load)                                                                                           \
	do {                                                                                                           \
		uint64_t at = (uint64_t)pc->k + x;                                                                     \
		if (at + (size) > cap_len)                                                                             \
			return 0;                                                                                      \
		a = load(pkt + at);                                                                                    \
		NEXT();                                                                                                \
	} while (0)
#define LOAD_OCTET(p) (*(p))
#define ALU(expression)                                                                                                \
	do {                                                                                                           \
		a = (expression);                                                                                      \
		NEXT();                                                                                                \
	} while (0)

uint32_t
ffpf_bpf_interpret(const struct ffpf_bpf_insn *insns, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
		   const struct ffpf_bpf_aux *aux)
{
	static const int distance[CODES] = {
		IS(BPF_LD | BPF_W | BPF_ABS, ld_w_abs),
		IS(BPF_LD | BPF_H | BPF_ABS, ld_h_abs),
		IS(BPF_LD | BPF_B | BPF_ABS, ld_b_abs),
		IS(BPF_LD | BPF_W | BPF_IND, ld_w_ind),
		IS(BPF_LD | BPF_H | BPF_IND, ld_h_ind),
		IS(BPF_LD | BPF_B | BPF_IND, ld_b_ind),
		IS(BPF_LD | BPF_W | BPF_LEN, ld_len),
		IS(BPF_LD | BPF_IMM, ld_imm),
		IS(BPF_LD | BPF_MEM, ld_mem),
		IS(BPF_LDX | BPF_B | BPF_MSH, ldx_msh),
		IS(BPF_LDX | BPF_W | BPF_LEN, ldx_len),
		IS(BPF_LDX | BPF_IMM, ldx_imm),
		IS(BPF_LDX | BPF_MEM, ldx_mem),
		IS(BPF_ST, st),
		IS(BPF_STX, stx),
		IS(BPF_ALU | BPF_ADD | BPF_K, add_k),
		IS(BPF_ALU | BPF_ADD | BPF_X, add_x),
		IS(BPF_ALU | BPF_SUB | BPF_K, sub_k),
		IS(BPF_ALU | BPF_SUB | BPF_X, sub_x),
		IS(BPF_ALU | BPF_MUL | BPF_K, mul_k),
		IS(BPF_ALU | BPF_MUL | BPF_X, mul_x),
		IS(BPF_ALU | BPF_DIV | BPF_K, div_k),
		IS(BPF_ALU | BPF_DIV | BPF_X, div_x),
		IS(BPF_ALU | BPF_MOD | BPF_K, mod_k),
		IS(BPF_ALU | BPF_MOD | BPF_X, mod_x),
		IS(BPF_ALU | BPF_AND | BPF_K, and_k),
		IS(BPF_ALU | BPF_AND | BPF_X, and_x),
		IS(BPF_ALU | BPF_OR | BPF_K, or_k),
		IS(BPF_ALU | BPF_OR | BPF_X, or_x),
		IS(BPF_ALU | BPF_XOR | BPF_K, xor_k),
		IS(BPF_ALU | BPF_XOR | BPF_X, xor_x),
		IS(BPF_ALU | BPF_LSH | BPF_K, lsh_k),
		IS(BPF_ALU | BPF_LSH | BPF_X, lsh_x),
		IS(BPF_ALU | BPF_RSH | BPF_K, rsh_k),
		IS(BPF_ALU | BPF_RSH | BPF_X, rsh_x),
		IS(BPF_ALU | BPF_NEG, neg),
		IS(BPF_JMP | BPF_JA, ja),
		IS(BPF_JMP | BPF_JEQ | BPF_K, jeq_k),
		IS(BPF_JMP | BPF_JEQ | BPF_X, jeq_x),
		IS(BPF_JMP | BPF_JGT | BPF_K, jgt_k),
		IS(BPF_JMP | BPF_JGT | BPF_X, jgt_x),
		IS(BPF_JMP | BPF_JGE | BPF_K, jge_k),
		IS(BPF_JMP | BPF_JGE | BPF_X, jge_x),
		IS(BPF_JMP | BPF_JSET | BPF_K, jset_k),
		IS(BPF_JMP | BPF_JSET | BPF_X, jset_x),
		IS(BPF_RET | BPF_K, ret_k),
		IS(BPF_RET | BPF_A, ret_a),
		IS(BPF_MISC | BPF_TAX, tax),
		IS(BPF_MISC | BPF_TXA, txa),
	};
	const struct ffpf_bpf_insn *pc = insns;
	uint32_t a = 0, x = 0, back_jumps = 0, mem[BPF_MEMWORDS] = { 0 };

	RUN(pc);

ld_w_abs:
	LOAD_ABS(4, load_w);
ld_h_abs:
	LOAD_ABS(2, load_h);
ld_b_abs:
	LOAD_ABS(1, LOAD_OCTET);
ld_w_ind:
	LOAD_IND(4, load_w);
ld_h_ind:
	LOAD_IND(2, load_h);
ld_b_ind:
	LOAD_IND(1, LOAD_OCTET);
ld_len:
	ALU(wire_len);
ld_imm:
	ALU(pc->k);
ld_mem:
	ALU(mem[pc->k]);
ldx_msh:
	if (pc->k >= cap_len)
		return 0;
	x = (pkt[pc->k] & 0xfu) << 2;
	NEXT();
ldx_len:
	x = wire_len;
	NEXT();
ldx_imm:
	x = pc->k;
	NEXT();
ldx_mem:
	x = mem[pc->k];
	NEXT();
st:
	mem[pc->k] = a;
	NEXT();
stx:
	mem[pc->k] = x;
	NEXT();

add_k:
	ALU(a + pc->k);
add_x:
	ALU(a + x);
sub_k:
	ALU(a - pc->k);
sub_x:
	ALU(a - x);
mul_k:
	ALU(a * pc->k);
mul_x:
	ALU(a * x);
div_k:
	ALU(a / pc->k);
div_x:
	if (x == 0)
		return 0;
	ALU(a / x);
mod_k:
	ALU(a % pc->k);
mod_x:
	if (x == 0)
		return 0;
	ALU(a % x);
and_k:
	ALU(a & pc->k);
and_x:
	ALU(a & x);
or_k:
	ALU(a | pc->k);
or_x:
	ALU(a | x);
xor_k:
	ALU(a ^ pc->k);
xor_x:
	ALU(a ^ x);
lsh_k:
	ALU(a << (pc->k & 31));
lsh_x:
	ALU(x < 32 ? a << x : 0);
rsh_k:
	ALU(a >> (pc->k & 31));
rsh_x:
	ALU(x < 32 ? a >> x : 0);
neg:
	ALU(0 - a);

ja:
	if ((int32_t)pc->k < 0 && back_jumps++ == FFPF_BPF_MAX_BACK_JUMPS)
		return 0;
	pc += 1 + (int64_t)(int32_t)pc->k;
	RUN(pc);
jeq_k:
	BRANCH(a == pc->k);
jeq_x:
	BRANCH(a == x);
jgt_k:
	BRANCH(a > pc->k);
jgt_x:
	BRANCH(a > x);
jge_k:
	BRANCH(a >= pc->k);
jge_x:
	BRANCH(a >= x);
jset_k:
	BRANCH(a & pc->k);
jset_x:
	BRANCH(a & x);

tax:
	x = a;
	NEXT();
txa:
	ALU(x);
ret_k:
	return pc->k;
ret_a:
	return a;
unknown:
	return 0;
}
