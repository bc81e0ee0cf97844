/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN(GetDynTCPDPortFromRTSP,0,0), as in the paper's Figure 7: the port at which the client will take the data;
 * where the message says none, the server's. 0: it settles nothing. */
#include "externs/octets.h"
#include "externs/rtsp.h"
#include "externs/table.h"

#define STEPS 4000

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	const struct octets payload = octets_payload(use->set->in);
	struct rtsp_ports ports;

	(void)pkt, (void)cap_len, (void)mbuf, (void)read_at, (void)write_at;
	if (!rtsp_ports_find(&ports, (struct words){ payload.data, payload.data + payload.len }))
		return 0;
	return ports.client[0] ? ports.client[0] : ports.server[0];
}

const struct ffpf_extern ffpf_extern_rtsp_port = {
	.name = "GetDynTCPDPortFromRTSP",
	.summary = "the port that an RTSP message settles for data (Figure 7)",
	.arguments = "",
	.value = "the first client_port of a Transport header, else its server_port; 0: none",
	.reads_what = "",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.steps = STEPS,
	.call = call,
};
