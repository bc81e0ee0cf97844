/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch through the graph: each active node once, inputs before what they feed.
 *
 *     node      input (positions in the batch)    lets through
 *     device a  -                                 0 2 3
 *     device b  -                                 1
 *     sampler   a | b: 0 1 2 3                    1 3         results x x
 *     BPF       1 3                               3
 */
#include "graph/engine_internal.h"

#include <string.h>

/* The packets that come to a node with one input: a copy with the result of that one. */
static uint32_t
gather_one(struct ffpf_engine *engine, const struct node *input)
{
	for (uint32_t i = 0; i < input->count; i++) {
		engine->in[i] = engine->batch[input->pos[i]];
		engine->in[i].result = input->results[i];
	}
	memcpy(engine->in_pos, input->pos, input->count * sizeof(*engine->in_pos));
	return input->count;
}

/* Several: a packet that more than one let through comes once, with the result of the first. */
static uint32_t
gather_many(struct ffpf_engine *engine, const struct node *node)
{
	uint32_t n = 0;

	memset(engine->marks, 0, engine->count * sizeof(*engine->marks));
	for (uint32_t i = 0; i < node->input_count; i++) {
		const struct node *input = node->inputs[i];

		for (uint32_t j = 0; j < input->count; j++) {
			if (!engine->marks[input->pos[j]])
				engine->marks[input->pos[j]] = input->results[j];
		}
	}
	for (uint32_t at = 0; at < engine->count; at++) {
		if (!engine->marks[at])
			continue;
		engine->in[n] = engine->batch[at];
		engine->in[n].result = engine->marks[at];
		engine->in_pos[n++] = (uint16_t)at;
	}
	return n;
}

static void
filter(struct ffpf_engine *engine, struct node *node, const struct ffpf_node_pkt *in, uint32_t n)
{
	uint32_t *results = engine->in_results;

	if (!node->class) {
		for (uint32_t i = 0; i < n; i++)
			results[i] = in[i].result;
	} else if (node->class->filter_batch) {
		node->class->filter_batch(node->instance, in, n, results);
	} else {
		for (uint32_t i = 0; i < n; i++)
			results[i] = node->class->filter(node->instance, &in[i]);
	}
}

/* What it counted, where other processes see it. */
static void
show(const struct node *node)
{
	struct ffpf_mbuf_page *page = node->mbuf.region.base;

	atomic_store_explicit(&page->came, node->in, memory_order_relaxed);
	atomic_store_explicit(&page->out, node->out, memory_order_relaxed);
	atomic_store_explicit(&page->dropped, node->dropped, memory_order_relaxed);
}

static void
run(struct ffpf_engine *engine, struct node *node)
{
	const struct node *input = node->inputs[0];
	const struct ffpf_node_pkt *in = engine->in;
	const uint16_t *pos = engine->in_pos;
	uint32_t n, passed = 0;

	if (node->input_count > 1) {
		n = gather_many(engine, node);
	} else if (input->device && input->count == engine->count) { /* the batch as it is */
		n = engine->count;
		in = engine->batch;
		pos = input->pos;
	} else {
		n = gather_one(engine, input);
	}
	node->count = 0;
	if (!n)
		return;
	filter(engine, node, in, n);
	for (uint32_t i = 0; i < n; i++) { /* without a branch: what passes is hard to foretell */
		node->pos[passed] = pos[i];
		node->results[passed] = engine->in_results[i];
		passed += engine->in_results[i] != 0;
	}
	node->count = passed;
	node->in += n;
	node->out += passed;
	if (engine->cfg.shown && node->class)
		show(node);
}

static void
push(struct ffpf_engine *engine, const struct node *node)
{
	for (struct queue *queue = node->queues; queue; queue = queue->next) {
		if (queue->flow->state != FFPF_GRAPH_ACTIVE)
			continue;
		for (uint32_t i = 0; i < node->count; i++)
			queue_push(engine, queue, node->pos[i], node->results[i]);
	}
}

void
pass_batch(struct ffpf_engine *engine)
{
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];

		if (!node->active) {
			node->count = 0;
			continue;
		}
		if (!node->device)
			run(engine, node);
		if (node->queues)
			push(engine, node);
	}
	if (engine->count)
		pass_tick(engine, engine->batch[engine->count - 1].ts_ns);
}

void
pass_tick(struct ffpf_engine *engine, uint64_t now_ns)
{
	if (now_ns < engine->now_ns)
		now_ns = engine->now_ns;
	engine->now_ns = now_ns;
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];

		if (node->active && node->class && node->class->tick)
			node->class->tick(node->instance, now_ns);
		if (node->active && node->callees)
			callees_tick(node->callees, now_ns);
	}
}

int
pass_flush(struct ffpf_engine *engine, struct ffpf_error *err)
{
	int status = 0;

	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];

		if (!node->active || node->flushed || !node->class || !(node->class->flush || node->callees) ||
		    !node_ended(node, NULL))
			continue;
		node->flushed = true;
		if (node_flush(node, err))
			status = -(int)(err ? err->code : FFPF_E_GENERIC);
	}
	return status;
}
