/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/parse.h"
#include "graph/testing.h"

#include <inttypes.h>

/* "class name expression mbuf <- inputs; ...", for comparison. */
static void
nodes_of(const struct ffpf_graph_text *graph, struct ffpf_text *out)
{
	for (uint32_t i = 0; i < graph->alias_count; i++)
		ffpf_text_add(out, "%s>%" PRIu32 " ", graph->aliases[i].word, graph->aliases[i].node);
	for (uint32_t i = 0; i < graph->callee_count; i++) {
		const struct ffpf_graph_node *node = &graph->callees[i];

		ffpf_text_add(out, "%s/%s/%s/%" PRIu64 "; ", node->name, node->class, node->expression,
			      node->has_mbuf ? node->mbuf_bytes : 99);
	}
	for (uint32_t i = 0; i < graph->count; i++) {
		const struct ffpf_graph_node *node = &graph->nodes[i];

		ffpf_text_add(out, "%s%s/%s/%s/%s", i ? " " : "", node->class ? node->class : "*",
			      node->name ? node->name : "", node->flow ? node->flow : "", node->expression);
		if (node->has_mbuf)
			ffpf_text_add(out, "/%" PRIu64, node->mbuf_bytes);
		for (uint32_t j = 0; j < node->input_count; j++)
			ffpf_text_add(out, "%s%" PRIu32, j ? "," : "<", node->inputs[j]);
	}
	for (uint32_t i = 0; i < graph->end_count; i++)
		ffpf_text_add(out, "%s%" PRIu32, i ? "," : " > ", graph->ends[i]);
}

