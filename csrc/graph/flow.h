/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FLOW_H
#define FFPF_GRAPH_FLOW_H
/*
 * Flows: what an application asks of the graph, and how it reads it. Paper, sections 2.1 and 3.2.
 *
 *     call \ state   CREATED       POPULATED     INSTANTIATED  ACTIVE        PAUSED        CLOSED
 *     populate       -> POPULATED  again         no            no            no            no
 *     instantiate    no            -> INSTANT.   no            no            no            no
 *     activate       no            no            -> ACTIVE     no            -> ACTIVE     no
 *     pause          no            no            no            -> PAUSED     no            no
 *     close          -> CLOSED     -> CLOSED     -> CLOSED     -> CLOSED     -> CLOSED     stays
 *     nodes' names   no            yes           yes           yes           yes           no
 *     MBuf, counters no            no            yes           yes           yes           no
 *     read, wait,    no            no            yes, without  yes           yes: what was no
 *       callback                                 waiting                     queued before
 *
 * "no" is -FFPF_E_INVALID with a text that names the call and the state, and changes nothing. instantiate makes the
 * nodes (or finds them) and opens devices: whatever can fail, fails there, and leaves the flow POPULATED. activate and
 * pause only count, and fit the filters on interfaces' sockets (device_filter.c; -FFPF_E_SYSTEM: the kernel kept one
 * that had to go, and nothing has changed): no node is made, none loses its memory. An active flow's packets begin with
 * activate.
 */
#include "graph/engine.h"

enum ffpf_graph_state {
	FFPF_GRAPH_CREATED,
	FFPF_GRAPH_POPULATED,
	FFPF_GRAPH_INSTANTIATED,
	FFPF_GRAPH_ACTIVE,
	FFPF_GRAPH_PAUSED,
	FFPF_GRAPH_CLOSED,
	FFPF_GRAPH_STATES
};

const char *ffpf_graph_state_name(enum ffpf_graph_state state); /* "created" ...; static text */

enum ffpf_graph_sharing {
	FFPF_GRAPH_SHARE_ALL,  /* with every flow of the graph */
	FFPF_GRAPH_SHARE_NONE, /* its nodes are its own, devices too */
};

/* The place of a node in its flow: its number in the order of the text, from 0. The flow's own packets: */
#define FFPF_GRAPH_LAST UINT32_MAX /* what the last stage lets through, joined */

/* name: as in parse.h, and of no other flow of the graph that is not closed; NULL: "flowN" is chosen. */
int ffpf_graph_flow_create(struct ffpf_graph_flow **out, struct ffpf_engine *engine, const char *name,
			   enum ffpf_graph_sharing sharing, struct ffpf_error *err);
/* Says what the flow is: a text of parse.h, copied. err says where in it (ffpf_graph_error_show). */
int ffpf_graph_flow_populate(struct ffpf_graph_flow *flow, const char *text, struct ffpf_graph_error *err);
int ffpf_graph_flow_instantiate(struct ffpf_graph_flow *flow, struct ffpf_graph_error *err);
int ffpf_graph_flow_activate(struct ffpf_graph_flow *flow, struct ffpf_error *err);
int ffpf_graph_flow_pause(struct ffpf_graph_flow *flow, struct ffpf_error *err);
/* From every state; what a class holds back is written out first, and its failure to do so is returned, but the flow is
 * closed all the same. Nodes that another flow has, go on. What was read, mapped or named becomes invalid. */
int ffpf_graph_flow_close(struct ffpf_graph_flow *flow, struct ffpf_error *err);
void ffpf_graph_flow_destroy(struct ffpf_graph_flow *flow); /* closes, and frees the handle; NULL is legal */

enum ffpf_graph_state ffpf_graph_flow_state(const struct ffpf_graph_flow *flow);
const char *ffpf_graph_flow_name(const struct ffpf_graph_flow *flow);

/* A node as the flow's text has it. Strings stay until the flow is populated anew or closed. */
struct ffpf_graph_flow_node {
	const char *name;       /* NULL: none was given */
	const char *class;      /* NULL: a node of another flow, `name` */
	const char *expression; /* as written, without quotation marks */
	const uint32_t *inputs; /* nodes of this flow */
	uint32_t input_count;
	uint64_t instance; /* id of what serves it (graph.h); 0 before instantiate */
};

/* How many nodes the text has; 0 when the state has none. */
uint32_t ffpf_graph_flow_node_count(const struct ffpf_graph_flow *flow);
int ffpf_graph_flow_node(const struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_graph_flow_node *out,
			 struct ffpf_error *err);
/* The node of that name in this flow's text: its number, or -code. */
int ffpf_graph_flow_find(const struct ffpf_graph_flow *flow, const char *name, struct ffpf_error *err);

/* What the instance behind the node has counted, for all its flows. */
int ffpf_graph_flow_counters(struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_node_counters *out,
			     struct ffpf_error *err);
/* The node's MBuf, for reading and writing, until the flow is closed: class_NAME.h says what lies where. Words of it
 * change while filters run. -FFPF_E_NOT_SUPPORTED: the node has none. */
