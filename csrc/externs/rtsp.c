/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/rtsp.h"

#include <string.h>

/* ";client_port=4588-4589" or "...=4588" somewhere in the line. */
static void
find_pair(uint32_t pair[2], struct words line, const char *name)
{
	uint32_t first, last;

	while (words_skip_to(&line, name)) {
		if (!words_number(&line, UINT16_MAX, &first) || !first)
			continue;
		pair[0] = pair[1] = first;
		if (words_begin(&line, "-") && words_number(&line, UINT16_MAX, &last) && last > first)
			pair[1] = last;
		return;
	}
}

bool
rtsp_ports_find(struct rtsp_ports *out, struct words message)
{
	struct words line;

	memset(out, 0, sizeof(*out));
	while (words_line(&message, &line)) {
		if (!words_begin(&line, "transport"))
			continue;
		words_blanks(&line);
		if (!words_begin(&line, ":"))
			continue;
		find_pair(out->client, line, "client_port=");
		find_pair(out->server, line, "server_port=");
		if (out->client[0] || out->server[0])
			return true;
	}
	return false;
}
