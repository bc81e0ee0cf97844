/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_TABLE_H
#define FFPF_EXTERNS_TABLE_H
/* The functions of the table. */
#include "externs/externs.h"

extern const struct ffpf_extern ffpf_extern_ahocorasick, ffpf_extern_checksum, ffpf_extern_crc32c, ffpf_extern_drop,
    ffpf_extern_ftp_port, ffpf_extern_rtsp_port, ffpf_extern_md5, ffpf_extern_payload, ffpf_extern_rtsp_ports,
    ffpf_extern_sampling, ffpf_extern_sha256, ffpf_extern_sip_ports, ffpf_extern_strsearch, ffpf_extern_topn,
    ffpf_extern_vectorscan, ffpf_extern_xxhash64;

#endif
