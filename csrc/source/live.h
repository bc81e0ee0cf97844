/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_H
#define FFPF_SOURCE_LIVE_H
/* Live capture: AF_PACKET with a TPACKET ring, as a reader. README.md tells how a packet passes. */
#include "reader/reader.h"

/* Values of PCAP_TSTAMP_*. */
enum ffpf_tstamp_type {
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
	bool immediate; /* wake for every packet */
	bool nonblock;
	int protocol; /* host order ETH_P_*; 0: ETH_P_ALL */
	enum ffpf_tstamp_type tstamp_type;
	enum ffpf_tick tick;
	/* Nanoseconds, taken when the packet enters the ring: what the filter turns away costs no stamp. Else, as with
	 * libpcap, whoever wants nanoseconds has every packet stamped when it enters the stack, a little earlier. */
	bool stamp_in_ring;
};

enum ffpf_live_warning {
	FFPF_LIVE_OK,
	FFPF_LIVE_PROMISC_NOT_SUPPORTED,
	FFPF_LIVE_TSTAMP_TYPE_NOT_SUPPORTED,
	FFPF_LIVE_WARNING
};

/*
 * Opens the socket, the ring, promiscuous mode: everything that needs a privilege happens here, nothing later does
 * (tcpdump drops root between this call and the first filter). *warning may be NULL; libpcap has no text for those that
 * there are (no warning for promiscuous mode on "any", as in 1.10.3).
 * -FFPF_E_NOT_SUPPORTED: a link type that this source does not know; the system's libpcap may.
 * Texts are those of libpcap 1.10.3; that of -FFPF_E_NO_SUCH_DEVICE and -FFPF_E_DEVICE_DOWN is empty, as there.
 * *out is untouched on failure. Needs CAP_NET_RAW in the user namespace of the network namespace.
 */
int ffpf_live_open(struct ffpf_reader **out, const struct ffpf_live_config *cfg, enum ffpf_live_warning *warning,
		   struct ffpf_error *err);

/* The AF_PACKET socket, for pcap_fileno(); the reader's. */
int ffpf_live_socket(const struct ffpf_reader *r);

/* What pcap_bufsize() says: octets of the largest unit that the kernel hands over. */
size_t ffpf_live_unit_bytes(const struct ffpf_reader *r);

/* Why the last filter is not run by the kernel, in the words that libpcap prints to standard error ("Warning: ...");
 * NULL when it is, or when libpcap says nothing. Static or the reader's, until the next set_filter. */
const char *ffpf_live_filter_warning(const struct ffpf_reader *r);

/* The interface went down and may be about to vanish, which poll_fd does not tell: an event loop must call next() again
 * within a millisecond (pcap_get_required_select_timeout). */
bool ffpf_live_needs_polling(const struct ffpf_reader *r);

#define FFPF_LIVE_TSTAMP_TYPES_MAX 3
/* Time stamp types of a device, for pcap_list_tstamp_types(): count (0: only the default), or -code. Needs no
 * privilege; a device that does not exist has none. */
int ffpf_live_tstamp_types(const char *device, int types[FFPF_LIVE_TSTAMP_TYPES_MAX], struct ffpf_error *err);

#endif
