/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_HOOK_HOOK_INTERNAL_H
#define FFPF_HOOK_HOOK_INTERNAL_H
/*
 * The hook's state, shared by hook.c (a packet's way), graph.c (which flows there are; changes of it) and wake.c.
 *
 * The graph is immutable but for its scratch, and replaced whole:
 *
 *     control plane                              writer
 *     graph = new              (seq_cst)         inside = 1     (seq_cst, exchange)
 *     wait: inside == 0        (seq_cst)         load graph     (seq_cst)
 *           or passes moved    (acquire)         ... one packet ...
 *     free the old                               passes += 1, inside = 0   (release)
 *
 * Of the store of graph and the exchange of inside one comes first in the order of all seq_cst operations: either the
 * writer loads the new graph, or the control plane sees that it is inside, and waits until it has left.
 */
#include "hook/hook.h"
#include "hook/wake.h"

#include <pthread.h>

struct ffpf_graph_entry {
	struct ffpf_ibuf *ibuf;
	const struct ffpf_bpf_prog *prog; /* NULL: every packet */
	uint64_t generation;
	bool left;       /* nothing is stored for it: what it wants is counted as FFPF_DROP_LEFT */
	bool guest;      /* its IBuf is of another lane, which is not fed any more: only left ones are */
	uint32_t result; /* scratch of the writer */
};

/* Entries with the same filter stand together. */
struct ffpf_graph {
	uint64_t serial; /* no two graphs of a hook have the same */
	uint32_t count, capacity;
	struct ffpf_ibuf **ibufs; /* for the BMS: of all but guests */
	uint32_t ibuf_count;
	struct ffpf_graph_entry **wanted; /* scratch of the writer: room for count */
	struct ffpf_graph_entry entries[];
};

struct ffpf_hook {
	struct ffpf_lane *lane;
	const struct ffpf_bms *bms;
	int vlan_offset;
	uint32_t cooked; /* octets of the cooked header, 0: none */
	uint32_t publish_batch;

	/* the writer's */
	uint64_t adopted; /* serial of the graph that the IBufs know of */
	uint32_t stored;  /* records that are not published */
	int64_t last_ns;  /* latest time of a packet so far */
	int64_t floor_ns; /* of the lane while no packet is being handled */
	bool announced;   /* page->floor_ns is a bound for the packets being handled, not floor_ns */

	/* between writer and control plane: see above */
	_Atomic uint32_t inside;
	_Atomic uint64_t passes;
	struct ffpf_graph *_Atomic graph; /* never NULL */

	/* the control plane's */
	pthread_mutex_t control; /* one change at a time */
	uint64_t last_serial;
	struct ffpf_graph_entry *members; /* what the next graph is made from */
	uint32_t member_count, capacity;
	struct ffpf_graph *spare; /* the graph before, so that a change of filters needs no memory */
};

/* graph.c. add and take change the members with control; the others are called with it held. reserve: room for n flows;
 * replace: puts members into force, and waits for the writer. */
int ffpf_graph_reserve(struct ffpf_hook *hook, uint32_t n, struct ffpf_error *err);
void ffpf_graph_replace(struct ffpf_hook *hook);
/* The flow of this IBuf, which is a member. */
struct ffpf_graph_entry *ffpf_graph_find(struct ffpf_hook *hook, const struct ffpf_ibuf *ibuf);
int ffpf_graph_add(struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_ibuf *ibuf,
		   struct ffpf_error *err);
/* The IBuf of a lane that is left: what its flow misses on this one is counted there. */
int ffpf_graph_add_guest(struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_ibuf *ibuf,
			 struct ffpf_error *err);
void ffpf_graph_take(struct ffpf_hook *hook, const struct ffpf_ibuf *ibuf);
struct ffpf_graph *ffpf_graph_create(uint32_t capacity);
void ffpf_graph_destroy(struct ffpf_graph *graph); /* NULL is legal */

/* flow.c */
int ffpf_flow_make_ibuf(struct ffpf_ibuf **out, const struct ffpf_flow *flow, uint32_t lane, uint32_t slots,
			uint64_t first_pos, struct ffpf_error *err);
void ffpf_flow_count_ibuf(const struct ffpf_ibuf *ibuf, uint64_t nested_after, struct ffpf_counters *sum);

/* hook.c */
bool ffpf_hook_enter(struct ffpf_hook *hook, struct ffpf_graph **graph); /* false: somebody is inside */
void ffpf_hook_leave(struct ffpf_hook *hook);

#endif
