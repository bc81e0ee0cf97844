/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_SIP_H
#define FFPF_EXTERNS_SIP_H
/* Ports that SIP settles: the media lines of the SDP in it (RFC 3261, RFC 8866 section 5.14): m=audio 49170/2 RTP/AVP 0
 */
#include "externs/words.h"

#define SIP_PORTS_MAX 8

/* Ports of a message's media, in its order; ports of one line are two apart, as RTP has them. Port 0, of a stream that
 * was refused, is left out. Returns how many, at most SIP_PORTS_MAX. A message is one of SIP, or bare SDP. */
uint32_t sip_ports_find(uint32_t ports[SIP_PORTS_MAX], struct words message);

#endif
