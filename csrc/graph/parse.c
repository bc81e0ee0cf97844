/* SPDX-License-Identifier: BSD-3-Clause */
/* text -> nodes and tree; the grammar is in parse.h, a function a rule. */
#include "graph/parse_internal.h"

#include <stdlib.h>

/* Nodes whose packets go on together, each once, in the order of the text. */
struct set {
	uint32_t *nodes;
	uint32_t count, room;
};

static bool
arrow(const struct parser *p)
{
	return p->pos + 1 < p->len && p->text[p->pos] == '-' && p->text[p->pos + 1] == '>';
}

static int parse_flow(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, struct set *outputs);

static bool
set_add(struct set *set, uint32_t node)
{
	uint32_t *nodes;

	for (uint32_t i = 0; i < set->count; i++) {
		if (set->nodes[i] == node)
			return true;
	}
	nodes = parse_grow(set->nodes, set->count, &set->room, sizeof(*set->nodes));
	if (!nodes)
		return false;
	set->nodes = nodes;
	set->nodes[set->count++] = node;
	return true;
}

static struct ffpf_graph_node *
new_node(struct parser *p, size_t at, uint32_t *number)
{
	struct ffpf_graph_text *graph = p->graph;
	struct ffpf_graph_node *nodes;

	if (graph->count == FFPF_GRAPH_NODES_MAX) {
		parse_fail(p, at, "more than %d filters", FFPF_GRAPH_NODES_MAX);
		return NULL;
	}
	nodes = parse_grow(graph->nodes, graph->count, &graph->room, sizeof(*nodes));
	if (!nodes) {
		parse_no_memory(p);
		return NULL;
	}
	graph->nodes = nodes;
	*number = graph->count++;
	graph->nodes[*number] = (struct ffpf_graph_node){ .at = (uint32_t)at, .expression_at = (uint32_t)at };
	return &graph->nodes[*number];
}

/* Number of the node that has this name already; count when there is none. flow NULL: one of this text comes first. */
static uint32_t
find_name(const struct ffpf_graph_text *graph, const char *name, const char *flow)
{
	for (uint32_t i = 0; i < graph->count; i++) {
		const struct ffpf_graph_node *node = &graph->nodes[i];
		bool same_flow = flow ? node->flow && strcmp(node->flow, flow) == 0 : !node->flow;

		if (node->name && same_flow && strcmp(node->name, name) == 0)
			return i;
	}
	return graph->count;
}

int
parse_foreign(struct parser *p, char *name, char *flow, size_t at, uint32_t *out)
{
	struct ffpf_graph_node *node = NULL;

	*out = find_name(p->graph, name, flow);
	if (*out == p->graph->count) {
		node = new_node(p, at, out);
		if (node) {
			node->name = name;
			node->flow = flow;
			name = flow = NULL;
			node->expression = strdup("");
		}
		if (!node || !node->expression) {
			free(name);
			free(flow);
			return node ? parse_no_memory(p) : -(int)p->err->error.code;
		}
	}
	free(name);
	free(flow);
	return 0;
}

/* A node named before; or one of another flow, which gets a node of its own here. Takes name and flow over. */
static int
refer(struct parser *p, char *name, char *flow, size_t at, struct ffpf_graph_term *term)
{
	const struct ffpf_graph_alias *alias = flow ? NULL : parse_find_alias(p->graph, name);
	int status;

	if (!flow && parse_find_callee(p->graph, name)) {
		status = parse_fail(p, at, "\"%s\" is a filter that programs call: no packets come out of it", name);
		free(name);
		return status;
	}
	term->kind = FFPF_GRAPH_TERM_NAME;
	if (alias) {
		term->node = alias->node;
		free(name);
		return 0;
	}
	status = parse_foreign(p, name, flow, at, &term->node);
	if (!status)
		term->local = p->graph->nodes[term->node].class != NULL;
	return status;
}