static void
texts_become_nodes(void **state)
{
	static const struct {
		const char *text, *nodes, *formatted;
	} cases[] = {
		/* the paper's, as its text has them: section 2.3 */
		{ "(device,eth0) | (device,eth1) -> (sampler,2,4) -> \\\n\n(FPL-2,\"...\") | (BPF,\"...\") -> "
		  "(bytecount,,8)",
		  "device///eth0 device///eth1 sampler///2/4<0,1 FPL-2///...<2 BPF///...<2 bytecount////8<3,4 > 5",
		  "(device,eth0) | (device,eth1) -> (sampler,2,4) -> (FPL-2,...) | (BPF,...) -> (bytecount,,8)" },
		{ "(device, eth0) -> (sampler,2,4) -> (BPF,\"...\") \\\n\n-> (packetcount,,8)",
		  "device///eth0 sampler///2/4<0 BPF///...<1 packetcount////8<2 > 3",
		  "(device,eth0) -> (sampler,2,4) -> (BPF,...) -> (packetcount,,8)" },
		{ "  ( a )  ", "a/// > 0", "(a)" },
		{ "(a,,)", "a/// > 0", "(a)" },
		{ "(a,\"x\",)", "a///x > 0", "(a,x)" },
		{ "(a,\"k=10 by=bytes\")", "a///k=10 by=bytes > 0", "(a,k=10 by=bytes)" },
		{ "(a, x y ,0)", "a///x y/0 > 0", "(a,x y,0)" },
		{ "(a,\" \\\"q\\\" \\\\ | \")", "a/// \"q\" \\ |  > 0", "(a,\" \\\"q\\\" \\\\ | \")" },
		{ "n=(a)->(b)|n", "a/n// b///<0 > 1,0", "n=(a) -> (b) | n" },
		{ "old -> (b)", "*/old// b///<0 > 1", "old -> (b)" },
		{ "f1.old | old | f1.old -> (b)", "*/old/f1/ */old// b///<0,1 > 2", "f1.old | old | f1.old -> (b)" },
		{ "a->(b)", "*/a// b///<0 > 1", "a -> (b)" },
		{ "a-b ->(b)", "*/a-b// b///<0 > 1", "a-b -> (b)" },
		{ "(a) -> [(b)->(c)] | (d) -> (e)", "a/// b///<0 c///<1 d///<0 e///<2,3 > 4",
		  "(a) -> [(b) -> (c)] | (d) -> (e)" },
		{ "[[(a)]] -> [[(b) -> (c)] | [(d) | [(e)]]]", "a/// b///<0 c///<1 d///<0 e///<0 > 2,3,4",
		  "(a) -> [(b) -> (c)] | (d) | (e)" },
		{ "top = (a) ;\n\tnext=(b,\"x;y\",8);(c)", "top/a//99; next/b/x;y/8; c/// > 0",
		  "top=(a); next=(b,x;y,8); (c)" },
		{ "x=(a);y=(c)->(b)|y", "x/a//99; c/y// b///<0 > 1,0", "x=(a); y=(c) -> (b) | y" },
		{ "m = f.n ; x=(a); k=n; (c)", "m>0 k>1 x/a//99; */n/f/ */n// c/// > 2", "m=f.n; k=n; x=(a); (c)" },
		{ "m=f.n;m->(b)|f.n", "m>0 */n/f/ b///<0 > 1,0", "m=f.n; f.n -> (b) | f.n" },
		{ "x=(a);f.x->(b)", "x/a//99; */x/f/ b///<0 > 1", "x=(a); f.x -> (b)" },
		{ "(a) -> [[(b) -> (c)]]", "a/// b///<0 c///<1 > 2", "(a) -> (b) -> (c)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_text formatted = { 0 }, nodes = { 0 }, again = { 0 };
		struct ffpf_graph_text *graph = NULL, *second = NULL;
		struct ffpf_graph_error err;

		if (ffpf_graph_text_parse(&graph, cases[i].text, strlen(cases[i].text), &err))
			fail_msg("%s: %s", cases[i].text, err.error.text);
		nodes_of(graph, &nodes);
		assert_string_equal(ffpf_text_get(&nodes), cases[i].nodes);
		ffpf_graph_text_format(graph, &formatted);
		assert_string_equal(ffpf_text_get(&formatted), cases[i].formatted);
		assert_int_equal(ffpf_graph_text_parse(&second, formatted.data, formatted.len, &err), 0);
		nodes_of(second, &again);
		assert_string_equal(ffpf_text_get(&again), cases[i].nodes);
		ffpf_text_free(&formatted);
		ffpf_text_free(&nodes);
		ffpf_text_free(&again);
		ffpf_graph_text_free(graph);
		ffpf_graph_text_free(second);
	}
}

static void
errors_show_their_place(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "", "1:1: expected \"(\", \"[\" or a name\n  \n  ^\n" },
		{ "(a) ->", "1:7: expected \"(\", \"[\" or a name\n  (a) ->\n        ^\n" },
		{ "(a)\n\t-> (b,\"x", "2:8: the quotation mark is not closed\n  \t-> (b,\"x\n  \t      ^\n" },
		{ "(a) (b)", "1:5: expected \"->\", \"|\" or the end\n  (a) (b)\n      ^\n" },
		{ "(,x)", "1:2: expected the name of a filter class\n  (,x)\n   ^\n" },
		{ "(a,\"\\n\")", "1:5: a backslash stands before \" or \\; write it twice\n  (a,\"\\n\")\n      ^\n" },
		{ "(a,x|y)",
		  "1:5: expected \",\" or \")\"; what has other characters in it, stands in quotation marks\n"
		  "  (a,x|y)\n      ^\n" },
		{ "(a,,8x)", "1:6: expected \")\"\n  (a,,8x)\n       ^\n" },
		{ "(a,,1073741825)", "1:5: MBuf: more than 1073741824 octets\n  (a,,1073741825)\n      ^\n" },
		{ "(a,,-8)", "1:5: expected the number of octets of MBuf, or \")\"\n  (a,,-8)\n      ^\n" },
		{ "n=(a) -> n=(b)", "1:10: there is a node \"n\" already\n  n=(a) -> n=(b)\n           ^\n" },
		{ "n= n", "1:4: expected \"(\": a name is given to one filter\n  n= n\n     ^\n" },
		{ "f. x", "1:3: expected the name of a node of flow \"f\"\n  f. x\n    ^\n" },
		{ "(a) -> n", "1:8: a name takes no packets from the stage before it: it can begin a flow, or stand "
			      "beside another alternative\n  (a) -> n\n         ^\n" },
		{ "n | (a) -> n=(b)", "1:1: \"n\" is named only behind this place\n  n | (a) -> n=(b)\n  ^\n" },
		{ "(a) -> [(b)", "1:8: the bracket is not closed\n  (a) -> [(b)\n         ^\n" },
		{ "x=(a);", "1:7: expected \"(\", \"[\" or a name\n  x=(a);\n        ^\n" },
		{ "x=(a); X=(b); (c)", "1:8: there is \"X\" already\n  x=(a); X=(b); (c)\n         ^\n" },
		{ "x=(a); (c) -> X=(b)", "1:15: there is \"X\" already, before the flow\n  x=(a); (c) -> "
					 "X=(b)\n                ^\n" },
		{ "m=f.n; m=(a)", "1:8: there is \"m\" already, before the flow\n  m=f.n; m=(a)\n         ^\n" },
		/* found by fuzz_graph_text: what was formatted meant another node */
		{ "m=o; o=N; (a) | m",
		  "1:6: \"o\" was another flow's node before this place\n  m=o; o=N; (a) | m\n       ^\n" },
		{ "j=Y; y=n; j", "1:6: \"y\" was another flow's node before this place\n  j=Y; y=n; j\n       ^\n" },
		{ "m=o; o=(b); (a)",
		  "1:6: \"o\" was another flow's node before this place\n  m=o; o=(b); (a)\n       ^\n" },
		{ "o=(b); m=o; (a)",
		  "1:8: \"o\" is a name of this text, no node of another flow\n  o=(b); m=o; (a)\n         ^\n" },
		{ "k=f.o; m=K; (a)",
		  "1:8: \"K\" is a name of this text, no node of another flow\n  k=f.o; m=K; (a)\n         ^\n" },
		{ "m=f.n; M=k; (a)", "1:8: there is \"M\" already\n  m=f.n; M=k; (a)\n         ^\n" },
		{ "m=n; n=(a)", "1:1: \"n\" is named only behind this place\n  m=n; n=(a)\n  ^\n" },
		{ "x=(a); x -> (b)", "1:8: \"x\" is a filter that programs call: no packets come out of it\n"
				     "  x=(a); x -> (b)\n         ^\n" },
		{ "x-y=(a); (c)",
		  "1:1: programs know names of at most 63 letters, digits and _\n  x-y=(a); (c)\n  ^\n" },
		{ "x=(a,,8z); (c)", "1:8: expected \")\"\n  x=(a,,8z); (c)\n         ^\n" },
		{ "(c); x=(a)", "1:4: a filter that programs call stands before the flow, as NAME=(class,...);\n"
				"  (c); x=(a)\n     ^\n" },
		{ "(a) -> [(b))", "1:12: expected \"->\", \"|\" or \"]\"\n  (a) -> [(b))\n             ^\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_graph_text *graph = NULL;
		struct ffpf_text shown = { 0 };
		struct ffpf_graph_error err;
		size_t len = strlen(cases[i].text);

		assert_int_equal(ffpf_graph_text_parse(&graph, cases[i].text, len, &err), -FFPF_E_INVALID);
		assert_null(graph);
		ffpf_graph_error_show(&err, cases[i].text, len, &shown);
		assert_string_equal(ffpf_text_get(&shown), cases[i].shown);
		ffpf_text_free(&shown);
	}
}

