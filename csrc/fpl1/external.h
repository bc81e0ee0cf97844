/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_EXTERNAL_H
#define FFPF_FPL1_EXTERNAL_H
/*
 * Functions that a program may call by name: those that its loader knows, and no others (paper, section 3.3.1). What a
 * function reads and writes of the program's memory is bounded by `reads` and `writes`: the interpreter checks both
 * ranges before the call.
 */
#include <stdint.h>

struct ffpf_fpl1;

struct ffpf_fpl1_external {
	const char *name; /* as programs write it, arguments behind a blank included; at most 127 octets */
	uint32_t reads;   /* octets of memory */
	uint32_t writes;
	void *context;
	/* packet: `captured` octets, read only. memory: the program's, of which `reads` octets at read_at and `writes`
	 * octets at write_at are the function's. Not called when one of them lies beyond; an offset of
	 * no octets is looked at by nobody. */
	uint64_t (*function)(void *context, const uint8_t *packet, uint32_t captured, uint8_t *memory, uint64_t read_at,
			     uint64_t write_at);
	/* Instead of function: may extend the program that calls it (extend.h). */
	uint64_t (*extender)(struct ffpf_fpl1 *caller, const uint8_t *memory, uint64_t read_at);
};

#endif
