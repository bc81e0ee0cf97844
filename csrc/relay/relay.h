/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RELAY_RELAY_H
#define FFPF_RELAY_RELAY_H
/*
 * Packets handed on by the process that read them: second hand, for the reader of one flow in another process. Nothing
 * is copied. This writes IBufs (layout.h) of its own to the lanes that it reads, and that the other process may map:
 *
 *     lane (the hook's) <---- index ---- IBuf (the hook's) ----> reader `from` -> whatever decides -> add
 *           ^                                                                                          |
 *           +---------------- index ---- IBuf (ours) <-------------------------------------------------+
 *                                          +----> ffpf_lanes_open in the other process
 *
 * SRP: what the other one has not read, `from` does not give back, so to the hook they are one reader. One that holds
 * it up is left (FFPF_IBUF_LEFT): nothing protects what it has not read any more, and it is told. It holds up while its
 * oldest unread record lies half of a PBuf behind W, or half of `from`'s IBuf is held for it; it is left when the hook
 * lost packets for want of room meanwhile, and `limit_ns` have gone by. FRP: it finds out what it lost, as any reader.
 *
 * Order: packets are added in the order in which `from` delivers them, and so they come out (lanes/merge.c).
 * Law, between two packets, for each IBuf: seen = sum(dropped) + w - first_pos; filtered is 0.
 *
 * When a lane of `from` moves, the IBuf is marked FFPF_IBUF_MOVED and the next one made; both go to the reader as
 * struct ffpf_lanes_remote_ops.succeed wants them. One that is more than RELAY_BEHIND_MAX moves behind is left.
 *
 * One thread at a time makes the calls of this file, the one that may call `from`. Ends before `from` does.
 */
#include "lanes/lanes.h"

#define RELAY_BEHIND_MAX 3

struct ffpf_relay;

struct ffpf_relay_config {
	uint32_t slots;    /* of each lane's IBuf: power of two */
	uint64_t limit_ns; /* 0: nobody is left */
	enum ffpf_memory memory;
};

/* -FFPF_E_INVALID: `from` is not a reader of lanes, or its own IBufs are second hand. *out is untouched on failure. */
int ffpf_relay_create(struct ffpf_relay **out, struct ffpf_reader *from, const struct ffpf_relay_config *cfg,
		      struct ffpf_error *err);
/* The reader is told that its flow was detached. NULL is legal. */
void ffpf_relay_destroy(struct ffpf_relay *relay);

/* Descriptor `at` of the last batch of `from`, with a result that is not 0. Descriptors come in their order, each once.
 */
void ffpf_relay_add(struct ffpf_relay *relay, uint32_t at, uint32_t result);
/* What was added is seen, and the reader woken, if it sleeps. Before next() of `from`. */
void ffpf_relay_publish(struct ffpf_relay *relay);
/* SRP: nobody says when the other end has read. `from` is to be asked again, in next() or settle(), after so long,
 * while it holds something: soon after what was read or added last, then less and less often. UINT64_MAX: it holds
 * nothing. */
uint64_t ffpf_relay_look_ns(const struct ffpf_relay *relay);
/* No packet will come: `from` has said FFPF_END, or (gone) that it failed since the source is gone. */
void ffpf_relay_end(struct ffpf_relay *relay, bool gone);

/* What the other end reads, by its descriptors, or, in this process, as it is; the relay's. */
const struct ffpf_region *ffpf_relay_reader(const struct ffpf_relay *relay); /* reader page */
int ffpf_relay_event_fd(const struct ffpf_relay *relay);                     /* FFPF_LANES_EVENT_TIMERFD */
/* The oldest IBuf of a lane that is there and was made for move number `least` of `from`'s lane or a later one; *move:
 * which. NULL: there is none, yet. Until the reader has gone on to the next. */
const struct ffpf_region *ffpf_relay_ibuf(const struct ffpf_relay *relay, uint32_t lane, uint32_t least,
					  uint32_t *move);

#endif
