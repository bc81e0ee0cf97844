/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/ftp.h"

#include <arpa/inet.h>
#include <string.h>

/* "10,0,0,1,4,1" */
static bool
take_six(struct ftp_place *out, struct words text)
{
	uint32_t number[6];

	for (unsigned i = 0; i < 6; i++) {
		if ((i && !words_begin(&text, ",")) || !words_number(&text, UINT8_MAX, &number[i]))
			return false;
	}
	*out = (struct ftp_place){ .port = number[4] << 8 | number[5], .family = 4 };
	for (unsigned i = 0; i < 4; i++)
		out->address[i] = (uint8_t)number[i];
	return out->port != 0;
}

/* RFC 959 leaves open what stands around the numbers of a 227. */
static bool
take_passive(struct ftp_place *out, struct words text)
{
	for (; text.at < text.end; text.at++) {
		if (*text.at >= '0' && *text.at <= '9' && take_six(out, text))
			return true;
	}
	return false;
}

static bool
take_address(struct ftp_place *out, uint32_t family, const uint8_t *at, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text) || (family != 1 && family != 2))
		return false;
	memcpy(text, at, len);
	text[len] = '\0';
	out->family = family == 1 ? 4 : 6;
	return inet_pton(family == 1 ? AF_INET : AF_INET6, text, out->address) == 1;
}

/* "|1|10.0.0.1|1025|"; any printable character may be the bar. bare: "|||1025|". */
static bool
take_extended(struct ftp_place *out, struct words text, bool bare)
{
	const uint8_t *bar;
	uint32_t family = 0;
	char mark[2] = "";

	*out = (struct ftp_place){ 0 };
	if (text.at == text.end || *text.at < 33 || *text.at > 126 || (*text.at >= '0' && *text.at <= '9') ||
	    (*text.at >= 'A' && *text.at <= 'Z'))
		return false;
	mark[0] = (char)*text.at++;
	if (!bare && !words_number(&text, 2, &family))
		return false;
	if (!words_begin(&text, mark))
		return false;
	bar = memchr(text.at, mark[0], (size_t)(text.end - text.at));
	if (!bar || (bare ? bar != text.at : !take_address(out, family, text.at, (size_t)(bar - text.at))))
		return false;
	text.at = bar + 1;
	return words_number(&text, UINT16_MAX, &out->port) && out->port && words_begin(&text, mark);
}

static bool
take_line(struct ftp_place *out, struct words line)
{
	if (words_begin(&line, "port ")) {
		words_blanks(&line);
		return take_six(out, line);
	}
	if (words_begin(&line, "eprt ")) {
		words_blanks(&line);
		return take_extended(out, line, false);
	}
	if (words_begin(&line, "227 "))
		return take_passive(out, line);
	if (!words_begin(&line, "229 "))
		return false;
	while (words_skip_to(&line, "(")) {
		if (take_extended(out, line, true))
			return true;
	}
	return false;
}

bool
ftp_place_find(struct ftp_place *out, struct words message)
{
	struct words line;

	while (words_line(&message, &line)) {
		if (take_line(out, line))
			return true;
	}
	return false;
}
