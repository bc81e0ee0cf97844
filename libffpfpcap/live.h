/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_LIVE_H
#define FFPFPCAP_LIVE_H
#include "handle.h"

/* Opens p->opt.device with p's options: by our own reader, or, where that does not know the link type, by the system's
 * libpcap. Returns what pcap_activate does; the text is in p->errbuf, empty when the status says it all. */
int ffpf_live_activate(struct pcap *p);

/* 1 when the device has a monitor mode, else 0. */
int ffpf_live_can_set_rfmon(struct pcap *p);

#endif
