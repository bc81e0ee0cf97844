/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_READER_PACKET_H
#define FFPF_READER_PACKET_H

#include <stdint.h>

/*
 * Packet descriptor: what every reader yields, wherever the packet lies (window of a savefile, block of a TPACKET
 * ring, PBuf of a lane). Host byte order. 48 bytes, so that a batch stays in the first-level cache.
 */
struct ffpf_packet {
	const uint8_t *data; /* first captured octet, link header included; memory of the reader */
	int64_t ts_sec;      /* seconds since 1970, UTC; a pcap savefile's 32 bits sign-extended, of a swapped one
				zero-extended */
	int32_t ts_frac;     /* micro- or nanoseconds: see ffpf_reader_info.tick; a savefile may hold any value */
	uint32_t cap_len;    /* octets at data */
	uint32_t wire_len;   /* octets on the wire */
	uint32_t skipped;    /* packets that the reader's filter turned away since the descriptor before this one */
	uint32_t ifindex;    /* interface: the kernel's index, or the interface number of a pcapng section; 0 unknown */
	uint32_t result;     /* classification result: what the filter returned; UINT32_MAX without a filter */
	uint16_t vlan_tci;   /* tag that the kernel took out, when FFPF_PACKET_VLAN or FFPF_PACKET_VLAN_BESIDE */
	uint16_t vlan_tpid;
	uint16_t protocol; /* Ethernet type, host order; 0 unknown */
	uint8_t pkt_type;  /* PACKET_HOST .. PACKET_OUTGOING of linux/if_packet.h */
	uint8_t flags;     /* FFPF_PACKET_* */
};

/*
 * VLAN           vlan_tci and vlan_tpid are set, and the reader put the tag back in data
 * VLAN_BESIDE    vlan_tci and vlan_tpid are set, and the tag is not in data: it has no place there, or data ends before
 * HEAD_READABLE  the 16 octets before data are memory of the reader: a record header may be there
 * HEAD_WRITABLE  ... and the consumer may write a record header into them
 * FRAC_WIDE      ts_frac is the low half of a 64-bit value: ffpf_savefile_wide_frac()
 */
#define FFPF_PACKET_VLAN          0x01
#define FFPF_PACKET_HEAD_READABLE 0x02
#define FFPF_PACKET_HEAD_WRITABLE 0x04
#define FFPF_PACKET_FRAC_WIDE     0x08
#define FFPF_PACKET_VLAN_BESIDE   0x10

_Static_assert(sizeof(struct ffpf_packet) == 48, "descriptors are 48 octets");

#endif
