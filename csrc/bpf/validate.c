/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two rule sets. That of libpcap looks at the class of a code and, inside it, at the mode or operation only, and
 * lets jumps go back; that of the kernel knows a list of whole codes, and proves that M[] is written before it is read.
 *
 * Source: bpf_validate() of libpcap 1.10.3; bpf_check_basics_ok(), bpf_check_classic() and check_load_and_stores() of
 * Linux 6.18, net/core/filter.c.
 */
#include "bpf/bpf.h"

#include <linux/filter.h>

/* What is wrong with an instruction; the functions below return NULL for nothing. */

static const char bad_code[] = "no such instruction";
static const char bad_memory[] = "no such word of the scratch memory";
static const char bad_division[] = "division by zero";
static const char bad_jump[] = "jump out of the program";

static int
refuse(struct ffpf_error *err, const struct ffpf_bpf_insn *insns, uint32_t at, const char *why)
{
	return ffpf_error_set(err, FFPF_E_BAD_FILTER, "filter instruction %u (code 0x%x, jt %u, jf %u, k 0x%x): %s", at,
			      insns[at].code, insns[at].jt, insns[at].jf, insns[at].k, why);
}

static const char *
libpcap_alu(const struct ffpf_bpf_insn *insn)
{
	switch (BPF_OP(insn->code)) {
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_OR:
	case BPF_AND:
	case BPF_XOR:
	case BPF_LSH:
	case BPF_RSH:
	case BPF_NEG:
		return NULL;
	case BPF_DIV:
	case BPF_MOD:
		return BPF_SRC(insn->code) == BPF_K && insn->k == 0 ? bad_division : NULL;
	default:
		return bad_code;
	}
}

/* `from` + offset is reckoned modulo 2^32: a JA whose k is negative jumps back. */
static const char *
libpcap_jump(const struct ffpf_bpf_insn *insn, uint32_t from, uint32_t n)
{
	switch (BPF_OP(insn->code)) {
	case BPF_JA:
		return from + insn->k >= n ? bad_jump : NULL;
	case BPF_JEQ:
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSET:
		return from + insn->jt >= n || from + insn->jf >= n ? bad_jump : NULL;
	default:
		return bad_code;
	}
}

static const char *
libpcap_insn(const struct ffpf_bpf_insn *insns, uint32_t at, uint32_t n)
{
	const struct ffpf_bpf_insn *insn = &insns[at];

	switch (BPF_CLASS(insn->code)) {
	case BPF_LD:
	case BPF_LDX:
		if (BPF_MODE(insn->code) == BPF_MEM)
			return insn->k >= BPF_MEMWORDS ? bad_memory : NULL;
		return BPF_MODE(insn->code) > BPF_MSH ? bad_code : NULL;
	case BPF_ST:
	case BPF_STX:
		return insn->k >= BPF_MEMWORDS ? bad_memory : NULL;
	case BPF_ALU:
		return libpcap_alu(insn);
	case BPF_JMP:
		return libpcap_jump(insn, at + 1, n);
	default: /* RET and MISC of any kind */
		return NULL;
	}
}

static bool
kernel_ancillary(uint32_t k)
{
	switch ((int32_t)k) {
	case SKF_AD_OFF + SKF_AD_PROTOCOL:
	case SKF_AD_OFF + SKF_AD_PKTTYPE:
	case SKF_AD_OFF + SKF_AD_IFINDEX:
	case SKF_AD_OFF + SKF_AD_NLATTR:
	case SKF_AD_OFF + SKF_AD_NLATTR_NEST:
	case SKF_AD_OFF + SKF_AD_MARK:
	case SKF_AD_OFF + SKF_AD_QUEUE:
	case SKF_AD_OFF + SKF_AD_HATYPE:
	case SKF_AD_OFF + SKF_AD_RXHASH:
	case SKF_AD_OFF + SKF_AD_CPU:
	case SKF_AD_OFF + SKF_AD_ALU_XOR_X:
	case SKF_AD_OFF + SKF_AD_VLAN_TAG:
	case SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT:
	case SKF_AD_OFF + SKF_AD_PAY_OFFSET:
	case SKF_AD_OFF + SKF_AD_RANDOM:
	case SKF_AD_OFF + SKF_AD_VLAN_TPID:
		return true;
	default:
		return false;
	}
}

