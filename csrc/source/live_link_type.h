/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_LINK_TYPE_H
#define FFPF_SOURCE_LIVE_LINK_TYPE_H
/* From the kernel's hardware type of an interface (ARPHRD_*) to the link type (DLT_*) that libpcap 1.10.3 gives it. */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct link_type {
	int dlt;
	bool cooked;        /* captured without its link header: SOCK_DGRAM, and a header of ours instead */
	const int *choices; /* static; NULL when dlt is the only one */
	uint32_t choice_count;
};

/* -FFPF_E_NOT_SUPPORTED: a switch's tagging protocol (DSA) that has no link type. */
int ffpf_link_type_of(struct link_type *out, const char *device, int hardware_type, struct ffpf_error *err);

/* The pseudo device "any". */
struct link_type ffpf_link_type_of_any(void);

/* Offset of the field before which a VLAN tag is put back in, counted from the start of the (possibly cooked) header;
 * -1: the tag stays out of packets of this link type. */
int ffpf_link_type_vlan_offset(int dlt);

#endif
