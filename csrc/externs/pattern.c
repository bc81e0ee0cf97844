/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/pattern.h"

#include <string.h>

static int
nibble(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* What stands behind a backslash; *used: octets of it. -1: nothing that is known. */
static int
escaped(const char *text, size_t len, size_t *used)
{
	static const char names[] = "nrt0\\", values[] = "\n\r\t\0\\";
	const char *at = len && text[0] ? strchr(names, text[0]) : NULL;

	*used = 1;
	if (at)
		return (uint8_t)values[at - names];
	if (len < 3 || text[0] != 'x' || nibble(text[1]) < 0 || nibble(text[2]) < 0)
		return -1;
	*used = 3;
	return nibble(text[1]) << 4 | nibble(text[2]);
}

long
pattern_read(uint8_t *out, const char *text, size_t len)
{
	long n = 0;

	for (size_t i = 0; i < len; i++) {
		size_t used = 0;
		int octet = (uint8_t)text[i];

		if (text[i] == '\\') {
			octet = escaped(text + i + 1, len - i - 1, &used);
			if (octet < 0)
				return -1;
		}
		out[n++] = (uint8_t)octet;
		i += used;
	}
	return n;
}
