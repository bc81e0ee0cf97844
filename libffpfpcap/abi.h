/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_ABI_H
#define FFPFPCAP_ABI_H
/*
 * libpcap's public headers, included here and nowhere else in this room: what they declare is what the library shows to
 * programs (exports.map says it once more); all else is hidden by the compiler's flags.
 */
#pragma GCC visibility push(default)
#include <pcap/pcap.h>

#include <pcap/namedb.h> /* needs what the other declares */
#pragma GCC visibility pop

#endif
