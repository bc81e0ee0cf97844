/* SPDX-License-Identifier: BSD-3-Clause */
/* A filter on the board: its engine, and its memories in SRAM, which the host maps. */
#include "board/board.h"
#include "hook/wake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DEFAULT_SLOTS 4096

static uint32_t
sram_of(uint32_t engine)
{
	return (engine + 1) * BOARD_SRAM_ENGINE;
}

static void
destroy(struct board *board, uint32_t engine, struct board_flow *flow)
{
	if (!flow)
		return;
	for (uint32_t port = 0; port < board->params.ports; port++) {
		board_memory_unmap(&board->memory, BOARD_SRAM, sram_of(engine) + port * BOARD_IBUF_STRIDE);
		ffpf_ibuf_destroy(flow->ibufs[port]);
	}
	board_memory_unmap(&board->memory, BOARD_SRAM, sram_of(engine) + BOARD_MBUF_OFFSET);
	ffpf_mbuf_close(&flow->mbuf);
	ffpf_region_close(&flow->reader);
	if (flow->event_fd >= 0)
		close(flow->event_fd);
	free(flow);
}

static int
create_ibufs(struct board *board, uint32_t engine, struct board_flow *flow, enum ffpf_memory memory,
	     struct ffpf_error *err)
{
	for (uint32_t port = 0; port < board->params.ports; port++) {
		const struct ffpf_ibuf_config cfg = {
			.slots = flow->slots,
			.lane = port,
			.memory = memory,
			.reader = flow->reader.base,
			.event_fd = flow->event_fd,
			.waker = FFPF_WAKER_TIMERFD,
		};
		int rc = ffpf_ibuf_create(&flow->ibufs[port], &cfg, err);

		if (rc)
			return rc;
		if (!board_memory_map(&board->memory, BOARD_SRAM, sram_of(engine) + port * BOARD_IBUF_STRIDE,
				      (uint32_t)flow->ibufs[port]->region.bytes, flow->ibufs[port]->region.base))
			return ffpf_error_set(err, FFPF_E_INVALID, "IBuf slots: %u do not fit into SRAM", flow->slots);
	}
	return 0;
}

static int
create_mbuf(struct board *board, uint32_t engine, struct board_flow *flow, const struct board_load *load,
	    struct ffpf_error *err)
{
	int rc;

	if (!load->mbuf_bytes)
		return 0;
	if (load->mbuf_bytes > BOARD_MBUF_BYTES)
		return ffpf_error_set(err, FFPF_E_INVALID, "MBuf: %u octets are more than the %u that SRAM has for it",
				      load->mbuf_bytes, BOARD_MBUF_BYTES);
	rc = ffpf_mbuf_create(&flow->mbuf, load->mbuf_bytes, board->shared, FFPF_PEER_WRITES, err);
	if (rc)
		return rc;
	if (!board_memory_map(&board->memory, BOARD_SRAM, sram_of(engine) + BOARD_MBUF_OFFSET, load->mbuf_bytes,
			      flow->mbuf.data))
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no room for an MBuf");
	return 0;
}

static int
create(struct board *board, uint32_t engine, const struct board_load *load, struct board_flow **out,
       struct ffpf_error *err)
{
	struct board_flow *flow = calloc(1, sizeof(*flow));
	int rc;

	if (!flow)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a flow");
	flow->owner = load->owner;
	flow->slots = load->ibuf_slots ? load->ibuf_slots : DEFAULT_SLOTS;
	flow->event_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	flow->reader.fd = flow->mbuf.region.fd = -1;
	rc = ffpf_size_check("IBuf slots", flow->slots, FFPF_IBUF_MIN_SLOTS, BOARD_IBUF_SLOTS, err);
	if (!rc && flow->event_fd == -1)
		rc = ffpf_error_set(err, FFPF_E_SYSTEM, "timerfd_create");
	if (!rc)
		rc = ffpf_region_create(&flow->reader, FFPF_KIND_READER, sizeof(struct ffpf_reader_page), board->shared,
					FFPF_PEER_WRITES, err);
	if (!rc)
		rc = create_ibufs(board, engine, flow, board->shared, err);
	if (!rc)
		rc = create_mbuf(board, engine, flow, load, err);
	if (rc)
		destroy(board, engine, flow);
	else
		*out = flow;
	return rc;
}

/* What a filter's microcode may ask for by name. */
static int
fill_imports(const struct board *board, uint32_t engine, struct ixp_object *object, const struct board_flow *flow,
	     struct ffpf_error *err)
{
	uint32_t log2 = board->params.ports == 1 ? 2 : 1; /* of the contexts that serve a port */
	const struct {
		const char *name;
		uint32_t value;
		bool missing;
	} known[] = {
		{ "filter", board_filter_block(engine, 0), false },
		{ "bit", 1u << engine, false },
		{ "turn_log2", log2, false },
		{ "turn_mask", (1u << log2) - 1, false },
		{ "ring", 0, false },
		{ "ring_stride", BOARD_RING_BYTES, false },
		{ "ring_mask", board->ring_slots - 1, false },
		{ "ibuf", sram_of(engine), false },
		{ "ibuf_stride", BOARD_IBUF_STRIDE, false },
		{ "slot_mask", flow->slots - 1, false },
		{ "spill", BOARD_SPILL + engine * BOARD_SPILL_BYTES, false },
		{ "mbuf", sram_of(engine) + BOARD_MBUF_OFFSET, !flow->mbuf.data },
		{ "mbuf_mask", flow->mbuf.mask, !flow->mbuf.data },
	};
	uint32_t filled = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint32_t n = ixp_object_import(object, known[i].name, known[i].value);

