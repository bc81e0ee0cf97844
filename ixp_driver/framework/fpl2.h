/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_FPL2_H
#define FFPF_IXP_FPL2_H
/*
 * Microengine C that filters in FPL-2 stand on (fpl/fpl2/microengine.py emits them): how they look at a packet, and
 * what is known of it. A program has those of these functions alone that it calls. Octets are numbered from the
 * packet's first; whoever reads some has asked before whether they were captured.
 */
#include "frame.h"

#define RECORD_DATA 48 /* csrc/layout.h: where the packet begins behind the start of its record */

extern const uint32_t mbuf;  /* SRAM address of the filter's memory */
extern const uint32_t spill; /* and of what contexts keep; the second half of each context's is the program's */

static uint32_t packet;   /* SDRAM address of the first octet */
static uint32_t captured; /* octets that are there */

/* Four octets, the first one highest. They may lie across two quad words, of which SDRAM brings two. */
static uint32_t
octets(uint32_t at)
{
	uint32_t a, b, c, d;

	sdram_read_n_net(packet + at, &a, &b, &c, &d);
	if (at & 4) {
		a = b;
		b = c;
	}
	return funnel(a >> 1, funnel(a, b, 1), (~at & 3) << 3 | 7);
}

static uint64_t
octets8(uint32_t at)
{
	uint32_t high = octets(at);

	return pair(high, octets(at + 4));
}

/* The prologue's: 0 where not so many were captured. */
static uint32_t
soft8(uint32_t at)
{
	if (captured <= at)
		return 0;
	return octets(at) >> 24;
}

static uint32_t
soft16(uint32_t at)
{
	if (captured < at + 2)
		return 0;
	return octets(at) >> 16;
}

static uint32_t
soft32(uint32_t at)
{
	if (captured < at + 4)
		return 0;
	return octets(at);
}

/* FNV-1a, mixed: by the hash unit, four octets at a time. */
static uint32_t
hashed(uint32_t at, uint32_t end)
{
	uint32_t value = 2166136261u, word, size;

	while (at != end) {
		size = end - at;
		if (size > 4)
			size = 4;
		word = octets(at);
		at += size;
		hash_n(HASH_FNV, &value, &word, &size);
	}
	hash_n(HASH_MIX, &value);
	return value;
}

/* Facts, from the record: host byte order. */
static inline uint32_t
fact_len(void)
{
	uint32_t first, second;

	sdram_read_n(packet - 32, &first, &second);
	return second;
}

static inline uint32_t
fact_ifindex(void)
{
	return sdram_read(packet - 24);
}

static inline uint32_t
fact_vlan_tci(void)
{
	uint32_t first, second;

	sdram_read_n(packet - 24, &first, &second);
	return second & 0xffff;
}

static inline uint32_t
fact_pkttype(void)
{
	uint32_t first, second;

	sdram_read_n(packet - 16, &first, &second);
	return second & 0xff;
}

static inline uint32_t
fact_vlan_present(void)
{
	uint32_t first, second;

	sdram_read_n(packet - 16, &first, &second);
	return (second & 0x300) != 0; /* FFPF_RECORD_VLAN, FFPF_RECORD_VLAN_BESIDE */
}

/* Memory, of 8 and 16 bits: the word around it, and how far the place is from its right. Nobody else comes between
 * reading and writing it. */
static inline void
put_part(uint32_t at, uint32_t mask, uint32_t value)
{
	uint32_t shift = (at & 3) << 3, word = sram_read_hold(at);

	sram_write(at, (word & ~(mask << shift)) | (value & mask) << shift);
}

/* R[n] where n is known when the program runs: in memory, all of them. */
static inline uint32_t
registers(void)
{
	return spill + 256 + (ctx_number() << 9);
}
#endif
