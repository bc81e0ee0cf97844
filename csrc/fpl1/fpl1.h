/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_FPL1_H
#define FFPF_FPL1_FPL1_H
/*
 * FPL-1: stack bytecode in the memory of its filter (paper, section 3.3). An object is loaded, verified, put into an
 * MBuf, and run on packets; a function that its loader authorised may extend the program (extend.h).
 *
 * An object, little-endian; fpl/fpl1/object.py writes it:
 *
 *   octet  0  "FPL1"
 *          4  u16  version, 1
 *          6  u16  0
 *          8  u32  steps, 1 to 2^20: what backward jumps may go back over, per packet
 *         12  u32  octets of memory: 0, or a power of two, 8 to 2^24
 *         16  u16  instructions, 1 to 4096
 *         18  u16  areas, at most 16
 *         20  u16  external functions, at most 64
 *         22  u16  0
 *         24       instructions, 8 octets each: u8 op, u8 a, u16 b, u32 k (isa.h)
 *                  areas, 8 octets each: u16 first instruction, u16 instructions, u16 target, u16 0
 *                  external functions, 128 octets each: name, filled up with zeros, at least one
 *
 * and nothing behind. An area is where the program may be extended: in the object each of its instructions is a jump
 * behind the area. target is where `case` instructions lead that are put there. Areas stand in order, apart, and
 * something follows each.
 *
 * The memory of a program:
 *
 *   0            data octets      + 8 * instructions     + 32
 *   +------------+-----------------------+---------------+
 *   | data       | code                  | segment       |     struct ffpf_fpl1_segment
 *   +------------+-----------------------+---------------+
 *
 * Loads and stores of the program reach data and nothing else. An MBuf can be written by its application, at any time:
 * so what runs is the program's own copy of what was verified. code in MBuf is written with each extension, for those
 * who want to see it; what others write there is without effect.
 *
 * What is verified holds for every way through the program, so that the interpreter need not look: operations are
 * known, jumps lead to instructions, the stack has everywhere one known depth, neither too few values nor too many, and
 * no way runs over the end. A program without backward jumps therefore ends; one with them is given `steps`: a jump
 * back that is taken uses as many as it goes back over, itself included. When there are not so many left, the filter
 * ends with result 0.
 *
 * Octets of the packet that were not captured, a division by 0, and a call with parameters beyond the data end the
 * filter with result 0 likewise; what it wrote before stays. A program is used by one thread at a time.
 */
#include "common/error.h"
#include "fpl1/external.h"
#include "fpl1/isa.h"

#include <stdbool.h>
#include <stddef.h>

#define FFPF_FPL1_STEPS_MAX     (1u << 20)
#define FFPF_FPL1_DATA_MIN      8u
#define FFPF_FPL1_DATA_MAX      (1u << 24)
#define FFPF_FPL1_INSNS_MAX     4096u
#define FFPF_FPL1_AREAS_MAX     16u
#define FFPF_FPL1_EXTERNALS_MAX 64u
#define FFPF_FPL1_NAME_BYTES    128u
#define FFPF_FPL1_OBJECT_MAX    (64u << 10) /* octets; a larger one is none */

/* At the end of a program's memory. Host byte order; the program's to write, anyone's to read. 32 octets. */
struct ffpf_fpl1_segment {
	uint64_t turn;    /* odd while code is being changed: read again */
	uint64_t refused; /* extensions that were asked for and not made */
	uint32_t data_bytes;
	uint32_t insn_count;
	uint32_t extended; /* instructions that were added */
	uint32_t zero;
};

_Static_assert(sizeof(struct ffpf_fpl1_segment) == 32, "the last 32 octets of the memory");

/* What a loader permits. */
struct ffpf_fpl1_policy {
	const struct ffpf_fpl1_external *externals; /* stay until the program is unloaded */
	uint32_t external_count;
	uint32_t steps; /* at most; 0: as many as there may be */
	/* Asked for names that are not in the table. Gives NULL, with *err set, when there is none; what it gives stays
	 * until the program is unloaded. May be NULL. */
	const struct ffpf_fpl1_external *(*find)(void *arg, const char *name, struct ffpf_error *err);
	void *arg;
};

/* A packet as a program sees it. Borrowed. */
struct ffpf_fpl1_packet {
	const uint8_t *data;
	uint32_t facts[FFPF_FPL1_FACTS]; /* facts[FFPF_FPL1_CAPLEN]: octets at data */
};

/*
 * Verifies an object, and makes a program of it. data_bytes: what its memory shall have at least, a power of two; 0: as
 * much as the object asks for. -FFPF_E_BAD_FILTER with a text that names the instruction; -FFPF_E_DENIED: a function
 * that the policy does not have, or more steps than it permits; or what policy->find says. *out is untouched on
 * failure. err may not be NULL.
 */
int ffpf_fpl1_load(struct ffpf_fpl1 **out, const void *object, size_t len, const struct ffpf_fpl1_policy *policy,
		   uint32_t data_bytes, struct ffpf_error *err);
void ffpf_fpl1_unload(struct ffpf_fpl1 *program); /* NULL is legal */

/* Octets of memory that the program takes, a multiple of 8. */
size_t ffpf_fpl1_memory_bytes(const struct ffpf_fpl1 *program);
uint32_t ffpf_fpl1_data_bytes(const struct ffpf_fpl1 *program);
/* Puts the program into memory (that many octets, aligned to 8), which it uses until it is unloaded: code and segment
 * are written, data stays as it is. Once, before it runs. */
void ffpf_fpl1_attach(struct ffpf_fpl1 *program, void *memory);

/* The same where nothing but the data is shared: code and segment are in memory of the program's own. data: as many
 * octets as ffpf_fpl1_data_bytes says. -FFPF_E_NO_MEMORY. */
int ffpf_fpl1_attach_data(struct ffpf_fpl1 *program, void *data, struct ffpf_error *err);

/* The most instructions that a run may take: all of them once, and what its jumps back go over. */
uint64_t ffpf_fpl1_steps(const struct ffpf_fpl1 *program);

/* The classification result. What the run added to the program is in force when this returns. */
uint32_t ffpf_fpl1_run(struct ffpf_fpl1 *program, const struct ffpf_fpl1_packet *packet);

/* Runs that ended because there were no steps left. */
uint64_t ffpf_fpl1_exhausted(const struct ffpf_fpl1 *program);

#endif
