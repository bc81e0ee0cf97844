/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_PACKETCOUNT_H
#define FFPF_GRAPH_CLASS_PACKETCOUNT_H
/* (packetcount,,8) counts packets, and lets all of them pass. Paper, section 2.3. */
#include <stdint.h>

/*
 *   MBuf   octets 0..7
 *          packets
 *
 * The application may write it: counting goes on from there.
 */
struct ffpf_mbuf_packetcount {
	uint64_t packets;
};

#endif
