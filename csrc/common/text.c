/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 128

/* Room for `more` octets and the NUL behind them. */
static bool
grow(struct ffpf_text *text, size_t more)
{
	size_t room = text->room ? text->room : FIRST_ROOM;
	char *data;

	if (text->failed)
		return false;
	while (room - text->len <= more && room < (size_t)1 << 40)
		room *= 2;
	if (room == text->room)
		return true;
	data = realloc(text->data, room);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->room = room;
	return true;
}

void
ffpf_text_add(struct ffpf_text *text, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || !grow(text, (size_t)len))
		return;
	va_start(ap, fmt);
	vsnprintf(text->data + text->len, text->room - text->len, fmt, ap);
	va_end(ap);
	text->len += (size_t)len;
}

void
ffpf_text_add_octets(struct ffpf_text *text, const char *octets, size_t len)
{
	if (!grow(text, len))
		return;
	memcpy(text->data + text->len, octets, len);
	text->len += len;
	text->data[text->len] = '\0';
}

const char *
ffpf_text_get(const struct ffpf_text *text)
{
	return text->data ? text->data : "";
}

void
ffpf_text_free(struct ffpf_text *text)
{
	free(text->data);
	*text = (struct ffpf_text){ 0 };
}
