/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/savefile_linktype.h"

#include <limits.h>
#include <pcap/dlt.h>
#include <stddef.h>

enum {
	LINKTYPE_ATM_RFC1483 = 100,
	LINKTYPE_RAW = 101,
	LINKTYPE_SLIP_BSDOS = 102,
	LINKTYPE_PPP_BSDOS = 103,
	LINKTYPE_ATM_CLIP = 106, /* inside the range where all others agree */
	LINKTYPE_PFSYNC = 246,
	LINKTYPE_PKTAP = 258,
};

#define MIB (1024u * 1024u)

/* The types whose two values differ. */
static const struct {
	int linktype;
	int dlt;
} differing[] = {
	{ LINKTYPE_ATM_RFC1483, DLT_ATM_RFC1483 },
	{ LINKTYPE_RAW, DLT_RAW },
	{ LINKTYPE_SLIP_BSDOS, DLT_SLIP_BSDOS },
	{ LINKTYPE_PPP_BSDOS, DLT_PPP_BSDOS },
	{ LINKTYPE_ATM_CLIP, DLT_ATM_CLIP },
	{ LINKTYPE_PFSYNC, DLT_PFSYNC },
	{ LINKTYPE_PKTAP, DLT_PKTAP },
};

/* Types below the range of agreement that agree all the same. */
static const int agreeing[] = {
	DLT_NULL,   DLT_EN10MB, DLT_EN3MB, DLT_AX25, DLT_PRONET,     DLT_CHAOS,     DLT_IEEE802,
	DLT_ARCNET, DLT_SLIP,   DLT_PPP,   DLT_FDDI, DLT_PPP_SERIAL, DLT_PPP_ETHER, DLT_SYMANTEC_FIREWALL,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int
ffpf_linktype_to_dlt(int linktype)
{
	for (size_t i = 0; i < COUNT(differing); i++)
		if (differing[i].linktype == linktype)
			return differing[i].dlt;
	return linktype;
}

int
ffpf_dlt_to_linktype(int dlt)
{
	if (dlt == DLT_PFSYNC)
		return LINKTYPE_PFSYNC;
	if (dlt == DLT_PKTAP)
		return LINKTYPE_PKTAP;
	if (dlt >= DLT_MATCHING_MIN && dlt <= DLT_MATCHING_MAX)
		return dlt;
	for (size_t i = 0; i < COUNT(differing); i++)
		if (differing[i].dlt == dlt)
			return differing[i].linktype;
	for (size_t i = 0; i < COUNT(agreeing); i++)
		if (agreeing[i] == dlt)
			return dlt;
	return -1;
}

uint32_t
ffpf_dlt_max_snap_len(int dlt)
{
	switch (dlt) {
	case DLT_DBUS:
		return 128 * MIB;
	case DLT_EBHSCR:
		return 8 * MIB;
	case DLT_USBPCAP:
		return MIB;
	default:
		return 262144;
	}
}

uint32_t
ffpf_dlt_adjust_snap_len(int dlt, uint32_t snap_len)
{
	return snap_len == 0 || snap_len > INT_MAX ? ffpf_dlt_max_snap_len(dlt) : snap_len;
}
