/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDRAM_OF_PORT     (128u << 20) /* octets: half of the board's */
#define DESCRIPTORS_MAX   8192u
#define CONTEXTS_OF_ROOM  64u /* descriptors at least: a few for every context */
#define LINE_BITS_DEFAULT 1000000000u

struct named {
	const char *name, *what;
	size_t offset;
	bool wide;
	uint64_t lo, hi;
};

#define NUMBER(field, low, high, text)                                                                                 \
	{                                                                                                              \
#field, text, offsetof(struct board_params, field), false, low, high                                   \
	}
#define WIDE(field, low, high, text)                                                                                   \
	{                                                                                                              \
#field, text, offsetof(struct board_params, field), true, low, high                                    \
	}
#define UNIT(unit, words)                                                                                              \
	NUMBER(unit.first, 1, 10000, #unit ": cycles until the signal, beside those of its " words),                   \
	    NUMBER(unit.word, 0, 1000, #unit ": cycles of each of its " words),                                        \
	    NUMBER(unit.start, 0, 1000, #unit ": cycles that it is taken, beside those of its " words)

static const struct named all[] = {
	NUMBER(clock_hz, 1000000, 4000000000u, "of the engines"),
	NUMBER(branch_cycles, 0, 10, "of a taken branch, beside its own"),
	UNIT(sram, "words of 32 bits"),
	UNIT(sdram, "words of 64 bits"),
	UNIT(scratch, "words of 32 bits"),
	UNIT(hash, "operands"),
	UNIT(fifo, "words of 32 bits"),
	NUMBER(line_bits, 1000, 4000000000u, "a second, on each port's wire"),
	NUMBER(mac_bytes, 64, 16u << 20, "of packets that a port keeps until they are fetched"),
	NUMBER(snap_len, 1, FFPF_PACKET_MAX_BYTES, "octets stored of a packet"),
	WIDE(pbuf_bytes, 1u << 16, SDRAM_OF_PORT / 2, "of each port: a power of two"),
	NUMBER(descriptors, CONTEXTS_OF_ROOM, DESCRIPTORS_MAX, "of all ports"),
	NUMBER(quantum_cycles, 1, 4096, "by which engines run ahead of each other"),
	NUMBER(strongarm_cycles, 1, 1u << 20, "between two looks of the StrongARM"),
	WIDE(watchdog_cycles, 1000, UINT64_MAX >> 1, "without progress: an engine that has work is hung"),
};
#define COUNT (sizeof(all) / sizeof(all[0]))

void
board_params_default(struct board_params *out)
{
	*out = (struct board_params){
		.clock_hz = 232000000,
		.branch_cycles = 2,
		.sram = { 16, 1, 1 },
		.sdram = { 33, 2, 2 },
		.scratch = { 12, 1, 1 },
		.hash = { 20, 2, 2 },
		.fifo = { 10, 1, 1 },
		.line_bits = LINE_BITS_DEFAULT,
		.mac_bytes = 16384,
		.ports = 1,
		.bms = FFPF_BMS_SRP,
		.snap_len = FFPF_PACKET_MAX_BYTES,
		.pbuf_bytes = 32u << 20,
		.descriptors = 1024,
		.quantum_cycles = 64,
		.strongarm_cycles = 1024,
		.watchdog_cycles = 4000000,
	};
}

static uint64_t
value_of(const struct board_params *params, const struct named *named)
{
	const uint8_t *at = (const uint8_t *)params + named->offset;
	uint64_t wide;
	uint32_t number;

	memcpy(&wide, at, named->wide ? sizeof(wide) : 0);
	memcpy(&number, at, sizeof(number));
	return named->wide ? wide : number;
}

static void
put(struct board_params *params, const struct named *named, uint64_t value)
{
	uint8_t *at = (uint8_t *)params + named->offset;
	uint32_t number = (uint32_t)value;

	if (named->wide)
		memcpy(at, &value, sizeof(value));
	else
		memcpy(at, &number, sizeof(number));
}

int
board_params_set(struct board_params *params, const char *text, struct ffpf_error *err)
{
	const char *equals = strchr(text, '=');
	size_t len = equals ? (size_t)(equals - text) : strlen(text);
	char *end;

	for (size_t i = 0; i < COUNT; i++) {
		uint64_t value;

		if (strlen(all[i].name) != len || strncmp(all[i].name, text, len) != 0)
			continue;
		value = equals ? strtoull(equals + 1, &end, 10) : 0;
		if (!equals || equals[1] < '0' || equals[1] > '9' || *end || value < all[i].lo || value > all[i].hi)
			return ffpf_error_set(err, FFPF_E_INVALID, "%s: a number from %" PRIu64 " to %" PRIu64,
					      all[i].name, all[i].lo, all[i].hi);
		put(params, &all[i], value);
		return 0;
	}
	return ffpf_error_set(err, FFPF_E_INVALID, "%.60s: a board has no such parameter", text);
}

int
board_params_check(const struct board_params *params, struct ffpf_error *err)
{
	if (params->ports == 0 || params->ports > 2)
		return ffpf_error_set(err, FFPF_E_INVALID, "a board has one port or two, not %u", params->ports);
	for (size_t i = 0; i < COUNT; i++) {
		uint64_t value = value_of(params, &all[i]);

		if (value < all[i].lo || value > all[i].hi)
			return ffpf_error_set(err, FFPF_E_INVALID, "%s: %" PRIu64, all[i].name, value);
	}
	return 0;
}

int
board_params_print(const struct board_params *params, char *out, size_t room)
{
	int len = 0;

	for (size_t i = 0; i < COUNT; i++) {
		size_t at = (size_t)len < room ? (size_t)len : room;

		len += snprintf(out + at, room - at, "%s=%" PRIu64 "  %s\n", all[i].name, value_of(params, &all[i]),
				all[i].what);
	}
	return len;
}