int ffpf_graph_flow_mbuf(struct ffpf_graph_flow *flow, uint32_t node, void **data, size_t *bytes,
			 struct ffpf_error *err);
/*
 * Of an engine whose nodes are shown: the memory that has the node's counters (struct ffpf_mbuf_page of layout.h) and
 * its MBuf, `bytes` octets at `at`; 0: it has none. The descriptor is the node's: sealed, and whoever maps it can only
 * read. -FFPF_E_NOT_SUPPORTED: it is not shown.
 */
int ffpf_graph_flow_memory(struct ffpf_graph_flow *flow, uint32_t node, int *fd, uint64_t *at, uint64_t *bytes,
			   struct ffpf_error *err);
/* The node's results for people or programs; the text is added to `out`. */
int ffpf_graph_flow_report(struct ffpf_graph_flow *flow, uint32_t node, enum ffpf_report_form form,
			   struct ffpf_text *out, struct ffpf_error *err);

/*
 * Reading a node, any of the flow's: what it lets through while the flow is active, from the first of these calls on.
 * (ffpf_graph_read_begin is that and nothing else.) Packets that are not read in time wait in the graph's memory; when
 * there is no room, this reader loses them, counted (ffpf_graph_flow_reader_counters), and no other does.
 *
 * A batch's packets and their memory stay until the same node is read again, released, or the flow is closed. Times are
 * in nanoseconds, `result` is what the node's class returned. A node has one reader a flow, of one thread at a time: a
 * second thread is refused while packets are out.
 */
struct ffpf_graph_batch {
	const struct ffpf_packet *pkts;
	const uint16_t *link_types; /* DLT_* of each */
	uint32_t count;
};

int ffpf_graph_read_begin(struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_error *err);

/*
 * filter_getnext_pkt: up to `max` packets (0: as many as there are), as soon as there is one. timeout_ms: 0 does not
 * wait, < 0 waits for ever. FFPF_BATCH; FFPF_WOULD_BLOCK (timeout 0) or FFPF_TIMEOUT: nothing came; FFPF_END: every
 * device of the node has ended, all was read; FFPF_INTERRUPTED: see ffpf_engine_run; FFPF_FAILED: err.
 */
enum ffpf_outcome ffpf_graph_getnext_pkt(struct ffpf_graph_flow *flow, uint32_t node, uint32_t max, int timeout_ms,
					 struct ffpf_graph_batch *out, struct ffpf_error *err);
/* The same for who has packets, and can wait for more: where its devices' readers can be paced (reader/reader.h), it is
 * not woken for fewer than `want` of them, unless others of this graph wait for fewer. */
enum ffpf_outcome ffpf_graph_getnext_paced(struct ffpf_graph_flow *flow, uint32_t node, uint32_t max, uint32_t want,
					   int timeout_ms, struct ffpf_graph_batch *out, struct ffpf_error *err);
/* wait_for_n_pkts: until n packets wait to be read, or the time is over, or the end: how many there are then, or -code
 * (-FFPF_E_INVALID: more than the queue has room for). *outcome, may be NULL: FFPF_BATCH, FFPF_TIMEOUT, FFPF_END,
 * FFPF_INTERRUPTED. */
int ffpf_graph_wait_for_n_pkts(struct ffpf_graph_flow *flow, uint32_t node, uint32_t n, int timeout_ms,
			       enum ffpf_outcome *outcome, struct ffpf_error *err);
/* Gives the batch back early. */
int ffpf_graph_release(struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_error *err);

/* ... and with it the last n of its packets, which were not used: they wait to be read again. */
int ffpf_graph_give_back(struct ffpf_graph_flow *flow, uint32_t node, uint32_t n, struct ffpf_error *err);
/* As ffpf_engine_wake, of the flow's graph; also when the flow is closed. */
void ffpf_graph_flow_wake(struct ffpf_graph_flow *flow);

/*
 * filter_callback: fn is called with n packets whenever n were let through, and with the rest at the end of input. It
 * remains active for lifetime_ms (0: until the flow is closed); then it is gone, and packets that it was not given go
 * to whoever reads the node. Called by the thread that drives the graph, which may make every call of this room but
 * those that wait; false ends the callback. While a callback is there the node cannot be read otherwise. fn NULL takes
 * it away.
 */
typedef bool (*ffpf_graph_callback)(void *arg, const struct ffpf_graph_batch *batch);
int ffpf_graph_filter_callback(struct ffpf_graph_flow *flow, uint32_t node, ffpf_graph_callback fn, void *arg,
			       uint32_t n, uint64_t lifetime_ms, struct ffpf_error *err);

/* Law of a reader: let_through = delivered + waiting + dropped. delivered: released, or out now. */
struct ffpf_graph_reader_counters {
	uint64_t let_through, delivered, waiting;
	uint64_t dropped_ibuf; /* its queue was full */
	uint64_t dropped_pbuf; /* the graph's memory for packets was */
};
int ffpf_graph_flow_reader_counters(struct ffpf_graph_flow *flow, uint32_t node, struct ffpf_graph_reader_counters *out,
				    struct ffpf_error *err);

#endif