static void
sizes_have_limits(void **state)
{
	struct ffpf_text text = { 0 };
	struct ffpf_graph_text *graph = NULL;
	struct ffpf_graph_error err;

	(void)state;
	for (int i = 0; i <= FFPF_GRAPH_DEPTH_MAX; i++)
		ffpf_text_add(&text, "[");
	assert_int_equal(ffpf_graph_text_parse(&graph, text.data, text.len, &err), -FFPF_E_INVALID);
	assert_string_equal(err.error.text, "1:33: brackets in brackets: more than 32");
	ffpf_text_free(&text);
	for (int i = 0; i <= FFPF_GRAPH_NODES_MAX; i++)
		ffpf_text_add(&text, "%s(a)", i ? "|" : "");
	assert_int_equal(ffpf_graph_text_parse(&graph, text.data, text.len, &err), -FFPF_E_INVALID);
	assert_string_equal(err.error.text, "1:4097: more than 1024 filters");
	assert_int_equal(ffpf_graph_text_parse(&graph, text.data, text.len - 4, &err), 0);
	assert_int_equal(graph->count, FFPF_GRAPH_NODES_MAX);
	ffpf_graph_text_free(graph);
	ffpf_text_free(&text);
	for (int i = 0; i <= FFPF_GRAPH_CALLS_MAX; i++)
		ffpf_text_add(&text, "x%02d=(a);", i);
	ffpf_text_add(&text, "(b)");
	assert_int_equal(ffpf_graph_text_parse(&graph, text.data, text.len, &err), -FFPF_E_INVALID);
	assert_string_equal(err.error.text, "1:513: more than 64 names before the flow");
	assert_int_equal(ffpf_graph_text_parse(&graph, text.data + 8, text.len - 8, &err), 0);
	assert_int_equal(graph->callee_count, FFPF_GRAPH_CALLS_MAX);
	ffpf_graph_text_free(graph);
	ffpf_text_free(&text);
	assert_int_equal(ffpf_graph_text_parse(&graph, "(a,\"\0\")", 7, &err), -FFPF_E_INVALID);
	assert_string_equal(err.error.text, "1:5: NUL in an expression");
}

static void
places_in_expressions_are_places_in_the_text(void **state)
{
	static const char text[] = "(a,\"x\\\"yz\") | (b, xyz)";
	struct ffpf_graph_text *graph = NULL;
	struct ffpf_graph_error err;

	(void)state;
	assert_int_equal(ffpf_graph_text_parse(&graph, text, strlen(text), &err), 0);
	assert_int_equal(ffpf_graph_expression_place(graph, &graph->nodes[0], 0), 4);
	assert_int_equal(ffpf_graph_expression_place(graph, &graph->nodes[0], 2), strchr(text, 'y') - text);
	assert_int_equal(ffpf_graph_expression_place(graph, &graph->nodes[1], 2), strrchr(text, 'z') - text);
	assert_int_equal(ffpf_graph_expression_place(graph, &graph->nodes[1], 1000), strlen(text));
	ffpf_graph_text_free(graph);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_become_nodes),
		cmocka_unit_test(errors_show_their_place),
		cmocka_unit_test(sizes_have_limits),
		cmocka_unit_test(places_in_expressions_are_places_in_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
