/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_SHARED_INTERNAL_H
#define FFPF_CLIENT_SHARED_INTERNAL_H
/*
 * The shared reader's state: shared.c is the table of operations, shared_open.c opens and closes, shared_filter.c asks
 * for filters, shared_cooked.c makes cooked packets.
 *
 *     raw      lanes' batch --------------------------------------------> consumer
 *     cooked   lanes' batch --judge, make the header--> packets[count] -> consumer
 *              | taken ..... at                         from[]: where in the lanes' batch each one came from
 */
#include "client/client.h"
#include "client/memories.h"
#include "client/shared.h"
#include "lanes/lanes.h"

#include <net/if.h>

#define SHARED_BATCH       128
#define SHARED_ARENA_BYTES ((size_t)1 << 20) /* several of the largest packets */
#define SHARED_HEAD_BYTES  16                /* left free before each packet of the arena */

struct shared {
	struct ffpf_reader reader; /* first */
	struct ffpf_reader *lanes;
	struct ffpf_client *client;
	struct ffpf_memories *memories;
	struct ffpf_lanes_remote_ops remote;
	int wake_fd;
	int inject_fd; /* -1: not opened yet */
	uint32_t ifindex;
	bool nonblock, promisc;
	int timeout_ms;
	char device[IFNAMSIZ]; /* "" for a source that is no interface */
	char opened_as[64];    /* for messages: the name that the user gave, of any source */
	uint64_t iface_lost_seen, iface_lost;

	/* the filter */
	const struct ffpf_bpf_prog *prog; /* NULL: every packet */
	uint64_t generation;              /* of prog in the hooks; 0: they run none */
	bool hooks_open;                  /* ... and are known to let everything through */

	/* cooked */
	bool cooked;
	struct ffpf_batch batch;   /* of the lanes */
	uint32_t taken, at;        /* descriptors of it: released, and looked at */
	uint32_t count, released;  /* of packets */
	uint32_t skipped, carried; /* turned away since the last descriptor, and of these before the batch */
	uint64_t turned_away;      /* released to the lanes, and never delivered */
	uint8_t *arena;
	size_t arena_used;
	struct ffpf_packet packets[SHARED_BATCH];
	uint32_t from[SHARED_BATCH];
};

/* shared.c */
extern const struct ffpf_reader_ops shared_ops;
enum ffpf_outcome shared_lanes_next(struct shared *s, struct ffpf_batch *batch);
int shared_failed(struct shared *s, int rc); /* takes over the lanes' error; returns rc */

/* shared_open.c */
void shared_close(struct ffpf_reader *r);

/* shared_filter.c */
int shared_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog);
int shared_place(void *remote, const struct ffpf_bpf_prog *prog, uint64_t *generation, struct ffpf_error *err);

/* shared_cooked.c */
enum ffpf_outcome shared_cooked_next(struct shared *s, struct ffpf_batch *batch);
void shared_cooked_release(struct shared *s, uint32_t n);
void shared_cooked_pass(struct shared *s);   /* what was turned away behind the last one released is done with */
void shared_cooked_forget(struct shared *s); /* the lanes serve again what was not released */

#endif
