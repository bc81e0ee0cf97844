/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/sip.h"

/* SDP begins with v=0 (RFC 8866 section 5), behind SIP's empty line. */
static bool
find_sdp(struct words *message)
{
	struct words line;

	while (words_line(message, &line)) {
		if (words_begin(&line, "v=0"))
			return true;
	}
	return false;
}

static uint32_t
add_media(uint32_t *ports, uint32_t have, struct words line)
{
	uint32_t port, count = 1;

	if (!words_skip_to(&line, " ")) /* behind the kind of media */
		return have;
	words_blanks(&line);
	if (!words_number(&line, UINT16_MAX, &port) || !port)
		return have;
	if (words_begin(&line, "/") && !words_number(&line, UINT16_MAX, &count))
		return have;
	for (uint32_t i = 0; i < count && have < SIP_PORTS_MAX && port <= UINT16_MAX; i++, port += 2)
		ports[have++] = port;
	return have;
}

uint32_t
sip_ports_find(uint32_t ports[SIP_PORTS_MAX], struct words message)
{
	struct words line;
	uint32_t have = 0;

	if (!find_sdp(&message))
		return 0;
	while (words_line(&message, &line)) {
		if (line.end - line.at > 2 && line.at[0] == 'm' && line.at[1] == '=')
			have = add_media(ports, have, (struct words){ line.at + 2, line.end });
	}
	return have;
}