static int
parse_tuple(struct parser *p, char *name, size_t at, const struct set *inputs, struct ffpf_graph_term *term)
{
	struct ffpf_graph_node *node;
	uint32_t number, old = name ? find_name(p->graph, name, NULL) : p->graph->count;

	if (old < p->graph->count) {
		/* without a class it was taken for another flow's */
		int status = p->graph->nodes[old].class ? parse_fail(p, at, "there is a node \"%s\" already", name)
							: parse_fail(p, p->graph->nodes[old].at,
								     "\"%s\" is named only behind this place", name);

		free(name);
		return status;
	}
	if (name && (parse_find_callee(p->graph, name) || parse_find_alias(p->graph, name))) {
		int status = parse_fail(p, at, "there is \"%s\" already, before the flow", name);

		free(name);
		return status;
	}
	p->pos++; /* the bracket */
	node = new_node(p, at, &number);
	if (!node) {
		free(name);
		return -(int)p->err->error.code;
	}
	node->name = name;
	term->kind = FFPF_GRAPH_TERM_NODE;
	term->node = number;
	if (inputs->count) {
		node->inputs = malloc(inputs->count * sizeof(*node->inputs));
		if (!node->inputs)
			return parse_no_memory(p);
		memcpy(node->inputs, inputs->nodes, inputs->count * sizeof(*node->inputs));
		node->input_count = inputs->count;
	}
	return parse_take_tuple(p, node);
}

static int
parse_nested(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, struct set *outputs)
{
	size_t begin = p->pos;
	int status;

	if (p->depth == FFPF_GRAPH_DEPTH_MAX)
		return parse_fail(p, begin, "brackets in brackets: more than %d", FFPF_GRAPH_DEPTH_MAX);
	p->depth++;
	p->pos++;
	term->kind = FFPF_GRAPH_TERM_FLOW;
	status = parse_flow(p, inputs, term, outputs);
	if (status)
		return status;
	if (parse_here(p) != ']')
		return p->pos < p->len ? parse_fail(p, p->pos, "expected \"->\", \"|\" or \"]\"")
				       : parse_fail(p, begin, "the bracket is not closed");
	p->pos++;
	p->depth--;
	return 0;
}

/* NAME, NAME "." NAME, or NAME "=" "(" ...; *made: the alternative takes the stage's inputs. */
static int
parse_named(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, bool *made)
{
	char *name = NULL, *second = NULL;
	size_t begin = p->pos;
	int status = parse_take_name(p, &name);

	if (status)
		return status;
	if (!name)
		return parse_fail(p, p->pos, "expected \"(\", \"[\" or a name");
	if (parse_here(p) == '.') {
		p->pos++;
		status = parse_take_name(p, &second);
		if (!status && !second)
			status = parse_fail(p, p->pos, "expected the name of a node of flow \"%s\"", name);
		if (status) {
			free(name);
			return status;
		}
		return refer(p, second, name, begin, term);
	}
	parse_skip_blanks(p);
	if (parse_here(p) != '=')
		return refer(p, name, NULL, begin, term);
	p->pos++;
	parse_skip_blanks(p);
	if (parse_here(p) != '(') {
		free(name);
		return parse_fail(p, p->pos, "expected \"(\": a name is given to one filter");
	}
	*made = true;
	return parse_tuple(p, name, begin, inputs, term);
}

/* One alternative; what it lets through is added to outputs. */
static int
parse_alt(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, struct set *outputs, bool *takes)
{
	bool made = true;
	int status;

	parse_skip_blanks(p);
	if (parse_here(p) == '[') {
		*takes = true;
		return parse_nested(p, inputs, term, outputs);
	}
	if (parse_here(p) == '(') {
		status = parse_tuple(p, NULL, p->pos, inputs, term);
	} else {
		made = false;
		status = parse_named(p, inputs, term, &made);
	}
	*takes |= made;
	if (!status && !set_add(outputs, term->node))
		return parse_no_memory(p);
	return status;
}

static int
parse_stage(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, struct set *outputs)
{
	bool takes = false, first = true;
	size_t begin;

	parse_skip_blanks(p);
	begin = p->pos;
	for (;; p->pos++, first = false) {
		struct ffpf_graph_term *alt, *terms = parse_grow(term->terms, term->count, &term->room, sizeof(*terms));
		int status;

		if (!terms)
			return parse_no_memory(p);
		term->terms = terms;
		alt = &term->terms[term->count++];
		*alt = (struct ffpf_graph_term){ .begins_stage = first };
		status = parse_alt(p, inputs, alt, outputs, &takes);
		if (status)
			return status;
		parse_skip_blanks(p);
		if (parse_here(p) != '|')
			break;
	}
	if (inputs->count && !takes)
		return parse_fail(p, begin,
				  "a name takes no packets from the stage before it: it can begin a flow, or stand "
				  "beside another alternative");
	return 0;
}

