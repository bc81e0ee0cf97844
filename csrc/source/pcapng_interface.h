/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_PCAPNG_INTERFACE_H
#define FFPF_SOURCE_PCAPNG_INTERFACE_H
/* Interfaces of a pcapng section, and their clocks. */
#include "common/error.h"
#include "reader/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pcapng_interface {
	uint64_t ticks;  /* of a second: a power of 10 or 2; never 0 */
	uint64_t offset; /* seconds, added modulo 2^64 */
	bool binary;
	uint64_t second_start; /* ticks at which the second of the last packet began, ... */
	uint64_t second;       /* ... and its number */
};

struct pcapng_format {
	struct pcapng_interface *interfaces; /* owned */
	uint32_t interface_count;            /* of this section */
	uint32_t interfaces_room;
	uint64_t ticks_wanted; /* of a second: what the reader was asked for */
	uint32_t max_block_len;
};

/* An interface description block's options, in the byte order of its section. 0 or -code, which still counts the
 * interface, as libpcap does. */
int ffpf_pcapng_interface_add(struct pcapng_format *ng, const uint8_t *options, size_t len, bool swapped,
			      struct ffpf_error *err);
/* Sets the time of a packet from a stamp in ticks of an interface that was added. */
void ffpf_pcapng_time(struct pcapng_format *ng, uint32_t interface_id, uint64_t ticks, struct ffpf_packet *pkt);
/* The text for a block that ends before what it should hold. */
int ffpf_pcapng_block_short(uint32_t block_type, struct ffpf_error *err);

#endif
