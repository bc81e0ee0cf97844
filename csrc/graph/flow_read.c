/* SPDX-License-Identifier: BSD-3-Clause */
/* How an application looks at a flow: its nodes, counters, MBufs, and packets. */
#include "common/clock.h"
#include "graph/engine_internal.h"

#include <stdlib.h>
#include <string.h>

#define INSTANCES (1u << FFPF_GRAPH_INSTANTIATED | 1u << FFPF_GRAPH_ACTIVE | 1u << FFPF_GRAPH_PAUSED)
#define NODES     (INSTANCES | 1u << FFPF_GRAPH_POPULATED)

enum ffpf_graph_state
ffpf_graph_flow_state(const struct ffpf_graph_flow *flow)
{
	enum ffpf_graph_state state;

	if (engine_enter(flow->engine, false, NULL)) /* a forked child's copy does not change */
		return flow->state;
	state = flow->state;
	engine_leave(flow->engine);
	return state;
}

const char *
ffpf_graph_flow_name(const struct ffpf_graph_flow *flow)
{
	return flow->name;
}

/* Takes the lock, if the flow is in one of these states, and finds the node's instance where one is asked for. */
static int
enter(const struct ffpf_graph_flow *flow, const char *call, unsigned states, uint32_t place, struct node **node,
      bool drive, struct ffpf_error *err)
{
	int status = engine_enter(flow->engine, drive, err);

	if (status)
		return status;
	status = flow_check(flow, call, states, err);
	if (!status && node)
		status = flow_node_at((struct ffpf_graph_flow *)(uintptr_t)flow, place, node, err);
	if (status)
		engine_leave(flow->engine);
	return status;
}

uint32_t
ffpf_graph_flow_node_count(const struct ffpf_graph_flow *flow)
{
	uint32_t count;

	if (engine_enter(flow->engine, false, NULL))
		return 0;
	count = flow->text ? flow->text->count : 0;
	engine_leave(flow->engine);
	return count;
}

int
ffpf_graph_flow_node(const struct ffpf_graph_flow *flow, uint32_t place, struct ffpf_graph_flow_node *out,
		     struct ffpf_error *err)
{
	int status = enter(flow, "looking at its nodes", NODES, 0, NULL, false, err);
	const struct ffpf_graph_node *node;

