/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_H
#define FFPF_SOURCE_LIVE_H
/* Live capture: AF_PACKET with a TPACKET_V3 ring, as a reader. */
#include "reader/reader.h"

enum ffpf_tstamp_type { /* values of PCAP_TSTAMP_* */
	FFPF_TSTAMP_DEFAULT = -1,
	FFPF_TSTAMP_HOST = 0,
	FFPF_TSTAMP_HOST_LOWPREC = 1,
	FFPF_TSTAMP_HOST_HIPREC = 2,
	FFPF_TSTAMP_ADAPTER = 3,
	FFPF_TSTAMP_ADAPTER_UNSYNCED = 4,
	FFPF_TSTAMP_HOST_HIPREC_UNSYNCED = 5,
};

struct ffpf_live_config {
	const char *device;  /* interface name, or "any" */
	uint32_t snap_len;   /* 1 .. 262144 */
	int timeout_ms;      /* 0: wait for a full block; < 0 is invalid */
	size_t buffer_bytes; /* 0: 2 MiB */
	bool promisc;
	bool immediate;      /* wake for every packet */
	bool nonblock;
	int protocol;        /* host order ETH_P_*; 0: ETH_P_ALL */
	enum ffpf_tstamp_type tstamp_type;
	enum ffpf_tick tick;
};

enum ffpf_live_warning { FFPF_LIVE_OK, FFPF_LIVE_PROMISC_NOT_SUPPORTED, FFPF_LIVE_TSTAMP_TYPE_NOT_SUPPORTED, FFPF_LIVE_WARNING };

/*
 * Opens the socket, the ring, promiscuous mode: everything that needs a privilege happens here, nothing later does
 * (tcpdump drops root between this call and the first filter). *warning may be NULL; its text is in (*out)->err.
 * -FFPF_E_NOT_SUPPORTED: a link type that this source does not know; the system's libpcap may.
 * *out is untouched on failure. Needs CAP_NET_RAW in the user namespace of the network namespace.
 */
int ffpf_live_open(struct ffpf_reader **out, const struct ffpf_live_config *cfg, enum ffpf_live_warning *warning,
		   struct ffpf_error *err);

/* The AF_PACKET socket, for pcap_fileno(); the reader's. */
int ffpf_live_socket(const struct ffpf_reader *r);

#endif
