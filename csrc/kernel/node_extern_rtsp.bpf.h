/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_EXTERN_RTSP_BPF_H
#define FFPF_KERNEL_NODE_EXTERN_RTSP_BPF_H
/*
 * GetDynTCPDPortFromRTSP, as externs/extern_rtsp_port.c and externs/rtsp.c have it: the first port that a Transport
 * header of an RTSP message says. One octet after the other, in a bpf_loop; what is known so far lies in the node's
 * work, where the verifier does not follow it.
 */
#include "kernel/node_headers.bpf.h"
#include "kernel/node_program.bpf.h"

#define RTSP_NAME_LEN 9  /* "transport" */
#define RTSP_PORT_LEN 12 /* "client_port=", "server_port=" */
#define RTSP_PORT_MAX 65535u
#define TCP_HEADER    20u
#define UDP_HEADER    8u

/* A word's letters, the first one lowest; behind eight the others. */
#define RTSP_NAME      0x726f70736e617274u /* transpor */
#define RTSP_NAME_REST 0x74u               /* t */
#define RTSP_CLIENT    0x705f746e65696c63u /* client_p */
#define RTSP_SERVER    0x705f726576726573u /* server_p */
#define RTSP_PORT_REST 0x3d74726fu         /* ort= */

enum rtsp_phase { RTSP_NAMES, RTSP_BLANKS, RTSP_VALUE, RTSP_OTHER };

static long (*loop)(uint32_t, void *, void *, uint64_t) = (void *)181; /* enum bpf_func_id */

/* struct ffpf_node_program.external */
struct rtsp_scan {
	uint32_t at, end; /* of data */
	uint32_t phase;
	uint32_t matched;    /* letters of the header's name */
	uint32_t words[2];   /* letters of client_port= and server_port= */
	uint32_t numbers[2]; /* behind it, so far; RTSP_PORT_MAX + 1: too large */
	uint32_t ports[2];
};
_Static_assert(sizeof(struct rtsp_scan) <= sizeof(((struct ffpf_node_program *)0)->external), "state");

struct rtsp_context {
	const struct ffpf_scratch *scratch;
	struct ffpf_node_work *work;
};

inline_always uint32_t
rtsp_letter(uint64_t first, uint32_t rest, uint32_t at)
{
	return (uint8_t)(at < 8 ? first >> (at * 8) : rest >> ((at - 8) * 8));
}

inline_always void
rtsp_settle(struct rtsp_scan *r, uint32_t which)
{
	if (r->numbers[which] <= RTSP_PORT_MAX)
		r->ports[which] = r->numbers[which];
	r->words[which] = 0;
	r->numbers[which] = 0;
}

inline_always void
rtsp_look(struct rtsp_scan *r, uint32_t which, uint64_t word, uint32_t octet)
{
	if (r->ports[which])
		return;
	if (r->words[which] == RTSP_PORT_LEN) {
		if (octet >= '0' && octet <= '9') {
			uint32_t number = r->numbers[which] * 10 + (octet - '0');

			r->numbers[which] = number <= RTSP_PORT_MAX ? number : RTSP_PORT_MAX + 1;
			return;
		}
		rtsp_settle(r, which);
		if (r->ports[which])
			return;
	}
	if (octet == rtsp_letter(word, RTSP_PORT_REST, r->words[which]))
		r->words[which]++;
	else
		r->words[which] = octet == (uint8_t)word; /* no other letter begins both a word and its rest */
}

/* True: the line says a port. */
inline_always bool
rtsp_end_line(struct rtsp_scan *r)
{
	for (uint32_t which = 0; which < 2; which++)
		if (!r->ports[which])
			rtsp_settle(r, which);
	r->phase = RTSP_NAMES;
	r->matched = 0;
	return r->ports[0] || r->ports[1];
}

/* Not 0: nothing more is to be looked at. */
static __attribute__((noinline, section("program"))) long
rtsp_step(uint32_t number, struct rtsp_context *c)
{
	struct rtsp_scan *r = (struct rtsp_scan *)c->work->program.external;
	uint32_t at = r->at, octet;

	(void)number;
	if (at >= r->end)
		return 1;
	r->at = at + 1;
	forget(at);
	octet = c->scratch->data[at & (FFPF_SCRATCH_DATA_BYTES - 1)];
	if (octet == '\n')
		return rtsp_end_line(r) ? 1 : 0;
	if (octet >= 'A' && octet <= 'Z')
		octet += 'a' - 'A';
	if (r->phase == RTSP_NAMES) {
		if (octet != rtsp_letter(RTSP_NAME, RTSP_NAME_REST, r->matched))
			r->phase = RTSP_OTHER;
		else if (++r->matched == RTSP_NAME_LEN)
			r->phase = RTSP_BLANKS;
	} else if (r->phase == RTSP_BLANKS) {
		if (octet != ' ' && octet != '\t')
			r->phase = octet == ':' ? RTSP_VALUE : RTSP_OTHER;
	} else if (r->phase == RTSP_VALUE) {
		rtsp_look(r, 0, RTSP_CLIENT, octet);
		rtsp_look(r, 1, RTSP_SERVER, octet);
	}
	return r->ports[0] ? 1 : 0;
}

/* Where what TCP or UDP carries begins in data, and ends: octets_payload of externs/octets.c. False: nowhere. */
inline_always bool
find_payload(const struct ffpf_scratch *s, const struct ffpf_node_headers *h, uint32_t *begin, uint32_t *end)
{
	const uint8_t *net = octets_at(s, h->network), *tcp = octets_at(s, h->transport + 12);
	uint32_t header = UDP_HEADER, stated = be16(net + 2), least = (net[0] & 15u) * 4;

	if (!(h->found & FOUND_PORTS))
		return false;
	*end = s->data_len;
	if (h->found & FOUND_IPV6) {
		stated = be16(net + 4) ? IPV6_BYTES + be16(net + 4) : 0;
		least = IPV6_BYTES;
	}
	if (stated >= least && h->network + stated < *end)
		*end = h->network + stated;
	if (h->protocol == PROTO_TCP) {
		if (*end < h->transport + TCP_HEADER)
			return false;
		header = (uint32_t)(tcp[0] >> 4) * 4;
		if (header < TCP_HEADER)
			return false;
	} else if (h->protocol != PROTO_UDP && h->protocol != PROTO_UDPLITE) {
		return false;
	}
	*begin = h->transport + header;
	return *begin <= *end;
}

inline_always uint64_t
rtsp_port(const struct ffpf_scratch *s, struct ffpf_node_work *w)
{
	struct rtsp_scan *r = (struct rtsp_scan *)w->program.external;
	struct rtsp_context context = { s, w };
	uint32_t begin = 0, end = 0;

	if (!find_payload(s, &w->headers, &begin, &end))
		return 0;
	*r = (struct rtsp_scan){ .at = begin, .end = end };
	loop(FFPF_SCRATCH_DATA_BYTES, rtsp_step, &context, 0);
	rtsp_end_line(r);
	return r->ports[0] ? r->ports[0] : r->ports[1];
}

#endif
