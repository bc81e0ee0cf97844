/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/engine_internal.h"
#include "graph/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEFAULT_BATCH    256u
#define MAX_BATCH        1024u
#define DEFAULT_SLOTS    16384u
#define MAX_SLOTS        (1u << 24)
#define DEFAULT_STORE    ((size_t)64 << 20)
#define DEFAULT_SNAP_LEN 262144u

static int
no_memory(struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static int
check_config(struct ffpf_engine_config *cfg, struct ffpf_error *err)
{
	cfg->batch = cfg->batch ? cfg->batch : DEFAULT_BATCH;
	cfg->queue_slots = cfg->queue_slots ? cfg->queue_slots : DEFAULT_SLOTS;
	cfg->store_bytes = cfg->store_bytes ? cfg->store_bytes : DEFAULT_STORE;
	cfg->snap_len = cfg->snap_len ? cfg->snap_len : DEFAULT_SNAP_LEN;
	if (cfg->batch > MAX_BATCH)
		return ffpf_error_set(err, FFPF_E_INVALID, "batch: %u is not from 1 to %u", cfg->batch, MAX_BATCH);
	if (cfg->queue_slots & (cfg->queue_slots - 1) || cfg->queue_slots < 2 * cfg->batch ||
	    cfg->queue_slots > MAX_SLOTS)
		return ffpf_error_set(err, FFPF_E_INVALID, "queue slots: %u is no power of two from two batches to %u",
				      cfg->queue_slots, MAX_SLOTS);
	if (cfg->snap_len > DEFAULT_SNAP_LEN)
		return ffpf_error_set(err, FFPF_E_INVALID, "snap length: %u is not from 1 to %u", cfg->snap_len,
				      DEFAULT_SNAP_LEN);
	if (cfg->timeout_ms < 0)
		return ffpf_error_set(err, FFPF_E_INVALID, "timeout: %d ms", cfg->timeout_ms);
	return 0;
}

static int
make_arrays(struct ffpf_engine *engine)
{
	const size_t n = engine->cfg.batch;

	engine->batch = calloc(n, sizeof(*engine->batch));
	engine->pkts = calloc(n, sizeof(*engine->pkts));
	engine->saved = calloc(n, sizeof(*engine->saved));
	engine->saved_in = calloc(n, sizeof(*engine->saved_in));
	engine->in = calloc(n, sizeof(*engine->in));
	engine->in_pos = calloc(n, sizeof(*engine->in_pos));
	engine->in_results = calloc(n, sizeof(*engine->in_results));
	engine->marks = calloc(n, sizeof(*engine->marks));
	return engine->batch && engine->pkts && engine->saved && engine->saved_in && engine->in && engine->in_pos &&
		       engine->in_results && engine->marks
		   ? 0
		   : -1;
}

static void
free_engine(struct ffpf_engine *engine)
{
	free(engine->batch);
	free(engine->pkts);
	free(engine->saved);
	free(engine->saved_in);
	free(engine->in);
	free(engine->in_pos);
	free(engine->in_results);
	free(engine->marks);
	free(engine->nodes);
	free(engine->classes);
	free(engine->externs);
	free(engine->filling);
	if (engine->wake_fd >= 0)
		close(engine->wake_fd);
	pthread_cond_destroy(&engine->called);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}

int
ffpf_engine_create(struct ffpf_engine **out, const struct ffpf_engine_config *cfg, struct ffpf_error *err)
{
	struct ffpf_engine_config checked = cfg ? *cfg : (struct ffpf_engine_config){ 0 };
	struct ffpf_engine *engine;
	int status = check_config(&checked, err);

	if (status)
		return status;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return no_memory(err);
	engine->cfg = checked;
	engine->pid = getpid();
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->called, NULL);
	engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine->wake_fd < 0)
		status = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "eventfd");
	else if (make_arrays(engine))
		status = no_memory(err);
	if (status) {
		free_engine(engine);
		return status;
	}
	*out = engine;
	return 0;
}

void
ffpf_engine_destroy(struct ffpf_engine *engine)
{
	if (!engine || engine_foreign(engine))
		return;
	while (engine->flows)
		ffpf_graph_flow_destroy(engine->flows);
	while (engine->hooks) {
		struct ffpf_engine_hook *hook = engine->hooks;

		engine->hooks = hook->next;
		free(hook->name);
		free(hook);
	}
	while (engine->given) {
		struct given *given = engine->given;

		engine->given = given->next;
		given->reader->ops->close(given->reader);
		if (given->close)
			given->close(given->arg);
		free(given->name);
		free(given);
	}
	free_engine(engine);
}

static int
check_name(const char *name, struct ffpf_error *err)
{
	size_t len = strlen(name);

	if (len && lex_name(name, len) == len)
		return 0;
	return ffpf_error_set(err, FFPF_E_INVALID, "\"%s\" is no name: letters, digits, _ and -, a letter first", name);
}

int
ffpf_engine_give_reader(struct ffpf_engine *engine, const char *name, struct ffpf_reader *reader,
			void (*close_arg)(void *arg), void *arg, struct ffpf_error *err)
{
	struct given *given, *at;
	int status = check_name(name, err);

	if (status)
		return status;
	status = engine_enter(engine, false, err);
	if (status)
		return status;
	for (at = engine->given; at && strcmp(at->name, name) != 0; at = at->next)
		;
	given = calloc(1, sizeof(*given));
	if (at)
		status = ffpf_error_set(err, FFPF_E_INVALID, "there is a reader \"%s\" already", name);
	else if (!given || !(given->name = strdup(name)))
		status = no_memory(err);
	if (status) {
		free(given);
	} else {
		given->reader = reader;
		given->close = close_arg;
		given->arg = arg;
		given->next = engine->given;
		engine->given = given;
	}
	engine_leave(engine);
	return status;
}

