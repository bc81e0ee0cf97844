/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SYSPCAP_COMPILE_H
#define FFPF_SYSPCAP_COMPILE_H
/*
 * How a handle of the system's library is had that makes its compiler write the live form. Private to this room.
 *
 * libpcap writes that form for handles that capture on a socket, and says so in a flag of the handle that no function
 * sets. Ways to it, best first; the first that this process can go is taken:
 */
#include "common/error.h"

#include <stdint.h>

struct pcap;

enum live_way {
	LIVE_BY_FLAG,   /* a dead handle whose flag we set: its place is known or searched for, and proven by a
			   compilation */
	LIVE_BY_DEVICE, /* a handle that is capturing on the loopback device: needs the rights to capture */
	LIVE_BY_DEAD,   /* the form of dead handles; equal unless the text speaks of VLANs, which is refused */
	LIVE_WAYS
};

/* The way of this process; the first call tries them out. */
enum live_way ffpf_syspcap_live_way(void);

/* A handle of the system's library for pcap_compile(), to be closed by its pcap_close(); NULL and err set. */
struct pcap *ffpf_syspcap_live_handle(enum live_way way, int link_type, uint32_t snap_len, const char *text,
				      struct ffpf_error *err);

#endif
