/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_DRESS_H
#define FFPF_SOURCE_LIVE_DRESS_H
/* What is changed in a packet's octets between the kernel and the consumer, in place; and how it is undone. */
#include "source/live_frame.h"
#include "source/live_internal.h"

void live_dress_can(uint8_t *data, uint32_t cap_len, uint16_t protocol);

/* Returns the packet's new first octet, TPACKET_VLAN_BYTES before `data`. */
uint8_t *live_insert_tag(uint8_t *data, int offset, uint16_t tpid, uint16_t tci);

/* Makes a frame what the kernel left there, so that another filter can judge it. `data`: where the kernel, or the
 * cooked header, began; p as it was made with the batch. */
void live_undress(const struct live *l, const struct ffpf_packet *p, const struct frame *f, uint8_t *data);

#endif
