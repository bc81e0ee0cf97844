/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_SAVEFILE_H
#define FFPF_SOURCE_SAVEFILE_H
/*
 * Savefiles and streams of them, pcap and pcapng, as readers.
 *
 * A file is read by read(2)/pread(2) into a window of memory that is used again and again and so stays in the
 * second-level cache; descriptors point into the window. Mapping the file was measured first and cost three times as
 * much a packet: every page of the page cache has to enter the page table once, for a single use.
 *
 * Behaviour, texts and limits: sf-pcap.c, sf-pcapng.c and pcap-util.c of libpcap 1.10.3; the formats:
 * draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
 *
 * Beyond reader.h, for this kind of reader:
 * - A batch is served as soon as it holds a whole packet; next() waits in read(2) only when it holds none. wake() does
 *   not end that wait: it takes effect when octets arrive, as in libpcap. FFPF_WOULD_BLOCK and FFPF_TIMEOUT do not
 *   occur: a non-blocking descriptor with nothing to read fails with EAGAIN, as it does in libpcap.
 * - FFPF_END is not for ever. As with stdio, the end sticks in the FILE: clearerr(fp) makes next() look again, and a
 *   file that has grown goes on. After FFPF_FAILED next() goes on behind what could not be read, as libpcap does.
 * - FFPF_PACKET_HEAD_READABLE: the 16 octets are the record's own header when the file is pcap with the magic
 *   a1b2c3d4 or a1b23c4d in this machine's byte order and version 2.4, whose time is not scaled.
 *   FFPF_PACKET_HEAD_WRITABLE is never set: set_filter reads records again.
 */
#include "reader/reader.h"

#include <stdio.h>

enum ffpf_tick_wanted {
	FFPF_WANT_US, /* micro: scale nanosecond files down, as pcap_open_offline() does */
	FFPF_WANT_NS,
};

struct ffpf_savefile_config {
	enum ffpf_tick_wanted tick;
	size_t window_bytes; /* 0: the default; else a power of two, 64 KiB to 1 GiB; grows for a larger record */
	/* A signal that ends a wait for octets makes next() return FFPF_INTERRUPTED, and nothing is lost; without it
	 * that is a failure, and what was read of a record is used up, as in libpcap. A wait for a pipe or the like
	 * ends with FFPF_TIMEOUT after a quarter of a second, for signals that came just before it. */
	bool interruptible;
};

/*
 * Takes over reading from fp, at its current position (octets already in the FILE's buffer come first). Any FILE will
 * do; one without a descriptor (fmemopen) is read through stdio. The FILE stays the caller's: it is not closed by the
 * reader, and must be open until the reader is closed. Reads the file's header. Texts are those that libpcap 1.10.3
 * gives. *out is untouched on failure, and the FILE's position is where libpcap leaves it. cfg NULL: the defaults.
 */
int ffpf_savefile_open(struct ffpf_reader **out, FILE *fp, const struct ffpf_savefile_config *cfg,
		       struct ffpf_error *err);

/*
 * For programs that look at the FILE themselves: moves its position to just behind the last released packet, and
 * (before next) takes up a position that the program has changed. No-op on pipes.
 * True: the program had moved the FILE; the batch is given back, as by set_filter, and the consumer must forget it.
 * close() leaves the FILE in this position too.
 */
bool ffpf_savefile_sync_position(struct ffpf_reader *r);

/*
 * The fraction of a packet whose descriptor says FFPF_PACKET_FRAC_WIDE: what libpcap puts into tv_usec, which has 64
 * bits. Such values come from broken files only. Before the following next().
 */
int64_t ffpf_savefile_wide_frac(const struct ffpf_reader *r, const struct ffpf_packet *pkt);

#endif
