/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows: their states, and how a text becomes instances. The state table is in flow.h. */
#include "graph/engine_internal.h"
#include "graph/lex.h"

#include <stdlib.h>
#include <time.h>

static const char *const state_names[FFPF_GRAPH_STATES] = {
	[FFPF_GRAPH_CREATED] = "created",
	[FFPF_GRAPH_POPULATED] = "populated",
	[FFPF_GRAPH_INSTANTIATED] = "instantiated",
	[FFPF_GRAPH_ACTIVE] = "active",
	[FFPF_GRAPH_PAUSED] = "paused",
	[FFPF_GRAPH_CLOSED] = "closed",
};

const char *
ffpf_graph_state_name(enum ffpf_graph_state state)
{
	return state < FFPF_GRAPH_STATES ? state_names[state] : "unknown";
}

int
flow_check(const struct ffpf_graph_flow *flow, const char *call, unsigned states, struct ffpf_error *err)
{
	if (states & 1u << flow->state)
		return 0;
	return ffpf_error_set(err, FFPF_E_INVALID, "flow \"%s\" is %s: %s is not possible now", flow->name,
			      state_names[flow->state], call);
}

/* Takes the lock, if the flow is in one of these states. */
static int
enter(const struct ffpf_graph_flow *flow, const char *call, unsigned states, struct ffpf_error *err)
{
	int status = engine_enter(flow->engine, false, err);

	if (status)
		return status;
	status = flow_check(flow, call, states, err);
	if (status)
		engine_leave(flow->engine);
	return status;
}

static bool
name_is_taken(const struct ffpf_engine *engine, const char *name)
{
	const struct ffpf_graph_flow *flow = engine->flows;

	while (flow && (flow->state == FFPF_GRAPH_CLOSED || strcmp(flow->name, name) != 0))
		flow = flow->next;
	return flow != NULL;
}

static char *
choose_name(struct ffpf_engine *engine)
{
	char name[32];

	do {
		snprintf(name, sizeof(name), "flow%llu", (unsigned long long)++engine->last_flow);
	} while (name_is_taken(engine, name));
	return strdup(name);
}

int
ffpf_graph_flow_create(struct ffpf_graph_flow **out, struct ffpf_engine *engine, const char *name,
		       enum ffpf_graph_sharing sharing, struct ffpf_error *err)
{
	struct ffpf_graph_flow *flow;
	size_t len = name ? strlen(name) : 0;
	int status;

	if (name && (!len || lex_name(name, len) != len))
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "\"%s\" is no name of a flow: letters, digits, _ and -, a letter first", name);
	status = engine_enter(engine, false, err);
	if (status)
		return status;
	flow = calloc(1, sizeof(*flow));
	if (name && name_is_taken(engine, name))
		status = ffpf_error_set(err, FFPF_E_INVALID, "there is a flow \"%s\" already", name);
	else if (!flow || !(flow->name = name ? strdup(name) : choose_name(engine)))
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	if (status) {
		free(flow);
	} else {
		flow->engine = engine;
		flow->sharing = sharing;
		flow->next = engine->flows;
		engine->flows = flow;
		*out = flow;
	}
	engine_leave(engine);
	return status;
}

int
ffpf_graph_flow_populate(struct ffpf_graph_flow *flow, const char *text, struct ffpf_graph_error *err)
{
	struct ffpf_graph_text *parsed = NULL;
	int status;

	*err = (struct ffpf_graph_error){ .offset = FFPF_GRAPH_NOWHERE };
	status = enter(flow, "populate", 1u << FFPF_GRAPH_CREATED | 1u << FFPF_GRAPH_POPULATED, &err->error);
	if (status)
		return status;
	status = ffpf_graph_text_parse(&parsed, text, strlen(text), err);
	if (!status) {
		ffpf_graph_text_free(flow->text);
		flow->text = parsed;
		flow->state = FFPF_GRAPH_POPULATED;
	}
	engine_leave(flow->engine);
	return status;
}

int
flow_fail_at(const struct ffpf_graph_flow *flow, uint32_t at, struct ffpf_graph_error *err, enum ffpf_code code,
	     const char *text)
{
	int sys_errno = err->error.sys_errno;
	int status = ffpf_graph_error_set(err, flow->text->text, flow->text->len, at, code, "%s", text);

	err->error.sys_errno = sys_errno;
	return status;
}

