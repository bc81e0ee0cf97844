/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/words.h"

#include <stddef.h>
#include <string.h>

static uint8_t
lowered(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool
words_line(struct words *text, struct words *line)
{
	const uint8_t *lf;

	if (text->at == text->end)
		return false;
	lf = memchr(text->at, '\n', (size_t)(text->end - text->at));
	*line = (struct words){ text->at, lf ? lf : text->end };
	text->at = lf ? lf + 1 : text->end;
	if (line->end > line->at && line->end[-1] == '\r')
		line->end--;
	return true;
}

bool
words_begin(struct words *text, const char *lower)
{
	size_t len = strlen(lower);

	if ((size_t)(text->end - text->at) < len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (lowered(text->at[i]) != (uint8_t)lower[i])
			return false;
	}
	text->at += len;
	return true;
}

bool
words_skip_to(struct words *text, const char *lower)
{
	for (struct words rest = *text; rest.at < rest.end; rest.at++) {
		struct words here = rest;

		if (words_begin(&here, lower)) {
			*text = here;
			return true;
		}
	}
	return false;
}

bool
words_number(struct words *text, uint32_t most, uint32_t *out)
{
	const uint8_t *p = text->at;
	uint64_t value = 0;

	for (; p < text->end && *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (uint64_t)(*p - '0');
		if (value > most)
			return false;
	}
	if (p == text->at)
		return false;
	text->at = p;
	*out = (uint32_t)value;
	return true;
}

void
words_blanks(struct words *text)
{
	while (text->at < text->end && (*text->at == ' ' || *text->at == '\t'))
		text->at++;
}
