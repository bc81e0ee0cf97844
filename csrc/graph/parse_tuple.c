/* SPDX-License-Identifier: BSD-3-Clause */
/* One tuple of a graph's text, and what it is made of. */
#include "graph/parse_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int
parse_fail(struct parser *p, size_t at, const char *fmt, ...)
{
	char message[FFPF_ERROR_TEXT_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return ffpf_graph_error_set(p->err, p->text, p->len, (uint32_t)at, FFPF_E_INVALID, "%s", message);
}

int
parse_no_memory(struct parser *p)
{
	return ffpf_graph_error_set(p->err, p->text, p->len, FFPF_GRAPH_NOWHERE, FFPF_E_NO_MEMORY, "out of memory");
}

void *
parse_grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
	uint32_t wanted = *room ? *room * 2 : 4;
	void *grown;

	if (count < *room)
		return array;
	grown = realloc(array, wanted * size);
	if (grown)
		*room = wanted;
	return grown;
}

void
parse_free_node(struct ffpf_graph_node *node)
{
	free(node->name);
	free(node->flow);
	free(node->class);
	free(node->expression);
	free(node->inputs);
}

void
parse_skip_blanks(struct parser *p)
{
	for (;;) {
		if (p->pos < p->len && lex_blank(p->text[p->pos]))
			p->pos++;
		else if (p->pos + 1 < p->len && p->text[p->pos] == '\\' && p->text[p->pos + 1] == '\n')
			p->pos += 2;
		else if (p->pos + 2 < p->len && memcmp(p->text + p->pos, "\\\r\n", 3) == 0)
			p->pos += 3;
		else
			return;
	}
}

int
parse_take_name(struct parser *p, char **out)
{
	size_t n = lex_name(p->text + p->pos, p->len - p->pos);

	*out = NULL;
	if (!n)
		return 0;
	*out = strndup(p->text + p->pos, n);
	if (!*out)
		return parse_no_memory(p);
	p->pos += n;
	return 0;
}

static int
take_quoted(struct parser *p, struct ffpf_graph_node *node)
{
	size_t begin = p->pos++, n = 0;

	node->quoted = true;
	node->expression_at = (uint32_t)p->pos;
	node->expression = malloc(p->len - p->pos + 1);
	if (!node->expression)
		return parse_no_memory(p);
	for (; p->pos < p->len && p->text[p->pos] != '"'; p->pos++) {
		if (p->text[p->pos] == '\\') {
			p->pos++;
			if (parse_here(p) != '"' && parse_here(p) != '\\')
				return parse_fail(p, p->pos - 1, "a backslash stands before \" or \\; write it twice");
		}
		if (!parse_here(p))
			return parse_fail(p, p->pos, "NUL in an expression");
		node->expression[n++] = p->text[p->pos];
	}
	if (p->pos == p->len)
		return parse_fail(p, begin, "the quotation mark is not closed");
	p->pos++;
	node->expression[n] = '\0';
	return 0;
}

static int
take_bare(struct parser *p, struct ffpf_graph_node *node)
{
	size_t begin = p->pos, end;

	node->expression_at = (uint32_t)begin;
	while (p->pos < p->len && lex_bare(p->text[p->pos]))
		p->pos++;
	for (end = p->pos; end > begin && lex_blank(p->text[end - 1]); end--)
		;
	node->expression = strndup(p->text + begin, end - begin);
	return node->expression ? 0 : parse_no_memory(p);
}

static int
take_mbuf(struct parser *p, struct ffpf_graph_node *node)
{
	size_t begin = p->pos;

	for (; parse_here(p) >= '0' && parse_here(p) <= '9'; p->pos++) {
		node->has_mbuf = true;
		node->mbuf_bytes = node->mbuf_bytes * 10 + (uint64_t)(parse_here(p) - '0');
		if (node->mbuf_bytes > FFPF_GRAPH_MBUF_MAX)
			return parse_fail(p, begin, "MBuf: more than %u octets", FFPF_GRAPH_MBUF_MAX);
	}
	parse_skip_blanks(p);
	if (parse_here(p) != ')')
		return parse_fail(p, p->pos, "expected %s\")\"",
				  node->has_mbuf ? "" : "the number of octets of MBuf, or ");
	return 0;
}

int
parse_take_tuple(struct parser *p, struct ffpf_graph_node *node)
{
	int status;

	parse_skip_blanks(p);
	node->at = (uint32_t)p->pos;
	status = parse_take_name(p, &node->class);
	if (status)
		return status;
	if (!node->class)
		return parse_fail(p, p->pos, "expected the name of a filter class");
	parse_skip_blanks(p);
	if (parse_here(p) == ',') {
		p->pos++;
		parse_skip_blanks(p);
		status = parse_here(p) == '"' ? take_quoted(p, node) : take_bare(p, node);
		if (status)
			return status;
		parse_skip_blanks(p);
		if (parse_here(p) == ',') {
			p->pos++;
			parse_skip_blanks(p);
			status = take_mbuf(p, node);
			if (status)
				return status;
		}
	}
	if (parse_here(p) != ')')
		return parse_fail(p, p->pos,
				  "expected \",\" or \")\"; what has other characters in it, stands in quotation "
				  "marks");
	p->pos++;
	if (!node->expression) {
		node->expression = strdup("");
		node->expression_at = (uint32_t)p->pos - 1;
	}
	return node->expression ? 0 : parse_no_memory(p);
}
