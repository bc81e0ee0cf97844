/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_RTSP_H
#define FFPF_EXTERNS_RTSP_H
/* Ports that RTSP (RFC 2326, section 12.39) settles: the Transport header's client_port=A-B and server_port=C-D. */
#include "externs/words.h"

struct rtsp_ports {
	uint32_t client[2], server[2]; /* first and last; 0: not said */
};

/* A message's text, or its beginning. False: no Transport header says a port. The first header that does counts. */
bool rtsp_ports_find(struct rtsp_ports *out, struct words message);

#endif
