/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_PULL_INTERNAL_H
#define FFPF_COLUMNS_PULL_INTERNAL_H
/* The pull's state, shared by pull.c (who is in it, views, gathering) and pull_set.c (settings and facts). */
#include "bpf/bpf.h"
#include "columns/linger.h"
#include "columns/pull.h"

#include <stdatomic.h>
#include <sys/types.h>

#define SLICE 128 /* rows that are made at a time, when the caller wants none */

struct ffpf_pull {
	struct ffpf_reader *reader; /* NULL: closed, and no view lived */
	FILE *fp;
	struct ffpf_bpf_prog *prog;
	pid_t owner;
	bool stream, nonblock;
	_Atomic uint32_t holders;
	_Atomic uint32_t views;
	_Atomic bool busy;         /* somebody is in it */
	_Atomic bool closed;       /* set by whoever is in it */
	_Atomic uint32_t stopping; /* calls of stop that may look at the reader */
	_Atomic bool gone;         /* the reader is closed, or being closed */
	_Atomic bool stopped;      /* set by stop, from anywhere */

	struct ffpf_batch batch;
	uint32_t at;      /* descriptors of it that were taken */
	uint32_t racing;  /* the last of which may be overwritten until they are checked */
	bool races;       /* the reader serves in place what a writer may overwrite */
	int64_t first_ns; /* of this pull's first packet: its time */
	struct ffpf_linger linger;
	uint64_t until_ns;          /* that this pull lingers, CLOCK_MONOTONIC; 0: not settled yet */
	bool paced;                 /* the reader waits as this pull said */
	enum ffpf_outcome deferred; /* what ended the gathering before; FFPF_BATCH: nothing */
	struct ffpf_row slice[SLICE];
};

/* pull.c: whoever uses the pull enters, or gets the code of an error, and leaves. */
int pull_enter(struct ffpf_pull *pull, struct ffpf_error *err);
/* For calls that make the reader serve again, or go on. */
int pull_enter_without_views(struct ffpf_pull *pull, struct ffpf_error *err);
void pull_leave(struct ffpf_pull *pull);
void pull_forget_batch(struct ffpf_pull *pull); /* the reader's descriptors begin anew */
void pull_serve_in_place(struct ffpf_pull *pull, bool on);

#endif
