/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_FILTER_H
#define FFPFPCAP_FILTER_H
#include "handle.h"

/* pcap_setfilter for the kinds of handles that have a reader. The program is copied. The first packet handed over after
 * it returns obeys it, wherever in a batch the call is made. */
int ffpf_reader_setfilter(struct pcap *p, const struct bpf_program *program);

/* Takes back what the reader has already prepared, to have it served again in another form (direction, link type). */
int ffpf_reader_serve_again(struct pcap *p);

#endif
