/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Instances. Two nodes are one when class, arguments, MBuf and inputs are the same, neither flow keeps its nodes for
 * itself, and no packet has passed that the later one would miss: inputs are compared as instances, so the rule holds
 * for whole prefixes.
 */
#include "graph/engine_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int
no_memory(struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static void
destroy(struct node *node)
{
	if (node->instance && node->class && node->class->close)
		node->class->close(node->instance);
	callees_destroy(node->callees);
	device_close(node->device);
	ffpf_mbuf_close(&node->mbuf);
	free(node->instance);
	free(node->arguments);
	free(node->reason);
	free(node->inputs);
	free(node->input_ids);
	free(node->sources);
	free(node->link_types);
	free(node->forms);
	free(node->pos);
	free(node->results);
	free(node);
}

static bool
same_inputs(const struct node *node, const struct node_wanted *wanted)
{
	if (node->input_count != wanted->input_count)
		return false;
	for (uint32_t i = 0; i < node->input_count; i++) {
		if (node->inputs[i] != wanted->inputs[i])
			return false;
	}
	return true;
}

static bool
missed_the_beginning(const struct device *device)
{
	return device && (device_is_file(device) || device->kind == DEVICE_GIVEN) && device->begun;
}

static struct node *
find_same(const struct ffpf_engine *engine, const struct node_wanted *wanted, const struct node *new)
{
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];

		if (node->class == new->class && node->owner == wanted->owner && !missed_the_beginning(node->device) &&
		    !(wanted->apart && node->device && node->device->kind == DEVICE_BOARD) &&
		    node->mbuf_bytes == new->mbuf_bytes && same_inputs(node, wanted) &&
		    strcmp(node->arguments, new->arguments) == 0 &&
		    strcmp(callees_key(node->callees), callees_key(new->callees)) == 0)
			return node;
	}
	return NULL;
}

static void
free_args(struct ffpf_class_args *args)
{
	ffpf_text_free(&args->canonical);
	ffpf_text_free(&args->calls);
}

/* Checks the arguments; node->arguments and mbuf_bytes are canonical then. */
static int
parse(struct ffpf_engine *engine, struct node *node, const struct node_wanted *wanted, struct text_place *place,
      struct ffpf_error *err)
{
	const struct ffpf_class *class = wanted->class;
	struct ffpf_class_args args = {
		.text = wanted->expression,
		.mbuf_bytes = wanted->has_mbuf ? wanted->mbuf_bytes : class->mbuf_bytes,
	};
	size_t bytes = class->instance_bytes ? class->instance_bytes : 1;
	void *instance;
	int status = 0;

	if (class->program && wanted->flow)
		status = callees_create(&node->callees, wanted->flow, wanted->number, err);
	if (status)
		return status;
	args.externs = node->callees ? callees_scope(node->callees) : &engine->externs_scope;
	instance = calloc(1, bytes);
	if (!instance)
		return no_memory(err);
	*err = (struct ffpf_error){ 0 };
	if (class->parse) {
		status = class->parse(instance, &args, err);
	} else {
		status = ffpf_args_none(&args, err);
		if (!status && args.mbuf_bytes < class->mbuf_bytes)
			status = ffpf_args_fail(&args, 0, err, "an MBuf of %" PRIu64 " octets; %s needs %zu",
						args.mbuf_bytes, class->name, class->mbuf_bytes);
	}
	place->at = args.error_at;
	if (status) {
		free(instance);
		free_args(&args);
		return status;
	}
	node->class = class;
	node->instance = instance; /* from here on close() is due */
	node->mbuf_bytes = args.mbuf_bytes;
	node->arguments = strdup(args.canonical.len ? args.canonical.data : wanted->expression);
	status = !node->arguments || args.canonical.failed || args.calls.failed ? no_memory(err) : 0;
	if (!status && node->callees)
		status = callees_parse(node->callees, &args, place, err);
	free_args(&args);
	return status;
}

