/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_LEX_H
#define FFPF_GRAPH_LEX_H
/* The octets of a graph's text, for parser and formatter. Private to this room. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool
lex_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline bool
lex_name_begin(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* How many octets at p, of `left` that there are, are a name; a '-' before '>' belongs to an arrow. */
static inline size_t
lex_name(const char *p, size_t left)
{
	size_t n = 0;

	if (!left || !lex_name_begin(*p))
		return 0;
	while (n < left && (lex_name_begin(p[n]) || (p[n] >= '0' && p[n] <= '9') ||
			    (p[n] == '-' && !(n + 1 < left && p[n + 1] == '>'))))
		n++;
	return n;
}

/* May stand in an expression without quotation marks. */
static inline bool
lex_bare(char c)
{
	return c != '\0' && c != '\n' && c != '\r' && !strchr("()[],|\"\\", c);
}

#endif
