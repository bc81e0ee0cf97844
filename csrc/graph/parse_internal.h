/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_PARSE_INTERNAL_H
#define FFPF_GRAPH_PARSE_INTERNAL_H
/* What the parser's files share: where it stands, and how it fails. */
#include "graph/lex.h"
#include "graph/parse.h"

struct parser {
	struct ffpf_graph_text *graph;
	const char *text;
	size_t len, pos;
	uint32_t depth;
	struct ffpf_graph_error *err;
};

static inline char
parse_here(const struct parser *p)
{
	return p->pos < p->len ? p->text[p->pos] : '\0';
}

/* Both return -code, with p->err set. */
int parse_fail(struct parser *p, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int parse_no_memory(struct parser *p);

/* Blanks, line ends, and a backslash at the end of a line. */
void parse_skip_blanks(struct parser *p);
/* A name at the place where p stands, as a copy; *out NULL when there is none. */
int parse_take_name(struct parser *p, char **out);
/* class [ "," [ expression ] [ "," [ octets ] ] ] ")": all of a tuple behind its first bracket. */
int parse_take_tuple(struct parser *p, struct ffpf_graph_node *node);
void parse_free_node(struct ffpf_graph_node *node); /* what it points to */
/* The array with room for one more element; NULL when memory runs out, and it is as it was. */
void *parse_grow(void *array, uint32_t count, uint32_t *room, size_t size);

/* parse_callees.c: all that stands before the flow. */
int parse_callees(struct parser *p);
/* What stands there by that name; NULL: nothing. */
const struct ffpf_graph_node *parse_find_callee(const struct ffpf_graph_text *graph, const char *name);
const struct ffpf_graph_alias *parse_find_alias(const struct ffpf_graph_text *graph, const char *name);
/* NAME "=" NAME "." NAME: *out is the node of the text that stands for another flow's. Takes name and flow (NULL:
 * whichever flow has it) over. */
int parse_foreign(struct parser *p, char *name, char *flow, size_t at, uint32_t *out);

#endif
