/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live_dress.h"

#include <arpa/inet.h>
#include <linux/can.h>
#include <linux/if_arp.h>
#include <string.h>

/* LINKTYPE_CAN_SOCKETCAN has the identifier big-endian, the kernel in host order. The flag that tells FD frames is not
 * in the frame but in its protocol. Twice is not once: see undress. */
void
live_dress_can(uint8_t *data, uint32_t cap_len, uint16_t protocol)
{
	uint32_t id;

	if (cap_len < sizeof(struct can_frame) - CAN_MAX_DLEN)
		return;
	memcpy(&id, data, sizeof(id));
	id = htonl(id);
	memcpy(data, &id, sizeof(id));
	if (protocol == ETH_P_CANFD) {
		data[5] = (uint8_t)((data[5] & (CANFD_BRS | CANFD_ESI)) | CANFD_FDF);
		data[6] = data[7] = 0;
	} else {
		data[5] &= (uint8_t)~CANFD_FDF;
	}
}

static void
undress_can(uint8_t *data, uint32_t cap_len)
{
	uint32_t id;

	if (cap_len < sizeof(struct can_frame) - CAN_MAX_DLEN)
		return;
	memcpy(&id, data, sizeof(id));
	id = ntohl(id);
	memcpy(data, &id, sizeof(id));
}

/* Puts the tag back before the type, in the gap that was reserved before the packet. */
uint8_t *
live_insert_tag(uint8_t *data, int offset, uint16_t tpid, uint16_t tci)
{
	data -= TPACKET_VLAN_BYTES;
	memmove(data, data + TPACKET_VLAN_BYTES, (size_t)offset);
	data[offset] = (uint8_t)(tpid >> 8);
	data[offset + 1] = (uint8_t)tpid;
	data[offset + 2] = (uint8_t)(tci >> 8);
	data[offset + 3] = (uint8_t)tci;
	return data;
}

void
live_undress(const struct live *l, const struct ffpf_packet *p, const struct frame *f, uint8_t *data)
{
	if (p->flags & FFPF_PACKET_VLAN)
		memmove(data, data - TPACKET_VLAN_BYTES, (size_t)l->batch_vlan_offset);
	if (f->from->sll_hatype == ARPHRD_CAN && !l->cooked)
		undress_can(data, f->cap_len);
}
