/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_FRAME_H
#define FFPF_SOURCE_LIVE_FRAME_H
/* What the kernel says of a packet, in front of it: linux/if_packet.h. */
#include "source/tpacket_ring.h"

#include <linux/if_ether.h>

/* A frame's header, whichever layout wrote it. */
struct frame {
	uint8_t *mem;
	const struct sockaddr_ll *from;
	uint32_t status, sec, nsec;
	uint32_t cap_len, wire_len;
	uint32_t mac; /* offset of the first captured octet */
	uint16_t vlan_tci, vlan_tpid;
};

static inline struct frame
read_frame(uint8_t *mem, enum tpacket_layout layout)
{
	if (layout == TPACKET_BLOCKS) {
		const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)mem;

		return (struct frame){ mem,
				       (const struct sockaddr_ll *)(mem + TPACKET_ALIGN(sizeof(*h))),
				       h->tp_status,
				       h->tp_sec,
				       h->tp_nsec,
				       h->tp_snaplen,
				       h->tp_len,
				       h->tp_mac,
				       (uint16_t)h->hv1.tp_vlan_tci,
				       h->hv1.tp_vlan_tpid };
	}
	const struct tpacket2_hdr *h = (const struct tpacket2_hdr *)mem;

	return (struct frame){ mem,
			       (const struct sockaddr_ll *)(mem + TPACKET_ALIGN(sizeof(*h))),
			       h->tp_status,
			       h->tp_sec,
			       h->tp_nsec,
			       h->tp_snaplen,
			       h->tp_len,
			       h->tp_mac,
			       h->tp_vlan_tci,
			       h->tp_vlan_tpid };
}

/* Where the gap before the packet begins. */
static inline size_t
head_end_of(enum tpacket_layout layout)
{
	return layout == TPACKET_BLOCKS ? TPACKET3_HDRLEN : TPACKET2_HDRLEN;
}

/* Kernels before 3.0 set no flag; there a tag of 0 cannot be told from none. */
static inline bool
has_vlan(const struct frame *f)
{
	return f->vlan_tci != 0 || (f->status & TP_STATUS_VLAN_VALID);
}

/* Kernels before 3.14 do not tell the TPID. */
static inline uint16_t
tpid_of(const struct frame *f)
{
	return f->vlan_tpid || (f->status & TP_STATUS_VLAN_TPID_VALID) ? f->vlan_tpid : ETH_P_8021Q;
}

#endif
