/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_WINDOW_READER_H
#define FFPF_IXP_HOST_WINDOW_READER_H
/*
 * The lanes reader over the window, with what a board's host owes it: `advance read pointer` whenever R has moved, the
 * count of what crosses the bus, and the board's end as an error. It belongs to one thread at a time; counts and told
 * are for others, too.
 *
 * As a reader (`reader`) it is what the copying thread reads from: it does not wait, its descriptor tells when there is
 * something, and close() leaves all as it is.
 */
#include "host/ixp.h"

#include <pthread.h>

struct window_reader {
	struct ffpf_reader reader; /* first */
	struct ffpf_ixp_session *session;
	struct ffpf_ixp_buffers buffers;
	struct ffpf_reader *lanes;
	uint64_t advanced[FFPF_IXP_PORTS_MAX]; /* R of each port, as the board was told */
	pthread_mutex_t lock;                  /* of the two below */
	struct ffpf_ixp_accesses accesses;
	struct ffpf_counters counters; /* of `lanes`, as of its last call of next */
};

/* Loads the filter. w is zeros, or was closed. */
int window_reader_open(struct window_reader *w, const struct ffpf_ixp_config *cfg, struct ffpf_error *err);
void window_reader_close(struct window_reader *w);

/* FFPF_WOULD_BLOCK at the latest: it never waits. */
enum ffpf_outcome window_reader_next(struct window_reader *w, struct ffpf_batch *batch);
void window_reader_settle(struct window_reader *w);

void window_reader_accesses(struct window_reader *w, struct ffpf_ixp_accesses *out);
void window_reader_counters(struct window_reader *w, struct ffpf_counters *out);

#endif
