/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_ROWS_H
#define FFPF_COLUMNS_ROWS_H
/*
 * Rows: packet descriptors as a table, the way numpy and Arrow want them. Host byte order, no pointers.
 *
 *      octets           rows                                       heads (row_count, head_bytes)
 *     +--------------+  +-------+--------+--------+-----+---+      +----------------------+
 *     | packet 0     |<-| ts_ns | offset | caplen | len |...|  0   | first octets of 0, 00|
 *     | packet 1     |<-|       |        |        |     |   |  1   | first octets of 1    |
 *     +--------------+  +-------+--------+--------+-----+---+      +----------------------+
 *       ^ base: where the reader keeps its packets, or a copy
 */
#include "reader/reader.h"

/* 40 octets; pyffpf.batch has the same as a numpy dtype. */
struct ffpf_row {
	int64_t ts_ns;    /* since 1970, UTC; the nearest that fits where a broken savefile says more */
	uint64_t offset;  /* of the packet's first octet, from the base of its rows */
	uint32_t caplen;  /* octets there are */
	uint32_t len;     /* octets on the wire */
	uint32_t result;  /* classification result; UINT32_MAX without a filter */
	uint32_t ifindex; /* as in struct ffpf_packet */
	uint32_t vlan; /* of the tag that the kernel took out: TPID in the upper 16 bits, TCI in the lower; 0: none */
	uint16_t protocol;
	uint8_t pkt_type;
	uint8_t flags; /* FFPF_PACKET_VLAN: the tag is in the octets too; FFPF_PACKET_VLAN_BESIDE: it is not */
};

_Static_assert(sizeof(struct ffpf_row) == 40, "rows are 40 octets");

/* A base for n > 0 descriptors: not behind any packet. */
const uint8_t *ffpf_rows_base(const struct ffpf_batch *batch);

/* Describes n packets of `reader` (for the unit of its times) in rows[0 .. n-1]. */
void ffpf_rows_describe(struct ffpf_row *rows, const struct ffpf_packet *pkts, uint32_t n, const uint8_t *base,
			const struct ffpf_reader *reader);

/* What n packets have captured, together: octets. */
uint64_t ffpf_rows_octets(const struct ffpf_packet *pkts, uint32_t n);

/* Describes n packets whose times are in nanoseconds, wherever each lies, in rows[0 .. n-1], and copies them into
 * `octets`, one after the other: it has room for ffpf_rows_octets, and is the rows' base. */
void ffpf_rows_gather(struct ffpf_row *rows, uint8_t *octets, const struct ffpf_packet *pkts, uint32_t n);

/* The first head_bytes octets of each packet into heads[n][head_bytes]; what a packet does not have is 0. Packets are
 * fetched into the cache ahead of their turn. */
void ffpf_rows_heads(uint8_t *heads, uint32_t head_bytes, const struct ffpf_row *rows, uint32_t n, const uint8_t *base);

/* Asks for the lines that headers lie in, so many rows before they are looked at. */
#define FFPF_ROWS_AHEAD 12
#define FFPF_CACHE_LINE 64

static inline void
ffpf_rows_prefetch(const struct ffpf_row *rows, uint32_t i, uint32_t n, const uint8_t *base, uint32_t octets)
{
	const uint8_t *at;

	if (i + FFPF_ROWS_AHEAD >= n)
		return;
	at = base + rows[i + FFPF_ROWS_AHEAD].offset;
	for (uint32_t done = 0; done < octets && done < 4 * FFPF_CACHE_LINE; done += FFPF_CACHE_LINE)
		__builtin_prefetch(at + done);
}

#endif
