/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors that know their place in the text. */
#include "graph/parse.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN_BEFORE 60 /* octets of a long line that are shown around the place */
#define SHOWN_BEHIND 40

int
ffpf_graph_error_set(struct ffpf_graph_error *err, const char *text, size_t len, uint32_t offset, enum ffpf_code code,
		     const char *fmt, ...)
{
	char message[FFPF_ERROR_TEXT_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	*err = (struct ffpf_graph_error){ .offset = FFPF_GRAPH_NOWHERE };
	if (offset == FFPF_GRAPH_NOWHERE)
		return ffpf_error_set(&err->error, code, "%s", message);
	err->offset = offset < len ? offset : (uint32_t)len;
	err->line = 1;
	err->column = 1;
	for (uint32_t i = 0; i < err->offset; i++) {
		err->column++;
		if (text[i] == '\n') {
			err->line++;
			err->column = 1;
		}
	}
	return ffpf_error_set(&err->error, code, "%u:%u: %s", err->line, err->column, message);
}

static char
printable(char c)
{
	return (unsigned char)c < ' ' && c != '\t' ? '.' : c;
}

void
ffpf_graph_error_show(const struct ffpf_graph_error *err, const char *text, size_t len, struct ffpf_text *out)
{
	size_t begin, end;

	ffpf_text_add(out, "%s\n", err->error.text);
	if (err->offset == FFPF_GRAPH_NOWHERE || err->offset > len)
		return;
	for (begin = err->offset; begin > 0 && text[begin - 1] != '\n' && err->offset - begin < SHOWN_BEFORE; begin--)
		;
	for (end = err->offset; end < len && text[end] != '\n' && end - err->offset < SHOWN_BEHIND; end++)
		;
	ffpf_text_add(out, "  ");
	for (size_t i = begin; i < end; i++)
		ffpf_text_add(out, "%c", printable(text[i]));
	ffpf_text_add(out, "\n  ");
	for (size_t i = begin; i < err->offset; i++)
		ffpf_text_add(out, "%c", text[i] == '\t' ? '\t' : ' ');
	ffpf_text_add(out, "^\n");
}
