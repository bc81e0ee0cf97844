/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_BOARD_H
#define IXP_BOARD_BOARD_H
/*
 * The emulated board: six engines, its memories, its ports, and what the StrongARM core does. One thread. Nothing here
 * knows of hosts and sockets (session.h): the registers are a memory that this fills in.
 *
 *   bus.c        what engines refer to: memories, hash unit, receive FIFO, signals; latencies and contention
 *   flow.c       a filter: microcode in an engine, IBufs, reader page, MBuf; start, stop, unload
 *   strongarm.c  R*, counts, ends of captures, waking of readers
 *   watchdog.c   engines that hang, or did what cannot be
 *   registers.c  what the host sees of all this
 *   board.c      creation, reset, and time: engines run in turn, a quantum of cycles each
 *
 * Time is the board's own, in cycles of its clock. It goes on while there is something to do, as fast as this process
 * can, so a run over a capture or a generator is the same every time, unless what readers do makes the difference
 * (SRP). With live ports and nothing to do, it follows the clock of this machine.
 */
#include "bms/bms.h"
#include "board/memory.h"
#include "board/params.h"
#include "board/port.h"
#include "framework/frame.h"
#include "microengine/engine.h"
#include "microengine/object.h"
#include "ring/mbuf.h"
#include "window.h"

struct board_session;

/* How a unit is taken: of the cycles from number * BOARD_SLOT_CYCLES on, so many are. */
#define BOARD_SLOT_CYCLES 8
#define BOARD_SLOTS       1024

struct board_slot {
	uint64_t number;
	uint8_t taken;
};

struct board_unit {
	struct board_unit_params params;
	struct board_slot slots[BOARD_SLOTS]; /* of number, modulo BOARD_SLOTS */
};

/* One filter. Its IBufs' r, published and w are what the StrongARM knows, a little behind what the engine stored. */
struct board_flow {
	const void *owner; /* who may say what becomes of it; compared, not looked into */
	struct ffpf_region reader;
	int event_fd;
	struct ffpf_ibuf *ibufs[FFPF_IXP_PORTS_MAX];
	struct ffpf_mbuf mbuf; /* data NULL: none */
	uint32_t slots;
	/* of each port: what its block said when it was looked at last */
	uint32_t refused[FFPF_IXP_PORTS_MAX], full[FFPF_IXP_PORTS_MAX];
	uint32_t no_room[FFPF_IXP_PORTS_MAX], no_descriptor[FFPF_IXP_PORTS_MAX], oversize[FFPF_IXP_PORTS_MAX];
};

struct board_engine {
	struct ixp_engine machine;
	enum ffpf_ixp_role role;
	enum ffpf_ixp_engine_state state;
	uint32_t contexts;
	uint32_t port;           /* of a receive engine */
	struct board_flow *flow; /* of a filter */
	uint64_t begun;          /* cycle at which it was started */
	uint64_t packets;
	/* the watchdog's: cycle at which it did work last or had none, and how far it was at the last look */
	uint64_t moved;
	uint32_t turns[FFPF_IXP_PORTS_MAX];
	bool waited; /* packets waited for it */
	char text[FFPF_IXP_TEXT_BYTES];
};

/* A port's lane, and what its receive engine has to say, in 64 bits. */
struct board_lane {
	struct ffpf_lane *lane;
	struct ffpf_ibuf *ibufs[FFPF_IXP_ENGINES]; /* of the flows there are: lane->ibufs */
	uint64_t tail, no_room, no_descriptor, oversize, unwanted;
	int64_t *times; /* of the packets numbered so, modulo the ring: recorded time */
	bool starved;   /* the engine asked in vain, and wants a signal when there is a packet */
	uint8_t starved_context;
	bool refused; /* ... since the board had no room for it */
	bool closed;
};

struct board {
	struct board_params params;
	struct board_memory memory;
	struct board_unit units[IXP_UNIT_COUNT];
	struct ixp_bus bus;
	struct board_engine engines[FFPF_IXP_ENGINES];
	struct board_port *ports[FFPF_IXP_PORTS_MAX];
	struct board_lane lanes[FFPF_IXP_PORTS_MAX];
	uint32_t ring_slots; /* of a port */
	uint32_t free_descriptors;
	uint32_t free_list; /* SRAM address of the LIFO's top; 0: empty */
	uint64_t cycle;
	uint64_t next_look; /* of the StrongARM */
	enum ffpf_ixp_board_state state;
	enum ffpf_memory shared; /* how memories are made that hosts map */
	uint32_t resets;
	struct ixp_object receive, accept;
	uint8_t *sram;                                          /* what is not mapped to hosts: rings and descriptors */
	uint8_t elements[FFPF_IXP_PORTS_MAX][IXP_CONTEXTS][64]; /* of the receive FIFO, that are used */
	_Alignas(8) uint8_t scratch[BOARD_SCRATCH_BYTES];
	struct ffpf_ixp_registers *registers;
};

struct board_config {
	char name[FFPF_IXP_NAME_BYTES];
	struct board_params params; /* ports: as many as there are below */
	struct board_port_config ports[FFPF_IXP_PORTS_MAX];
	const struct ixp_object *receive; /* microcode of the receive engines; copied */
	const struct ixp_object *accept;  /* ... of filters that bring none; copied */
	/* FFPF_MEMORY_FD when hosts are to map lanes and IBufs */
	enum ffpf_memory memory;
};

