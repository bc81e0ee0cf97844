/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What waits for a reader of a node: descriptors, whose packets lie in their device's memory while the batch is the
 * newest, and are copied before the next one, once for all their readers. A reader that takes all of each batch, and is
 * the only one, never causes a copy.
 */
#include "graph/engine_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (256u * 1024)
#define ALIGNMENT   16u

static void
put_chunk(struct ffpf_engine *engine, struct chunk *chunk)
{
	if (chunk && --chunk->refs == 0) {
		engine->store_used -= chunk->bytes;
		free(chunk);
	}
}

/* Room for `len` octets; NULL when there is none. */
static uint8_t *
store(struct ffpf_engine *engine, uint32_t len, struct chunk **in)
{
	size_t need = ((size_t)len + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	struct chunk *chunk = engine->filling;
	uint8_t *at;

	if (!chunk || chunk->bytes - chunk->used < need) {
		size_t bytes = need > CHUNK_BYTES ? need : CHUNK_BYTES;

		if (engine->store_used + bytes > engine->cfg.store_bytes)
			return NULL;
		chunk = malloc(sizeof(*chunk) + bytes);
		if (!chunk)
			return NULL;
		*chunk = (struct chunk){ .bytes = bytes, .refs = 1 };
		engine->store_used += bytes;
		put_chunk(engine, engine->filling);
		engine->filling = chunk;
	}
	at = chunk->data + chunk->used;
	chunk->used += need;
	*in = chunk;
	return at;
}

/* The packet at `pos` of the batch in memory of the engine: copied now, or before. */
static bool
save(struct ffpf_engine *engine, struct ffpf_packet *pkt, uint32_t pos, struct chunk **chunk)
{
	if (!engine->saved[pos]) {
		uint8_t *at = store(engine, pkt->cap_len, &engine->saved_in[pos]);

		if (!at)
			return false;
		memcpy(at, pkt->data, pkt->cap_len);
		engine->saved[pos] = at;
	}
	pkt->data = engine->saved[pos];
	pkt->flags &= (uint8_t) ~(FFPF_PACKET_HEAD_READABLE | FFPF_PACKET_HEAD_WRITABLE);
	*chunk = engine->saved_in[pos];
	(*chunk)->refs++;
	return true;
}

static void
save_queue(struct ffpf_engine *engine, struct queue *queue)
{
	uint32_t from = queue->borrowed > queue->g ? queue->borrowed : queue->g, to = from;

	for (uint32_t i = from; i < queue->w; i++) {
		if (!save(engine, &queue->pkts[i], queue->pos[i], &queue->chunks[i])) {
			queue->dropped_pbuf++;
			continue;
		}
		queue->pkts[to] = queue->pkts[i];
		queue->chunks[to] = queue->chunks[i];
		queue->link_types[to++] = queue->link_types[i];
	}
	queue->w = queue->borrowed = to;
}

void
queue_save_all(struct ffpf_engine *engine)
{
	for (struct queue *queue = engine->queues; queue; queue = queue->next_of_all)
		save_queue(engine, queue);
	memset(engine->saved, 0, engine->count * sizeof(*engine->saved));
}

/* Whatever is in the queue comes to the beginning of its arrays. Nothing is out. */
static void
move_down(struct queue *queue)
{
	uint32_t n = queue->w - queue->g;

	memmove(queue->pkts, queue->pkts + queue->g, n * sizeof(*queue->pkts));
	memmove(queue->chunks, queue->chunks + queue->g, n * sizeof(*queue->chunks));
	memmove(queue->link_types, queue->link_types + queue->g, n * sizeof(*queue->link_types));
	memmove(queue->pos, queue->pos + queue->g, n * sizeof(*queue->pos));
	queue->borrowed = queue->borrowed > queue->g ? queue->borrowed - queue->g : 0;
	queue->w = n;
	queue->r = queue->g = 0;
}

void
queue_push(struct ffpf_engine *engine, struct queue *queue, uint32_t pos, uint32_t result)
{
	const struct ffpf_node_pkt *from = &engine->batch[pos];
	uint32_t at;

	queue->let_through++;
	if (queue->w == 2 * engine->cfg.queue_slots && queue->r == queue->g)
		move_down(queue);
	if (queue->w - queue->r >= engine->cfg.queue_slots || queue->w == 2 * engine->cfg.queue_slots) {
		queue->dropped_ibuf++;
		return;
	}
	at = queue->w++;
	queue->pkts[at] = *from->pkt;
	queue->pkts[at].result = result;
	queue->pkts[at].skipped = 0;
	queue->chunks[at] = NULL;
	queue->link_types[at] = from->link_type;
	queue->pos[at] = (uint16_t)pos;
}

void
queue_release(struct ffpf_engine *engine, struct queue *queue)
{
	for (uint32_t i = queue->r; i < queue->g; i++)
		put_chunk(engine, queue->chunks[i]);
	queue->r = queue->g;
	queue->out_borrowed = false;
	if (queue->r == queue->w)
		queue->r = queue->g = queue->w = queue->borrowed = 0;
}

/* Nothing is out. False: nothing waits. */
bool
queue_give(struct ffpf_engine *engine, struct queue *queue, uint32_t max, struct ffpf_graph_batch *out)
{
	uint32_t n;

	if (engine->queue_count > 1) /* else nobody else could go on while they are out */
		queue_save_all(engine);
	n = queue->w - queue->g;
	if (!n)
		return false;
	if (max && n > max)
		n = max;
	*out = (struct ffpf_graph_batch){
		.pkts = queue->pkts + queue->g,
		.link_types = queue->link_types + queue->g,
		.count = n,
	};
	queue->g += n;
	queue->out_borrowed = queue->g > queue->borrowed;
	queue->owner = pthread_self();
	return true;
}

struct queue *
queue_find(const struct node *node, const struct ffpf_graph_flow *flow)
{
	struct queue *queue = node->queues;

	while (queue && queue->flow != flow)
		queue = queue->next;
	return queue;
}

static void
destroy(struct queue *queue)
{
	free(queue->pkts);
	free(queue->chunks);
	free(queue->link_types);
	free(queue->pos);
	free(queue);
}

int
queue_create(struct queue **out, struct ffpf_engine *engine, struct ffpf_graph_flow *flow, struct node *node,
	     struct ffpf_error *err)
{
	const size_t room = 2 * (size_t)engine->cfg.queue_slots;
	struct queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	queue->flow = flow;
	queue->node = node;
	queue->pkts = malloc(room * sizeof(*queue->pkts));
	queue->chunks = malloc(room * sizeof(*queue->chunks));
	queue->link_types = malloc(room * sizeof(*queue->link_types));
	queue->pos = malloc(room * sizeof(*queue->pos));
	if (!queue->pkts || !queue->chunks || !queue->link_types || !queue->pos) {
		destroy(queue);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	}
	queue->next = node->queues;
	node->queues = queue;
	queue->next_of_all = engine->queues;
	engine->queues = queue;
	engine->queue_count++;
	*out = queue;
	return 0;
}

void
queue_destroy(struct ffpf_engine *engine, struct queue *queue)
{
	struct queue **at = &queue->node->queues;

	while (*at != queue)
		at = &(*at)->next;
	*at = queue->next;
	for (at = &engine->queues; *at != queue; at = &(*at)->next_of_all)
		;
	*at = queue->next_of_all;
	engine->queue_count--;
	for (uint32_t i = queue->r; i < queue->w; i++)
		put_chunk(engine, queue->chunks[i]);
	destroy(queue);
}
