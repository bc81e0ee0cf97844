/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The StrongARM core: what is done now and then, beside the engines. Paper, section 4.2.2.
 *
 * It runs between two quanta, so it never meets an engine within an instruction; but within a packet it does. Hence
 * each word of the scratchpad has one owner (framework/frame.h), and counts are differences of what engines count.
 */
#include "board/board.h"
#include "hook/wake.h"
#include "reader/reader.h"

static bool
judges(const struct board *board, uint32_t engine, uint32_t port)
{
	return board_port_word(board, port, PORT_FILTERS) >> engine & 1;
}

/* How much a 32-bit count that wraps has grown since it was looked at; *seen follows. */
static uint32_t
grown(uint32_t *seen, uint32_t now)
{
	uint32_t n = now - *seen;

	*seen = now;
	return n;
}

static void
widen(uint64_t *wide, uint32_t now)
{
	*wide += (uint32_t)(now - (uint32_t)*wide);
}

static void
count_port(struct board *board, uint32_t port)
{
	struct board_lane *lane = &board->lanes[port];
	struct ffpf_lane_page *page = lane->lane->page;

	board->engines[port].packets = board->ports[port]->taken;
	widen(&lane->tail, board_port_word(board, port, PORT_TAIL));
	widen(&lane->no_room, board_port_word(board, port, PORT_NO_ROOM));
	widen(&lane->no_descriptor, board_port_word(board, port, PORT_NO_DESC));
	widen(&lane->oversize, board_port_word(board, port, PORT_OVERSIZE));
	widen(&lane->unwanted, board_port_word(board, port, PORT_UNWANTED));
	atomic_store_explicit(&page->records, lane->tail, memory_order_relaxed);
	atomic_store_explicit(&page->packets,
			      lane->tail + lane->no_room + lane->no_descriptor + lane->oversize + lane->unwanted,
			      memory_order_relaxed);
}

/* What a flow's IBuf page says of packets: layout.h. */
static void
count_flow(struct board *board, uint32_t engine, uint32_t port)
{
	struct board_flow *flow = board->engines[engine].flow;
	const struct board_lane *lane = &board->lanes[port];
	struct ffpf_ibuf *ibuf = flow->ibufs[port];
	struct ffpf_ibuf_page *page = ibuf->page;
	enum ffpf_drop full = ibuf->evicted ? FFPF_DROP_EVICTED : FFPF_DROP_IBUF;
	uint64_t w = ffpf_counted(&page->w), sum = 0;
	uint32_t n = grown(&flow->refused[port], board_filter_word(board, engine, port, FILTER_REFUSED));

	ffpf_count(&page->filtered, n);
	board->engines[engine].packets += n + (w - ibuf->w);
	n = grown(&flow->full[port], board_filter_word(board, engine, port, FILTER_FULL));
	board->engines[engine].packets += n;
	ffpf_count(&page->dropped[full], n);
	if (judges(board, engine, port)) {
		ffpf_count(&page->dropped[FFPF_DROP_PBUF], grown(&flow->no_room[port], (uint32_t)lane->no_room));
		ffpf_count(&page->dropped[FFPF_DROP_KERNEL],
			   grown(&flow->no_descriptor[port], (uint32_t)lane->no_descriptor));
		ffpf_count(&page->dropped[FFPF_DROP_OVERSIZE], grown(&flow->oversize[port], (uint32_t)lane->oversize));
	}
	ibuf->w = ibuf->published = w;
	for (unsigned cause = 0; cause < FFPF_COUNTED_DROPS_MAX; cause++)
		sum += ffpf_counted(&page->dropped[cause]);
	atomic_store_explicit(&page->seen, ffpf_counted(&page->filtered) + sum + w - page->first_pos,
			      memory_order_relaxed);
}

/* The filter that is the farthest behind on this port: how many packets until the last. */
static uint32_t
most_behind(const struct board *board, uint32_t port)
{
	uint32_t tail = board_port_word(board, port, PORT_TAIL), most = 0;

	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		uint32_t behind = tail - board_filter_word(board, i, port, FILTER_TURN);

		if (board_engine_runs(&board->engines[i]) && behind > most)
			most = behind;
	}
	return most;
}