		if (n && known[i].missing)
			return ffpf_error_set(err, FFPF_E_INVALID, "the microcode needs an MBuf, and was given none");
		filled += n;
	}
	if (filled != object->import_count)
		return ffpf_error_set(err, FFPF_E_INVALID, "the microcode imports a name that the board does not know");
	return 0;
}

static int
choose(const struct board *board, uint32_t wanted, struct ffpf_error *err)
{
	uint32_t first = board->params.ports;

	if (wanted != FFPF_IXP_ANY_ENGINE && (wanted < first || wanted >= FFPF_IXP_ENGINES))
		return ffpf_error_set(err, FFPF_E_INVALID, "engine %u runs no filters", wanted);
	for (uint32_t i = first; i < FFPF_IXP_ENGINES; i++) {
		if (board->engines[i].state == FFPF_IXP_ENGINE_EMPTY && (wanted == FFPF_IXP_ANY_ENGINE || wanted == i))
			return (int)i;
	}
	return ffpf_error_set(err, FFPF_E_BUSY,
			      wanted == FFPF_IXP_ANY_ENGINE ? "all %u microengines that run filters are taken"
							    : "engine %u is taken",
			      wanted == FFPF_IXP_ANY_ENGINE ? FFPF_IXP_ENGINES - first : wanted);
}

static uint32_t
loaded(const struct board *board)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++)
		n += board->engines[i].flow != NULL;
	return n;
}

uint32_t
board_flow_count(const struct board *board)
{
	uint32_t n = 0;

	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++)
		n += board_engine_runs(&board->engines[i]);
	return n;
}

static bool
ports_hold(const struct board *board)
{
	for (uint32_t port = 0; port < board->params.ports; port++) {
		if (board->ports[port]->cfg.hold == 0)
			return false;
	}
	return true;
}

/* What the filter before this one turned away is not this one's. */
static void
begin_counts(struct board *board, uint32_t engine, uint32_t port)
{
	struct board_flow *flow = board->engines[engine].flow;
	uint32_t block = board_filter_block(engine, port);

	board_set_scratch(board, block + FILTER_REFUSED, 0);
	board_set_scratch(board, block + FILTER_FULL, 0);
	flow->refused[port] = flow->full[port] = 0;
}

int
board_flow_load(struct board *board, const struct board_load *load, struct ffpf_error *err)
{
	struct ixp_object object = load->object ? *load->object : board->accept;
	struct board_flow *flow = NULL;
	struct board_engine *engine;
	int number, rc = 0;

	if (board->state != FFPF_IXP_BOARD_RUNS)
		return ffpf_error_set(err, FFPF_E_DEVICE_DOWN, "the board is dead: only a reset helps");
	number = choose(board, load->engine, err);
	if (number < 0)
		return number;
	engine = &board->engines[number];
	/* packets come from the beginning, if nobody has them already */
	if (!loaded(board) && ports_hold(board))
		rc = board_renew(board, err);
	if (!rc)
		rc = create(board, (uint32_t)number, load, &flow, err);
	if (!rc)
		rc = fill_imports(board, (uint32_t)number, &object, flow, err);
	if (rc) {
		destroy(board, (uint32_t)number, flow);
		return rc;
	}
	ixp_engine_store(&engine->machine, object.words, object.word_count);
	engine->role = FFPF_IXP_ROLE_FILTER;
	engine->contexts = object.contexts;
	engine->state = FFPF_IXP_ENGINE_LOADED;
	engine->flow = flow;
	engine->packets = 0;
	engine->text[0] = '\0';
	for (uint32_t port = 0; port < board->params.ports; port++)
		begin_counts(board, (uint32_t)number, port);
	if (!load->stopped)
		board_flow_start(board, (uint32_t)number, NULL);
	return number;
}

