/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_BPF_H
#define FFPF_BPF_BPF_H
/*
 * Classic BPF: validate, interpret, compile to native code.
 *
 * Source: McCanne and Jacobson, "The BSD Packet Filter", USENIX 1993; Linux net/core/filter.c (6.18) for the rules
 * and the ancillary loads.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Same layout as struct bpf_insn of libpcap and struct sock_filter of the kernel. */
struct ffpf_bpf_insn {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

/* What the packet's octets do not say: the ancillary loads at SKF_AD_OFF. */
struct ffpf_bpf_aux {
	uint32_t ifindex;
	uint16_t vlan_tci;  /* SKF_AD_VLAN_TAG */
	uint16_t vlan_tpid; /* SKF_AD_VLAN_TPID, host order */
	uint16_t protocol;  /* SKF_AD_PROTOCOL, host order */
	uint16_t hatype;    /* SKF_AD_HATYPE */
	uint8_t pkt_type;   /* SKF_AD_PKTTYPE */
	bool vlan_present;  /* SKF_AD_VLAN_TAG_PRESENT */
};

enum ffpf_bpf_rules {
	FFPF_BPF_RULES_LIBPCAP, /* what bpf_validate() of libpcap 1.10.3 accepts */
	FFPF_BPF_RULES_KERNEL,  /* what bpf_check_classic() of Linux accepts: stricter */
};

enum ffpf_bpf_engine {
	FFPF_BPF_AUTO, /* native code where this machine has a compiler for it, else the interpreter */
	FFPF_BPF_INTERPRETER,
	FFPF_BPF_JIT, /* native code or failure */
};

#define FFPF_BPF_MAX_INSNS        INT32_MAX  /* libpcap counts in an int and has no other limit */
#define FFPF_BPF_KERNEL_MAX_INSNS 4096       /* BPF_MAXINSNS */
#define FFPF_BPF_MAX_BACK_JUMPS   (1u << 20) /* "protochain" jumps once per extension header, of 8 octets or more */

/* 0, or -FFPF_E_BAD_FILTER with a text that names the instruction. n = 0 is invalid. */
int ffpf_bpf_validate(const struct ffpf_bpf_insn *insns, uint32_t n, enum ffpf_bpf_rules rules, struct ffpf_error *err);

/*
 * Runs a valid program over cap_len octets, less than 2 GiB, of a packet of wire_len octets. aux may be NULL: ancillary
 * loads then end the program with 0, as libpcap's bpf_filter() does. Returns what the program returns: 0 turns the
 * packet away. What is valid by the rules of libpcap has one meaning, of the interpreter and of native code alike:
 *
 *  - A, X and M[] start as 0.
 *  - A load beyond cap_len ends the program with 0; offset + X does not wrap.
 *  - DIV and MOD by X = 0 end the program with 0.
 *  - LSH and RSH by X >= 32 give 0; by K >= 32 they shift by K & 31, as libpcap's compiled code does on x86-64.
 *  - A code that no BPF machine has ends the program with 0, when it is reached. bpf_validate() looks at parts of a
 *    code only, and bpf_filter() aborts the process.
 *  - A jump may go back (JA with negative K), as "protochain" compiles to it. One more than FFPF_BPF_MAX_BACK_JUMPS
 *    ends the program with 0, where bpf_filter() would not end.
 */
uint32_t ffpf_bpf_interpret(const struct ffpf_bpf_insn *insns, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
			    const struct ffpf_bpf_aux *aux);

/* A program made ready to run: a copy of the instructions and, perhaps, native code for them. Immutable, so it may be
 * run by any number of threads at once. */
struct ffpf_bpf_prog {
	/* run(prog, ...): the native code, or a call of the interpreter */
	uint32_t (*run)(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
			const struct ffpf_bpf_aux *aux);
	const struct ffpf_bpf_insn *insns;
	uint32_t insn_count;
	bool native;     /* run is native code */
	bool reads_aux;  /* some instruction is an ancillary load: offline these are refused by the filter compiler */
	size_t code_len; /* octets of native code; 0 for the interpreter */
};

/* Copies insns; validates by the rules of libpcap. *out is untouched on failure. */
int ffpf_bpf_prog_create(struct ffpf_bpf_prog **out, const struct ffpf_bpf_insn *insns, uint32_t n,
			 enum ffpf_bpf_engine engine, struct ffpf_error *err);
void ffpf_bpf_prog_destroy(struct ffpf_bpf_prog *prog);

static inline uint32_t
ffpf_bpf_run(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	     const struct ffpf_bpf_aux *aux)
{
	return prog->run(prog, pkt, wire_len, cap_len, aux);
}

#endif
