/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_RATE_H
#define FFPF_GRAPH_CLASS_RATE_H
/*
 * (rate,"window=1s history=64",) counts packets and bytes on the wire in windows of time that follow each other, and
 * remembers the highest. Window i covers window_ns * i <= time < window_ns * (i + 1), since 1970; a window in which
 * nothing came is one too. Packets older than the window that is open count in it. All packets pass.
 */
#include <stdint.h>

struct ffpf_mbuf_rate_window {
	uint64_t begin_ns;
	uint64_t packets;
	uint64_t bytes;
	uint64_t zero;
};

/*
 *   MBuf   0           8        16        24     32        40         48      80            112         144
 *          +-----------+--------+---------+------+---------+----------+-------+-------------+-----------+-----------
 *          | window_ns | closed | packets | bytes| first_ns| last_ns  | open  | peak_packets| peak_bytes| history ...
 *          +-----------+--------+---------+------+---------+----------+-------+-------------+-----------+-----------
 *
 * history is a ring of (MBuf's octets - 144) / 32 windows, 64 when no size is given: closed window i, from 0, lies in
 * entry i modulo that. Only the class writes. A rate is packets, or 8 * bytes, times 10^9 / window_ns. The mean is over
 * last_ns - first_ns.
 */
struct ffpf_mbuf_rate {
	uint64_t window_ns;
	uint64_t closed;                   /* windows that are over, since the first packet */
	uint64_t packets, bytes;           /* in all */
	uint64_t first_ns, last_ns;        /* of the first packet; of the latest packet, or the clock */
	struct ffpf_mbuf_rate_window open; /* goes on */
	struct ffpf_mbuf_rate_window peak_packets, peak_bytes; /* of those that are over, the first of equals */
	struct ffpf_mbuf_rate_window history[];
};

_Static_assert(sizeof(struct ffpf_mbuf_rate) == 144 && sizeof(struct ffpf_mbuf_rate_window) == 32, "history follows");

#endif
