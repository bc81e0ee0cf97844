/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an engine refers to.
 *
 * A unit serves one reference after the other, so an engine waits for its own latency and while the unit is taken.
 * Engines run one after the other, a quantum each, and ask for cycles that are not in their order: hence a calendar, in
 * which each takes what is free. What a reference stores is stored at once, in the order of the engine's instructions.
 */
#include "board/board.h"

#include <string.h>

#define HASH_FACTOR 16777619u /* of FNV-1a; fpl/fpl2/meaning.py */

/* Takes the unit for its share of a reference, from the first cycles on in which it is free; gives the cycles until the
 * signal. */
static uint32_t
take_unit(struct board_unit *unit, uint64_t now, uint32_t words)
{
	uint32_t share = unit->params.start + words * unit->params.word, left = share;
	uint64_t slot = now / BOARD_SLOT_CYCLES, end = now;

	while (left) {
		struct board_slot *at = &unit->slots[slot % BOARD_SLOTS];
		uint32_t taken = at->number == slot ? at->taken : 0;
		uint32_t room = BOARD_SLOT_CYCLES - taken < left ? BOARD_SLOT_CYCLES - taken : left;

		left -= room;
		at->number = slot;
		at->taken = (uint8_t)(taken + room);
		end = slot * BOARD_SLOT_CYCLES + taken + room;
		slot++;
	}
	return unit->params.first + words * unit->params.word + (uint32_t)(end > now + share ? end - now - share : 0);
}

/* The LIFO's links are in the descriptors themselves, as in the SRAM of the real one. Addresses are ours. */
void
board_list_push(struct board *board, uint32_t address)
{
	board_memory_put(&board->memory, BOARD_SRAM, address, board->free_list);
	board->free_list = address;
	board->free_descriptors++;
}

static bool
list(struct board *board, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	uint32_t address;

	if (ref->address != DESC_LIST || ref->unit != IXP_UNIT_SRAM)
		return false;
	if (ref->command == IXP_COMMAND_POP) {
		in[0] = board->free_list;
		if (board->free_list) {
			board->free_list = board_memory_get(&board->memory, BOARD_SRAM, board->free_list);
			board->free_descriptors--;
		}
		return true;
	}
	address = out[0];
	if (!board_is_descriptor(board, address) || board->free_descriptors == board->params.descriptors)
		return false;
	board_list_push(board, address);
	return true;
}

static const uint8_t space_of[IXP_UNIT_COUNT] = {
	[IXP_UNIT_SRAM] = BOARD_SRAM,
	[IXP_UNIT_SDRAM] = BOARD_SDRAM,
	[IXP_UNIT_SCRATCH] = BOARD_SCRATCH,
};

static bool
memory(struct board *board, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	uint32_t bytes = ref->unit == IXP_UNIT_SDRAM ? 8 : 4;
	uint32_t words = ref->count * bytes / 4;
	uint8_t *at = board_memory_at(&board->memory, space_of[ref->unit], ref->address & ~(bytes - 1), words * 4);
	uint32_t before;

	if (!at)
		return false;
	switch ((enum ixp_command)ref->command) {
	case IXP_COMMAND_READ:
	case IXP_COMMAND_READ_NET:
		board_words_load(in, at, words, ref->command == IXP_COMMAND_READ_NET);
		return true;
	case IXP_COMMAND_WRITE:
	case IXP_COMMAND_WRITE_NET:
		board_words_store(at, out, words, ref->command == IXP_COMMAND_WRITE_NET);
		return true;
	case IXP_COMMAND_SET_BITS:
	case IXP_COMMAND_ADD:
		board_words_load(&before, at, 1, false);
		in[0] = before;
		before = ref->command == IXP_COMMAND_ADD ? before + out[0] : before | out[0];
		board_words_store(at, &before, 1, false);
		return true;
	default:
		return list(board, ref, out, in);
	}
}

static uint32_t
fnv(uint32_t state, uint32_t word, uint32_t octets)
{
	for (uint32_t i = 0; i < octets && i < 4; i++)
		state = (state ^ (word >> (24 - 8 * i) & 0xff)) * HASH_FACTOR;
	return state;
}

static uint32_t
mix(uint32_t state)
{
	state = (state ^ state >> 16) * 0x85ebca6bu;
	state = (state ^ state >> 13) * 0xc2b2ae35u;
	return state ^ state >> 16;
}

