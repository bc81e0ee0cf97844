/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_PARAMS_H
#define IXP_BOARD_PARAMS_H
/*
 * What a board is like. Clock, engines and sizes are the Radisys ENP2506's as the paper gives them (section 4.1); what
 * memories cost is what has been published of the IXP1200, rounded. They are stated parameters: nothing here was
 * measured on a board, and each can be set by its name.
 */
#include "bms/bms.h"
#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/* A unit serves one reference after the other. A reference of n words, alone, brings its signal after
 * first + n * word cycles; the unit can begin with the next one `start + n * word` cycles after it began with this. */
struct board_unit_params {
	uint32_t first, word, start;
};

struct board_params {
	uint32_t clock_hz;
	uint32_t branch_cycles;                                    /* of a taken branch, beside its own */
	struct board_unit_params sram, sdram, scratch, hash, fifo; /* SDRAM: a word has 64 bits */
	uint32_t line_bits;                                        /* a second, on each port's wire */
	uint32_t mac_bytes; /* of packets that a port keeps until its engine fetches them */

	uint32_t ports;
	enum ffpf_bms_id bms;
	uint32_t snap_len;    /* octets stored of a packet */
	uint64_t pbuf_bytes;  /* of a port: a power of two */
	uint32_t descriptors; /* of all ports */

	uint32_t quantum_cycles;   /* engines run so far ahead of each other */
	uint32_t strongarm_cycles; /* between two looks of the StrongARM at R, W and its counts */
	uint64_t watchdog_cycles;  /* an engine that has work and does none for so long is hung */
};

void board_params_default(struct board_params *out);

/* "name=value". -FFPF_E_INVALID says what is wrong. */
int board_params_set(struct board_params *params, const char *text, struct ffpf_error *err);

/* 0, or -FFPF_E_INVALID: no such board can be. */
int board_params_check(const struct board_params *params, struct ffpf_error *err);

/* Writes "name=value" lines, what each is beside it; the number of octets, without the end, as snprintf. */
int board_params_print(const struct board_params *params, char *out, size_t room);

#endif
