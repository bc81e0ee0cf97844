/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_BYTECOUNT_H
#define FFPF_GRAPH_CLASS_BYTECOUNT_H
/* (bytecount,,8) adds up the lengths of packets on the wire, and lets all of them pass. Paper, section 2.3. */
#include <stdint.h>

/*
 *   MBuf   octets 0..7
 *          bytes: on the wire, link header included
 *
 * The application may write it: counting goes on from there.
 */
struct ffpf_mbuf_bytecount {
	uint64_t bytes;
};

#endif
