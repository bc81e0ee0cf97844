/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_FTP_H
#define FFPF_EXTERNS_FTP_H
/*
 * Where FTP will open its data connection (RFC 959, RFC 2428):
 *
 *     PORT 10,0,0,1,4,1                  EPRT |1|10.0.0.1|1025|    EPRT |2|2001:db8::1|1025|
 *     227 ... (10,0,0,1,4,1) ...         229 ... (|||1025|) ...
 */
#include "externs/words.h"

struct ftp_place {
	uint32_t port;
	uint32_t family;     /* 4 or 6; 0: the address is the sender's own */
	uint8_t address[16]; /* as on the wire; zeros behind it */
};

/* The first line that settles a port. False: none does. */
bool ftp_place_find(struct ftp_place *out, struct words message);

#endif
