/* SPDX-License-Identifier: BSD-3-Clause */
/* Creation, and time. */
#include "board/board.h"

#include <stdlib.h>
#include <string.h>

static uint32_t
ring_slots(uint32_t descriptors)
{
	uint32_t slots = 2 * IXP_CONTEXTS;

	while (slots < 2 * descriptors)
		slots *= 2;
	return slots;
}

static int
create_lane(struct board *board, uint32_t port, struct ffpf_error *err)
{
	const struct ffpf_lane_config cfg = {
		.pbuf_bytes = board->params.pbuf_bytes,
		.memory = board->shared,
		.store = FFPF_STORE_WORDS,
		.bms = board->params.bms,
		.link_type = board_source_link_type(board->ports[port]->source),
		.snap_len = board->params.snap_len,
	};
	struct board_lane *lane = &board->lanes[port];
	struct ffpf_lane *made;
	int rc = ffpf_lane_create(&made, &cfg, err);

	if (rc)
		return rc;
	board_memory_unmap(&board->memory, BOARD_SDRAM, port * BOARD_SDRAM_PORT);
	ffpf_lane_destroy(lane->lane);
	lane->lane = made;
	lane->tail = lane->no_room = lane->no_descriptor = lane->oversize = lane->unwanted = 0;
	lane->closed = lane->starved = lane->refused = false;
	/* of times that are given nothing is known before the first packet */
	if (board->params.ports > 1 && board->ports[port]->cfg.pace != BOARD_PACE_LIVE)
		atomic_store_explicit(&made->page->floor_ns, INT64_MIN, memory_order_relaxed);
	if (!board_memory_map(&board->memory, BOARD_SDRAM, port * BOARD_SDRAM_PORT, (uint32_t)made->region.bytes,
			      made->region.base))
		return ffpf_error_set(err, FFPF_E_INVALID, "PBuf: %llu octets do not fit into SDRAM",
				      (unsigned long long)board->params.pbuf_bytes);
	return 0;
}

static int
load_receive(struct board *board, uint32_t port, struct ffpf_error *err)
{
	const struct board_lane *lane = &board->lanes[port];
	struct ixp_object object = board->receive;
	const struct {
		const char *name;
		uint32_t value;
	} known[] = {
		{ "port", PORT_BLOCK + port * PORT_BYTES },
		{ "lane", port * BOARD_SDRAM_PORT },
		{ "cell_mask", (uint32_t)lane->lane->size - 1 },
		{ "octets_max", lane->lane->max_cells * FFPF_CELL_BYTES - FFPF_RECORD_DATA },
		{ "ring", port * BOARD_RING_BYTES },
		{ "ring_mask", board->ring_slots - 1 },
		{ "elements", port * IXP_CONTEXTS * FIFO_ELEMENT },
		{ "contexts", IXP_CONTEXTS },
		{ "filter_first", port * 2 },
		{ "filter_mask", board->params.ports == 1 ? 3 : 1 },
	};
	struct board_engine *engine = &board->engines[port];
	uint32_t filled = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		filled += ixp_object_import(&object, known[i].name, known[i].value);
	if (filled != object.import_count || object.contexts != IXP_CONTEXTS)
		return ffpf_error_set(err, FFPF_E_FORMAT, "this is no microcode of a receive engine");
	ixp_engine_store(&engine->machine, object.words, object.word_count);
	engine->role = FFPF_IXP_ROLE_RECEIVE;
	engine->port = port;
	engine->contexts = object.contexts;
	engine->state = FFPF_IXP_ENGINE_RUNS;
	engine->text[0] = '\0';
	board_engine_begin(board, port);
	return 0;
}

static void
empty_rings(struct board *board, uint32_t port)
{
	const struct board_lane *lane = &board->lanes[port];
	uint32_t block = PORT_BLOCK + port * PORT_BYTES;

	memset(board->scratch + block, 0, PORT_BYTES);
	board->ports[port]->taken = 0; /* the rings' counters say what became of each packet that was taken */
	board_set_scratch(board, block + PORT_W, (uint32_t)lane->lane->w);
	board_set_scratch(board, block + PORT_W + 4, (uint32_t)(lane->lane->w >> 32));
	board_set_scratch(board, block + PORT_LIMIT, (uint32_t)(lane->lane->w + lane->lane->size));
}

int
board_renew(struct board *board, struct ffpf_error *err)
{
	int rc = 0;

	memset(board->sram, 0, BOARD_SRAM_OWN);
	board->free_list = board->free_descriptors = 0;
	for (uint32_t i = board->params.descriptors; i > 0; i--)
		board_list_push(board, BOARD_DESCRIPTORS + (i - 1) * DESC_BYTES);
	for (uint32_t port = 0; !rc && port < board->params.ports; port++) {
		board_port_hold(board->ports[port]);
		rc = create_lane(board, port, err);
		if (!rc) {
			empty_rings(board, port);
			rc = load_receive(board, port, err);
		}
	}
	board->state = rc ? FFPF_IXP_BOARD_DEAD : FFPF_IXP_BOARD_RUNS;
	return rc;
}

int
board_reset(struct board *board, struct ffpf_error *err)
{
	int rc;

	board->state = FFPF_IXP_BOARD_RESETS;
	board_registers_fill(board);
	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		if (board_flow_alive(board, i))
			board_engine_fail(board, i, FFPF_IXP_ENGINE_LOST, "the board was reset");
	}
	rc = board_renew(board, err);
	board->resets++;
	board_strongarm_look(board);
	return rc;
}

