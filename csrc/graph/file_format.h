/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FILE_FORMAT_H
#define FFPF_GRAPH_FILE_FORMAT_H
/*
 * Packets as octets of a savefile, in this machine's byte order. Pure functions over the caller's memory.
 *
 * pcap (draft-ietf-opsawg-pcap), version 2.4: one link type. pcapng (draft-ietf-opsawg-pcapng): one section, and one
 * interface for each link type, in their order; enhanced packet blocks.
 */
#include "reader/packet.h"

#include <stdbool.h>
#include <stddef.h>

#define FFPF_FILE_MOST_LINK_TYPES 16u

struct ffpf_file_format {
	bool pcapng;
	bool nanoseconds; /* else microseconds: times are rounded down */
	uint32_t snap_len;
	const uint32_t *link_types; /* DLT_*; the caller's */
	uint32_t link_type_count;   /* 1 for pcap, up to FFPF_FILE_MOST_LINK_TYPES for pcapng */
};

#define FFPF_FILE_HEADER_MOST (28u + 20u + 32u * FFPF_FILE_MOST_LINK_TYPES)

/* Each returns how many octets it wrote. `out` has FFPF_FILE_HEADER_MOST octets. */
size_t ffpf_file_write_header(const struct ffpf_file_format *format, uint8_t *out);
/* `out` has ffpf_file_record_bytes() octets; link_type is one of the format's. A pcap holds seconds modulo 2^32. */
size_t ffpf_file_write_record(const struct ffpf_file_format *format, uint8_t *out, const struct ffpf_packet *pkt,
			      uint64_t ts_ns, uint32_t link_type);
size_t ffpf_file_record_bytes(const struct ffpf_file_format *format, uint32_t cap_len);

#endif
