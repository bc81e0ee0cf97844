/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_DISSECT_H
#define FFPF_COLUMNS_DISSECT_H
/*
 * Where the headers of a packet begin. Reads within the packet's octets only, whatever they hold, and in bounded time.
 *
 * A layer is there when the header before it says so and it begins within the packet; its own fields may still be cut
 * off. What lies behind the length that an IP header gives is padding, no layer. A fragment that is not the first has
 * no transport layer.
 */
#include "columns/rows.h"

enum ffpf_layer {
	FFPF_LAYER_ROW, /* the row itself: what was captured, not its octets */
	FFPF_LAYER_ETH,
	FFPF_LAYER_VLAN, /* the outermost tag in the octets; a tag beside them is found too, and has no place */
	FFPF_LAYER_ARP,
	FFPF_LAYER_IP,
	FFPF_LAYER_IP6,
	FFPF_LAYER_TCP,
	FFPF_LAYER_UDP,
	FFPF_LAYER_SCTP,
	FFPF_LAYER_ICMP,
	FFPF_LAYER_ICMP6,
	FFPF_LAYER_PORTS, /* TCP, UDP or SCTP: their ports lie in the same place */
	FFPF_LAYERS
};

struct ffpf_dissected {
	uint32_t present;         /* bit 1 << enum ffpf_layer */
	uint32_t at[FFPF_LAYERS]; /* offset of its header, where present */
	uint32_t end;             /* behind the last octet that belongs to the packet; at most caplen */
	uint16_t ethertype;       /* of what the link layer carries; 0: unknown, or a length */
	uint16_t vlan_tci;        /* where FFPF_LAYER_VLAN is present */
	uint8_t transport; /* protocol behind IP and its extension headers; 255 (reserved): there is none to tell */
	uint32_t payload;  /* offset behind TCP, UDP or SCTP's headers; 0: none of them, or cut off */
};

/* dlt: link type of data. row: of this packet, for its lengths and its tag. */
void ffpf_dissect(struct ffpf_dissected *out, const uint8_t *data, const struct ffpf_row *row, int dlt);

#endif
