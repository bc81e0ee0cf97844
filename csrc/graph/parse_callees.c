/* SPDX-License-Identifier: BSD-3-Clause */
/* { WORD "=" (tuple | NAME ["." NAME]) ";" }: what programs of the flow may call, and read. */
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

const struct ffpf_graph_alias *
parse_find_alias(const struct ffpf_graph_text *graph, const char *name)
{
	for (uint32_t i = 0; i < graph->alias_count; i++) {
		if (strcasecmp(graph->aliases[i].word, name) == 0)
			return &graph->aliases[i];
	}
	return NULL;
}

/* What may become one or the other: a filter has a class, an alias the name of a node. */
struct found {
	struct ffpf_graph_node filter;
	char *word, *name, *flow;
};

static void
free_found(struct found *found)
{
	parse_free_node(&found->filter);
	free(found->word);
	free(found->name);
	free(found->flow);
}

/* NAME [ "." NAME ] */
static int
take_node_name(struct parser *p, struct found *found)
{
	int status = parse_take_name(p, &found->name);

	if (status || !found->name || parse_here(p) != '.')
		return status;
	p->pos++;
	found->flow = found->name;
	found->name = NULL;
	return parse_take_name(p, &found->name);
}

/* WORD "=" ... ";". Other text is the flow's, which begins alike: *is is false then, and errors are its own. */
static int
take_one(struct parser *p, struct found *found, bool *is)
{
	int status = parse_take_name(p, &found->word);

	*is = false;
	if (status || !found->word)
		return status;
	parse_skip_blanks(p);
	if (parse_here(p) != '=')
		return 0;
	p->pos++;
	parse_skip_blanks(p);
	if (parse_here(p) == '(') {
		p->pos++;
		if (parse_take_tuple(p, &found->filter))
			return 0;
	} else {
		status = take_node_name(p, found);
		if (status || !found->name)
			return status;
	}
	parse_skip_blanks(p);
	*is = parse_here(p) == ';';
	return 0;
}

/* In any case of letters, as programs say it. */
static bool
names_a_node(const struct ffpf_graph_text *graph, const char *word)
{
	for (uint32_t i = 0; i < graph->count; i++) {
		if (!graph->nodes[i].flow && strcasecmp(graph->nodes[i].name, word) == 0)
			return true;
	}
	return false;
}

static int
check_word(struct parser *p, const char *word, size_t at)
{
	if (strchr(word, '-') || strlen(word) > FFPF_GRAPH_WORD_MAX)
		return parse_fail(p, at, "programs know names of at most %d letters, digits and _",
				  FFPF_GRAPH_WORD_MAX);
	if (parse_find_callee(p->graph, word) || parse_find_alias(p->graph, word))
		return parse_fail(p, at, "there is \"%s\" already", word);
	if (names_a_node(p->graph, word))
		return parse_fail(p, at, "\"%s\" was another flow's node before this place", word);
	if (p->graph->callee_count + p->graph->alias_count == FFPF_GRAPH_CALLS_MAX)
		return parse_fail(p, at, "more than %d names before the flow", FFPF_GRAPH_CALLS_MAX);
	return 0;
}

static int
keep_filter(struct parser *p, struct found *found)
{
	struct ffpf_graph_text *graph = p->graph;
	struct ffpf_graph_node *grown =
	    parse_grow(graph->callees, graph->callee_count, &graph->callee_room, sizeof(*grown));

	if (!grown)
		return parse_no_memory(p);
	graph->callees = grown;
	found->filter.name = found->word;
	grown[graph->callee_count++] = found->filter;
	found->word = NULL;
	found->filter = (struct ffpf_graph_node){ 0 };
	return 0;
}

static int
keep_alias(struct parser *p, struct found *found, size_t at)
{
	struct ffpf_graph_text *graph = p->graph;
	struct ffpf_graph_alias *grown =
	    parse_grow(graph->aliases, graph->alias_count, &graph->alias_room, sizeof(*grown));
	char *name = found->name, *flow = found->flow;
	uint32_t node;
	int status;

	if (!grown)
		return parse_no_memory(p);
	graph->aliases = grown;
	if (!flow && (parse_find_callee(graph, name) || parse_find_alias(graph, name)))
		return parse_fail(p, at, "\"%s\" is a name of this text, no node of another flow", name);
	found->name = found->flow = NULL;
	status = parse_foreign(p, name, flow, at, &node);
	if (status)
		return status;
	grown[graph->alias_count++] = (struct ffpf_graph_alias){ found->word, node };
	found->word = NULL;
	return 0;
}

int
parse_callees(struct parser *p)
{
	for (;;) {
		struct found found = { 0 };
		size_t begin;
		bool is;
		int status;

		parse_skip_blanks(p);
		begin = p->pos;
		status = take_one(p, &found, &is);
		if (!status && is)
			status = check_word(p, found.word, begin);
		if (!status && is)
			status = found.filter.class ? keep_filter(p, &found) : keep_alias(p, &found, begin);
		free_found(&found);
		if (status || !is) {
			p->pos = begin;
			return status;
		}
		p->pos++;
	}
}
