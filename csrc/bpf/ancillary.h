/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_ANCILLARY_H
#define FFPF_BPF_ANCILLARY_H
/*
 * Which instructions load a field of struct ffpf_bpf_aux instead of octets of the packet: BPF_LD|BPF_ABS of any size at
 * SKF_AD_OFF + a field's number, as in the kernel (net/core/filter.c, convert_bpf_extensions(), 6.18). A always gets
 * the whole field, whatever the size of the load. Internal to this room.
 *
 * The ancillary loads of the kernel that are not listed (netlink attributes, mark, queue, CPU, random number, hash,
 * payload offset, A ^= X) and its windows at SKF_NET_OFF and SKF_LL_OFF ask for what no packet descriptor holds: here
 * they are loads at an offset near 4 GiB, which ends the program with 0, as in libpcap.
 */
#include "bpf/bpf.h"

struct ffpf_bpf_ancillary {
	uint32_t k;     /* of the instruction */
	uint8_t size;   /* octets of the field: 1, 2 or 4, host order */
	uint8_t offset; /* of the field in struct ffpf_bpf_aux */
};

/* The field that a valid program's instruction loads, or NULL when it is no ancillary load. */
const struct ffpf_bpf_ancillary *ffpf_bpf_ancillary_find(const struct ffpf_bpf_insn *insn);
uint32_t ffpf_bpf_ancillary_load(const struct ffpf_bpf_ancillary *field, const struct ffpf_bpf_aux *aux);

#endif
