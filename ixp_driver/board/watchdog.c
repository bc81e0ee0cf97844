/* SPDX-License-Identifier: BSD-3-Clause */
/* Engines that run no more, or do nothing: their flows end, and what the others do goes on. */
#include "board/board.h"

#include <inttypes.h>
#include <stdio.h>

void
board_engine_fail(struct board *board, uint32_t number, enum ffpf_ixp_engine_state state, const char *text)
{
	struct board_engine *engine = &board->engines[number];

	snprintf(engine->text, sizeof(engine->text), "%s", text);
	if (engine->role == FFPF_IXP_ROLE_FILTER) {
		board_flow_end(board, number);
		engine->state = state;
		return;
	}
	engine->state = state;
	ixp_engine_stop(&engine->machine);
	board->state = FFPF_IXP_BOARD_DEAD;
	for (uint32_t port = 0; port < board->params.ports; port++)
		board_port_hold(board->ports[port]);
	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		if (board_flow_alive(board, i))
			board_engine_fail(board, i, FFPF_IXP_ENGINE_LOST, "the receive engine died");
	}
}

static void
look_at_stop(struct board *board, uint32_t number)
{
	static const char *const why[] = {
		[IXP_STOP_HALT] = "it halted with code",
		[IXP_STOP_DONE] = "all of its contexts ended: word",
		[IXP_STOP_STORE] = "it ran beyond its program, to word",
		[IXP_STOP_WORD] = "no instruction in word",
		[IXP_STOP_BUS] = "it referred to what is not there, in word",
		[IXP_STOP_CSR] = "it used a register that is not there, in word",
	};
	const struct ixp_engine *machine = &board->engines[number].machine;
	char text[FFPF_IXP_TEXT_BYTES];

	snprintf(text, sizeof(text), "microengine %u stopped: %s %u", number, why[machine->stop], machine->fault);
	board_engine_fail(board, number, FFPF_IXP_ENGINE_FAULTED, text);
}

/* How far the engine has come on a port, and whether packets wait for it there. */
static uint32_t
progress(const struct board *board, uint32_t number, uint32_t port, bool *waits)
{
	const struct board_port *source = board->ports[port];
	uint32_t turn;

	if (board->engines[number].role == FFPF_IXP_ROLE_RECEIVE) {
		if (board->engines[number].port != port)
			return 0;
		*waits |= board_port_front(source, board->cycle) && !board->lanes[port].refused;
		return (uint32_t)source->taken;
	}
	turn = board_filter_word(board, number, port, FILTER_TURN);
	*waits |= turn != board_port_word(board, port, PORT_TAIL);
	return turn;
}

/* Hung is who had packets waiting at every look for so long, and passed its turn on for none of them. */
static void
watch(struct board *board, uint32_t number)
{
	struct board_engine *engine = &board->engines[number];
	char text[FFPF_IXP_TEXT_BYTES];
	bool works = false, waits = false;

	for (uint32_t port = 0; port < board->params.ports; port++) {
		uint32_t turn = progress(board, number, port, &waits);

		works |= turn != engine->turns[port];
		engine->turns[port] = turn;
	}
	if (works || !waits || !engine->waited)
		engine->moved = board->cycle;
	engine->waited = waits;
	if (board->cycle - engine->moved < board->params.watchdog_cycles)
		return;
	snprintf(text, sizeof(text),
		 "microengine %u hung: packets waited for %" PRIu64 " cycles, and it was done with none", number,
		 board->cycle - engine->moved);
	board_engine_fail(board, number, FFPF_IXP_ENGINE_HUNG, text);
}

void
board_watch(struct board *board)
{
	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		if (!board_engine_runs(&board->engines[i]))
			continue;
		if (board->engines[i].machine.stop)
			look_at_stop(board, i);
		else
			watch(board, i);
	}
}
