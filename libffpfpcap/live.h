/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_LIVE_H
#define FFPFPCAP_LIVE_H
/* Handles that capture: which engine serves them (engine.c), and the kinds that have a reader of ours, live and shared.
 */
#include "handle.h"

/* FFPF_ENGINE: auto, shared, embedded or system. Returns what pcap_activate does; the text is in p->errbuf. */
int ffpf_engine_activate(struct pcap *p);

/* Opens p->opt.device with p's options: by our own reader, or, where that does not know the link type, by the system's
 * libpcap. Returns what pcap_activate does; the text is in p->errbuf, empty when the status says it all. */
int ffpf_live_activate(struct pcap *p);

/* The same by ffpfd. Where it is not to be had: a negative status, with p as before and *err saying why. */
int ffpf_shared_activate(struct pcap *p, struct ffpf_error *err);

/* The same by our own reader of an IXP1200 board (ixp_driver/host), whose name is no interface's. */
int ffpf_board_activate(struct pcap *p);
bool ffpf_board_named(const char *device);

/* 1 when the device has a monitor mode, else 0. */
int ffpf_live_can_set_rfmon(struct pcap *p);

/* live_common.c: operations of both, and what their activations have in common. */
void ffpf_reader_breakloop(struct pcap *p);
int ffpf_reader_set_datalink(struct pcap *p, int dlt);
int ffpf_reader_getnonblock(struct pcap *p);
int ffpf_reader_setnonblock(struct pcap *p, int nonblock);
int ffpf_reader_inject(struct pcap *p, const void *data, int size);
/* What was prepared for the other direction is still there: the caller knows how its reader serves it again. */
int ffpf_reader_set_direction(struct pcap *p, pcap_direction_t direction);
/* What the reader has counted, and *stat of it, but for ps_recv, which each kind has its own idea of. */
int ffpf_reader_stats(struct pcap *p, struct ffpf_counters *counters, struct pcap_stat *stat);
/* The same of a flow's reader, all of it: ps_recv is as an AF_PACKET socket counts, what passed the filter, whatever
 * its direction, lost packets included. */
int ffpf_reader_flow_stats(struct pcap *p, struct pcap_stat *stat);
void ffpf_reader_nothing(struct pcap *p);
int ffpf_reader_copy_link_types(struct pcap *p, const struct ffpf_reader_info *info);
void ffpf_reader_limit_snapshot(struct pcap *p);
int ffpf_reader_timeout(const struct pcap *p);
void ffpf_reader_warn_of_any(struct pcap *p);

#endif