/* Done flags of packets that the engine was to judge, and will not. */
static void
give_up(struct board *board, uint32_t engine, uint32_t port)
{
	uint32_t bit = 1u << engine;
	uint32_t tail = board_scratch(board, PORT_BLOCK + port * PORT_BYTES + PORT_TAIL);
	uint32_t turn = board_scratch(board, board_filter_block(engine, port) + FILTER_TURN);
	/* contexts set their flags behind their turn; microcode may have written any turn */
	uint32_t behind = tail - turn < board->ring_slots ? tail - turn + IXP_CONTEXTS : board->ring_slots;

	for (uint32_t number = tail - behind; number != tail; number++) {
		uint32_t at = (number & (board->ring_slots - 1)) << RING_LOG2;
		uint32_t descriptor = board_memory_get(&board->memory, BOARD_SRAM, port * BOARD_RING_BYTES + at);
		uint32_t done, wanted;

		if (!board_is_descriptor(board, descriptor) ||
		    board_memory_get(&board->memory, BOARD_SRAM, descriptor + DESC_SEQUENCE) != number)
			continue;
		done = board_memory_get(&board->memory, BOARD_SRAM, descriptor + DESC_DONE);
		wanted = board_memory_get(&board->memory, BOARD_SRAM, descriptor + DESC_WANTED);
		if (!(wanted & bit) || (done & bit))
			continue;
		board_memory_put(&board->memory, BOARD_SRAM, descriptor + DESC_DONE, done | bit);
		if ((done | bit) == wanted)
			board_list_push(board, descriptor);
	}
}

/* No packet from the next one on is for this engine. */
static void
leave(struct board *board, uint32_t engine)
{
	for (uint32_t port = 0; port < board->params.ports; port++) {
		uint32_t filters = PORT_BLOCK + port * PORT_BYTES + PORT_FILTERS;

		board_set_scratch(board, filters, board_scratch(board, filters) & ~(1u << engine));
	}
}

static void
abandon(struct board *board, uint32_t engine)
{
	leave(board, engine);
	ixp_engine_stop(&board->engines[engine].machine);
	for (uint32_t port = 0; port < board->params.ports; port++)
		give_up(board, engine, port);
}

static void
join(struct board *board, uint32_t engine, uint32_t port)
{
	struct board_flow *flow = board->engines[engine].flow;
	const struct board_lane *lane = &board->lanes[port];
	uint32_t at = PORT_BLOCK + port * PORT_BYTES, block = board_filter_block(engine, port);
	uint32_t tail = board_scratch(board, at + PORT_TAIL);
	uint64_t w = ffpf_counted(&flow->ibufs[port]->page->w);

	board_set_scratch(board, block + FILTER_TURN, tail);
	board_set_scratch(board, block + FILTER_START, tail);
	board_set_scratch(board, block + FILTER_W, (uint32_t)w);
	board_set_scratch(board, block + FILTER_W + 4, (uint32_t)(w >> 32));
	begin_counts(board, engine, port);
	flow->no_room[port] = (uint32_t)lane->no_room;
	flow->no_descriptor[port] = (uint32_t)lane->no_descriptor;
	flow->oversize[port] = (uint32_t)lane->oversize;
	board->engines[engine].turns[port] = tail;
	board_set_scratch(board, at + PORT_FILTERS, board_scratch(board, at + PORT_FILTERS) | 1u << engine);
}

int
board_flow_start(struct board *board, uint32_t number, struct ffpf_error *err)
{
	struct board_engine *engine = &board->engines[number];

	if (engine->state != FFPF_IXP_ENGINE_LOADED)
		return ffpf_error_set(err, FFPF_E_INVALID, "engine %u holds no filter that could be started", number);
	board_strongarm_look(board); /* what was counted until now is of before */
	for (uint32_t port = 0; port < board->params.ports; port++)
		join(board, number, port);
	engine->state = FFPF_IXP_ENGINE_RUNS;
	board_engine_begin(board, number);
	board_strongarm_look(board);
	return 0;
}

void
board_flow_stop(struct board *board, uint32_t number)
{
	struct board_engine *engine = &board->engines[number];

	if (!board_engine_runs(engine))
		return;
	board_strongarm_count(board, number);
	abandon(board, number);
	engine->state = FFPF_IXP_ENGINE_LOADED;
}

void
board_flow_end(struct board *board, uint32_t number)
{
	struct board_flow *flow = board->engines[number].flow;

	board_strongarm_count(board, number);
	abandon(board, number);
	for (uint32_t port = 0; flow && port < board->params.ports; port++) {
		/* release: pairs with the acquire load of state in lanes/lanes.c; all was published before */
		atomic_store_explicit(&flow->ibufs[port]->page->state, FFPF_IBUF_DETACHED, memory_order_release);
		ffpf_wake_unasked(flow->ibufs[port]);
	}
}

void
board_flow_unload(struct board *board, uint32_t number)
{
	struct board_engine *engine = &board->engines[number];

	if (board_engine_runs(engine) || engine->state == FFPF_IXP_ENGINE_LOADED)
		board_flow_end(board, number);
	destroy(board, number, engine->flow);
	engine->flow = NULL;
	engine->role = FFPF_IXP_ROLE_NONE;
	engine->state = FFPF_IXP_ENGINE_EMPTY;
	if (!loaded(board)) {
		for (uint32_t port = 0; port < board->params.ports; port++) {
			if (board->ports[port]->cfg.hold)
				board_port_hold(board->ports[port]);
		}
	}
	board_strongarm_look(board);
}
