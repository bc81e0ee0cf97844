/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FPLC_H
#define FFPF_GRAPH_FPLC_H
/*
 * The compiler of FPL-2, which is a program of its own, fplc(1): LLVM may die on what it is given, and take any time.
 * So it runs as a child with limits, and its death is a refusal with a message.
 */
#include "record/load.h"

#include <stdbool.h>
#include <stdint.h>

struct ffpf_extern_use;

/* Of what its machine code is called with, behind packet and lengths; fpl/fpl2/lower.py says the same. */
struct ffpf_fpl2_facts {
	uint32_t ifindex;
	uint32_t pkt_type; /* PACKET_HOST .. PACKET_OUTGOING */
	uint32_t vlan_present;
	uint32_t vlan_tci;
};

typedef uint32_t (*ffpf_fpl2_filter)(const uint8_t *pkt, uint32_t cap_len, uint32_t wire_len,
				     const struct ffpf_fpl2_facts *facts, void *mbuf,
				     struct ffpf_extern_use *const *externals);

/* What to compile. declared: functions that EXTERN may call beside the library's, "NAME:READS:WRITES:STEPS" each. */
struct ffpf_fpl2_request {
	const char *text;
	const char *link;    /* what packets begin with, as `fplc --link` names it */
	uint64_t mbuf_bytes; /* a power of two of 8 or more, or 0 */
	const char *const *declared;
	uint32_t declared_count;
	bool offline;     /* packets are of files: what IFINDEX says is no interface of this machine */
	size_t *error_at; /* out: octet of text that a refusal is about, if it says where; may be NULL */
};

/*
 * Compiles a program for this machine. The program that runs is the one that the environment's FFPF_FPLC names, else
 * fplc on PATH. Its answer is a record that a digest seals: what is run is what was digested.
 * -FFPF_E_BAD_FILTER: what it says of the text, with line and column; -FFPF_E_NOT_SUPPORTED: there is no compiler, or
 * none for this machine. Blocks, for 20 seconds at most.
 */
int ffpf_fplc_compile(struct ffpf_fplo_image *out, const struct ffpf_fpl2_request *request,
		      const struct ffpf_fplo_policy *policy, struct ffpf_error *err);

/* Compiles a program to microcode of the IXP1200, an object that a board loads. *object: a file in memory, to be
 * closed. As above; -FFPF_E_BAD_FILTER also for a program that is right, and that a microengine cannot run. */
int ffpf_fplc_microcode(int *object, const struct ffpf_fpl2_request *request, struct ffpf_error *err);

/* FFPF_FPLO_X86_64 ...; 0: FPL-2 is not compiled for this machine. */
uint16_t ffpf_fplc_machine(void);

#endif