static int
create_ports(struct board *board, const struct board_config *cfg, struct ffpf_error *err)
{
	for (uint32_t port = 0; port < board->params.ports; port++) {
		int rc = board_port_create(&board->ports[port], &cfg->ports[port], err);

		if (rc)
			return rc;
		board->lanes[port].times = calloc(board->ring_slots, sizeof(int64_t));
		if (!board->lanes[port].times)
			return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a port");
	}
	if (board->params.ports > 1 &&
	    board_source_link_type(board->ports[0]->source) != board_source_link_type(board->ports[1]->source))
		return ffpf_error_set(err, FFPF_E_INVALID, "the ports differ in link type");
	return 0;
}

int
board_create(struct board **out, const struct board_config *cfg, struct ffpf_ixp_registers *registers,
	     struct ffpf_error *err)
{
	struct board *board;
	int rc = board_params_check(&cfg->params, err);

	if (rc)
		return rc;
	board = calloc(1, sizeof(*board));
	if (board)
		board->sram = calloc(1, BOARD_SRAM_OWN);
	if (!board || !board->sram) {
		free(board);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a board");
	}
	board->params = cfg->params;
	board->shared = cfg->memory;
	board->receive = *cfg->receive;
	board->accept = *cfg->accept;
	board->registers = registers;
	board->ring_slots = ring_slots(cfg->params.descriptors);
	board_bus_init(board);
	board_memory_map(&board->memory, BOARD_SRAM, 0, BOARD_SRAM_OWN, board->sram);
	board_memory_map(&board->memory, BOARD_SCRATCH, 0, BOARD_SCRATCH_BYTES, board->scratch);
	for (uint8_t i = 0; i < FFPF_IXP_ENGINES; i++)
		ixp_engine_init(&board->engines[i].machine, i, cfg->params.branch_cycles);
	rc = create_ports(board, cfg, err);
	if (!rc)
		rc = board_renew(board, err);
	if (rc) {
		board_destroy(board);
		return rc;
	}
	board_registers_begin(board, cfg);
	board_strongarm_look(board);
	*out = board;
	return 0;
}

void
board_destroy(struct board *board)
{
	if (!board)
		return;
	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		if (board->engines[i].flow)
			board_flow_unload(board, i);
	}
	for (uint32_t port = 0; port < board->params.ports; port++) {
		ffpf_lane_destroy(board->lanes[port].lane);
		free(board->lanes[port].times);
		board_port_destroy(board->ports[port]);
	}
	free(board->sram);
	free(board);
}

void
board_engine_begin(struct board *board, uint32_t number)
{
	struct board_engine *engine = &board->engines[number];
	struct ixp_engine *machine = &engine->machine;

	machine->cycle = board->cycle;
	machine->instructions = machine->branches = machine->stalled = machine->idle = machine->turns = 0;
	engine->begun = engine->moved = board->cycle;
	engine->packets = 0;
	ixp_engine_start(machine, engine->contexts);
}

/* A packet that an engine has asked for in vain may be there by now. */
static void
offer(struct board *board, uint32_t port)
{
	struct board_lane *lane = &board->lanes[port];
	const struct board_packet *packet;

	board_port_fill(board->ports[port], &board->params, board->cycle);
	if (!lane->starved)
		return;
	packet = board_port_front(board->ports[port], board->cycle);
	if (!packet || (lane->refused && !board_strongarm_has_room(board, port, packet->cap_len)))
		return;
	lane->starved = lane->refused = false;
	ixp_engine_signal(&board->engines[port].machine, lane->starved_context, IXP_SIGNAL_RECEIVE);
}

static uint64_t
first_event(const struct board *board)
{
	uint64_t first = UINT64_MAX;

	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		uint64_t next = ixp_engine_next(&board->engines[i].machine);

		first = next < first ? next : first;
	}
	for (uint32_t port = 0; port < board->params.ports; port++) {
		uint64_t next = board_port_next(board->ports[port]);

		if (!board->lanes[port].refused && next < first)
			first = next;
	}
	return first;
}

static void
run(struct board *board, uint64_t until)
{
	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		struct ixp_engine *machine = &board->engines[i].machine;

		if (ixp_engine_next(machine) == UINT64_MAX)
			continue;
		if (machine->cycle < board->cycle) { /* it slept */
			machine->idle += board->cycle - machine->cycle;
			machine->cycle = board->cycle;
		}
		me_run(machine, until, &board->bus);
		if (machine->stop)
			board->next_look = 0;
	}
}

enum board_pace_now
board_step(struct board *board)
{
	bool refused = false;
	uint64_t next;

	for (uint32_t port = 0; port < board->params.ports; port++) {
		offer(board, port);
		refused |= board->lanes[port].refused;
	}
	next = first_event(board);
	if (next == UINT64_MAX) {
		board_strongarm_look(board); /* which may begin a port */
		for (uint32_t port = 0; port < board->params.ports; port++)
			board_port_fill(board->ports[port], &board->params, board->cycle);
		if (first_event(board) != UINT64_MAX)
			return BOARD_WORKED;
		return refused ? BOARD_WAITS : BOARD_RESTS;
	}
	if (next > board->cycle)
		board->cycle = next;
	run(board, board->cycle + board->params.quantum_cycles);
	board->cycle += board->params.quantum_cycles;
	if (board->cycle >= board->next_look)
		board_strongarm_look(board);
	return BOARD_WORKED;
}

void
board_pass(struct board *board, uint64_t ns)
{
	board->cycle += (uint64_t)((double)ns * board->params.clock_hz / 1e9);
}

void
board_ask_sockets(struct board *board)
{
	for (uint32_t port = 0; port < board->params.ports; port++)
		board->ports[port]->socket_lost = board_source_lost(board->ports[port]->source);
}
