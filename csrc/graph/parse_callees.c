/* SPDX-License-Identifier: BSD-3-Clause */
/* { WORD "=" tuple ";" }: filters before the flow, which programs of it may call. */
#include "graph/parse_internal.h"

#include <stdlib.h>
#include <strings.h>

const struct ffpf_graph_node *
parse_find_callee(const struct ffpf_graph_text *graph, const char *name)
{
	for (uint32_t i = 0; i < graph->callee_count; i++) {
		if (strcasecmp(graph->callees[i].name, name) == 0)
			return &graph->callees[i];
	}
	return NULL;
}

/* WORD "=" tuple ";". Other text is the flow's, which begins alike: *found is false then, and errors are its own. */
static int
take_one(struct parser *p, struct ffpf_graph_node *node, bool *found)
{
	int status = parse_take_name(p, &node->name);

	*found = false;
	if (status || !node->name)
		return status;
	parse_skip_blanks(p);
	if (parse_here(p) != '=')
		return 0;
	p->pos++;
	parse_skip_blanks(p);
	if (parse_here(p) != '(')
		return 0;
	p->pos++;
	if (parse_take_tuple(p, node))
		return 0;
	parse_skip_blanks(p);
	*found = parse_here(p) == ';';
	return 0;
}

static int
check_name(struct parser *p, const char *name, size_t at)
{
	if (strchr(name, '-') || strlen(name) > FFPF_GRAPH_WORD_MAX)
		return parse_fail(p, at, "EXTERN calls filters by names of at most %d letters, digits and _",
				  FFPF_GRAPH_WORD_MAX);
	if (parse_find_callee(p->graph, name))
		return parse_fail(p, at, "there is a filter \"%s\" already", name);
	if (p->graph->callee_count == FFPF_GRAPH_CALLS_MAX)
		return parse_fail(p, at, "more than %d filters before the flow", FFPF_GRAPH_CALLS_MAX);
	return 0;
}

static int
keep(struct parser *p, const struct ffpf_graph_node *node)
{
	struct ffpf_graph_text *graph = p->graph;
	struct ffpf_graph_node *grown =
	    parse_grow(graph->callees, graph->callee_count, &graph->callee_room, sizeof(*grown));

	if (!grown)
		return parse_no_memory(p);
	graph->callees = grown;
	graph->callees[graph->callee_count++] = *node;
	return 0;
}

int
parse_callees(struct parser *p)
{
	for (;;) {
		struct ffpf_graph_node node = { 0 };
		size_t begin;
		bool found;
		int status;

		parse_skip_blanks(p);
		begin = p->pos;
		status = take_one(p, &node, &found);
		if (!status && found)
			status = check_name(p, node.name, begin);
		if (!status && found)
			status = keep(p, &node);
		if (status || !found) {
			parse_free_node(&node);
			p->pos = begin;
			return status;
		}
		p->pos++;
	}
}
