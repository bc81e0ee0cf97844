/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_EXTEND_H
#define FFPF_FPL1_EXTEND_H
/*
 * A program that extends itself (paper, section 3.3.2): the functions by which it does, for a loader that permits it.
 *
 * A program has areas for that, which are empty at first. An instruction is added behind those that are there already.
 * Before that the whole program with it is verified as an object is, so that all that is said of programs in fpl1.h
 * still holds; what does not pass, or finds no room, is refused, counted, and changes nothing. A call cannot be added:
 * which functions a program may call, where, is what it was authorised for. What was added takes effect behind the
 * packet that asked for it: no packet sees a part.
 */
#include "fpl1/fpl1.h"

/*
 * ExtendWithPort: `case port, target` in an area, with the area's own target: packets for which the value on the stack
 * is that port go there from now on.
 *
 *   reads   0  u32  port, 1 to 65535      4  u32  number of the area
 *   gives   1: it is there, now or already; 0: refused
 *
 * AddInstruction: any one but a call.
 *
 *   reads   0  the instruction, struct ffpf_fpl1_insn      8  u32  number of the area     12  u32  0
 *   gives   1, or 0: refused
 */
#define FFPF_FPL1_EXTENDERS 2
extern const struct ffpf_fpl1_external ffpf_fpl1_extenders[FFPF_FPL1_EXTENDERS];

/* Adds one instruction to an area, as told above. Called from within a run. */
bool ffpf_fpl1_add(struct ffpf_fpl1 *program, uint32_t area, struct ffpf_fpl1_insn insn);

/* Instructions that were added, and those that were asked for and refused. */
uint32_t ffpf_fpl1_extended(const struct ffpf_fpl1 *program);
uint64_t ffpf_fpl1_refused(const struct ffpf_fpl1 *program);

#endif
