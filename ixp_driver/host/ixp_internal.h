/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of a board's reader share: reader.c reads, modes.c changes the copy mode and counts over changes. */
#ifndef FFPF_IXP_INTERNAL_H
#define FFPF_IXP_INTERNAL_H

#include "host/copier.h"

#include <stdatomic.h>
#include <sys/epoll.h>

/*
 *     copier   mode in force
 *     NULL     zero copy
 *     there    `mode`; stopped: it is read to its end, and then what the board says is taken up
 */
struct ixp {
	struct ffpf_reader reader; /* first */
	struct ffpf_lanes_config lanes;
	int timeout_ms;
	bool nonblock;
	struct window_reader window;
	struct copier *copier;
	enum ffpf_ixp_copy_mode mode;
	const struct ffpf_bpf_prog *prog;
	enum ffpf_direction direction;
	int poll_fd; /* epoll: what is served, the board's bell, its end, and wake_fd */
	int wake_fd;
	_Atomic bool woken;
	bool in_place;             /* as the consumer asked, and the window allows, while nothing is copied */
	uint64_t own;              /* delivered out of the window while nothing was copied, when the copier began */
	uint64_t lent;             /* delivered out of the window to copiers that are over */
	struct ffpf_counters past; /* of copiers that are over */
	struct ffpf_ixp_accesses stored; /* likewise */
};

static inline struct ffpf_reader *
ixp_served(const struct ixp *x)
{
	return x->copier ? x->copier->reader : x->window.lanes;
}

static inline int
ixp_watch(const struct ixp *x, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(x->poll_fd, op, fd, &event);
}

/* Adds what is served to what is watched (on), or takes it out. 0, or -code with x->reader.err. */
int ixp_serve(struct ixp *x, bool on);

/* Takes up the board's copy mode. Between two packets: every descriptor was released, or given back. 0 or -code. */
int ixp_follow_mode(struct ixp *x);

/* The copier's reader is at its end: the window is read by us again. 0 or -code. */
int ixp_end_copier(struct ixp *x);

/* Sums over all modes since the reader was opened. */
void ixp_count(struct ixp *x, struct ffpf_counters *out);
void ixp_count_copied(const struct ixp *x, struct ffpf_ixp_accesses *out); /* its copied and copied_bytes */

#endif