/* The node that a name stands for: of the flow that is named, or of the only one that has it. */
static int
find_foreign(const struct ffpf_graph_flow *flow, const struct ffpf_graph_node *wanted, struct node **out,
	     struct ffpf_graph_error *err)
{
	const struct ffpf_graph_flow *first = NULL;
	char text[FFPF_ERROR_TEXT_LEN] = "";

	*out = NULL;
	for (const struct ffpf_graph_flow *f = flow->engine->flows; f; f = f->next) {
		if (!f->nodes || f == flow || (wanted->flow && strcmp(f->name, wanted->flow) != 0) ||
		    f->sharing == FFPF_GRAPH_SHARE_NONE)
			continue;
		for (uint32_t i = 0; i < f->text->count; i++) {
			const struct ffpf_graph_node *node = &f->text->nodes[i];

			if (!node->class || !node->name || strcmp(node->name, wanted->name) != 0)
				continue;
			if (*out && *out != f->nodes[i]) {
				snprintf(text, sizeof(text), "\"%s\" is a node of %s and of %s: write %s.%s",
					 node->name, first->name, f->name, f->name, node->name);
				return flow_fail_at(flow, wanted->at, err, FFPF_E_INVALID, text);
			}
			*out = f->nodes[i];
			first = f;
		}
	}
	if (*out)
		return 0;
	snprintf(text, sizeof(text), "no flow that is instantiated, and shares, has a node \"%s%s%s\"",
		 wanted->flow ? wanted->flow : "", wanted->flow ? "." : "", wanted->name);
	return flow_fail_at(flow, wanted->at, err, FFPF_E_INVALID, text);
}

int
flow_unknown_class(const struct ffpf_graph_flow *flow, const struct ffpf_graph_node *node, struct ffpf_graph_error *err)
{
	char text[FFPF_ERROR_TEXT_LEN];
	struct ffpf_text classes = { 0 };

	for (uint32_t i = 0; i < ffpf_class_count; i++)
		ffpf_text_add(&classes, "%s%s", i ? ", " : "", ffpf_classes[i]->name);
	for (uint32_t i = 0; i < flow->engine->class_count; i++)
		ffpf_text_add(&classes, ", %s", flow->engine->classes[i]->name);
	snprintf(text, sizeof(text), "there is no class \"%.40s\"; there are: %s", node->class,
		 ffpf_text_get(&classes));
	ffpf_text_free(&classes);
	return flow_fail_at(flow, node->at, err, FFPF_E_INVALID, text);
}

static int
make_node(struct ffpf_graph_flow *flow, uint32_t number, struct ffpf_graph_error *err)
{
	const struct ffpf_graph_node *from = &flow->text->nodes[number];
	struct node *inputs[FFPF_GRAPH_NODES_MAX];
	struct node_wanted wanted = {
		.expression = from->expression,
		.flow = flow,
		.number = number,
		.mbuf_bytes = from->mbuf_bytes,
		.has_mbuf = from->has_mbuf,
		.inputs = inputs,
		.owner = flow->sharing == FFPF_GRAPH_SHARE_NONE ? flow : NULL,
		.apart = board_meets(flow->text, number),
	};
	struct ffpf_error why = { 0 };
	struct text_place place;

	if (!from->class)
		return find_foreign(flow, from, &flow->nodes[number], err);
	wanted.class = engine_class_find(flow->engine, from->class);
	if (!wanted.class)
		return flow_unknown_class(flow, from, err);
	if (wanted.class->source && from->input_count)
		return flow_fail_at(flow, from->at, err, FFPF_E_INVALID, "a device takes no packets: it begins a flow");
	if (!wanted.class->source && !from->input_count)
		return flow_fail_at(flow, from->at, err, FFPF_E_INVALID, "a flow begins with a device, or a name");
	for (uint32_t i = 0; i < from->input_count; i++) { /* two names of the text may be one instance */
		struct node *input = flow->nodes[from->inputs[i]];
		uint32_t j = 0;

		while (j < wanted.input_count && inputs[j] != input)
			j++;
		if (j == wanted.input_count)
			inputs[wanted.input_count++] = input;
	}
	if (!node_get(&flow->nodes[number], flow->engine, &wanted, &place, &why))
		return 0;
	err->error.sys_errno = why.sys_errno;
	if (place.callee)
		from = place.callee;
	return flow_fail_at(flow, ffpf_graph_expression_place(flow->text, from, place.at), err, why.code, why.text);
}

static bool
is_member(const struct ffpf_graph_flow *flow, const struct node *node)
{
	for (uint32_t i = 0; i < flow->member_count; i++) {
		if (flow->members[i] == node)
			return true;
	}
	return false;
}