/* registers: a memory of at least sizeof(struct ffpf_ixp_registers) zeros, page-aligned; the caller's. *out is
 * untouched on failure. */
int board_create(struct board **out, const struct board_config *cfg, struct ffpf_ixp_registers *registers,
		 struct ffpf_error *err);
void board_destroy(struct board *board); /* NULL is legal; with its flows */

enum board_pace_now {
	BOARD_WORKED, /* go on */
	BOARD_WAITS,  /* a port waits for readers: look again in a while, or when one says that it has advanced */
	BOARD_RESTS,  /* nothing will happen before a live port's packet, a request, or a reader's timeout */
};

/* One quantum, or to the cycle of the next event. */
enum board_pace_now board_step(struct board *board);
/* Time goes by in which nothing happens. */
void board_pass(struct board *board, uint64_t ns);
/* Asks the sockets of live ports what they lost: a system call each, for now and then. */
void board_ask_sockets(struct board *board);

/* Fresh lanes, empty rings, all descriptors free, receive engines and ports from their beginning. There is no filter.
 * On failure the board is DEAD. */
int board_renew(struct board *board, struct ffpf_error *err);
/* The same; filters that there are, are lost. */
int board_reset(struct board *board, struct ffpf_error *err);
/* The engine's program from its beginning, now. */
void board_engine_begin(struct board *board, uint32_t engine);

/* flow.c */
struct board_load {
	const struct ixp_object *object; /* NULL: every packet */
	uint32_t engine;                 /* or FFPF_IXP_ANY_ENGINE */
	uint32_t ibuf_slots, mbuf_bytes; /* 0: 4096 slots; no MBuf */
	const void *owner;
	bool stopped;
};
/* The number of the engine, or -code: -FFPF_E_BUSY when there is none. */
int board_flow_load(struct board *board, const struct board_load *load, struct ffpf_error *err);
int board_flow_start(struct board *board, uint32_t engine, struct ffpf_error *err);
void board_flow_stop(struct board *board, uint32_t engine);   /* one that does not run is legal */
void board_flow_unload(struct board *board, uint32_t engine); /* and an engine that has none */
/* Nothing waits for it any more, and its reader is told. Its memories stay, until it is unloaded. */
void board_flow_end(struct board *board, uint32_t engine);
uint32_t board_flow_count(const struct board *board); /* that run */

/* strongarm.c. Everything that it does now and then. */
void board_strongarm_look(struct board *board);
/* What readers say of R, and nothing else. */
void board_strongarm_limits(struct board *board);
void board_strongarm_count(struct board *board, uint32_t engine); /* what the filter did until now */
/* Could each filter have one more packet of this length, whatever it says of it? */
bool board_strongarm_has_room(struct board *board, uint32_t port, uint32_t cap_len);
/* Readers whose packets are due, or (now_ns: CLOCK_MONOTONIC, not 0) whose time has come; when the next one's does. */
uint64_t board_strongarm_wake(struct board *board, uint64_t now_ns);
/* watchdog.c. The engine runs no more, and its flow ends; a receive engine takes the board with it. */
void board_engine_fail(struct board *board, uint32_t engine, enum ffpf_ixp_engine_state state, const char *text);
void board_watch(struct board *board);

/* registers.c */
void board_registers_begin(struct board *board, const struct board_config *cfg);
void board_registers_fill(struct board *board);

/* bus.c */
void board_bus_init(struct board *board);
void board_list_push(struct board *board, uint32_t address);

/* Scratchpad words. */
static inline uint32_t
board_scratch(const struct board *board, uint32_t address)
{
	return board_memory_get(&board->memory, BOARD_SCRATCH, address);
}

static inline void
board_set_scratch(struct board *board, uint32_t address, uint32_t value)
{
	board_memory_put(&board->memory, BOARD_SCRATCH, address, value);
}

/* Of the scratchpad: the block of a filter's engine for a port. */
static inline uint32_t
board_filter_block(uint32_t engine, uint32_t port)
{
	return FILTER_BLOCK + (engine * FFPF_IXP_PORTS_MAX + port) * FILTER_BYTES;
}

static inline uint32_t
board_port_word(const struct board *board, uint32_t port, uint32_t word)
{
	return board_scratch(board, PORT_BLOCK + port * PORT_BYTES + word);
}

static inline uint32_t
board_filter_word(const struct board *board, uint32_t engine, uint32_t port, uint32_t word)
{
	return board_scratch(board, board_filter_block(engine, port) + word);
}

static inline bool
board_is_descriptor(const struct board *board, uint32_t address)
{
	return address >= BOARD_DESCRIPTORS && (address - BOARD_DESCRIPTORS) / DESC_BYTES < board->params.descriptors &&
	       address % DESC_BYTES == 0;
}

/* A filter that can have packets: its reader's are kept. */
static inline bool
board_flow_alive(const struct board *board, uint32_t engine)
{
	return board->engines[engine].flow && (board->engines[engine].state == FFPF_IXP_ENGINE_RUNS ||
					       board->engines[engine].state == FFPF_IXP_ENGINE_LOADED);
}

static inline bool
board_engine_runs(const struct board_engine *engine)
{
	return engine->state == FFPF_IXP_ENGINE_RUNS;
}

#endif
