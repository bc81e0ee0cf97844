/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive engine of one port: packets from the receive FIFO into PBuf. Paper, section 4.2.1. Microengine C.
 *
 * All contexts run this. They take packets in turn: the one whose turn it is fetches a whole packet and passes the turn
 * on, so records lie in PBuf in the order in which packets came; in the same order they are published, while others
 * fetch already. What no room is left for is counted and thrown away, and keeps the turn.
 *
 * Stores that readers of PBuf rely on, in this order (docs/memory.md): intent, record, stamp, W.
 */
#include "frame.h"

extern const uint32_t port;         /* scratchpad: the port's block */
extern const uint32_t lane;         /* SDRAM: the lane page */
extern const uint32_t cell_mask;    /* cells of PBuf, less 1 */
extern const uint32_t octets_max;   /* of a packet */
extern const uint32_t ring;         /* SRAM */
extern const uint32_t ring_mask;    /* entries of the ring, less 1 */
extern const uint32_t elements;     /* receive FIFO: element of context 0 */
extern const uint32_t contexts;     /* of this engine, that take turns: a power of two */
extern const uint32_t filter_first; /* of a filter's contexts, the first that serves this port ... */
extern const uint32_t filter_mask;  /* ... and how many do, less 1 */

static inline void
wake(uint32_t engine, uint32_t context)
{
	csr_write(CSR_SIGNAL, engine << 2 | context);
}

static inline void
wake_next(uint32_t sequence)
{
	wake(engine_number(), (sequence + 1) & (contexts - 1));
}

static inline void
await(uint32_t word, uint32_t sequence)
{
	while (scratch_read(port + word) != sequence)
		ctx_arb(SIGNAL_THREAD);
}

static void
lose(uint32_t cause, uint32_t descriptor)
{
	scratch_add(port + cause, 1);
	if (descriptor)
		sram_push(DESC_LIST, descriptor);
	csr_write(CSR_DISCARD, 0);
}

static inline void
wake_filters(uint32_t filters, uint32_t sequence)
{
	uint32_t context = filter_first + (sequence & filter_mask);
	uint32_t engine = 0;

	while (filters) {
		if (filters & 1)
			wake(engine, context);
		filters >>= 1;
		engine++;
	}
}

void
main(void)
{
	uint32_t element = elements + ctx_number() * FIFO_ELEMENT;
	uint32_t sequence = ctx_number();

	for (;;) {
		uint32_t captured, wire, time_low, time_high, ifindex, kind;
		uint32_t w, w_high, limit, filters, end, end_high, descriptor, record, to, left;

		await(PORT_TURN, sequence);
		for (;;) {
			fifo_read_n(element + FIFO_STATUS, &captured, &wire, &time_low, &time_high, &ifindex, &kind);
			if (captured == FIFO_NOTHING) {
				ctx_arb(SIGNAL_RECEIVE);
				continue;
			}
			if (captured > octets_max) {
				lose(PORT_OVERSIZE, 0);
				continue;
			}
			scratch_read_n(port + PORT_W, &w, &w_high, &limit, &filters);
			if (!filters) {
				lose(PORT_UNWANTED, 0);
				continue;
			}
			descriptor = sram_pop(DESC_LIST);
			if (!descriptor) {
				lose(PORT_NO_DESC, 0);
				continue;
			}
			end = w + ((captured + RECORD_DATA + 63) >> 6);
			if ((int32_t)(limit - end) >= 0)
				break;
			lose(PORT_NO_ROOM, descriptor);
		}
		end_high = w_high;
		if (end < w)
			end_high++;
		scratch_write(port + PORT_W, end, end_high);
		sdram_write(lane + LANE_INTENT, end, end_high);
		record = lane + LANE_CELLS + ((w & cell_mask) << 6);
		to = record + RECORD_DATA;
		left = captured;
		while (left > FIFO_OCTETS) {
			uint32_t more;

			fifo_write(element, to, FIFO_OCTETS);
			to += FIFO_OCTETS;
			left -= FIFO_OCTETS;
			fifo_read_n(element + FIFO_STATUS, &more);
		}
		fifo_write(element, to, left);
		scratch_write(port + PORT_TURN, sequence + 1);
		wake_next(sequence);

		sdram_write(record + 8, time_low, time_high, captured, wire);
		sdram_write(record + 24, ifindex, 0, kind & 0xffff, kind >> 16, 0, 0);
		sdram_write(record, w, w_high);
		sram_write(ring + ((sequence & ring_mask) << RING_LOG2), descriptor, w);

		await(PORT_TAIL, sequence);
		filters = scratch_read(port + PORT_FILTERS);
		sram_write(descriptor + DESC_DONE, 0, filters, sequence, w, record, captured);
		sdram_write(lane + LANE_W, end, end_high);
		scratch_write(port + PORT_TAIL, sequence + 1);
		wake_next(sequence);
		wake_filters(filters, sequence);
		if (!filters)
			sram_push(DESC_LIST, descriptor);
		sequence += contexts;
	}
}
