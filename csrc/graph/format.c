/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * what stands before the flow, and tree -> text. Brackets that change nothing are left out: those around one stage,
 * whose alternatives join those around them, and those around a flow that is a whole stage.
 */
#include "graph/lex.h"
#include "graph/parse.h"

#include <inttypes.h>

static void
expression(const char *text, struct ffpf_text *out)
{
	size_t len = strlen(text);
	bool bare = len > 0 && !lex_blank(text[0]) && !lex_blank(text[len - 1]);

	for (size_t i = 0; i < len && bare; i++)
		bare = lex_bare(text[i]);
	if (bare) {
		ffpf_text_add_octets(out, text, len);
		return;
	}
	ffpf_text_add(out, "\"");
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			ffpf_text_add(out, "\\");
		ffpf_text_add_octets(out, text + i, 1);
	}
	ffpf_text_add(out, "\"");
}

static void
node_name(const struct ffpf_graph_node *node, struct ffpf_text *out)
{
	ffpf_text_add(out, "%s%s%s", node->flow ? node->flow : "", node->flow ? "." : "", node->name);
}

static void
tuple(const struct ffpf_graph_node *node, struct ffpf_text *out)
{
	if (node->name)
		ffpf_text_add(out, "%s=", node->name);
	ffpf_text_add(out, "(%s", node->class);
	if (node->expression[0] || node->has_mbuf)
		ffpf_text_add(out, ",");
	if (node->expression[0])
		expression(node->expression, out);
	if (node->has_mbuf)
		ffpf_text_add(out, ",%" PRIu64, node->mbuf_bytes);
	ffpf_text_add(out, ")");
}

static uint32_t
stages(const struct ffpf_graph_term *flow)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < flow->count; i++)
		n += flow->terms[i].begins_stage;
	return n;
}

static void flow_text(const struct ffpf_graph_text *graph, const struct ffpf_graph_term *flow, const char *before,
		      struct ffpf_text *out);

/* whole: this alternative is a stage of its own. before: what separates it from what was written. */
static void
alternative(const struct ffpf_graph_text *graph, const struct ffpf_graph_term *term, const char *before, bool whole,
	    struct ffpf_text *out)
{
	const struct ffpf_graph_node *node = &graph->nodes[term->node];

	if (term->kind == FFPF_GRAPH_TERM_FLOW && stages(term) == 1) {
		for (uint32_t i = 0; i < term->count; i++)
			alternative(graph, &term->terms[i], i ? " | " : before, whole && term->count == 1, out);
		return;
	}
	if (term->kind == FFPF_GRAPH_TERM_FLOW && whole) {
		flow_text(graph, term, before, out);
		return;
	}
	ffpf_text_add(out, "%s", before);
	if (term->kind == FFPF_GRAPH_TERM_FLOW) {
		ffpf_text_add(out, "[");
		flow_text(graph, term, "", out);
		ffpf_text_add(out, "]");
	} else if (term->kind == FFPF_GRAPH_TERM_NODE) {
		tuple(node, out);
	} else {
		node_name(node, out);
	}
}

static void
flow_text(const struct ffpf_graph_text *graph, const struct ffpf_graph_term *flow, const char *before,
	  struct ffpf_text *out)
{
	for (uint32_t i = 0; i < flow->count; i++) {
		const struct ffpf_graph_term *term = &flow->terms[i];
		bool last = i + 1 == flow->count || flow->terms[i + 1].begins_stage;
		const char *separator = term->begins_stage ? " -> " : " | ";

		alternative(graph, term, i ? separator : before, term->begins_stage && last, out);
	}
}

void
ffpf_graph_text_format(const struct ffpf_graph_text *graph, struct ffpf_text *out)
{
	for (uint32_t i = 0; i < graph->alias_count; i++) {
		ffpf_text_add(out, "%s=", graph->aliases[i].word);
		node_name(&graph->nodes[graph->aliases[i].node], out);
		ffpf_text_add(out, "; ");
	}
	for (uint32_t i = 0; i < graph->callee_count; i++) {
		tuple(&graph->callees[i], out);
		ffpf_text_add(out, "; ");
	}
	flow_text(graph, &graph->root, "", out);
}
