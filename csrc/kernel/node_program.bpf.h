/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_PROGRAM_BPF_H
#define FFPF_KERNEL_NODE_PROGRAM_BPF_H
/*
 * What lies around a program in FPL-2: it sees the packet with its VLAN tag in place, which the scratch has beside it.
 *
 *     scratch    | results ... | 12 octets      | packet from 12 |
 *     program    | results | 12 octets | tag, 4 | packet from 12 |
 *
 * So the addresses go four octets down, over the end of results, and both are put back when the program has ended: what
 * runs on this lane in between is the program alone.
 */
#include "kernel/node_layout.h"

#define PROGRAM_TAG_BYTES 4
#define PROGRAM_ADDRESSES 12

/* Three words, read before one is written: they overlap. */
static __attribute__((always_inline)) inline void
move_addresses(uint8_t *to, const uint8_t *from)
{
	const uint32_t first = ((const uint32_t *)from)[0];
	const uint32_t second = ((const uint32_t *)from)[1];
	const uint32_t third = ((const uint32_t *)from)[2];

	((uint32_t *)to)[0] = first;
	((uint32_t *)to)[1] = second;
	((uint32_t *)to)[2] = third;
}

static __attribute__((always_inline)) inline void
put_tag_in(struct ffpf_scratch *s, struct ffpf_node_program *p)
{
	uint8_t *first = s->data - PROGRAM_TAG_BYTES;

	p->saved = *(uint32_t *)first;
	move_addresses(first, s->data);
	*(uint16_t *)(first + PROGRAM_ADDRESSES) = __builtin_bswap16((uint16_t)s->vlan_tpid);
	*(uint16_t *)(first + PROGRAM_ADDRESSES + 2) = __builtin_bswap16((uint16_t)s->vlan_tci);
	p->shift = 0;
}

static __attribute__((always_inline)) inline void
take_tag_out(struct ffpf_scratch *s, const struct ffpf_node_program *p)
{
	uint8_t *first = s->data - PROGRAM_TAG_BYTES;

	move_addresses(s->data, first);
	*(uint32_t *)first = p->saved;
}

#endif
