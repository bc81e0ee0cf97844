/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_FILE_H
#define FFPF_GRAPH_CLASS_FILE_H
/*
 * (file,"path='/tmp/a.pcap' format=pcap precision=ns size=100M time=60s files=10",) writes packets to a savefile, and
 * lets them pass.
 *
 *   path       required; a blank in it needs the single quotes
 *   format     pcap (one link type only) or pcapng; when it is not given, pcapng where path ends in .pcapng
 *   precision  ns or us, of the file's times; ns when it is not given
 *   size       a file does not grow beyond this many octets (k, M, G: 2^10, 2^20, 2^30), but has one packet at least
 *   time       a file covers this time, from its first packet on, as packets' times go
 *   files      of files that size or time have begun, the last N are kept, and older ones removed
 *
 * With size or time, files have numbers before the name's suffix: /tmp/a-00001.pcap, /tmp/a-00002.pcap ... A file that
 * is there is overwritten. Each batch of packets is written before it is handed on: a file is never behind the graph,
 * and ends with a whole packet.
 *
 * A path that cannot be written is an error when the graph is opened. When a write fails later (the disk is full, the
 * folder is gone) the packets of that write are dropped, counted by cause, and turned away; the file is cut back to its
 * last whole packet. After a second, as packets' times go, it is tried again.
 */
#include <stdint.h>

/*
 *   MBuf   0         8       16      24             32               40            44      48
 *          +---------+-------+-------+--------------+----------------+-------------+-------+
 *          | packets | bytes | files | dropped_full | dropped_failed | error (now) | 0     |
 *          +---------+-------+-------+--------------+----------------+-------------+-------+
 */
struct ffpf_mbuf_file {
	uint64_t packets;        /* written */
	uint64_t bytes;          /* written, over all files, headers included */
	uint64_t files;          /* begun */
	uint64_t dropped_full;   /* packets: no space left, or no quota */
	uint64_t dropped_failed; /* packets: any other failure */
	uint32_t error;          /* errno of the last write or open; 0: it succeeded */
	uint32_t zero;
};

#endif
