/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_TABLE_H
#define FFPF_EXTERNS_TABLE_H
/* The functions of the table, each in its own file. */
#include "externs/externs.h"

extern const struct ffpf_extern ffpf_extern_checksum, ffpf_extern_drop, ffpf_extern_rtsp_port;

#endif
