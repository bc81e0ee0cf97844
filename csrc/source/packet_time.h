/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_PACKET_TIME_H
#define FFPF_SOURCE_PACKET_TIME_H
#include "reader/reader.h"

/* Nanoseconds since 1970, UTC, of a packet of the reader's current batch, as records and hooks have it (layout.h): what
 * a broken savefile says beyond that becomes the least or the greatest there is. Never FFPF_FLOOR_IDLE. */
int64_t ffpf_packet_time_ns(const struct ffpf_reader *reader, const struct ffpf_packet *pkt);

#endif
