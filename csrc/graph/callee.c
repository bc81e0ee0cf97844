/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The paper's filter call (section 2.2, Figure 2b): what programs call, before the flow, as external functions.
 *
 *     top=(FPL-2,"...",64); sum=(FPL-2,"EXTERN(top,0,0); ..."); (device,a) -> (FPL-2,"EXTERN(sum,0,0);",64)
 *
 *     scope of the node      engine's own functions, MBufs to read, top, sum
 *     of sum                 engine's own functions, MBufs to read, top
 *     of top                 engine's own functions, MBufs to read
 */
#include "graph/engine_internal.h"
#include "graph/lex.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

struct callee {
	struct ffpf_extern row; /* as programs know it; its `arg` is the callee */
	char *name;
	const struct ffpf_graph_node *from; /* of the text; gone when it is open */
	const struct ffpf_class *class;
	void *instance; /* NULL: not parsed yet */
	uint64_t mbuf_bytes;
	uint64_t dropped;
	bool wanted;
	bool is_open; /* not where the node itself runs elsewhere, on a board */
};

struct callees {
	const struct ffpf_extern **rows; /* the engine's own, of what is read, and behind them those of the callees */
	struct ffpf_extern_scope scope;
	uint32_t own;  /* of the rows: the engine's */
	uint32_t base; /* likewise: those before the callees */
	struct readables readables;
	struct callee *callees;
	uint32_t count;
	struct ffpf_text key;
};

static int
no_memory(struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

/* EXTERN's value is its result. What it drops, its caller drops. */
static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	struct callee *callee = use->function->arg;
	const struct ffpf_node_pkt *in = use->set->in;
	const uint64_t dropped = callee->dropped;
	uint32_t result;

	(void)pkt;
	(void)cap_len;
	(void)mbuf;
	(void)read_at;
	(void)write_at;
	if (callee->class->filter_batch)
		callee->class->filter_batch(callee->instance, in, 1, &result);
	else
		result = callee->class->filter(callee->instance, in);
	use->set->drop |= callee->dropped != dropped;
	return result;
}

int
callees_check(const struct ffpf_graph_flow *flow, struct ffpf_graph_error *err)
{
	char text[FFPF_ERROR_TEXT_LEN];

	for (uint32_t i = 0; i < flow->text->callee_count; i++) {
		const struct ffpf_graph_node *node = &flow->text->callees[i];
		const struct ffpf_class *class = engine_class_find(flow->engine, node->class);

		if (!class)
			return flow_unknown_class(flow, node, err);
		if (class->source)
			return flow_fail_at(flow, node->at, err, FFPF_E_INVALID, "a device is nothing to call");
		if (!engine_extern_is_known(flow->engine, node->name))
			continue;
		snprintf(text, sizeof(text), "EXTERN knows a function \"%s\": call the filter otherwise", node->name);
		return flow_fail_at(flow, node->at, err, FFPF_E_INVALID, text);
	}
	return 0;
}

int
callees_create(struct callees **out, const struct ffpf_graph_flow *flow, uint32_t number, struct ffpf_error *err)
{
	struct callees *self = calloc(1, sizeof(*self));
	const struct ffpf_extern_scope *own = &flow->engine->externs_scope;
	const struct ffpf_graph_text *text = flow->text;
	int status;

	if (!self)
		return no_memory(err);
	status = readables_create(&self->readables, flow, number, err);
	if (status) {
		callees_destroy(self);
		return status;
	}
	self->rows = calloc(own->count + self->readables.count + (size_t)text->callee_count + 1, sizeof(*self->rows));
	self->callees = calloc((size_t)text->callee_count + 1, sizeof(*self->callees));
	if (!self->rows || !self->callees) {
		callees_destroy(self);
		return no_memory(err);
	}
	self->own = own->count;
	for (uint32_t i = 0; i < own->count; i++)
		self->rows[i] = own->rows[i];
	self->base = own->count + self->readables.count;
	for (uint32_t i = 0; i < self->readables.count; i++)
		self->rows[own->count + i] = readables_row(&self->readables, i);
	for (; self->count < text->callee_count; self->count++) {
		struct callee *callee = &self->callees[self->count];

		callee->from = &text->callees[self->count];
		callee->class = engine_class_find(flow->engine, callee->from->class);
		callee->name = strdup(callee->from->name);
		if (!callee->name) {
			callees_destroy(self);
			return no_memory(err);
		}
		callee->row = (struct ffpf_extern){ .name = callee->name,
						    .summary = callee->class->summary,
						    .arguments = "",
						    .value = "what the filter returns",
						    .reads_what = "",
						    .writes_what = "",
						    .levels = FFPF_LEVEL_USERSPACE,
						    .call = call,
						    .arg = callee };
		self->rows[self->base + self->count] = &callee->row;
	}
	self->scope = (struct ffpf_extern_scope){ self->rows, self->base + self->count };
	*out = self;
	return 0;
}

