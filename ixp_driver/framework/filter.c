/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main loop of a filter's engine, and its slot: ffpf_filter(), which the FPL-2 back end emits. Paper,
 * section 4.2.1. Microengine C.
 *
 * All contexts run this. They take a port's packets in turn, judge them side by side, and store their results in the
 * order of the packets. With two ports, half of the contexts serve each.
 *
 * Stores that readers of IBuf rely on, in this order (docs/memory.md): intent, entry, W.
 */
#include "frame.h"

extern const uint32_t filter;      /* scratchpad: this engine's block for port 0 */
extern const uint32_t bit;         /* this engine's done flag */
extern const uint32_t turn_log2;   /* log2 of the contexts that serve a port */
extern const uint32_t turn_mask;   /* 2^turn_log2 - 1 */
extern const uint32_t ring;        /* SRAM: of port 0 */
extern const uint32_t ring_stride; /* from one port's to the next one's */
extern const uint32_t ring_mask;
extern const uint32_t ibuf; /* SRAM: IBuf of port 0 */
extern const uint32_t ibuf_stride;
extern const uint32_t slot_mask; /* entries of an IBuf, less 1 */

/* The result of the packet whose record lies at this address of SDRAM; 0: not of interest. */
static uint32_t ffpf_filter(uint32_t record, uint32_t captured);

/* Sets this filter's done flag. Whoever is the last reclaims the descriptor. */
static inline void
pkt_drop(uint32_t descriptor, uint32_t wanted)
{
	uint32_t before = sram_set_bits(descriptor + DESC_DONE, bit);

	if ((before | bit) == wanted)
		sram_push(DESC_LIST, descriptor);
}

void
main(void)
{
	uint32_t number = ctx_number() >> turn_log2;
	uint32_t port = PORT_BLOCK + number * PORT_BYTES;
	uint32_t mine = filter + number * FILTER_BYTES;
	uint32_t start = scratch_read(mine + FILTER_START);
	uint32_t sequence = start + ((ctx_number() - start) & turn_mask);
	uint32_t page = ibuf;
	uint32_t entries = ring;

	if (number) {
		page += ibuf_stride;
		entries += ring_stride;
	}
	for (;;) {
		uint32_t descriptor, wanted, other, position, record, captured, result = 0;
		uint32_t turn, w, w_high, refused, full, limit;
		uint32_t judge;

		while ((int32_t)(scratch_read(port + PORT_TAIL) - sequence) <= 0)
			ctx_arb(SIGNAL_THREAD);
		descriptor = sram_read(entries + ((sequence & ring_mask) << RING_LOG2));
		sram_read_n(descriptor + DESC_WANTED, &wanted, &other, &position, &record, &captured);
		/* one that came before this filter may be another packet's by now */
		judge = other == sequence && (wanted & bit);
		if (judge)
			result = ffpf_filter(record, captured);
		for (;;) {
			scratch_read_n(mine, &turn, &w, &w_high, &refused, &full, &limit);
			if (turn == sequence)
				break;
			ctx_arb(SIGNAL_THREAD);
		}
		if (result) {
			if ((int32_t)(limit - w) > 0) {
				uint32_t entry = page + IBUF_ENTRIES + ((w & slot_mask) << 3);

				w++;
				if (!w)
					w_high++;
				sram_write(page + IBUF_INTENT, w, w_high);
				sram_write(entry, position, result);
				sram_write(page + IBUF_W, w, w_high);
			} else {
				full++;
			}
		} else if (judge) {
			refused++;
		}
		scratch_write(mine, sequence + 1, w, w_high, refused, full);
		csr_write(CSR_SIGNAL,
			  engine_number() << 2 | (ctx_number() & ~turn_mask) | ((sequence + 1) & turn_mask));
		if (judge)
			pkt_drop(descriptor, wanted);
		sequence += turn_mask + 1;
	}
}
