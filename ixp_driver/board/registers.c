/* SPDX-License-Identifier: BSD-3-Clause */
/* What hosts see of the board: window.h. */
#include "board/board.h"

#include <string.h>

static void
store(_Atomic uint64_t *to, uint64_t value)
{
	atomic_store_explicit(to, value, memory_order_relaxed);
}

static void
store32(_Atomic uint32_t *to, uint32_t value)
{
	atomic_store_explicit(to, value, memory_order_relaxed);
}

void
board_registers_begin(struct board *board, const struct board_config *cfg)
{
	struct ffpf_ixp_registers *to = board->registers;

	to->magic = FFPF_IXP_MAGIC;
	to->version = FFPF_IXP_VERSION;
	to->ports = (uint16_t)board->params.ports;
	to->bytes = (sizeof(*to) + FFPF_PAGE_BYTES - 1) / FFPF_PAGE_BYTES * FFPF_PAGE_BYTES;
	memcpy(to->name, cfg->name, sizeof(to->name) - 1);
	to->clock_hz = board->params.clock_hz;
	to->filters_max = FFPF_IXP_ENGINES - board->params.ports;
	to->bms = board->params.bms;
	to->snap_len = board->params.snap_len;
	store(&to->descriptors, board->params.descriptors);
	for (uint32_t port = 0; port < board->params.ports; port++) {
		struct ffpf_ixp_port_registers *it = &to->port[port];

		store32(&it->kind, cfg->ports[port].source.kind);
		memcpy(it->name, cfg->ports[port].text, sizeof(it->name) - 1);
		store32(&it->link_type, board_source_link_type(board->ports[port]->source));
		store32(&it->ifindex, board_source_ifindex(board->ports[port]->source));
	}
}

static enum ffpf_ixp_port_state
state_of(const struct board *board, uint32_t port)
{
	if (board->ports[port]->state == BOARD_PORT_FAILED)
		return FFPF_IXP_PORT_FAILED;
	if (board->lanes[port].closed)
		return FFPF_IXP_PORT_ENDED;
	return board->ports[port]->state == BOARD_PORT_HOLDS ? FFPF_IXP_PORT_HOLDS : FFPF_IXP_PORT_RUNS;
}

static void
fill_port(struct board *board, uint32_t port)
{
	struct ffpf_ixp_port_registers *to = &board->registers->port[port];
	const struct board_lane *lane = &board->lanes[port];
	const struct board_port *from = board->ports[port];

	store32(&to->state, state_of(board, port));
	store(&to->offered, from->offered);
	store(&to->offered_octets, from->offered_octets);
	store(&to->rx_lost, from->lost);
	store(&to->no_descriptor, lane->no_descriptor);
	store(&to->no_room, lane->no_room);
	store(&to->oversize, lane->oversize);
	store(&to->unwanted, lane->unwanted);
	store(&to->received, lane->tail);
	store(&to->socket_lost, from->socket_lost);
}

/* Packets a second if the engine were never idle, as it was until now; 0: nothing is known. */
static uint64_t
sustained(const struct board *board, const struct board_engine *engine, uint64_t taken_cycles)
{
	if (!taken_cycles)
		return 0;
	return (uint64_t)((double)engine->packets * board->params.clock_hz / (double)taken_cycles);
}

static uint64_t
fill_engine(struct board *board, uint32_t number)
{
	struct ffpf_ixp_engine_registers *to = &board->registers->engine[number];
	const struct board_engine *engine = &board->engines[number];
	const struct ixp_engine *machine = &engine->machine;
	uint64_t spent = 0, idle = 0, asleep = 0, stalled = 0, rate;

	if (engine->role != FFPF_IXP_ROLE_NONE) {
		spent = machine->cycle - engine->begun;
		idle = machine->idle;
		stalled = machine->stalled;
	}
	if (board_engine_runs(engine) && board->cycle > machine->cycle)
		asleep = board->cycle - machine->cycle;
	rate = sustained(board, engine, spent - idle);
	store32(&to->role, engine->role);
	store32(&to->port, engine->port);
	store32(&to->words, machine->words);
	store(&to->busy_cycles, spent - idle - stalled);
	store(&to->stall_cycles, stalled);
	store(&to->idle_cycles, idle + asleep);
	store(&to->instructions, machine->instructions);
	store(&to->packets, engine->packets);
	store(&to->sustained_pps, rate);
	memcpy(to->text, engine->text, sizeof(to->text));
	/* release: whoever sees the state sees the text */
	atomic_store_explicit(&to->state, engine->state, memory_order_release);
	return engine->packets ? rate : UINT64_MAX;
}

void
board_registers_fill(struct board *board)
{
	struct ffpf_ixp_registers *to = board->registers;
	uint64_t least = UINT64_MAX;

	for (uint32_t port = 0; port < board->params.ports; port++)
		fill_port(board, port);
	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		uint64_t rate = fill_engine(board, i);

		least = rate < least ? rate : least;
	}
	store(&to->sustained_pps, least == UINT64_MAX ? 0 : least);
	store(&to->cycles, board->cycle);
	store(&to->free_descriptors, board->free_descriptors);
	store32(&to->filters, board_flow_count(board));
	store32(&to->resets, board->resets);
	store32(&to->state, board->state);
}
