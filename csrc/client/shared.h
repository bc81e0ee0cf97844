/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_SHARED_H
#define FFPF_CLIENT_SHARED_H
/* Live capture by ffpfd, as a reader: a flow's lanes (lanes/lanes.h) that another process fills. README.md tells more.
 */
#include "reader/reader.h"

struct ffpf_shared_config {
	const char *device;
	const char *group;   /* NULL: the caller's own */
	const char *program; /* for whoever asks the daemon who captures */
	uint32_t snap_len;   /* 1 to 262144 */
	int timeout_ms;      /* 0: wait for many packets */
	bool promisc;
	bool immediate; /* wake for every packet */
	bool nonblock;
	enum ffpf_tick tick;
};

/*
 * Asks the daemon for the device; from then on the flow captures everything, and no right is needed any more. Needs no
 * privilege. Codes and texts as client/client.h has them: -FFPF_E_NO_SERVER, there is no daemon; any other, it would
 * not, or what it gave is of no use. Beyond reader.h:
 *
 * - counters: what the kernel's filter turned away is counted, unlike by an AF_PACKET socket. iface_drops as in
 *   source/live.h.
 * - inject opens a packet socket with the caller's own rights when it is first called.
 * - the cooked link types LINUX_SLL and LINUX_SLL2 are both made of what the hook stores, LINUX_SLL2.
 * - set_filter: while the daemon is gone a filter can be set only when the hooks run none: it is judged here.
 */
int ffpf_shared_open(struct ffpf_reader **out, const struct ffpf_shared_config *cfg, struct ffpf_error *err);

#endif
