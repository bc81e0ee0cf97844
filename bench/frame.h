/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BENCH_FRAME_H
#define FFPF_BENCH_FRAME_H
/* The frame that the senders of benchmarks send. */
#include <stdint.h>
#include <string.h>

enum { FRAME_MIN = 60, FRAME_MAX = 9000, FRAME_HEAD = 42 };

/* Ethernet, to an address that is nobody's: the stack looks once and forgets. IPv4, UDP to port 53, no checksum; the
 * number is the last octet of the source's address, and each of the payload's. */
static inline void
frame_fill(uint8_t *frame, unsigned size, unsigned number)
{
	static const uint8_t head[FRAME_HEAD] = {
		2, 0,  0, 0,  0,  9, 2, 0,  0, 0, 0, 1,  8, 0, 0x45, 0,    0,    0, 0,
		0, 64, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 2,    0x30, 0x39, 0, 53
	};

	memset(frame, (int)number, size);
	memcpy(frame, head, sizeof(head));
	frame[16] = (uint8_t)((size - 14) >> 8);
	frame[17] = (uint8_t)(size - 14);
	frame[29] = (uint8_t)number;
}

#endif