/* All instances of the flow, and what feeds them, in topological order, when the last of its nodes are made. */
static int
find_members(struct ffpf_graph_flow *flow)
{
	struct ffpf_engine *engine = flow->engine;
	bool *wanted = calloc(engine->node_count + 1, sizeof(*wanted));
	struct node **members = calloc(engine->node_count + 1, sizeof(*members));

	if (!wanted || !members) {
		free(wanted);
		free(members);
		return -1;
	}
	flow->member_count = 0;
	for (uint32_t i = engine->node_count; i-- > 0;) {
		for (uint32_t j = 0; j < flow->text->count; j++)
			wanted[i] |= flow->nodes[j] == engine->nodes[i];
		wanted[i] |= flow->last == engine->nodes[i];
		for (uint32_t j = i + 1; j < engine->node_count && !wanted[i]; j++) {
			const struct node *later = engine->nodes[j];

			for (uint32_t k = 0; wanted[j] && k < later->input_count; k++)
				wanted[i] |= later->inputs[k] == engine->nodes[i];
			wanted[i] |= wanted[j] && callees_read(later->callees, engine->nodes[i]);
		}
	}
	for (uint32_t i = 0; i < engine->node_count; i++) {
		if (wanted[i])
			members[flow->member_count++] = engine->nodes[i];
	}
	free(wanted);
	free(flow->members);
	flow->members = members;
	return 0;
}

/* Instances that no flow has: of a flow that could not be made, or that closes. */
static int
free_unused(struct ffpf_engine *engine, struct ffpf_error *err)
{
	struct ffpf_error first = { 0 }, later = { 0 };

	for (uint32_t i = engine->node_count; i-- > 0;) {
		if (engine->nodes[i]->flows == 0)
			node_free(engine, engine->nodes[i], first.code ? &later : &first);
	}
	if (first.code && err)
		*err = first;
	return -(int)first.code;
}

/* A flow that ends with a device wants all its packets, to count them at least. */
static int
need_ends(struct ffpf_graph_flow *flow, struct ffpf_graph_error *err)
{
	struct ffpf_error why = { 0 };

	for (uint32_t i = 0; i < flow->text->end_count; i++) {
		if (board_need(flow->engine, flow->nodes[flow->text->ends[i]], &why))
			return flow_fail_at(flow, FFPF_GRAPH_NOWHERE, err, why.code, why.text);
	}
	return 0;
}

int
ffpf_graph_flow_instantiate(struct ffpf_graph_flow *flow, struct ffpf_graph_error *err)
{
	int status;

	*err = (struct ffpf_graph_error){ .offset = FFPF_GRAPH_NOWHERE };
	status = enter(flow, "instantiate", 1u << FFPF_GRAPH_POPULATED, &err->error);
	if (status)
		return status;
	flow->nodes = calloc(flow->text->count, sizeof(*flow->nodes));
	if (!flow->nodes)
		status = flow_fail_at(flow, FFPF_GRAPH_NOWHERE, err, FFPF_E_NO_MEMORY, "out of memory");
	if (!status)
		status = callees_check(flow, err);
	for (uint32_t i = 0; i < flow->text->count && !status; i++)
		status = make_node(flow, i, err);
	if (!status)
		status = need_ends(flow, err);
	if (!status && find_members(flow))
		status = flow_fail_at(flow, FFPF_GRAPH_NOWHERE, err, FFPF_E_NO_MEMORY, "out of memory");
	if (status) {
		free_unused(flow->engine, NULL);
		free(flow->nodes);
		flow->nodes = NULL;
	} else {
		for (uint32_t i = 0; i < flow->member_count; i++)
			flow->members[i]->flows++;
		flow->state = FFPF_GRAPH_INSTANTIATED;
	}
	engine_leave(flow->engine);
	return status;
}

static void
set_active(struct ffpf_graph_flow *flow, bool active)
{
	for (uint32_t i = 0; i < flow->member_count; i++) {
		struct node *node = flow->members[i];

		if (active && node->active++ == 0)
			device_wanted(node->device, true);
		if (!active && --node->active == 0)
			device_wanted(node->device, false);
	}
}

int
ffpf_graph_flow_activate(struct ffpf_graph_flow *flow, struct ffpf_error *err)
{
	int status = enter(flow, "activate", 1u << FFPF_GRAPH_INSTANTIATED | 1u << FFPF_GRAPH_PAUSED, err);
	enum ffpf_graph_state before;

	if (status)
		return status;
	before = flow->state;
	set_active(flow, true);
	flow->state = FFPF_GRAPH_ACTIVE;
	status = device_filters_fit(flow->engine, err);
	if (status) {
		set_active(flow, false);
		flow->state = before;
		device_filters_fit(flow->engine, NULL);
	}
	engine_changed(flow->engine);
	engine_leave(flow->engine);
	return status;
}

