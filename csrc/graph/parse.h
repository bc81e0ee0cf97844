/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_PARSE_H
#define FFPF_GRAPH_PARSE_H
/*
 * The text of a filter graph. Paper, section 2.3.
 *
 *     text   := { WORD "=" tuple ";"                      a filter that programs of the flow may call, by EXTERN
 *               | WORD "=" NAME [ "." NAME ] ";" } flow   another flow's node, whose MBuf they may read: MEM@WORD[n]
 *     flow   := stage { "->" stage }                      connects to
 *     stage  := alt { "|" alt }                           in parallel with; binds tighter than "->"
 *     alt    := [ NAME "=" ] tuple
 *             | NAME [ "." NAME ]                         a node of this text before this place, or of another flow
 *             | "[" flow "]"
 *     tuple  := "(" class [ "," [ expression ] [ "," [ octets ] ] ] ")"
 *     expression := bare | "\"" { any octet but NUL, or \" or \\ } "\""
 *     bare   := octets but NUL and line ends, none of ( ) [ ] , | " \ ; blanks at its ends do not belong to it
 *     octets := of MBuf, decimal, at most FFPF_GRAPH_MBUF_MAX
 *     NAME, class := letter or "_", { letter | digit | "_" | "-" not before ">" }
 *     WORD   := a NAME of at most FFPF_GRAPH_WORD_MAX octets, without "-"
 *
 * Blanks and line ends may stand between any two of these; so may a backslash at the end of a line.
 *
 * What it means: a stage takes the packets that the stage before lets through. Those of its alternatives are joined: a
 * packet that several of them let through goes on once, with the result of the first that is written. The first stage
 * has devices, or names: a flow that begins with a name continues from that node. In a later stage a name joins the
 * packets that its node lets through, beside at least one other alternative.
 *
 *     (device,a) | (device,b) -> x=(sampler,2) -> (BPF,tcp) | x      nodes  0 device a
 *                                                                           1 device b
 *                                                                           2 sampler x    inputs 0, 1
 *                                                                           3 BPF          inputs 2
 *                                                                    ends: 3, 2
 *
 * A filter that is defined before the flow is no node: packets come to it when a program calls it. A node of another
 * flow that is named there is one of this text's, from which no packets come unless the text also says so. WORDs are no
 * names of nodes of this text; case makes no difference between them, as in EXTERN.
 */
#include "common/error.h"
#include "common/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FFPF_GRAPH_MBUF_MAX  0x40000000u
#define FFPF_GRAPH_NODES_MAX 1024
#define FFPF_GRAPH_DEPTH_MAX 32
#define FFPF_GRAPH_CALLS_MAX 64 /* WORDs before the flow, of either kind */
#define FFPF_GRAPH_WORD_MAX  63
#define FFPF_GRAPH_LEN_MAX   (1u << 20) /* octets of text */
#define FFPF_GRAPH_NOWHERE   UINT32_MAX

/* An error and where in the text it is. error.text begins with "LINE:COLUMN: " when there is a place. */
struct ffpf_graph_error {
	struct ffpf_error error;
	uint32_t offset;       /* octet of the text, from 0; FFPF_GRAPH_NOWHERE: the error is about no place in it */
	uint32_t line, column; /* from 1; a column is an octet */
};

/* A filter, or (class NULL) a node of another flow that this one continues from. Strings end by NUL. */
struct ffpf_graph_node {
	char *name; /* given by the text, or the name of the other flow's node; else NULL */
	char *flow; /* of another flow's node, when the text names it: "flow.name"; else NULL */
	char *class;
	char *expression; /* without quotation marks and escapes; "" when there is none */
	uint64_t mbuf_bytes;
	bool has_mbuf;              /* the text asks for a size */
	uint32_t at, expression_at; /* octets of the text: the class or name, and the first octet of the expression */
	bool quoted;
	uint32_t *inputs; /* nodes before this one, in the order of the text, each once */
	uint32_t input_count;
};

/* The text as a tree, for the formatter. */
enum ffpf_graph_term_kind { FFPF_GRAPH_TERM_NODE, FFPF_GRAPH_TERM_NAME, FFPF_GRAPH_TERM_FLOW };

struct ffpf_graph_term {
	enum ffpf_graph_term_kind kind;
	uint32_t node;                 /* NODE and NAME */
	bool local;                    /* NAME: a node of this text */
	bool begins_stage;             /* "->" (or the begin of a flow) is before it; else "|" */
	struct ffpf_graph_term *terms; /* FLOW: its alternatives, stage by stage */
	uint32_t count, room;
};

/* What the text calls a node of another flow. */
struct ffpf_graph_alias {
	char *word;
	uint32_t node; /* of the text's; it has no class */
};

struct ffpf_graph_text {
	char *text; /* a copy */
	size_t len;
	struct ffpf_graph_node *nodes; /* in the order of the text: inputs before what they feed */
	uint32_t count, room;
	struct ffpf_graph_node *callees; /* filters before the flow, in the order of the text; without inputs */
	uint32_t callee_count, callee_room;
	struct ffpf_graph_alias *aliases; /* likewise */
	uint32_t alias_count, alias_room;
	uint32_t *ends; /* nodes of the last stage */
	uint32_t end_count;
	struct ffpf_graph_term root;
};

/* 0, or -code: FFPF_E_INVALID with a place, or FFPF_E_NO_MEMORY. *out is untouched on failure. err may not be NULL. */
int ffpf_graph_text_parse(struct ffpf_graph_text **out, const char *text, size_t len, struct ffpf_graph_error *err);
void ffpf_graph_text_free(struct ffpf_graph_text *graph); /* NULL is legal */

/*
 * Writes the graph in one form: single blanks, quotation marks where they are needed, brackets where they mean
 * something. It parses to the same nodes, inputs and ends, and is itself formatted to itself.
 */
void ffpf_graph_text_format(const struct ffpf_graph_text *graph, struct ffpf_text *out);

/* The octet of the whole text that octet `at` of the expression of one of its nodes, or callees, came from. */
uint32_t ffpf_graph_expression_place(const struct ffpf_graph_text *graph, const struct ffpf_graph_node *node,
				     size_t at);

/* Sets err (code, text with the place before it) and returns -code. offset may be FFPF_GRAPH_NOWHERE. */
int ffpf_graph_error_set(struct ffpf_graph_error *err, const char *text, size_t len, uint32_t offset,
			 enum ffpf_code code, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/*
 * The error for people: its text, the line it is about, and a caret below the place. Tabs stay tabs.
 *
 *     1:14: there is no class "FPL-9"
 *       (device,a) -> (FPL-9,"...")
 *                      ^
 */
void ffpf_graph_error_show(const struct ffpf_graph_error *err, const char *text, size_t len, struct ffpf_text *out);

#endif