/*
 * The position up to which cells may be claimed: what filters look at, and (SRP) what readers have not read, is kept.
 *
 *     oldest packet that a filter has not judged; R*
 *        |                 W
 *     ---+-----+-----+-----+---                 limit = the older of the two + size
 */
static void
limit_port(struct board *board, uint32_t port)
{
	struct board_lane *lane = &board->lanes[port];
	struct ffpf_lane *state = lane->lane;
	uint32_t behind = most_behind(board, port), tail = board_port_word(board, port, PORT_TAIL);
	uint64_t w = ffpf_counted(&state->page->w), keep = w;

	if (behind) {
		uint32_t at = ((tail - behind) & (board->ring_slots - 1)) << RING_LOG2;
		uint32_t position = board_memory_get(&board->memory, BOARD_SRAM, port * BOARD_RING_BYTES + at + 4);

		keep = ffpf_index_position(w, position);
	}
	if (board->params.bms == FFPF_BMS_FRP)
		ffpf_bms_frp.grant_cells(state, (uint32_t)(w - state->w)); /* sweeps, now and then */
	state->w = w;
	if (board->params.bms == FFPF_BMS_SRP) {
		ffpf_bms_srp_compute_r_star(state);
		if (state->r_star < keep)
			keep = state->r_star;
	}
	board_set_scratch(board, PORT_BLOCK + port * PORT_BYTES + PORT_LIMIT, (uint32_t)(keep + state->size));
}

static void
limit_flow(struct board *board, uint32_t engine, uint32_t port)
{
	const struct board_flow *flow = board->engines[engine].flow;
	const struct ffpf_ibuf *ibuf = flow->ibufs[port];
	uint64_t limit = ibuf->r + flow->slots;

	if (board->params.bms == FFPF_BMS_FRP)
		limit = ibuf->w + (1u << 30); /* the next look comes before so many packets do */
	else if (ibuf->evicted)
		limit = ibuf->w;
	board_set_scratch(board, board_filter_block(engine, port) + FILTER_LIMIT, (uint32_t)limit);
}

void
board_strongarm_count(struct board *board, uint32_t engine)
{
	for (uint32_t port = 0; port < board->params.ports; port++)
		count_flow(board, engine, port);
}

void
board_strongarm_limits(struct board *board)
{
	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		if (board_flow_alive(board, i))
			board_strongarm_count(board, i);
	}
	for (uint32_t port = 0; port < board->params.ports; port++) {
		struct board_lane *lane = &board->lanes[port];

		lane->lane->ibufs = lane->ibufs;
		lane->lane->ibuf_count = 0;
		for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
			if (board_flow_alive(board, i))
				lane->ibufs[lane->lane->ibuf_count++] = board->engines[i].flow->ibufs[port];
		}
		limit_port(board, port);
		for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
			if (board_flow_alive(board, i))
				limit_flow(board, i, port);
		}
	}
}

bool
board_strongarm_has_room(struct board *board, uint32_t port, uint32_t cap_len)
{
	uint32_t turn = board_port_word(board, port, PORT_TURN);
	uint32_t end = board_port_word(board, port, PORT_W) + ffpf_record_cells(cap_len);

	for (int looked = 0; looked < 2; looked++) {
		bool room =
		    board->free_descriptors > 0 && (int32_t)(board_port_word(board, port, PORT_LIMIT) - end) >= 0;

		for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
			uint32_t under_way = turn - board_filter_word(board, i, port, FILTER_TURN);
			uint32_t w = board_filter_word(board, i, port, FILTER_W);

			if (judges(board, i, port) && !board->engines[i].flow->ibufs[port]->evicted)
				room &= (int32_t)(board_filter_word(board, i, port, FILTER_LIMIT) - w - under_way) > 0;
		}
		if (room)
			return true;
		board_strongarm_limits(board);
	}
	return false;
}