	if (status)
		return status;
	if (place >= flow->text->count) {
		status = ffpf_error_set(err, FFPF_E_INVALID, "flow \"%s\" has %u nodes, and none at %u", flow->name,
					flow->text->count, place);
	} else {
		node = &flow->text->nodes[place];
		*out = (struct ffpf_graph_flow_node){
			.name = node->name,
			.class = node->class,
			.expression = node->expression,
			.inputs = node->inputs,
			.input_count = node->input_count,
			.instance = flow->nodes ? flow->nodes[place]->id : 0,
		};
	}
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_find(const struct ffpf_graph_flow *flow, const char *name, struct ffpf_error *err)
{
	int status = enter(flow, "looking at its nodes", NODES, 0, NULL, false, err);

	if (status)
		return status;
	status = -FFPF_E_INVALID;
	for (uint32_t i = 0; i < flow->text->count && status < 0; i++) {
		if (flow->text->nodes[i].name && strcmp(flow->text->nodes[i].name, name) == 0)
			status = (int)i;
	}
	if (status < 0)
		ffpf_error_set(err, FFPF_E_INVALID, "flow \"%s\" has no node named \"%s\"", flow->name, name);
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_counters(struct ffpf_graph_flow *flow, uint32_t place, struct ffpf_node_counters *out,
			 struct ffpf_error *err)
{
	struct node *node;
	int status = enter(flow, "reading counters", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	node_counters(node, out);
	engine_leave(flow->engine);
	return 0;
}

int
ffpf_graph_flow_mbuf(struct ffpf_graph_flow *flow, uint32_t place, void **data, size_t *bytes, struct ffpf_error *err)
{
	struct node *node;
	int status = enter(flow, "looking at an MBuf", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	if (node->mbuf_bytes) {
		*data = node->mbuf.data;
		*bytes = node->mbuf_bytes;
	} else {
		status = ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s has no MBuf",
					node->class ? node->class->name : "what joins the ends of a flow");
	}
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_memory(struct ffpf_graph_flow *flow, uint32_t place, int *fd, uint64_t *at, uint64_t *bytes,
		       struct ffpf_error *err)
{
	struct node *node;
	int status = enter(flow, "looking at an MBuf", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	if (flow->engine->cfg.shown && node->mbuf.data) {
		*fd = node->mbuf.region.fd;
		*at = (uint64_t)(node->mbuf.data - (uint8_t *)node->mbuf.region.base);
		*bytes = node->mbuf_bytes;
	} else {
		status = ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "no other process can read this node");
	}
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_report(struct ffpf_graph_flow *flow, uint32_t place, enum ffpf_report_form form, struct ffpf_text *out,
		       struct ffpf_error *err)
{
	struct ffpf_report report;
	struct node *node;
	int status = enter(flow, "reading results", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	ffpf_report_begin(&report, form);
	if (node->class && node->class->describe)
		node->class->describe(node->instance, &report);
	ffpf_report_finish(&report);
	ffpf_text_add_octets(out, ffpf_text_get(&report.out), report.out.len);
	if (report.out.failed || out->failed)
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	ffpf_text_free(&report.out);
	engine_leave(flow->engine);
	return status;
}

/* The flow's queue at the node, made when there is none yet. Who reads an interface's own node wants all its packets.
 */
static int
queue_of(struct ffpf_graph_flow *flow, struct node *node, struct queue **out, struct ffpf_error *err)
{
	int status;

	*out = queue_find(node, flow);
	if (*out)
		return 0;
	status = board_need(flow->engine, node, err);
	if (!status)
		status = queue_create(out, flow->engine, flow, node, err);
	if (status || !node->device)
		return status;
	status = device_filters_fit(flow->engine, err);
	if (status)
		queue_destroy(flow->engine, *out);
	return status;
}

/* ... for who wants to read it: nobody else does. */
static int
queue_to_read(struct ffpf_graph_flow *flow, struct node *node, struct queue **out, struct ffpf_error *err)
{
	int status = queue_of(flow, node, out, err);

	if (status)
		return status;
	if ((*out)->callback)
		return ffpf_error_set(err, FFPF_E_INVALID, "a callback has the packets of this node");
	if ((*out)->g > (*out)->r && !pthread_equal((*out)->owner, pthread_self()))
		return ffpf_error_set(err, FFPF_E_INVALID, "another thread has packets of this node out");
	return 0;
}

int
ffpf_graph_read_begin(struct ffpf_graph_flow *flow, uint32_t place, struct ffpf_error *err)
{
	struct queue *queue;
	struct node *node;
	int status = enter(flow, "reading", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	status = queue_of(flow, node, &queue, err);
	engine_leave(flow->engine);
	return status;
}

static uint64_t
deadline(int timeout_ms)
{
	if (timeout_ms < 0)
		return UINT64_MAX;
	return ffpf_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NS_PER_MS;
}

/* How a reader waits: for so many packets of its queue, and at most until then. want: of a device, see engine_wait. */
struct patience {
	uint32_t packets, want;
	int timeout_ms;
	uint64_t until_ns;
};

static enum ffpf_outcome
nothing(int timeout_ms)
{
	return timeout_ms == 0 ? FFPF_WOULD_BLOCK : FFPF_TIMEOUT;
}

/*
 * One step towards more packets in the queue. FFPF_BATCH: look again. The engine's lock was open meanwhile, so the flow
 * may be another one, or none.
 */
static enum ffpf_outcome
advance(struct ffpf_graph_flow *flow, const struct queue *queue, const struct patience *patience,
	struct ffpf_error *err)
{
	struct ffpf_engine *engine = flow->engine;
	struct ffpf_error failed = { 0 };
	const struct queue *holder;
	enum step step;
	uint32_t n;

	if (node_ended(queue->node, &failed)) {
		if (failed.code && err)
			*err = failed;
		return failed.code ? FFPF_FAILED : FFPF_END;
	}
	if (flow->state != FFPF_GRAPH_ACTIVE)
		return FFPF_WOULD_BLOCK;
	step = engine_step(engine, UINT32_MAX, &n, &holder, err);
	if (step == STEP_HELD && pthread_equal(holder->owner, pthread_self())) {
		ffpf_error_set(err, FFPF_E_INVALID, "flow \"%s\" has packets of a device out: release them first",
			       holder->flow->name);
		return FFPF_FAILED;
	}
	if (n)
		engine_callbacks(engine);
	switch (step) {
	case STEP_BATCH:
	case STEP_END:
		if (patience->until_ns == UINT64_MAX || ffpf_clock_ns(CLOCK_MONOTONIC) < patience->until_ns)
			return FFPF_BATCH;
		return nothing(patience->timeout_ms);
	case STEP_FAILED:
		return FFPF_FAILED;
	default:
		if (patience->timeout_ms == 0)
			return FFPF_WOULD_BLOCK;
		return engine_wait(engine, patience->want, patience->until_ns, err);
	}
}

/* FFPF_BATCH: the packets wait in the queue. *queue is the flow's, or NULL with FFPF_FAILED. */
static enum ffpf_outcome
wait_for(struct ffpf_graph_flow *flow, uint32_t place, const struct patience *patience, struct queue **queue,
	 struct ffpf_error *err)
{
	struct node *node;

	for (;;) {
		enum ffpf_outcome outcome;

		*queue = NULL;
		if (flow_check(flow, "reading", INSTANCES, err) || flow_node_at(flow, place, &node, err) ||
		    queue_to_read(flow, node, queue, err))
			return FFPF_FAILED;
		if ((*queue)->w - (*queue)->g >= patience->packets)
			return FFPF_BATCH;
		outcome = advance(flow, *queue, patience, err);
		if (outcome != FFPF_BATCH) {
			*queue = flow->state == FFPF_GRAPH_CLOSED ? NULL : queue_find(node, flow);
			if (*queue && (*queue)->w - (*queue)->g >= patience->packets)
				return FFPF_BATCH;
			return outcome;
		}
	}
}

enum ffpf_outcome
ffpf_graph_getnext_pkt(struct ffpf_graph_flow *flow, uint32_t place, uint32_t max, int timeout_ms,
		       struct ffpf_graph_batch *out, struct ffpf_error *err)
{
	return ffpf_graph_getnext_paced(flow, place, max, 0, timeout_ms, out, err);
}

enum ffpf_outcome
ffpf_graph_getnext_paced(struct ffpf_graph_flow *flow, uint32_t place, uint32_t max, uint32_t want, int timeout_ms,
			 struct ffpf_graph_batch *out, struct ffpf_error *err)
{
	const struct patience patience = {
		.packets = 1, .want = want, .timeout_ms = timeout_ms, .until_ns = deadline(timeout_ms)
	};
	enum ffpf_outcome outcome = FFPF_BATCH;
	struct queue *queue;
	struct node *node;

	*out = (struct ffpf_graph_batch){ 0 };
	if (enter(flow, "reading", INSTANCES, place, &node, true, err))
		return FFPF_FAILED;
	if (queue_to_read(flow, node, &queue, err)) {
		engine_leave(flow->engine);
		return FFPF_FAILED;
	}
	queue_release(flow->engine, queue);
	do {
		outcome = wait_for(flow, place, &patience, &queue, err);
	} while (outcome == FFPF_BATCH && !queue_give(flow->engine, queue, max, out)); /* the store had no room */
	engine_leave(flow->engine);
	return outcome;
}

int
ffpf_graph_wait_for_n_pkts(struct ffpf_graph_flow *flow, uint32_t place, uint32_t n, int timeout_ms,
			   enum ffpf_outcome *outcome, struct ffpf_error *err)
{
	const struct patience patience = { .packets = n, .timeout_ms = timeout_ms, .until_ns = deadline(timeout_ms) };
	enum ffpf_outcome how;
	struct queue *queue;
	struct node *node;
	int status = enter(flow, "waiting", INSTANCES, place, &node, true, err);

	if (status)
		return status;
	if (n > flow->engine->cfg.queue_slots) {
		status = ffpf_error_set(err, FFPF_E_INVALID, "%u packets: the queue has room for %u", n,
					flow->engine->cfg.queue_slots);
	} else {
		status = queue_to_read(flow, node, &queue, err);
	}
	if (!status) {
		queue_release(flow->engine, queue);
		how = wait_for(flow, place, &patience, &queue, err);
		if (how == FFPF_FAILED)
			status = -(int)(err && err->code ? err->code : FFPF_E_GENERIC);
		else
			status = queue ? (int)(queue->w - queue->g) : 0;
		if (outcome)
			*outcome = how;
	}
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_release(struct ffpf_graph_flow *flow, uint32_t place, struct ffpf_error *err)
{
	return ffpf_graph_give_back(flow, place, 0, err);
}

int
ffpf_graph_give_back(struct ffpf_graph_flow *flow, uint32_t place, uint32_t n, struct ffpf_error *err)
{
	struct queue *queue;
	struct node *node;
	int status = enter(flow, "releasing", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	queue = queue_find(node, flow);
	if (queue && queue->g > queue->r && !pthread_equal(queue->owner, pthread_self())) {
		status = ffpf_error_set(err, FFPF_E_INVALID, "another thread has packets of this node out");
	} else if (queue && !queue->callback && n > queue->g - queue->r) {
		status = ffpf_error_set(err, FFPF_E_INVALID, "%u packets: %u are out", n, queue->g - queue->r);
	} else if (queue && !queue->callback) {
		queue->g -= n;
		queue_release(flow->engine, queue);
		engine_changed(flow->engine);
	}
	engine_leave(flow->engine);
	return status;
}

void
ffpf_graph_flow_wake(struct ffpf_graph_flow *flow)
{
	ffpf_engine_wake(flow->engine);
}

int
ffpf_graph_filter_callback(struct ffpf_graph_flow *flow, uint32_t place, ffpf_graph_callback fn, void *arg, uint32_t n,
			   uint64_t lifetime_ms, struct ffpf_error *err)
{
	struct queue *queue;
	struct node *node;
	int status = enter(flow, "a callback", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	if (n == 0 || n > flow->engine->cfg.queue_slots)
		status =
		    ffpf_error_set(err, FFPF_E_INVALID, "%u packets: from 1 to %u", n, flow->engine->cfg.queue_slots);
	if (!status)
		status = queue_of(flow, node, &queue, err);
	if (!status && !queue->callback && queue->g > queue->r)
		status = ffpf_error_set(err, FFPF_E_INVALID, "packets of this node are out: release them first");
	if (!status) {
		queue->callback = fn;
		queue->callback_arg = arg;
		queue->callback_n = n;
		queue->callback_until_ns = UINT64_MAX;
		if (lifetime_ms)
			queue->callback_until_ns = ffpf_clock_ns(CLOCK_MONOTONIC) + lifetime_ms * NS_PER_MS;
	}
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_reader_counters(struct ffpf_graph_flow *flow, uint32_t place, struct ffpf_graph_reader_counters *out,
				struct ffpf_error *err)
{
	const struct queue *queue;
	struct node *node;
	int status = enter(flow, "reading counters", INSTANCES, place, &node, false, err);

	if (status)
		return status;
	*out = (struct ffpf_graph_reader_counters){ 0 };
	queue = queue_find(node, flow);
	if (queue) {
		*out = (struct ffpf_graph_reader_counters){
			.let_through = queue->let_through,
			.waiting = queue->w - queue->g,
			.dropped_ibuf = queue->dropped_ibuf,
			.dropped_pbuf = queue->dropped_pbuf,
		};
		out->delivered = out->let_through - out->waiting - out->dropped_ibuf - out->dropped_pbuf;
	}
	engine_leave(flow->engine);
	return 0;
}