static bool
hash(const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	if (ref->address == HASH_FNV && ref->count >= 3)
		in[0] = fnv(out[0], out[1], out[2]);
	else if (ref->address == HASH_MIX)
		in[0] = mix(out[0]);
	else
		return false;
	return true;
}

/* The next octets of the port's packet, and what is to be said of it; or nothing, and a signal later. */
static void
receive(struct board *board, const struct ixp_reference *ref, uint8_t *element, uint32_t *in)
{
	uint32_t number = board->engines[ref->engine].port;
	struct board_port *port = board->ports[number];
	struct board_lane *lane = &board->lanes[number];
	const struct board_packet *packet = board_port_front(port, ref->cycle);
	uint32_t status[6];

	if (packet && !port->open && port->cfg.pace == BOARD_PACE_FULL &&
	    !board_strongarm_has_room(board, number, packet->cap_len)) {
		lane->refused = true;
		packet = NULL;
	}
	if (!packet) {
		lane->starved = true;
		lane->starved_context = ref->context;
		in[0] = FIFO_NOTHING;
		return;
	}
	status[0] = packet->cap_len;
	status[1] = packet->wire_len;
	memcpy(status + 2, &packet->time_ns, sizeof(packet->time_ns));
	status[4] = packet->ifindex;
	status[5] = packet->protocol | (uint32_t)packet->pkt_type << 16;
	if (!port->open)
		lane->times[board_port_word(board, number, PORT_TURN) & (board->ring_slots - 1)] = packet->time_ns;
	board_port_fetch(port, element);
	memcpy(in, status, (ref->count < 6 ? ref->count : 6) * sizeof(status[0]));
}

static bool
fifo(struct board *board, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	const struct board_engine *engine = &board->engines[ref->engine];
	uint32_t number = ref->address / FIFO_ELEMENT, offset = ref->address % FIFO_ELEMENT;
	uint8_t *element;
	uint8_t *to;

	if (engine->role != FFPF_IXP_ROLE_RECEIVE || number / IXP_CONTEXTS != engine->port)
		return false;
	element = board->elements[engine->port][number % IXP_CONTEXTS];
	if (ref->command == IXP_COMMAND_READ && offset == FIFO_STATUS) {
		receive(board, ref, element, in);
		return true;
	}
	if (ref->command != IXP_COMMAND_WRITE || offset != 0 || ref->count != 2 || out[1] > FIFO_OCTETS)
		return false;
	to = board_memory_at(&board->memory, BOARD_SDRAM, out[0], (out[1] + 7) & ~7u);
	if (!to || out[0] % 8)
		return false;
	board_octets_store(to, element, out[1]);
	take_unit(&board->units[IXP_UNIT_SDRAM], ref->cycle, (out[1] + 7) / 8);
	return true;
}

static uint32_t
reference(void *context, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	struct board *board = context;
	bool done;

	switch ((enum ixp_unit)ref->unit) {
	case IXP_UNIT_HASH:
		done = hash(ref, out, in);
		break;
	case IXP_UNIT_FIFO:
		done = fifo(board, ref, out, in);
		break;
	default:
		done = memory(board, ref, out, in);
		break;
	}
	return done ? take_unit(&board->units[ref->unit], ref->cycle, ref->count) : IXP_BUS_FAULT;
}

static bool
csr(void *context, const struct ixp_reference *from, uint8_t number, bool write, uint32_t *value)
{
	struct board *board = context;
	const struct board_engine *engine = &board->engines[from->engine];

	if (!write)
		return false;
	if (number == CSR_SIGNAL && *value >> 2 < FFPF_IXP_ENGINES) {
		ixp_engine_signal(&board->engines[*value >> 2].machine, *value & 3, IXP_SIGNAL_THREAD);
		return true;
	}
	if (number == CSR_DISCARD && engine->role == FFPF_IXP_ROLE_RECEIVE) {
		board_port_discard(board->ports[engine->port]);
		return true;
	}
	return false;
}

void
board_bus_init(struct board *board)
{
	const struct board_params *params = &board->params;

	board->units[IXP_UNIT_SRAM].params = params->sram;
	board->units[IXP_UNIT_SDRAM].params = params->sdram;
	board->units[IXP_UNIT_SCRATCH].params = params->scratch;
	board->units[IXP_UNIT_HASH].params = params->hash;
	board->units[IXP_UNIT_FIFO].params = params->fifo;
	board->bus = (struct ixp_bus){ board, reference, csr };
}