const struct ffpf_extern_scope *
callees_scope(const struct callees *callees)
{
	return &callees->scope;
}

static bool
in_word(char c)
{
	return lex_name_begin(c) || (c >= '0' && c <= '9');
}

bool
engine_has_word(const char *text, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = text; (at = strcasestr(at, word)); at++) {
		if ((at == text || !in_word(at[-1])) && !in_word(at[len]))
			return true;
	}
	return false;
}

/* What the program that was parsed may call, of the first so many, and read. */
static void
want(struct callees *self, uint32_t count, const struct ffpf_class_args *program)
{
	const char *text = ffpf_text_get(&program->calls);

	for (uint32_t i = 0; i < count; i++)
		self->callees[i].wanted |= engine_has_word(text, self->callees[i].name);
	readables_want(&self->readables, text);
}

static int
check_mbuf(const struct callee *callee, const struct ffpf_class_args *args, uint64_t lent, struct ffpf_error *err)
{
	if (!callee->class->parse && args->mbuf_bytes < callee->class->mbuf_bytes)
		return ffpf_error_set(err, FFPF_E_INVALID, "an MBuf of %" PRIu64 " octets; %s needs %zu",
				      args->mbuf_bytes, callee->class->name, callee->class->mbuf_bytes);
	if (args->mbuf_bytes > lent)
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "it takes %" PRIu64 " octets of its caller's MBuf, which has %" PRIu64,
				      args->mbuf_bytes, lent);
	return 0;
}

/* Number `number`: its arguments, and what it calls of those before it. */
static int
parse_one(struct callees *self, uint32_t number, uint64_t lent, size_t *error_at, struct ffpf_error *err)
{
	struct callee *callee = &self->callees[number];
	const struct ffpf_class *class = callee->class;
	const struct ffpf_extern_scope before = { self->rows, self->base + number };
	struct ffpf_class_args args = {
		.text = callee->from->expression, .mbuf_bytes = class->mbuf_bytes, .externs = &before, .called = true
	};
	void *instance = calloc(1, class->instance_bytes ? class->instance_bytes : 1);
	int status;

	if (!instance)
		return no_memory(err);
	if (callee->from->has_mbuf)
		args.mbuf_bytes = callee->from->mbuf_bytes;
	else if (class->program)
		args.mbuf_bytes = lent;
	*err = (struct ffpf_error){ 0 };
	status = class->parse ? class->parse(instance, &args, err) : ffpf_args_none(&args, err);
	*error_at = args.error_at;
	if (status) {
		free(instance);
	} else {
		callee->instance = instance; /* from here on close() is due */
		callee->mbuf_bytes = args.mbuf_bytes;
		status = check_mbuf(callee, &args, lent, err);
	}
	if (!status) {
		const char *canonical = args.canonical.len ? args.canonical.data : callee->from->expression;

		want(self, number, &args);
		ffpf_text_add(&self->key, "%s=%s,%" PRIu64 ",%zu:%s;", callee->name, class->name, args.mbuf_bytes,
			      strlen(canonical), canonical);
		if (args.canonical.failed || args.calls.failed || self->key.failed)
			status = no_memory(err);
	}
	ffpf_text_free(&args.canonical);
	ffpf_text_free(&args.calls);
	return status;
}

