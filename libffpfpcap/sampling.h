/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_SAMPLING_H
#define FFPFPCAP_SAMPLING_H
/* pcap_setsampling() of libpcap 1.11: the read loop asks, for each packet that passed the filter, whether to keep it.
 */
#include "handle.h"

struct ffpf_sampling {
	struct pcap_samp wanted; /* the program writes into it at any time: pcap_setsampling() gave it away */
	uint32_t passed_over;    /* PCAP_SAMP_1_EVERY_N: packets since the last one kept */
	int64_t not_before_ns;   /* PCAP_SAMP_FIRST_AFTER_N_MS, in packet time */
	bool has_kept;
	uint64_t dropped; /* packets not kept: counted as filtered */
};

bool ffpf_sampling_keeps(struct pcap *p, const struct ffpf_packet *pkt);

#endif
