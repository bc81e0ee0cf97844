/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_TPACKET_RING_H
#define FFPF_SOURCE_TPACKET_RING_H
/*
 * The ring that an AF_PACKET socket shares with this process: linux/if_packet.h, net/packet/af_packet.c (6.18).
 *
 *     mem                                                    mem + ring_bytes        mem_end
 *     +--------+--------+--------+-- ... --+--------+--------+-----------------------+
 *     | unit 0 | unit 1 | unit 2 |         |        | unit n | keep: one packet, ours |
 *     +--------+--------+--------+-- ... --+--------+--------+-----------------------+
 *
 * A unit is what changes hands: with TPACKET_V3 a block of many packets, handed over when it is full or old; with
 * TPACKET_V2 a frame of one packet, handed over at once, which is what immediate mode needs (the shortest age of a
 * block is a millisecond). Its status word says whose it is. Units change hands in ring order in both directions: the
 * kernel's poll() looks only at the unit that it filled last.
 */
#include "common/error.h"

#include <linux/if_packet.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tpacket_layout { TPACKET_FRAMES, TPACKET_BLOCKS }; /* V2, V3 */

/* Before the packet's data the consumer finds this many octets that it may overwrite: room for a record header. */
#define TPACKET_HEAD_BYTES 16
#define TPACKET_VLAN_BYTES 4

struct tpacket_ring {
	uint8_t *mem;
	uint8_t *keep; /* copy of the last packet, with HEAD_BYTES before it: see live_internal.h */
	uint8_t *mem_end;
	size_t ring_bytes;
	uint32_t unit_bytes;
	uint32_t unit_count;
	enum tpacket_layout layout;
};

struct tpacket_wanted {
	enum tpacket_layout layout;
	size_t buffer_bytes;
	uint32_t packet_bytes;  /* largest packet to be captured, without what is put before it */
	uint32_t header_bytes;  /* room for a header of our own before the packet: cooked mode */
	bool link_header_known; /* Ethernet: the kernel's own gap counts */
	unsigned int retire_ms; /* age at which a block that is not empty is handed over; UINT_MAX: when full */
};

/* Before the socket is bound to a protocol, so that nothing is queued outside the ring. 0 or -code; destroy after
 * success only. The ring may be smaller than wanted when memory is short. */
int ffpf_tpacket_ring_create(struct tpacket_ring *ring, int fd, const struct tpacket_wanted *wanted,
			     struct ffpf_error *err);
void ffpf_tpacket_ring_destroy(struct tpacket_ring *ring, int fd);

static inline uint8_t *
ffpf_tpacket_unit(const struct tpacket_ring *ring, uint32_t unit)
{
	return ring->mem + (size_t)unit * ring->unit_bytes;
}

static inline uint32_t
ffpf_tpacket_next(const struct tpacket_ring *ring, uint32_t unit)
{
	return unit + 1 == ring->unit_count ? 0 : unit + 1;
}

static inline _Atomic uint32_t *
ffpf_tpacket_status(const struct tpacket_ring *ring, uint32_t unit)
{
	uint8_t *mem = ffpf_tpacket_unit(ring, unit);

	if (ring->layout == TPACKET_BLOCKS)
		return (_Atomic uint32_t *)&((struct tpacket_block_desc *)mem)->hdr.bh1.block_status;
	return (_Atomic uint32_t *)&((struct tpacket2_hdr *)mem)->tp_status;
}

/* Acquire: pairs with the kernel's barrier between filling a unit and setting TP_STATUS_USER. */
static inline bool
ffpf_tpacket_is_ours(const struct tpacket_ring *ring, uint32_t unit)
{
	return atomic_load_explicit(ffpf_tpacket_status(ring, unit), memory_order_acquire) & TP_STATUS_USER;
}

/* Release: pairs with the kernel's barrier after it has read TP_STATUS_KERNEL; our reads of the unit are over. */
static inline void
ffpf_tpacket_give_back(const struct tpacket_ring *ring, uint32_t unit)
{
	atomic_store_explicit(ffpf_tpacket_status(ring, unit), TP_STATUS_KERNEL, memory_order_release);
}

/* Packets lost since the socket was opened or this was last called, and packets that passed the kernel's filter,
 * lost ones included. 0 or -code. */
int ffpf_tpacket_statistics(int fd, uint32_t *packets, uint32_t *drops, struct ffpf_error *err);

#endif
