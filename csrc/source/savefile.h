/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_SAVEFILE_H
#define FFPF_SOURCE_SAVEFILE_H
/*
 * Savefiles and streams of them, pcap and pcapng, as readers.
 *
 * A file is read by read(2)/pread(2) into a window of memory that is used again and again and so stays in the
 * second-level cache; descriptors point into the window. Mapping the file was measured first and cost three times as
 * much a packet: every page of the page cache has to enter the page table once, for a single use.
 */
#include "reader/reader.h"

#include <stdio.h>

enum ffpf_tick_wanted {
	FFPF_WANT_US, /* micro: scale nanosecond files down, as pcap_open_offline() does */
	FFPF_WANT_NS,
};

struct ffpf_savefile_config {
	enum ffpf_tick_wanted tick;
	size_t window_bytes; /* 0: the default; else a power of two, at least 64 KiB; grows for a larger record */
};

/*
 * Takes over reading from fp, at its current position (octets already in the FILE's buffer come first). The FILE stays
 * the caller's: it is not closed by the reader. Reads the file's header. Texts are those that libpcap 1.10.3 gives.
 * *out is untouched on failure.
 */
int ffpf_savefile_open(struct ffpf_reader **out, FILE *fp, const struct ffpf_savefile_config *cfg,
		       struct ffpf_error *err);

/* For programs that look at the FILE themselves: moves its position to just behind the last released packet, and
 * (before next) takes up a position that the program has changed. No-op on pipes. */
void ffpf_savefile_sync_position(struct ffpf_reader *r);

#endif
