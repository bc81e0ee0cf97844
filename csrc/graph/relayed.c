/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/relayed.h"

#include "graph/engine_internal.h"
#include "lanes/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct end {
	const struct ffpf_graph_flow *flow; /* NULL: it was closed */
	const struct node *node;
};

struct ffpf_graph_relay {
	struct ffpf_engine *engine;
	struct ffpf_graph_relay *next;
	struct ffpf_relay *relay;  /* NULL: the device is gone */
	const struct node *device; /* ditto */
	uint32_t end_count;
	struct end ends[FFPF_GRAPH_RELAY_NODES_MAX];
};

/* ---- packets ---- */

/* engine->marks: by place in the batch, the result; 0: none of the nodes let it through. */
static bool
mark(struct ffpf_engine *engine, const struct ffpf_graph_relay *relay)
{
	bool any = false;

	for (uint32_t i = 0; i < relay->end_count; i++) {
		const struct end *end = &relay->ends[i];

		if (!end->flow || end->flow->state != FFPF_GRAPH_ACTIVE || !end->node->count)
			continue;
		if (!any)
			memset(engine->marks, 0, engine->count * sizeof(*engine->marks));
		any = true;
		for (uint32_t j = 0; j < end->node->count; j++)
			engine->marks[end->node->pos[j]] |= relay->end_count == 1 ? end->node->results[j] : 1u << i;
	}
	return any;
}

void
relays_pass(struct ffpf_engine *engine)
{
	for (const struct ffpf_graph_relay *relay = engine->relays; relay; relay = relay->next) {
		const struct node *device = relay->device;

		if (!device || !mark(engine, relay))
			continue;
		for (uint32_t i = 0; i < device->count; i++) {
			uint32_t at = device->pos[i];

			if (engine->marks[at])
				ffpf_relay_add(relay->relay,
					       (uint32_t)(engine->batch[at].pkt - device->device->batch.pkts),
					       engine->marks[at]);
		}
		ffpf_relay_publish(relay->relay);
	}
}

void
relays_end(const struct ffpf_engine *engine)
{
	for (const struct ffpf_graph_relay *relay = engine->relays; relay; relay = relay->next) {
		if (relay->device && relay->device->device->ended)
			ffpf_relay_end(relay->relay, relay->device->device->failed.code == FFPF_E_DEVICE_GONE);
	}
}

uint64_t
relays_look_ns(const struct ffpf_engine *engine)
{
	uint64_t least = UINT64_MAX;

	for (const struct ffpf_graph_relay *relay = engine->relays; relay; relay = relay->next) {
		if (relay->relay && ffpf_relay_look_ns(relay->relay) < least)
			least = ffpf_relay_look_ns(relay->relay);
	}
	return least;
}

/* ---- what goes ---- */

void
relays_forget_flow(struct ffpf_engine *engine, const struct ffpf_graph_flow *flow)
{
	for (struct ffpf_graph_relay *relay = engine->relays; relay; relay = relay->next) {
		for (uint32_t i = 0; i < relay->end_count; i++) {
			if (relay->ends[i].flow == flow)
				relay->ends[i].flow = NULL;
		}
	}
}

void
relays_forget_device(struct ffpf_engine *engine, const struct node *device)
{
	for (struct ffpf_graph_relay *relay = engine->relays; relay; relay = relay->next) {
		if (relay->device != device)
			continue;
		ffpf_relay_destroy(relay->relay);
		relay->relay = NULL;
		relay->device = NULL;
	}
}

/* ---- calls ---- */

static int
find_device(const struct node **out, struct ffpf_graph_flow *flow, struct ffpf_error *err)
{
	struct node *node;
	int status = flow_check(flow, "handing packets on",
				1u << FFPF_GRAPH_INSTANTIATED | 1u << FFPF_GRAPH_ACTIVE | 1u << FFPF_GRAPH_PAUSED, err);

	status = status ? status : flow_node_at(flow, 0, &node, err);
	if (status)
		return status;
	if (!node->device || !node->device->reader || node->device->reader->info.tick != FFPF_TICK_NS)
		return ffpf_error_set(err, FFPF_E_INVALID, "only packets of a reader's lanes can be handed on");
	*out = node;
	return 0;
}

