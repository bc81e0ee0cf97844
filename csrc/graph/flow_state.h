/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FLOW_STATE_H
#define FFPF_GRAPH_FLOW_STATE_H
/*
 * What a TCP segment makes of a flow's state. Sequence numbers are not looked at: this is for accounting, not defence.
 *
 *   state        SYN          SYN+ACK      ACK from src   FIN                    RST
 *   OPEN         SYN *        SYN_ACK *    -              FIN, CLOSED **         RESET
 *   SYN          -            SYN_ACK      -              FIN, CLOSED            RESET
 *   SYN_ACK      -            -            ESTABLISHED    FIN, CLOSED            RESET
 *   ESTABLISHED  -            -            -              FIN, CLOSED            RESET
 *   FIN          -            -            -              CLOSED when both have  RESET
 *   CLOSED       a new flow   -            -              -                      -
 *   RESET        a new flow   -            -              -                      -
 *
 *   *   only the first segment of the flow     **  FIN, or CLOSED when the other side has sent one before
 */
#include "graph/class_flow_table.h"

#define FFPF_TCP_FIN 1u
#define FFPF_TCP_SYN 2u
#define FFPF_TCP_RST 4u
#define FFPF_TCP_ACK 16u

static inline bool
ffpf_flow_is_over(uint8_t state)
{
	return state == FFPF_FLOW_CLOSED || state == FFPF_FLOW_RESET;
}

/* `record` has counted the segment, its flags too; way: 0 from src, 1 from dst; first: it has no other segment. */
static inline uint8_t
ffpf_flow_next_state(const struct ffpf_mbuf_flow_record *record, uint8_t flags, unsigned way, bool first)
{
	const uint8_t state = record->state;

	if (ffpf_flow_is_over(state))
		return state;
	if (flags & FFPF_TCP_RST)
		return FFPF_FLOW_RESET;
	if (flags & FFPF_TCP_FIN)
		return record->flags[!way] & FFPF_TCP_FIN ? FFPF_FLOW_CLOSED : FFPF_FLOW_FIN;
	if (flags & FFPF_TCP_SYN) {
		if (flags & FFPF_TCP_ACK)
			return first || state == FFPF_FLOW_SYN ? FFPF_FLOW_SYN_ACK : state;
		return first ? FFPF_FLOW_SYN : state;
	}
	return state == FFPF_FLOW_SYN_ACK && way == 0 && flags & FFPF_TCP_ACK ? FFPF_FLOW_ESTABLISHED : state;
}

#endif
