/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_MEMORY_H
#define IXP_BOARD_MEMORY_H
/*
 * The board's memories as its engines see them: address spaces of octets, in which memories lie that the host maps too
 * (lanes, IBufs, MBufs), and some that it does not.
 *
 *   SDRAM                                    SRAM
 *   +0        lane of port 0                 +0        rings of packets, descriptors, spilt registers
 *   +128 MiB  lane of port 1                 +(n+1) MiB  engine n: IBuf of port 0, of port 1, MBuf
 *
 * Words are stored as csrc/layout.h wants them: host order. A word of 64 bits is stored by one store, aligned, with
 * release; that, and the order of an engine's references, is what readers in other processes rely on.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOARD_SDRAM_PORT    0x08000000u
#define BOARD_SRAM_BYTES    0x00800000u
#define BOARD_SRAM_ENGINE   0x00100000u /* engine n's is at (n + 1) times this */
#define BOARD_IBUF_STRIDE   0x00048000u /* from one port's IBuf to the next one's */
#define BOARD_IBUF_SLOTS    32768u      /* at most */
#define BOARD_MBUF_OFFSET   0x00090000u
#define BOARD_MBUF_BYTES    0x00040000u /* at most */
#define BOARD_RING_BYTES    0x00020000u /* of a port */
#define BOARD_DESCRIPTORS   0x00040000u /* address of the first one */
#define BOARD_SPILL         0x00080000u /* what the registers of engine 0 have no room for, then of engine 1 ... */
#define BOARD_SPILL_BYTES   2048u
#define BOARD_SRAM_OWN      0x00083000u /* octets, from 0 on, that no host maps */
#define BOARD_SCRATCH_BYTES 4096u
#define BOARD_SPACES        3

enum board_space { BOARD_SRAM, BOARD_SDRAM, BOARD_SCRATCH };

#define BOARD_SEGMENTS_MAX 24

struct board_segment {
	uint32_t base, bytes;
	uint8_t *memory; /* aligned to 8 octets */
};

struct board_memory {
	struct board_segment segments[BOARD_SPACES][BOARD_SEGMENTS_MAX];
	uint32_t counts[BOARD_SPACES];
};

/* Puts octets at an address; false: no more segments, or no room there. The memory stays the caller's. */
bool board_memory_map(struct board_memory *memory, enum board_space space, uint32_t base, uint32_t bytes,
		      uint8_t *octets);
void board_memory_unmap(struct board_memory *memory, enum board_space space, uint32_t base);

/* Where `bytes` octets at this address are, or NULL: nothing is there. */
uint8_t *board_memory_at(const struct board_memory *memory, enum board_space space, uint32_t address, uint32_t bytes);

/* Loads and stores n words of 32 bits (multiples of the address's own alignment); net: the first octet is the highest.
 * Pairs that are aligned to 8 octets are stored at once. */
void board_words_load(uint32_t *to, const uint8_t *from, uint32_t n, bool net);
void board_words_store(uint8_t *to, const uint32_t *from, uint32_t n, bool net);
/* Octets, by words as above; what is left of the last word is stored as 0. */
void board_octets_store(uint8_t *to, const uint8_t *from, uint32_t len);

/* For the StrongARM. The address is known to be there. */
uint32_t board_memory_get(const struct board_memory *memory, enum board_space space, uint32_t address);
void board_memory_put(struct board_memory *memory, enum board_space space, uint32_t address, uint32_t value);

#endif
