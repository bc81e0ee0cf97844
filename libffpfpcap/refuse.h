/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_REFUSE_H
#define FFPFPCAP_REFUSE_H
/*
 * Operations for the tables of kinds of handles that cannot do them: each fails with the kind's text and status, which
 * are libpcap's. A table with one of them sets `refusals`, and in it the text of each operation that it takes from
 * here.
 */
#include "handle.h"

struct ffpf_handle_refusals {
	int status; /* that they return */
	const char *packets, *filter, *direction, *datalink, *nonblock, *inject, *stats;
};

int ffpf_refuse_packets(struct pcap *p, int count, pcap_handler callback, u_char *user);
int ffpf_refuse_next(struct pcap *p, struct pcap_pkthdr **header, const u_char **data);
int ffpf_refuse_filter(struct pcap *p, const struct bpf_program *program);
int ffpf_refuse_direction(struct pcap *p, pcap_direction_t direction);
int ffpf_refuse_datalink(struct pcap *p, int dlt);
int ffpf_refuse_getnonblock(struct pcap *p);
int ffpf_refuse_setnonblock(struct pcap *p, int nonblock);
int ffpf_refuse_inject(struct pcap *p, const void *data, int size);
int ffpf_refuse_stats(struct pcap *p, struct pcap_stat *stat);

/* For what there is nothing to do: breakloop, close. */
void ffpf_refuse_nothing(struct pcap *p);

#endif