/* Nothing is on its way any more. */
static bool
all_is_done(const struct board *board, uint32_t port)
{
	return board->lanes[port].starved &&
	       board_port_word(board, port, PORT_TURN) == board_port_word(board, port, PORT_TAIL) &&
	       most_behind(board, port) == 0;
}

static void
end_port(struct board *board, uint32_t port)
{
	struct board_lane *lane = &board->lanes[port];

	if (lane->closed || !board_port_is_over(board->ports[port]) || !all_is_done(board, port))
		return;
	lane->closed = true;
	/* Release: pairs with the acquire load in lanes/lanes.c; all that was published before is seen. */
	atomic_store_explicit(&lane->lane->page->state, FFPF_LANE_CLOSED, memory_order_release);
	for (uint32_t i = 0; i < lane->lane->ibuf_count; i++)
		ffpf_wake_unasked(lane->ibufs[i]);
}

/* For readers of two lanes: no entry of this one that is still to come is older (docs/memory.md). */
static void
tell_floor(struct board *board, uint32_t port)
{
	struct board_lane *lane = &board->lanes[port];
	uint32_t turn = board_port_word(board, port, PORT_TURN);
	uint32_t under_way = turn - board_port_word(board, port, PORT_TAIL) + most_behind(board, port);
	/* of those that the receive engine began to fetch, one may have no number yet */
	uint32_t fetching = (uint32_t)board->ports[port]->taken - turn - board_port_word(board, port, PORT_NO_ROOM) -
			    board_port_word(board, port, PORT_NO_DESC) - board_port_word(board, port, PORT_OVERSIZE) -
			    board_port_word(board, port, PORT_UNWANTED);
	int64_t floor = FFPF_FLOOR_IDLE;

	if (under_way || fetching)
		floor = lane->times[(turn - under_way) & (board->ring_slots - 1)];
	else if (board->ports[port]->count)
		floor = board->ports[port]->mac[board->ports[port]->head].packet.time_ns;
	else if (board->ports[port]->has_next)
		floor = board->ports[port]->next.time_ns;
	else if (board->ports[port]->cfg.pace != BOARD_PACE_LIVE && !lane->closed)
		return; /* its next packet is not known yet: what was said holds */
	/* release: pairs with the load of floor_ns in lanes/merge.c; entries were published before */
	atomic_store_explicit(&lane->lane->page->floor_ns, floor, memory_order_release);
}

static void
begin_ports(struct board *board)
{
	uint32_t filters = board_flow_count(board);

	for (uint32_t port = 0; port < board->params.ports; port++) {
		struct board_port *it = board->ports[port];

		if (it->state == BOARD_PORT_HOLDS && board->state == FFPF_IXP_BOARD_RUNS && filters >= it->cfg.hold &&
		    !board->lanes[port].closed)
			board_port_begin(it, board->cycle);
	}
}

uint64_t
board_strongarm_wake(struct board *board, uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;

	/* W of each IBuf was stored with release; behind this fence, whoever sleeps is seen, or sees W (hook/wake.c) */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = board->params.ports; i < FFPF_IXP_ENGINES; i++) {
		struct board_flow *flow = board->engines[i].flow;

		for (uint32_t port = 0; flow && port < board->params.ports; port++) {
			uint64_t due;

			if (!now_ns) {
				ffpf_wake_if_due(flow->ibufs[port]);
				continue;
			}
			due = ffpf_wake_tick(flow->ibufs[port], now_ns);
			next = due < next ? due : next;
		}
	}
	return next;
}

void
board_strongarm_look(struct board *board)
{
	for (uint32_t port = 0; port < board->params.ports; port++)
		count_port(board, port);
	board_watch(board);
	board_strongarm_limits(board);
	begin_ports(board);
	for (uint32_t port = 0; port < board->params.ports; port++) {
		end_port(board, port);
		if (board->params.ports > 1)
			tell_floor(board, port);
	}
	board_strongarm_wake(board, 0);
	board_registers_fill(board);
	board->next_look = board->cycle + board->params.strongarm_cycles;
}