int
ffpf_graph_relay_open(struct ffpf_graph_relay **out, struct ffpf_graph_flow *device,
		      const struct ffpf_relay_config *cfg, struct ffpf_error *err)
{
	struct ffpf_engine *engine = device->engine;
	struct ffpf_graph_relay *relay = calloc(1, sizeof(*relay));
	int status;

	if (!relay)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a relay");
	status = engine_enter(engine, false, err);
	if (status) {
		free(relay);
		return status;
	}
	status = find_device(&relay->device, device, err);
	if (!status)
		status = ffpf_relay_create(&relay->relay, relay->device->device->reader, cfg, err);
	if (status) {
		free(relay);
	} else {
		relay->engine = engine;
		relay->next = engine->relays;
		engine->relays = relay;
		*out = relay;
	}
	engine_leave(engine);
	return status;
}

int
ffpf_graph_relay_add(struct ffpf_graph_relay *relay, struct ffpf_graph_flow *flow, uint32_t place,
		     struct ffpf_error *err)
{
	struct node *node;
	int status = engine_enter(relay->engine, false, err);

	if (status)
		return status;
	status = flow_check(flow, "handing packets on", 1u << FFPF_GRAPH_INSTANTIATED, err);
	if (!status)
		status = flow_node_at(flow, place, &node, err);
	if (!status && relay->end_count == FFPF_GRAPH_RELAY_NODES_MAX)
		status = ffpf_error_set(err, FFPF_E_INVALID, "packets of %u nodes at most go to one reader",
					FFPF_GRAPH_RELAY_NODES_MAX);
	for (uint32_t i = 0; !status && i < node->source_count; i++) {
		if (node->sources[i] != relay->device)
			status = ffpf_error_set(err, FFPF_E_INVALID, "packets of another device come to this node");
	}
	if (!status)
		relay->ends[relay->end_count++] = (struct end){ flow, node };
	engine_leave(relay->engine);
	return status;
}

void
ffpf_graph_relay_look(struct ffpf_graph_relay *relay)
{
	struct device *device;

	if (engine_enter(relay->engine, true, NULL))
		return;
	device = relay->device ? relay->device->device : NULL;
	if (device && device->consumed == device->batch.count) {
		device->reader->ops->release(device->reader, device->batch.count);
		device->batch.count = device->consumed = 0;
		device->reader->ops->settle(device->reader);
	}
	engine_leave(relay->engine);
}

void
ffpf_graph_relay_close(struct ffpf_graph_relay *relay)
{
	struct ffpf_engine *engine;

	if (!relay || engine_enter(relay->engine, false, NULL))
		return;
	engine = relay->engine;
	for (struct ffpf_graph_relay **at = &engine->relays; *at; at = &(*at)->next) {
		if (*at == relay) {
			*at = relay->next;
			break;
		}
	}
	ffpf_relay_destroy(relay->relay);
	free(relay);
	engine_leave(engine);
}

/* ---- descriptors ---- */

enum which { READER, EVENT, IBUF };

static int
copy_of(struct ffpf_graph_relay *relay, enum which which, uint32_t lane, uint32_t least, uint32_t *move,
	struct ffpf_error *err)
{
	const struct ffpf_region *region = NULL;
	int fd = -1, status = engine_enter(relay->engine, true, err);

	if (status)
		return status;
	if (relay->relay && which == READER)
		region = ffpf_relay_reader(relay->relay);
	else if (relay->relay && which == IBUF)
		region = ffpf_relay_ibuf(relay->relay, lane, least, move);
	else if (relay->relay)
		fd = ffpf_relay_event_fd(relay->relay);
	if (region)
		fd = region->fd;
	if (fd == -1) {
		status = ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "there is none, yet");
	} else {
		status = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (status == -1)
			status = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "copying a descriptor");
	}
	engine_leave(relay->engine);
	return status;
}

int
ffpf_graph_relay_reader(struct ffpf_graph_relay *relay, struct ffpf_error *err)
{
	return copy_of(relay, READER, 0, 0, NULL, err);
}

int
ffpf_graph_relay_event(struct ffpf_graph_relay *relay, struct ffpf_error *err)
{
	return copy_of(relay, EVENT, 0, 0, NULL, err);
}

int
ffpf_graph_relay_ibuf(struct ffpf_graph_relay *relay, uint32_t lane, uint32_t least, uint32_t *move,
		      struct ffpf_error *err)
{
	return copy_of(relay, IBUF, lane, least, move, err);
}