/* Stands behind the last stage when it returns 0. */
static int
parse_flow(struct parser *p, const struct set *inputs, struct ffpf_graph_term *term, struct set *outputs)
{
	struct set now = { 0 }, next = { 0 };
	const struct set *from = inputs;
	int status;

	for (;; p->pos += 2) {
		next.count = 0;
		status = parse_stage(p, from, term, &next);
		if (status || !arrow(p))
			break;
		struct set swapped = now;

		now = next;
		next = swapped;
		from = &now;
	}
	for (uint32_t i = 0; !status && i < next.count; i++) {
		if (!set_add(outputs, next.nodes[i]))
			status = parse_no_memory(p);
	}
	free(now.nodes);
	free(next.nodes);
	return status;
}

static int
parse_all(struct parser *p)
{
	struct set nothing = { 0 }, ends = { 0 };
	int status = parse_callees(p);

	if (!status)
		status = parse_flow(p, &nothing, &p->graph->root, &ends);
	p->graph->root.kind = FFPF_GRAPH_TERM_FLOW;
	p->graph->ends = ends.nodes;
	p->graph->end_count = ends.count;
	if (!status && parse_here(p) == ';')
		status =
		    parse_fail(p, p->pos, "a filter that programs call stands before the flow, as NAME=(class,...);");
	else if (!status && p->pos < p->len)
		status = parse_fail(p, p->pos, "expected \"->\", \"|\" or the end");
	return status;
}

int
ffpf_graph_text_parse(struct ffpf_graph_text **out, const char *text, size_t len, struct ffpf_graph_error *err)
{
	struct ffpf_graph_text *graph = calloc(1, sizeof(*graph));
	struct parser p = { .graph = graph, .len = len, .err = err };
	int status;

	*err = (struct ffpf_graph_error){ .offset = FFPF_GRAPH_NOWHERE };
	if (len > FFPF_GRAPH_LEN_MAX) {
		free(graph);
		return ffpf_graph_error_set(err, text, len, FFPF_GRAPH_NOWHERE, FFPF_E_INVALID,
					    "a text of more than %u octets", FFPF_GRAPH_LEN_MAX);
	}
	if (graph) {
		graph->text = malloc(len + 1);
		graph->len = len;
	}
	if (!graph || !graph->text) {
		free(graph);
		return parse_no_memory(&p);
	}
	memcpy(graph->text, text, len);
	graph->text[len] = '\0';
	p.text = graph->text;
	status = parse_all(&p);
	if (status) {
		ffpf_graph_text_free(graph);
		return status;
	}
	*out = graph;
	return 0;
}

static void
free_terms(struct ffpf_graph_term *term)
{
	for (uint32_t i = 0; i < term->count; i++)
		free_terms(&term->terms[i]);
	free(term->terms);
}

void
ffpf_graph_text_free(struct ffpf_graph_text *graph)
{
	if (!graph)
		return;
	for (uint32_t i = 0; i < graph->count; i++)
		parse_free_node(&graph->nodes[i]);
	for (uint32_t i = 0; i < graph->callee_count; i++)
		parse_free_node(&graph->callees[i]);
	free_terms(&graph->root);
	free(graph->nodes);
	free(graph->callees);
	for (uint32_t i = 0; i < graph->alias_count; i++)
		free(graph->aliases[i].word);
	free(graph->aliases);
	free(graph->ends);
	free(graph->text);
	free(graph);
}

uint32_t
ffpf_graph_expression_place(const struct ffpf_graph_text *graph, const struct ffpf_graph_node *node, size_t at)
{
	size_t place = node->expression_at;

	for (size_t i = 0; i < at && place < graph->len; i++, place++) {
		if (node->quoted && graph->text[place] == '\\')
			place++;
	}
	return (uint32_t)(place < graph->len ? place : graph->len);
}
