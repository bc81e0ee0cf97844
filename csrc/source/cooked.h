/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_COOKED_H
#define FFPF_SOURCE_COOKED_H
/*
 * Cooked capture: packets without their link header, before which a header is put that says what the kernel knows of
 * them. LINKTYPE_LINUX_SLL (113) and LINKTYPE_LINUX_SLL2 (276); all fields big-endian:
 *
 *     SLL   0 packet type   2 ARPHRD   4 address length   6 address (8)   14 protocol
 *     SLL2  0 protocol   2 zero   4 interface index   8 ARPHRD   10 packet type   11 address length   12 address (8)
 *
 * DLT_NETLINK, DLT_LINUX_IRDA and DLT_LINUX_LAPD begin with an SLL header too.
 */
#include "bpf/bpf.h"

#include <linux/if_packet.h>
#include <stdint.h>

#define COOKED_V1_BYTES  16
#define COOKED_V2_BYTES  20
#define COOKED_MAX_BYTES COOKED_V2_BYTES

/* Length of the header that packets of this link type, captured cooked, begin with. */
uint32_t ffpf_cooked_bytes(int dlt);

/* Writes that many octets at `header`. */
void ffpf_cooked_write(uint8_t *header, int dlt, const struct sockaddr_ll *from);

/* Changes a load of packet octets, compiled for a cooked link type, into the load that does the same in the kernel,
 * where a cooked packet begins with its network header. False: there is none. */
bool ffpf_cooked_fix_load(struct ffpf_bpf_insn *load, int dlt);

#endif
