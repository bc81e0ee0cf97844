/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports that protocols settle for data, from what TCP or UDP carries: EXTERN(rtsp_ports, 0, w), EXTERN(sip_ports, 0,
 * w), EXTERN(ftp_port, 0, w). */
#include "externs/ftp.h"
#include "externs/octets.h"
#include "externs/rtsp.h"
#include "externs/sip.h"
#include "externs/table.h"

#include <string.h>

#define STEPS      4000
#define RTSP_BYTES 16
#define SIP_BYTES  (4 + 4 * SIP_PORTS_MAX)
#define FTP_BYTES  24

static struct words
payload_words(const struct ffpf_extern_use *use)
{
	const struct octets payload = octets_payload(use->set->in);

	return (struct words){ payload.data, payload.data + payload.len };
}

static uint64_t
call_rtsp(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
	  uint64_t write_at)
{
	struct rtsp_ports ports;

	(void)pkt, (void)cap_len, (void)read_at;
	if (!rtsp_ports_find(&ports, payload_words(use)))
		return 0;
	memcpy(mbuf + write_at, &ports, RTSP_BYTES);
	return 1;
}

static uint64_t
call_sip(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
	 uint64_t write_at)
{
	uint32_t ports[SIP_PORTS_MAX] = { 0 };
	const uint32_t count = sip_ports_find(ports, payload_words(use));

	(void)pkt, (void)cap_len, (void)read_at;
	if (!count)
		return 0;
	octets_put_u32(mbuf + write_at, count);
	memcpy(mbuf + write_at + 4, ports, sizeof(ports));
	return ports[0];
}

static uint64_t
call_ftp(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
	 uint64_t write_at)
{
	struct ftp_place place;

	(void)pkt, (void)cap_len, (void)read_at;
	if (!ftp_place_find(&place, payload_words(use)))
		return 0;
	memcpy(mbuf + write_at, &place, FTP_BYTES);
	return place.port;
}

_Static_assert(sizeof(struct rtsp_ports) == RTSP_BYTES && sizeof(struct ftp_place) == FTP_BYTES, "they are MBuf's");

const struct ffpf_extern ffpf_extern_rtsp_ports = {
	.name = "rtsp_ports",
	.summary = "all ports that an RTSP message's Transport header settles",
	.arguments = "",
	.value = "1; 0: none, and nothing is written",
	.reads_what = "",
	.writes_what = "u32 first and last client_port, u32 first and last server_port; 0: not said",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = RTSP_BYTES,
	.steps = STEPS,
	.call = call_rtsp,
};

const struct ffpf_extern ffpf_extern_sip_ports = {
	.name = "sip_ports",
	.summary = "the ports of media that the SDP in a SIP message offers",
	.arguments = "",
	.value = "the first port; 0: none, and nothing is written",
	.reads_what = "",
	.writes_what = "u32 how many, 8 times u32 port",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = SIP_BYTES,
	.steps = STEPS,
	.call = call_sip,
};

const struct ffpf_extern ffpf_extern_ftp_port = {
	.name = "ftp_port",
	.summary = "where FTP opens its data connection: PORT, EPRT, and answers to PASV and EPSV",
	.arguments = "",
	.value = "the port; 0: none, and nothing is written",
	.reads_what = "",
	.writes_what = "u32 port, u32 family (4, 6; 0: the sender's address), 16 octets address",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = FTP_BYTES,
	.steps = STEPS,
	.call = call_ftp,
};
