/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts of errors and of the library itself. */
#include "handle.h"

#include <string.h>

/* No header declares it, but programs of old refer to it; its size is part of the ABI (copy relocations). */
extern char pcap_version[] __attribute__((visibility("default")));
char pcap_version[] = "1.10.3";

bool ffpf_new_api;

static const struct {
	int status;
	const char *text;
} texts[] = {
	{ PCAP_WARNING, "Generic warning" },
	{ PCAP_WARNING_TSTAMP_TYPE_NOTSUP, "That type of time stamp is not supported by that device" },
	{ PCAP_WARNING_PROMISC_NOTSUP, "That device doesn't support promiscuous mode" },
	{ PCAP_ERROR, "Generic error" },
	{ PCAP_ERROR_BREAK, "Loop terminated by pcap_breakloop" },
	{ PCAP_ERROR_NOT_ACTIVATED, "The pcap_t has not been activated" },
	{ PCAP_ERROR_ACTIVATED, "The setting can't be changed after the pcap_t is activated" },
	{ PCAP_ERROR_NO_SUCH_DEVICE, "No such device exists" },
	{ PCAP_ERROR_RFMON_NOTSUP, "That device doesn't support monitor mode" },
	{ PCAP_ERROR_NOT_RFMON, "That operation is supported only in monitor mode" },
	{ PCAP_ERROR_PERM_DENIED, "You don't have permission to perform this capture on that device" },
	{ PCAP_ERROR_IFACE_NOT_UP, "That device is not up" },
	{ PCAP_ERROR_CANTSET_TSTAMP_TYPE, "That device doesn't support setting the time stamp type" },
	{ PCAP_ERROR_PROMISC_PERM_DENIED, "You don't have permission to capture in promiscuous mode on that device" },
	{ PCAP_ERROR_TSTAMP_PRECISION_NOTSUP, "That device doesn't support that time stamp precision" },
};

const char *
pcap_statustostr(int error)
{
	static _Thread_local char unknown[40];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].status == error)
			return texts[i].text;
	snprintf(unknown, sizeof(unknown), "Unknown error: %d", error);
	return unknown;
}

const char *
pcap_strerror(int error)
{
	return strerror(error);
}

char *
pcap_geterr(pcap_t *p)
{
	return p->errbuf;
}

void
pcap_perror(pcap_t *p, const char *prefix)
{
	fprintf(stderr, "%s: %s\n", prefix, p->errbuf);
}

const char *
pcap_lib_version(void)
{
	return "libpcap version 1.10.3 (with TPACKET_V3)";
}

int
pcap_init(unsigned int opts, char *errbuf)
{
	static unsigned int chosen;
	static bool initialized;

	if (opts != PCAP_CHAR_ENC_LOCAL && opts != PCAP_CHAR_ENC_UTF_8) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "Unknown options specified");
		return PCAP_ERROR;
	}
	if (initialized && opts != chosen) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "Multiple pcap_init calls with different character encodings");
		return PCAP_ERROR;
	}
	chosen = opts;
	initialized = true;
	ffpf_new_api = true;
	return 0;
}
