/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts of RTSP, SIP and FTP: whatever the octets, ports are ports, and nothing beyond the text is read. */
#include "common/fuzzing.h"
#include "externs/ftp.h"
#include "externs/rtsp.h"
#include "externs/sip.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);
	const struct words text = { exact, exact + size };
	struct rtsp_ports rtsp;
	struct ftp_place ftp;
	uint32_t sip[SIP_PORTS_MAX], count;

	MUST(exact != NULL);
	memcpy(exact, data, size);
	if (rtsp_ports_find(&rtsp, text)) {
		MUST(rtsp.client[0] <= rtsp.client[1] && rtsp.client[1] <= UINT16_MAX);
		MUST(rtsp.server[0] <= rtsp.server[1] && rtsp.server[1] <= UINT16_MAX);
		MUST(rtsp.client[0] || rtsp.server[0]);
	}
	count = sip_ports_find(sip, text);
	MUST(count <= SIP_PORTS_MAX);
	for (uint32_t i = 0; i < count; i++)
		MUST(sip[i] && sip[i] <= UINT16_MAX);
	if (ftp_place_find(&ftp, text))
		MUST(ftp.port && ftp.port <= UINT16_MAX && (ftp.family == 0 || ftp.family == 4 || ftp.family == 6));
	free(exact);
	return 0;
}
