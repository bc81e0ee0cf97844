/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_FLOW_TABLE_H
#define FFPF_GRAPH_CLASS_FLOW_TABLE_H
/*
 * (flow_table,"flows=65536 idle=60s active=30m linger=5s",) keeps a record for every IP flow (TCP, UDP, any protocol;
 * both directions in one) and exports it to a ring in its MBuf when it is over. All packets pass.
 *
 *   idle     it was not heard of for that long
 *   active   it lasts already that long: what was counted is exported, and it goes on from zero
 *   linger   a TCP flow that both sides have finished, or one has reset, waits that long for stragglers; a new SYN ends
 *            the wait
 *   flows    when so many are there at once (a power of two is best), the one not heard of for the longest time goes
 *            early, closed ones first
 *
 * Times are those of packets; live, the clock's too. At the end of input all flows are exported.
 */
#include "graph/tuple.h"

enum ffpf_flow_state {
	FFPF_FLOW_OPEN,        /* not TCP, or TCP whose begin was not seen */
	FFPF_FLOW_SYN,         /* one side asked */
	FFPF_FLOW_SYN_ACK,     /* the other agreed */
	FFPF_FLOW_ESTABLISHED, /* and was heard */
	FFPF_FLOW_FIN,         /* one side has finished */
	FFPF_FLOW_CLOSED,      /* both have */
	FFPF_FLOW_RESET,       /* one side broke it off */
	FFPF_FLOW_STATES
};

enum ffpf_flow_reason {
	FFPF_FLOW_LIVES, /* it is not over: never in the ring */
	FFPF_FLOW_IDLE,
	FFPF_FLOW_ACTIVE,
	FFPF_FLOW_LINGERED, /* closed or reset */
	FFPF_FLOW_FULL,     /* the table was full */
	FFPF_FLOW_END,      /* of input */
	FFPF_FLOW_REASONS
};

/*
 *   record  0              40         48        56         64         72       80       88       90     91      92  96
 *           +--------------+----------+---------+----------+----------+--------+--------+--------+------+-------+---+
 *           | key          | first_ns | last_ns | packets there, back | bytes there, back | flags  | state| reason| 0 |
 *           +--------------+----------+---------+----------+----------+--------+--------+--------+------+-------+---+
 */
struct ffpf_mbuf_flow_record {
	struct ffpf_tuple key; /* src spoke first; of a TCP flow whose answer was seen first, it is who asked */
	uint64_t first_ns, last_ns;
	uint64_t packets[2]; /* from src, from dst */
	uint64_t bytes[2];   /* on the wire */
	uint8_t flags[2];    /* TCP flags that each side has sent, or-ed: FIN 1, SYN 2, RST 4, PSH 8, ACK 16 */
	uint8_t state;       /* enum ffpf_flow_state */
	uint8_t reason;      /* enum ffpf_flow_reason */
	uint32_t zero;
};

/*
 *   MBuf   0        8         16      24        32     40     48      52   56   64
 *          +--------+---------+-------+---------+------+------+-------+----+----+-----------
 *          | intent | written | flows | present | none | full | slots | 0  | 0  | records ...
 *          +--------+---------+-------+---------+------+------+-------+----+----+-----------
 *
 * The writer never waits. Record number i, from 0, lies in slot i modulo slots: it is there when i < written, and what
 * a reader has copied of it is whole when, after copying, intent - i <= slots. (MBuf's octets - 64) / 96 slots; 4,096
 * when no size is given. Only the class writes.
 */
struct ffpf_mbuf_flow_table {
	uint64_t intent;  /* records that were begun */
	uint64_t written; /* records that are complete */
	uint64_t flows;   /* that began */
	uint64_t present; /* in the table now */
	uint64_t none;    /* packets that are no IP */
	uint64_t full;    /* records exported early, for want of room */
	uint32_t slots;
	uint32_t zero;
	uint64_t zeros;
	struct ffpf_mbuf_flow_record records[];
};

_Static_assert(sizeof(struct ffpf_mbuf_flow_record) == 96 && sizeof(struct ffpf_mbuf_flow_table) == 64, "as drawn");

#endif