int
ffpf_graph_flow_pause(struct ffpf_graph_flow *flow, struct ffpf_error *err)
{
	int status = enter(flow, "pause", 1u << FFPF_GRAPH_ACTIVE, err);

	if (status)
		return status;
	set_active(flow, false);
	flow->state = FFPF_GRAPH_PAUSED;
	device_filters_fit(flow->engine, NULL); /* one that stays for now lets pass what the rest want */
	engine_changed(flow->engine);
	engine_leave(flow->engine);
	return 0;
}

int
flow_close_locked(struct ffpf_graph_flow *flow, struct ffpf_error *err)
{
	struct ffpf_engine *engine = flow->engine;
	struct queue *queue = engine->queues;
	int status;

	if (flow->state == FFPF_GRAPH_CLOSED)
		return 0;
	queue_save_all(engine); /* devices may go, and with them what others have not read yet */
	if (flow->state == FFPF_GRAPH_ACTIVE)
		set_active(flow, false);
	while (queue) {
		struct queue *next = queue->next_of_all;

		if (queue->flow == flow)
			queue_destroy(engine, queue);
		queue = next;
	}
	relays_forget_flow(engine, flow);
	for (uint32_t i = 0; i < flow->member_count; i++)
		flow->members[i]->flows--;
	flow->state = FFPF_GRAPH_CLOSED;
	device_filters_fit(engine, NULL);
	status = free_unused(engine, err);
	free(flow->members);
	free(flow->nodes);
	ffpf_graph_text_free(flow->text);
	flow->members = flow->nodes = NULL;
	flow->last = NULL;
	flow->text = NULL;
	flow->member_count = 0;
	engine_changed(engine);
	return status;
}

int
ffpf_graph_flow_close(struct ffpf_graph_flow *flow, struct ffpf_error *err)
{
	int status;

	if (engine_foreign(flow->engine))
		return 0;
	status = engine_enter(flow->engine, false, err);
	if (status)
		return status;
	status = flow_close_locked(flow, err);
	engine_leave(flow->engine);
	return status;
}

void
ffpf_graph_flow_destroy(struct ffpf_graph_flow *flow)
{
	struct ffpf_engine *engine;

	if (!flow || engine_foreign(flow->engine))
		return;
	engine = flow->engine;
	if (engine_enter(engine, false, NULL))
		return;
	flow_close_locked(flow, NULL);
	for (struct ffpf_graph_flow **at = &engine->flows; *at; at = &(*at)->next) {
		if (*at == flow) {
			*at = flow->next;
			break;
		}
	}
	free(flow->name);
	free(flow);
	engine_leave(engine);
}

int
flow_node_at(struct ffpf_graph_flow *flow, uint32_t place, struct node **out, struct ffpf_error *err)
{
	const struct ffpf_graph_text *text = flow->text;
	struct node *ends[FFPF_GRAPH_NODES_MAX];
	struct node_wanted wanted = { .expression = "", .inputs = ends, .owner = flow };
	struct text_place where;
	int status;

	if (place != FFPF_GRAPH_LAST && place >= text->count)
		return ffpf_error_set(err, FFPF_E_INVALID, "flow \"%s\" has %u nodes, and none at %u", flow->name,
				      text->count, place);
	if (place != FFPF_GRAPH_LAST || flow->last) {
		*out = place == FFPF_GRAPH_LAST ? flow->last : flow->nodes[place];
		return 0;
	}
	for (uint32_t i = 0; i < text->end_count; i++)
		ends[wanted.input_count++] = flow->nodes[text->ends[i]];
	if (wanted.input_count == 1) {
		*out = flow->last = ends[0];
		return 0;
	}
	status = node_get(&flow->last, flow->engine, &wanted, &where, err);
	if (status)
		return status;
	if (!is_member(flow, flow->last)) {
		if (find_members(flow)) {
			if (!flow->last->flows) /* and none of a flow that is being instantiated */
				node_free(flow->engine, flow->last, NULL);
			flow->last = NULL;
			return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
		}
		flow->last->flows++;
		flow->last->active += flow->state == FFPF_GRAPH_ACTIVE;
	}
	*out = flow->last;
	return 0;
}
