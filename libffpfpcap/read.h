/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_READ_H
#define FFPFPCAP_READ_H
/* The read loop over a reader's batches, for the kinds of handles that have a reader. See struct ffpf_handle_ops. */
#include "handle.h"

int ffpf_live_dispatch(struct pcap *p, int count, pcap_handler callback, u_char *user);
int ffpf_live_loop(struct pcap *p, int count, pcap_handler callback, u_char *user);
int ffpf_live_next_ex(struct pcap *p, struct pcap_pkthdr **header, const u_char **data);

int ffpf_savefile_dispatch(struct pcap *p, int count, pcap_handler callback, u_char *user);
int ffpf_savefile_loop(struct pcap *p, int count, pcap_handler callback, u_char *user);
int ffpf_savefile_next_ex(struct pcap *p, struct pcap_pkthdr **header, const u_char **data);

#endif
