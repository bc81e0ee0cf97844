/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as the text of a graph. An error has its place inside the text. A graph is in topological order, is
 * formatted to a text that parses to the same graph, and that text is formatted to itself.
 */
#include "common/fuzzing.h"
#include "graph/parse.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUT 4096u

static bool
same_string(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : !a && !b;
}

static bool
same_numbers(const uint32_t *a, uint32_t a_count, const uint32_t *b, uint32_t b_count)
{
	return a_count == b_count && (!a_count || memcmp(a, b, a_count * sizeof(*a)) == 0);
}

static void
check_node(const struct ffpf_graph_text *graph, const struct ffpf_graph_node *node, uint32_t number)
{
	MUST(node->expression && (node->class || node->name));
	MUST(node->at < graph->len && node->expression_at <= graph->len);
	for (uint32_t i = 0; i < node->input_count; i++)
		MUST(node->inputs[i] < number);
	for (size_t i = 0; i <= strlen(node->expression); i++)
		MUST(ffpf_graph_expression_place(graph, node, i) <= graph->len);
}

static void
check_same_node(const struct ffpf_graph_node *x, const struct ffpf_graph_node *y)
{
	MUST(same_string(x->name, y->name) && same_string(x->flow, y->flow));
	MUST(same_string(x->class, y->class) && same_string(x->expression, y->expression));
	MUST(x->has_mbuf == y->has_mbuf && x->mbuf_bytes == y->mbuf_bytes);
	MUST(same_numbers(x->inputs, x->input_count, y->inputs, y->input_count));
}

static void
check_same(const struct ffpf_graph_text *a, const struct ffpf_graph_text *b)
{
	MUST(a->count == b->count && same_numbers(a->ends, a->end_count, b->ends, b->end_count));
	MUST(a->callee_count == b->callee_count && a->alias_count == b->alias_count);
	for (uint32_t i = 0; i < a->alias_count; i++)
		MUST(same_string(a->aliases[i].word, b->aliases[i].word) && a->aliases[i].node == b->aliases[i].node);
	for (uint32_t i = 0; i < a->count; i++)
		check_same_node(&a->nodes[i], &b->nodes[i]);
	for (uint32_t i = 0; i < a->callee_count; i++)
		check_same_node(&a->callees[i], &b->callees[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct ffpf_graph_text *graph = NULL, *again = NULL;
	struct ffpf_text text = { 0 }, second = { 0 };
	struct ffpf_graph_error err;

	if (size > MAX_INPUT)
		return 0;
	if (ffpf_graph_text_parse(&graph, (const char *)input, size, &err)) {
		MUST(!graph && err.error.text[0] && err.offset <= size && err.line >= 1 && err.column >= 1);
		ffpf_graph_error_show(&err, (const char *)input, size, &text);
		MUST(text.len > 0);
		ffpf_text_free(&text);
		return 0;
	}
	MUST(graph->count > 0 && graph->end_count > 0);
	for (uint32_t i = 0; i < graph->count; i++)
		check_node(graph, &graph->nodes[i], i);
	for (uint32_t i = 0; i < graph->callee_count; i++) {
		MUST(graph->callees[i].name && graph->callees[i].class);
		check_node(graph, &graph->callees[i], 0); /* no inputs */
	}
	ffpf_graph_text_format(graph, &text);
	MUST(ffpf_graph_text_parse(&again, text.data, text.len, &err) == 0);
	check_same(graph, again);
	ffpf_graph_text_format(again, &second);
	MUST(text.len == second.len && memcmp(text.data, second.data, text.len) == 0);
	ffpf_graph_text_free(graph);
	ffpf_graph_text_free(again);
	ffpf_text_free(&text);
	ffpf_text_free(&second);
	return 0;
}
