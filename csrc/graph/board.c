/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a board runs of a graph: the paper's Figure 4.
 *
 *     (device,ixp0) -> (FPL-2,...) -> ...   the program in a microengine; here come the packets that it lets through
 *                   -> (BPF,...)            on the host, behind a filter of the board that lets everything through
 *
 * A node of a class that has microcode, and whose only input is the device of a board, is loaded into an engine. What
 * the board will not have (no engine is left, the program is too large) runs on the host, and node->reason says why.
 * The filter that lets everything through is loaded when somebody on the host takes the device's packets, and not
 * before: each filter is an engine, of which there are five.
 */
#include "graph/engine_internal.h"
#include "host/ixp.h"
#include "syspcap/syspcap.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SNAP_LEN   262144
#define DEFAULT_TIMEOUT_MS 10

static bool
is_board(const struct node *node)
{
	return node->device && node->device->kind == DEVICE_BOARD && node->device->session;
}

static void say(struct node *node, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Without memory for it there is no reason. */
static void
say(struct node *node, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&node->reason, fmt, args) < 0)
		node->reason = NULL;
	va_end(args);
}

/* ---- the device ---- */

int
board_open(struct device *device, struct ffpf_engine *engine, const char *name, struct ffpf_error *err)
{
	const struct ffpf_ixp_registers *registers;
	int status;

	device->kind = DEVICE_BOARD;
	device->board = strdup(name);
	if (!device->board)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	status = ffpf_ixp_session_open(&device->session, name, err);
	if (status)
		return status;
	registers = device->session->registers;
	device->link_type = (uint16_t)atomic_load_explicit(&registers->port[0].link_type, memory_order_relaxed);
	device->snap_len = engine->cfg.snap_len ? engine->cfg.snap_len : DEFAULT_SNAP_LEN;
	device->form = FFPF_FORM_DEAD;
	return 0;
}

void
board_close(struct device *device)
{
	ffpf_ixp_session_close(device->session);
	free(device->board);
}

uint64_t
board_received(const struct device *device)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < device->session->ports; i++)
		n += ffpf_counted(&device->session->registers->port[i].received);
	return n;
}

/* A filter of the board as this device's reader. Until an active flow has it, it sees no packet. */
static int
load(struct device *device, const struct ffpf_engine *engine, const char *board, struct ffpf_ixp_program program,
     struct ffpf_error *err)
{
	const struct ffpf_ixp_config cfg = {
		.board = board,
		.program = program,
		.snap_len = engine->cfg.snap_len ? engine->cfg.snap_len : DEFAULT_SNAP_LEN,
		.tick = FFPF_TICK_NS,
		.timeout_ms = engine->cfg.timeout_ms ? engine->cfg.timeout_ms : DEFAULT_TIMEOUT_MS,
		.want = engine->cfg.immediate ? 1 : engine->cfg.batch,
		.nonblock = true,
	};
	int status = ffpf_ixp_open(&device->reader, &cfg, err);

	if (status)
		return status;
	device->link_type = (uint16_t)device->reader->info.link_type;
	return 0;
}

void
board_run(struct device *device, bool on)
{
	struct ffpf_error err = { 0 };

	if (device->ended || !ffpf_ixp_run(device->reader, on, &err))
		return;
	device->ended = true;
	device->failed = err;
}

/* ---- its nodes ---- */

bool
board_meets(const struct ffpf_graph_text *text, uint32_t number)
{
	bool through[FFPF_GRAPH_NODES_MAX] = { false }, past[FFPF_GRAPH_NODES_MAX] = { false };

	if (text->nodes[number].input_count != 1)
		return false;
	through[number] = true;
	past[text->nodes[number].inputs[0]] = true;
	for (uint32_t i = 0; i < text->count; i++) { /* inputs come first */
		const struct ffpf_graph_node *node = &text->nodes[i];

		for (uint32_t j = 0; j < node->input_count && i != number; j++) {
			through[i] |= through[node->inputs[j]];
			past[i] |= past[node->inputs[j]];
		}
		if (through[i] && past[i])
			return true;
	}
	return false;
}

int
board_check_apart(const struct node *node, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < node->source_count; i++) {
		const struct device *one = node->sources[i]->device;

		for (uint32_t j = 0; j < i; j++) {
			const struct device *other = node->sources[j]->device;

			if (one->board && other->board && strcmp(one->board, other->board) == 0)
				return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
						      "two filters of the board %s would meet here, each with packets "
						      "of its own: read them one by one, by their names",
						      one->board);
		}
	}
	return 0;
}

