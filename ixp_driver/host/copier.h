/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_COPIER_H
#define FFPF_IXP_HOST_COPIER_H
/*
 * The thread that takes packets over the window once, into a lane of this host, and the reader of that lane.
 *
 *     create -> { read `reader`, perhaps change its filter }* -> stop -> read until FFPF_END -> destroy
 *
 * Nothing is dropped on the way: where the lane is full the thread waits, and the board fills.
 */
#include "feed/feed.h"
#include "host/window_reader.h"

struct copier {
	struct ffpf_feed *feed;
	struct ffpf_hook *hook;
	struct ffpf_flow *flow;
	struct ffpf_reader *reader; /* of the host's lane; it does not wait */
	bool stopped;
};

/* mode: FFPF_IXP_COPY_ALL or FFPF_IXP_COPY_INTERESTING. prog: the consumer's filter, NULL: none. From here on `w` is
 * the thread's, until stop. */
int copier_create(struct copier **out, struct window_reader *w, const struct ffpf_lanes_config *lanes,
		  enum ffpf_ixp_copy_mode mode, const struct ffpf_bpf_prog *prog, struct ffpf_error *err);
/* The thread ends between two packets. */
void copier_stop(struct copier *copier);
void copier_destroy(struct copier *copier); /* NULL is legal */

/* Once its reader says FFPF_END: why. FFPF_END of the source, FFPF_FAILED and *err; FFPF_INTERRUPTED: it was stopped.
 */
enum ffpf_outcome copier_why(const struct copier *copier, struct ffpf_error *err);

/* Packets and octets that were stored in the host's lane. */
void copier_stored(const struct copier *copier, uint64_t *packets, uint64_t *bytes);

#endif