static const char *
kernel_insn(const struct ffpf_bpf_insn *insns, uint32_t at, uint32_t n)
{
	const struct ffpf_bpf_insn *insn = &insns[at];
	uint32_t after = n - at - 1;

	switch (insn->code) {
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_B | BPF_ABS:
		return insn->k >= (uint32_t)SKF_AD_OFF && !kernel_ancillary(insn->k) ? "no such ancillary load" : NULL;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return insn->k >= BPF_MEMWORDS ? bad_memory : NULL;
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_K:
		return insn->k == 0 ? bad_division : NULL;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return insn->k >= 32 ? "shift by 32 or more" : NULL;
	case BPF_JMP | BPF_JA:
		return insn->k >= after ? bad_jump : NULL;
	case BPF_JMP | BPF_JEQ | BPF_K:
	case BPF_JMP | BPF_JEQ | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K:
	case BPF_JMP | BPF_JSET | BPF_X:
		return insn->jt >= after || insn->jf >= after ? bad_jump : NULL;
	case BPF_LD | BPF_W | BPF_IND:
	case BPF_LD | BPF_H | BPF_IND:
	case BPF_LD | BPF_B | BPF_IND:
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_B | BPF_MSH:
	case BPF_LDX | BPF_IMM:
	case BPF_ALU | BPF_ADD | BPF_K:
	case BPF_ALU | BPF_ADD | BPF_X:
	case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K:
	case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_MOD | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K:
	case BPF_ALU | BPF_AND | BPF_X:
	case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K:
	case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_LSH | BPF_X:
	case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
		return NULL;
	default:
		return bad_code;
	}
}

/* Every path to a read of M[k] has a write of M[k], paths through unreachable code included. All jumps go forward. */
static int
kernel_memory(const struct ffpf_bpf_insn *insns, uint32_t n, struct ffpf_error *err)
{
	uint16_t reached[FFPF_BPF_KERNEL_MAX_INSNS]; /* words that all jumps to an instruction have written */
	uint16_t written = 0;

	for (uint32_t i = 0; i < n; i++)
		reached[i] = UINT16_MAX;
	for (uint32_t i = 0; i < n; i++) {
		const struct ffpf_bpf_insn *insn = &insns[i];

		written &= reached[i];
		switch (BPF_CLASS(insn->code)) {
		case BPF_ST:
		case BPF_STX:
			written |= (uint16_t)(1u << insn->k);
			break;
		case BPF_LD:
		case BPF_LDX:
			if (BPF_MODE(insn->code) == BPF_MEM && !(written & (1u << insn->k)))
				return refuse(err, insns, i, "reads scratch memory that was not written");
			break;
		case BPF_JMP:
			if (BPF_OP(insn->code) == BPF_JA) {
				reached[i + 1 + insn->k] &= written;
			} else {
				reached[i + 1 + insn->jt] &= written;
				reached[i + 1 + insn->jf] &= written;
			}
			written = UINT16_MAX;
			break;
		default:
			break;
		}
	}
	return 0;
}

static bool
is_kernel_return(const struct ffpf_bpf_insn *insn)
{
	return insn->code == (BPF_RET | BPF_K) || insn->code == (BPF_RET | BPF_A);
}

int
ffpf_bpf_validate(const struct ffpf_bpf_insn *insns, uint32_t n, enum ffpf_bpf_rules rules, struct ffpf_error *err)
{
	bool kernel = rules == FFPF_BPF_RULES_KERNEL;
	uint32_t most = kernel ? FFPF_BPF_KERNEL_MAX_INSNS : FFPF_BPF_MAX_INSNS;

	if (n == 0 || n > most)
		return ffpf_error_set(err, FFPF_E_BAD_FILTER, "filter of %u instructions: must be 1 to %u", n, most);
	for (uint32_t i = 0; i < n; i++) {
		const char *wrong = kernel ? kernel_insn(insns, i, n) : libpcap_insn(insns, i, n);

		if (wrong)
			return refuse(err, insns, i, wrong);
	}
	if (kernel ? !is_kernel_return(&insns[n - 1]) : BPF_CLASS(insns[n - 1].code) != BPF_RET)
		return refuse(err, insns, n - 1, "the last one must return");
	return kernel ? kernel_memory(insns, n, err) : 0;
}