int
ffpf_engine_hook_open(struct ffpf_engine_hook **out, struct ffpf_engine *engine, const char *name, uint32_t link_type,
		      struct ffpf_error *err)
{
	struct ffpf_engine_hook *hook, *at;
	int status = check_name(name, err);

	if (status)
		return status;
	if (link_type > UINT16_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no link type %u", link_type);
	status = engine_enter(engine, false, err);
	if (status)
		return status;
	for (at = engine->hooks; at && strcmp(at->name, name) != 0; at = at->next)
		;
	hook = calloc(1, sizeof(*hook));
	if (at)
		status = ffpf_error_set(err, FFPF_E_INVALID, "there is a hook \"%s\" already", name);
	else if (!hook || !(hook->name = strdup(name)))
		status = no_memory(err);
	if (status) {
		free(hook);
	} else {
		hook->engine = engine;
		hook->link_type = link_type;
		hook->next = engine->hooks;
		engine->hooks = hook;
		*out = hook;
	}
	engine_leave(engine);
	return status;
}

/* One batch of the hook's packets, to each device node that names it. */
static void
handle_batch(struct ffpf_engine *engine, const struct ffpf_engine_hook *hook, const struct ffpf_packet *pkts,
	     uint32_t count)
{
	queue_save_all(engine);
	merge_begin(engine);
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];

		if (!node->device || node->device->hook != hook || !node->active)
			continue;
		for (uint32_t j = 0; j < count && engine->count < engine->cfg.batch; j++)
			merge_add(engine, node, &pkts[j]);
	}
	if (!engine->count)
		return;
	pass_batch(engine);
	engine_callbacks(engine);
	queue_save_all(engine); /* the packets' memory is the caller's */
	engine_changed(engine);
}

static uint32_t
devices_of(const struct ffpf_engine *engine, const struct ffpf_engine_hook *hook)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < engine->node_count; i++)
		n += engine->nodes[i]->device && engine->nodes[i]->device->hook == hook && engine->nodes[i]->active;
	return n;
}

/* While a reader's batch is out and borrowed, engine->batch may be used all the same: descriptors are the queue's. */
int
ffpf_engine_hook_handle_packets(struct ffpf_engine_hook *hook, const struct ffpf_packet *pkts, uint32_t count,
				struct ffpf_error *err)
{
	struct ffpf_engine *engine = hook->engine;
	int status = engine_enter(engine, true, err);

	if (status)
		return status;
	if (hook->closed)
		status = ffpf_error_set(err, FFPF_E_INVALID, "hook \"%s\" is closed", hook->name);
	while (!status && count) {
		uint32_t devices = devices_of(engine, hook);
		uint32_t n = devices ? engine->cfg.batch / devices : count;

		if (!devices)
			break;
		n = n ? n : 1;
		n = n < count ? n : count;
		handle_batch(engine, hook, pkts, n);
		pkts += n;
		count -= n;
	}
	engine_leave(engine);
	return status;
}

void
ffpf_engine_hook_close(struct ffpf_engine_hook *hook)
{
	struct ffpf_engine *engine = hook->engine;

	if (engine_enter(engine, false, NULL))
		return;
	hook->closed = true;
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct device *device = engine->nodes[i]->device;

		if (device && device->hook == hook)
			device->ended = true;
	}
	pass_flush(engine, NULL);
	engine_changed(engine);
	engine_leave(engine);
}

static const char *const drop_names[] = {
	[FFPF_NODE_DROP_PAUSED - FFPF_DROP_CAUSES] = "paused",
	[FFPF_NODE_DROP_CLASS - FFPF_DROP_CAUSES] = "class",
};

const char *
ffpf_node_drop_name(unsigned cause)
{
	if (cause < FFPF_DROP_CAUSES)
		return ffpf_drop_name((enum ffpf_drop)cause);
	return cause < FFPF_NODE_DROP_CAUSES ? drop_names[cause - FFPF_DROP_CAUSES] : "unknown";
}

uint32_t
ffpf_engine_instance_count(struct ffpf_engine *engine)
{
	uint32_t count;

	if (engine_enter(engine, false, NULL))
		return 0;
	count = engine->node_count;
	engine_leave(engine);
	return count;
}

static const char *
reason_of(const struct node *node)
{
	if (node->reason)
		return node->reason;
	if (node->device && node->device->session)
		return "a receive microengine of the board takes its packets";
	if (node->device && node->device->filter)
		return "the embedded engine runs in the process that reads the flow; the interface's socket brings up "
		       "only what the one filter behind it wants";
	return "the embedded engine runs in the process that reads the flow";
}

int
ffpf_engine_instance_at(struct ffpf_engine *engine, uint32_t index, struct ffpf_engine_instance *out,
			struct ffpf_error *err)
{
	int status = engine_enter(engine, false, err);
	const struct node *node;

	if (status)
		return status;
	if (index >= engine->node_count) {
		status = ffpf_error_set(err, FFPF_E_INVALID, "there is no instance number %u", index);
	} else {
		node = engine->nodes[index];
		*out = (struct ffpf_engine_instance){
			.id = node->id,
			.class = node->class ? node->class->name : "",
			.arguments = node->arguments,
			.mbuf_bytes = node->mbuf_bytes,
			.inputs = node->input_ids,
			.input_count = node->input_count,
			.flows = node->flows,
			.active = node->active,
			.level =
			    node->device && node->device->kind == DEVICE_BOARD ? FFPF_LEVEL_NIC : FFPF_LEVEL_USERSPACE,
			.reason = reason_of(node),
		};
		node_counters(node, &out->counters);
	}
	engine_leave(engine);
	return status;
}