/* The rows of what programs call and read, and no others. Nodes are part of what is the same. */
static void
keep_wanted(struct callees *self)
{
	uint32_t count = self->own;

	for (uint32_t i = 0; i < self->readables.count; i++) {
		if (!readables_is_wanted(&self->readables, i))
			continue;
		self->rows[count++] = readables_row(&self->readables, i);
		ffpf_text_add(&self->key, "%s=%" PRIu64 ";", readables_row(&self->readables, i)->name,
			      readables_node(&self->readables, i)->id);
	}
	self->base = count;
	for (uint32_t i = 0; i < self->count; i++) {
		if (self->callees[i].wanted)
			self->rows[count++] = &self->callees[i].row;
	}
	self->scope.count = count;
}

int
callees_parse(struct callees *callees, struct ffpf_class_args *caller, struct text_place *place, struct ffpf_error *err)
{
	const uint64_t lent = caller->lent_bytes ? caller->lent_bytes : caller->mbuf_bytes;
	want(callees, callees->count, caller);
	for (uint32_t i = callees->count; i-- > 0;) { /* who may be called stands before who calls */
		int status = callees->callees[i].wanted ? parse_one(callees, i, lent, &place->at, err) : 0;

		if (status) {
			place->callee = callees->callees[i].from;
			return status;
		}
	}
	keep_wanted(callees);
	return callees->key.failed ? no_memory(err) : 0;
}

static int
open_one(struct callee *callee, const struct ffpf_class_env *of_caller, const struct ffpf_extern_scope *before,
	 struct ffpf_error *err)
{
	struct ffpf_class_env env = *of_caller;
	uint64_t steps = FFPF_CLASS_STEPS;
	int status;

	env.mbuf_bytes = callee->mbuf_bytes;
	env.mbuf = callee->mbuf_bytes ? of_caller->mbuf : NULL;
	env.externs = before;
	env.dropped = &callee->dropped;
	status = callee->class->open ? callee->class->open(callee->instance, &env, err) : 0;
	if (status)
		return status;
	if (callee->class->steps)
		steps = callee->class->steps(callee->instance);
	callee->row.steps = steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX;
	callee->is_open = true;
	return 0;
}

int
callees_open(struct callees *callees, struct ffpf_class_env *env, struct text_place *place, struct ffpf_error *err)
{
	struct ffpf_extern_scope before = { callees->rows, callees->base };

	for (uint32_t i = 0; i < callees->count; i++) {
		struct callee *callee = &callees->callees[i];
		int status = callee->wanted ? open_one(callee, env, &before, err) : 0;

		if (status) {
			place->callee = callee->from;
			return status;
		}
		before.count += callee->wanted;
		callee->from = NULL; /* the text may go */
	}
	env->externs = &callees->scope;
	return 0;
}

bool
callees_read(const struct callees *callees, const struct node *node)
{
	for (uint32_t i = 0; callees && i < callees->readables.count; i++) {
		if (readables_is_wanted(&callees->readables, i) && readables_node(&callees->readables, i) == node)
			return true;
	}
	return false;
}

const char *
callees_key(const struct callees *callees)
{
	return callees ? ffpf_text_get(&callees->key) : "";
}

void
callees_tick(struct callees *callees, uint64_t now_ns)
{
	for (uint32_t i = 0; i < callees->count; i++) {
		const struct callee *callee = &callees->callees[i];

		if (callee->is_open && callee->class->tick)
			callee->class->tick(callee->instance, now_ns);
	}
}

int
callees_flush(struct callees *callees, struct ffpf_error *err)
{
	int first = 0;

	for (uint32_t i = 0; i < callees->count; i++) {
		const struct callee *callee = &callees->callees[i];
		int status = 0;

		if (callee->is_open && callee->class->flush)
			status = callee->class->flush(callee->instance, first ? NULL : err);
		first = first ? first : status;
	}
	return first;
}

void
callees_destroy(struct callees *callees)
{
	if (!callees)
		return;
	for (uint32_t i = callees->count; i-- > 0;) {
		struct callee *callee = &callees->callees[i];

		if (callee->instance && callee->class->close)
			callee->class->close(callee->instance);
		free(callee->instance);
		free(callee->name);
	}
	readables_free(&callees->readables);
	ffpf_text_free(&callees->key);
	free(callees->callees);
	free(callees->rows);
	free(callees);
}
