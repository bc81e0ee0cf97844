/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_SAVEFILE_LINKTYPE_H
#define FFPF_SOURCE_SAVEFILE_LINKTYPE_H
/*
 * Link types: the value in a savefile (LINKTYPE_) and the value in a handle (DLT_, pcap/dlt.h). They differ for the
 * few types whose DLT_ value is not the same on every operating system. Pure functions.
 */
#include <stdint.h>

/* A LINKTYPE_ without a DLT_ of its own stays as it is: it may be a type newer than this library. */
int ffpf_linktype_to_dlt(int linktype);
/* -1 when no savefile can say this DLT_. */
int ffpf_dlt_to_linktype(int dlt);
/* Largest sensible captured length, in octets, of a packet of this link type: 262144 for nearly all. */
uint32_t ffpf_dlt_max_snap_len(int dlt);
/* The snapshot length to go by when a file says snap_len: 0 and what does not fit an int are replaced. */
uint32_t ffpf_dlt_adjust_snap_len(int dlt, uint32_t snap_len);

#endif