static int
add_source(struct node *node, struct node *source)
{
	struct node **grown;

	for (uint32_t i = 0; i < node->source_count; i++) {
		if (node->sources[i] == source)
			return 0;
	}
	grown = realloc(node->sources, (node->source_count + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	node->sources = grown;
	node->sources[node->source_count++] = source;
	return 0;
}

/* Which link types, in which form, can come here. */
static int
find_links(struct node *node)
{
	node->link_types = calloc(node->source_count, sizeof(*node->link_types));
	node->forms = calloc(node->source_count, sizeof(*node->forms));
	if (!node->link_types || !node->forms)
		return -1;
	node->offline = true;
	for (uint32_t i = 0; i < node->source_count; i++) {
		const struct device *device = node->sources[i]->device;
		uint32_t j = 0;

		node->offline &= device_is_file(device);
		while (j < node->link_type_count &&
		       (node->link_types[j] != device->link_type || node->forms[j] != device->form))
			j++;
		node->link_types[j] = device->link_type;
		node->forms[j] = device->form;
		if (j == node->link_type_count)
			node->link_type_count++;
	}
	return 0;
}

static int
connect_inputs(struct node *node, const struct node_wanted *wanted, struct ffpf_error *err)
{
	node->inputs = calloc(wanted->input_count + 1, sizeof(*node->inputs));
	node->input_ids = calloc(wanted->input_count + 1, sizeof(*node->input_ids));
	if (!node->inputs || !node->input_ids)
		return no_memory(err);
	for (; node->input_count < wanted->input_count; node->input_count++) {
		node->inputs[node->input_count] = wanted->inputs[node->input_count];
		node->input_ids[node->input_count] = wanted->inputs[node->input_count]->id;
	}
	return 0;
}

/* The devices that its packets come from: of what a board runs, that is itself. */
static int
find_sources(struct node *node, struct ffpf_error *err)
{
	int status = node->device ? add_source(node, node) : 0;

	for (uint32_t i = 0; i < node->input_count && !node->device; i++) {
		for (uint32_t j = 0; j < node->inputs[i]->source_count; j++)
			status |= add_source(node, node->inputs[i]->sources[j]);
	}
	return status || find_links(node) ? no_memory(err) : board_check_apart(node, err);
}

static uint32_t
power_of_two(uint64_t bytes)
{
	uint32_t size = FFPF_MBUF_MIN_BYTES;

	while (size < bytes)
		size *= 2;
	return size;
}

/* With one that is shown its counters stand in front, and whoever has its descriptor can only read it. */
static int
make_mbuf(const struct ffpf_engine *engine, struct node *node, struct ffpf_error *err)
{
	bool shown = engine->cfg.shown && node->class;

	if (!node->mbuf_bytes && !shown)
		return 0;
	return ffpf_mbuf_create(&node->mbuf, power_of_two(node->mbuf_bytes),
				shown ? FFPF_MEMORY_FD : FFPF_MEMORY_ANONYMOUS, FFPF_PEER_READS, err);
}

static int
open_instance(struct ffpf_engine *engine, struct node *node, struct text_place *place, struct ffpf_error *err)
{
	struct ffpf_class_env env = {
		.mbuf_bytes = node->mbuf_bytes,
		.link_types = node->link_types,
		.forms = node->forms,
		.link_type_count = node->link_type_count,
		.offline = node->offline,
		.error_at = &place->at,
		.externs = &engine->externs_scope,
		.away = engine_away,
		.away_arg = engine,
		.dropped = &node->dropped,
	};
	int status;

	for (uint32_t i = 0; i < node->source_count; i++) {
		if (env.snap_len < node->sources[i]->device->snap_len)
			env.snap_len = node->sources[i]->device->snap_len;
	}
	status = make_mbuf(engine, node, err);
	if (status)
		return status;
	env.mbuf = node->mbuf_bytes ? node->mbuf.data : NULL;
	if (node->callees)
		status = callees_open(node->callees, &env, place, err);
	if (status)
		return status;
	return node->class && node->class->open ? node->class->open(node->instance, &env, err) : 0;
}

int
node_to_host(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err)
{
	struct device *device = node->device;
	struct text_place place = { 0 };
	int status = open_instance(engine, node, &place, err);

	if (status)
		return status;
	node->device = NULL;
	device_close(device);
	for (uint32_t i = 0; i < engine->node_count; i++) {
		for (uint32_t j = 0; j < engine->nodes[i]->source_count; j++) {
			if (engine->nodes[i]->sources[j] == node)
				engine->nodes[i]->sources[j] = node->inputs[0];
		}
	}
	return 0;
}

static int
make_ready(struct ffpf_engine *engine, struct node *node, const struct node_wanted *wanted, struct text_place *place,
	   struct ffpf_error *err)
{
	bool placed;
	int status;

	if (wanted->class && wanted->class->source) {
		status = device_open(&node->device, engine, node->arguments, err);
		if (status)
			return status;
	}
	status = connect_inputs(node, wanted, err);
	placed = !status && board_place(engine, node, wanted->apart);
	for (uint32_t i = 0; i < node->input_count && !status && !placed; i++)
		status = board_need(engine, node->inputs[i], err);
	if (!status)
		status = find_sources(node, err);
	if (!status && !placed)
		status = open_instance(engine, node, place, err);
	if (status)
		return status;
	node->pos = calloc(engine->cfg.batch, sizeof(*node->pos));
	node->results = malloc(engine->cfg.batch * sizeof(*node->results));
	if (!node->pos || !node->results)
		return no_memory(err);
	/* a device's, unless its reader says others */
	memset(node->results, 0xff, engine->cfg.batch * sizeof(*node->results));
	node->owner = wanted->owner;
	return 0;
}

static bool
room_for_one(struct ffpf_engine *engine)
{
	uint32_t room = engine->node_room ? engine->node_room * 2 : 16;
	struct node **grown;

	if (engine->node_count < engine->node_room)
		return true;
	grown = realloc(engine->nodes, room * sizeof(*grown));
	if (!grown)
		return false;
	engine->nodes = grown;
	engine->node_room = room;
	return true;
}

int
node_get(struct node **out, struct ffpf_engine *engine, const struct node_wanted *wanted, struct text_place *place,
	 struct ffpf_error *err)
{
	struct node *node = calloc(1, sizeof(*node)), *same;
	int status;

	*place = (struct text_place){ 0 };
	if (!node)
		return no_memory(err);
	if (wanted->class) {
		status = parse(engine, node, wanted, place, err);
	} else {
		node->arguments = strdup("");
		status = node->arguments ? 0 : no_memory(err);
	}
	if (status) {
		destroy(node);
		return status;
	}
	same = find_same(engine, wanted, node);
	if (same) {
		destroy(node);
		*out = same;
		return 0;
	}
	place->at = 0;
	status = make_ready(engine, node, wanted, place, err);
	if (!status && !room_for_one(engine)) /* behind it: others may have come while a class was opened */
		status = no_memory(err);
	if (status) {
		destroy(node);
		return status;
	}
	node->id = ++engine->last_id;
	engine->nodes[engine->node_count++] = node;
	*out = node;
	return 0;
}

int
node_flush(struct node *node, struct ffpf_error *err)
{
	int status = 0, later = 0;

	if (node->class && node->class->flush)
		status = node->class->flush(node->instance, err);
	if (node->callees)
		later = callees_flush(node->callees, status ? NULL : err);
	return status ? status : later;
}

int
node_free(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err)
{
	int status = node_flush(node, err);
	uint32_t at = 0;

	if (node->device)
		relays_forget_device(engine, node);
	while (engine->nodes[at] != node)
		at++;
	engine->node_count--;
	memmove(engine->nodes + at, engine->nodes + at + 1, (engine->node_count - at) * sizeof(*engine->nodes));
	destroy(node);
	return status;
}

void
node_counters(const struct node *node, struct ffpf_node_counters *out)
{
	const struct device *device = node->device;

	*out = (struct ffpf_node_counters){ 0 };
	if (!device) {
		out->in = node->in;
		out->out = node->out;
		out->dropped[FFPF_NODE_DROP_CLASS] = node->dropped;
		out->filtered = node->in - node->out - node->dropped;
		return;
	}
	if (device->session && !device->reader) { /* its packets stay on the board */
		out->in = out->out = board_received(device);
		return;
	}
	out->out = device->passed;
	out->dropped[FFPF_NODE_DROP_PAUSED] = device->paused;
	out->in = device->passed + device->paused;
	if (device->reader) {
		struct ffpf_counters c = { 0 };

		if (device->reader->ops->counters(device->reader, &c))
			return;
		for (unsigned i = 0; i < FFPF_DROP_CAUSES; i++)
			out->dropped[i] = c.dropped[i];
		out->in += ffpf_counters_dropped(&c);
		if (device->kind == DEVICE_LIVE || device->kind == DEVICE_BOARD) { /* their own filters */
			out->filtered = c.filtered;
			out->in += c.filtered;
		}
	}
}

bool
node_ended(const struct node *node, struct ffpf_error *failed)
{
	for (uint32_t i = 0; i < node->source_count; i++) {
		const struct device *device = node->sources[i]->device;

		if (!device->ended)
			return false;
		if (device->failed.code && failed)
			*failed = device->failed;
	}
	return true;
}