static int
load_object(struct device *device, const struct ffpf_engine *engine, const struct node *node, int object,
	    struct ffpf_error *err)
{
	const off_t bytes = lseek(object, 0, SEEK_END);
	struct ffpf_ixp_program program = {
		.bytes = bytes > 0 ? (size_t)bytes : 0,
		.mbuf_bytes = (uint32_t)node->mbuf_bytes,
		.stopped = true,
	};
	void *octets = malloc(program.bytes + 1);
	int status;

	if (!octets)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	if (!program.bytes || pread(object, octets, program.bytes, 0) != bytes) {
		free(octets);
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "its compiler gave no microcode");
	}
	program.object = octets;
	status = load(device, engine, node->inputs[0]->device->board, program, err);
	free(octets);
	return status;
}

/* The engine's registers tell of it what the node's counters do. */
static int
load_node(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err)
{
	const struct device *board = node->inputs[0]->device;
	struct device *device;
	int object = -1, status;

	engine_away(engine, true);
	status = node->class->microcode(node->instance, board->link_type, node->mbuf_bytes, &object, err);
	engine_away(engine, false);
	if (status)
		return status;
	device = calloc(1, sizeof(*device));
	if (device)
		device->board = strdup(board->board);
	if (device && device->board)
		status = load_object(device, engine, node, object, err);
	else
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	close(object);
	if (status) {
		device_close(device);
		return status;
	}
	device->kind = DEVICE_BOARD;
	device->form = board->form;
	device->snap_len = board->snap_len;
	device->results = true;
	node->device = device;
	return 0;
}

/* The application and the microengine share it in the window. */
static void
take_mbuf(struct node *node)
{
	const struct ffpf_region region = ffpf_ixp_mbuf(node->device->reader);
	const struct ffpf_mbuf_page *page = region.base;

	if (page)
		node->mbuf = (struct ffpf_mbuf){ .data = (uint8_t *)region.base + FFPF_PAGE_BYTES,
						 .mask = (uint32_t)node->mbuf_bytes - 1 };
}

bool
board_place(struct ffpf_engine *engine, struct node *node, bool apart)
{
	struct ffpf_error why = { 0 };

	if (node->device || node->input_count != 1 || !is_board(node->inputs[0]))
		return false;
	if (!node->class || !node->class->microcode) {
		say(node, "on the host: %s runs programs in FPL-2 alone", node->inputs[0]->device->session->name);
		return false;
	}
	if (apart) {
		say(node, "on the host: its packets meet others of the board again");
		return false;
	}
	if (load_node(engine, node, &why)) {
		say(node, "on the host: %s", why.text);
		return false;
	}
	take_mbuf(node);
	say(node, "microengine %u of %s", ffpf_ixp_engine(node->device->reader),
	    node->inputs[0]->device->session->name);
	return true;
}

/* ---- everything, for the host ---- */

/* A node that gives its engine back, the youngest that no active flow has; NULL: there is none. An MBuf stays where it
 * is: its application may be looking at it. */
static struct node *
find_yielding(const struct ffpf_engine *engine, const char *board)
{
	for (uint32_t i = engine->node_count; i-- > 0;) {
		struct node *node = engine->nodes[i];

		if (node->device && node->device->kind == DEVICE_BOARD && node->device->results && !node->active &&
		    !node->mbuf_bytes && strcmp(node->device->board, board) == 0)
			return node;
	}
	return NULL;
}

static int
yield(struct ffpf_engine *engine, const char *board, struct ffpf_error *err)
{
	struct node *node = find_yielding(engine, board);
	int status;

	if (!node)
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "%.40s: every microengine has a filter, and the host needs one that lets "
				      "everything through",
				      board);
	status = node_to_host(engine, node, err);
	if (status)
		return status;
	free(node->reason);
	say(node, "on the host: its microengine lets everything through, for what the board cannot run");
	return 0;
}

int
board_need(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err)
{
	const struct ffpf_ixp_program everything = { .stopped = true };
	int status;

	if (!is_board(node) || node->device->reader)
		return 0;
	status = load(node->device, engine, node->device->board, everything, err);
	if (status == -FFPF_E_BUSY) {
		status = yield(engine, node->device->board, err);
		if (!status)
			status = load(node->device, engine, node->device->board, everything, err);
	}
	if (!status && node->active)
		board_run(node->device, true);
	return status;
}
