/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COLUMNS_PULL_H
#define FFPF_COLUMNS_PULL_H
/*
 * A consumer of a reader that gathers what many of its batches hold into the caller's arrays, in one pass, while the
 * packets are in the cache:
 *
 *     reader --next()--> 128 descriptors --> rows --> heads, columns, octets --> ... until the arrays are full,
 *                                                                                or nothing more is there at once
 *
 *     create -> { pull | set_filter | counters | stop | hold | drop } ... -> close -> drop
 *
 * Any thread and any number of holders may have a pull, and one at a time may use it: a call that finds another one in
 * it, or that is made in a process that was forked off, fails with -FFPF_E_BUSY and says which. Only stop may be
 * called at any time, from anywhere, also from a signal handler.
 */
#include "columns/fields.h"
#include "columns/rows.h"

#include <stdio.h>

struct ffpf_pull;

/* What is wanted. The arrays are the caller's, each with room for `room` rows; NULL: not wanted. */
struct ffpf_rows {
	uint32_t room; /* at least 1 */
	struct ffpf_row *rows;
	uint8_t *octets; /* copies of the packets, one after the other; offsets of rows are then offsets in it */
	uint64_t octets_room;
	uint8_t *heads; /* (room, head_bytes) */
	uint32_t head_bytes;
	struct ffpf_column *columns;
	uint32_t column_count;
	/* Packets are not copied: they stay where they are until the next call of pull, which the caller does not make
	 * before he is done with them. The rows are those of one batch of the reader. */
	bool in_place;
	/*
	 * Where packets come fast (columns/linger.h) and the reader can be paced, the pull waits for company of those
	 * that are there until its arrays are full, or the first of them is so old by CLOCK_REALTIME; with in_place
	 * never. 0: it takes what is there.
	 */
	uint64_t linger_ns;

	/* what was had */
	uint32_t count;
	uint64_t octets_used;
	const uint8_t *base; /* of the rows' offsets: octets, or with in_place the reader's memory; else NULL */
	uint64_t caplen_sum, len_sum;
	uint64_t octets_needed; /* FFPF_BATCH with count 0: octets_room is less than the next packet, which has these */
	int link_type;          /* DLT_ value of all of them; where it changes a pull ends */
	bool races; /* in_place, where the writer does not wait: their octets, but not the rows, may be overwritten
		     * under the caller's eyes. He asks ffpf_pull_overwritten when he is done with them. */
};

/* Takes over reader, and fp, which the reader reads (NULL: none), also on failure. `stream`: next() may wait though it
 * has packets to serve, as it does for a pipe, so each pull is one batch. *out is untouched on failure. */
int ffpf_pull_create(struct ffpf_pull **out, struct ffpf_reader *reader, FILE *fp, bool stream, struct ffpf_error *err);
void ffpf_pull_hold(struct ffpf_pull *pull);
/* The last one closes, unless close did. NULL is legal. */
void ffpf_pull_drop(struct ffpf_pull *pull);
/* From now on every other call fails with -FFPF_E_CLOSED. The reader is closed at once, or when no view of its memory
 * lives any more. 0, or as above when somebody is in it. The only call that is legal in a forked process: it closes
 * that one's.
 */
int ffpf_pull_close(struct ffpf_pull *pull, struct ffpf_error *err);

/* A view of the packets that the last pull left in place lives: until it is forgotten, pull and the calls that set
 * something fail with -FFPF_E_VIEWED, so R passes none of them. forget may be called from any thread. */
int ffpf_pull_view(struct ffpf_pull *pull, struct ffpf_error *err);
void ffpf_pull_forget(struct ffpf_pull *pull);

/*
 * Which packets of the last pull, which raced, have been overwritten by now: marks (room for its rows) are 1 for them,
 * else 0. How many, which are lapped and not delivered; or -code. To be called behind every use of the packets; a
 * second call says the same as the first. Nothing, once something was set that gives packets back, or a pull made.
 */
int ffpf_pull_overwritten(struct ffpf_pull *pull, uint8_t *marks, struct ffpf_error *err);

/*
 * Waits as the reader was told to, for the first packet only, but for linger_ns. FFPF_BATCH: out->count rows. What
 * ended the gathering comes with the next call; FFPF_LAPPED does not come: the counters have it. FFPF_INTERRUPTED: a
 * signal came. FFPF_END: the end, or stop was called, now or before. FFPF_FAILED: *err says why.
 */
enum ffpf_outcome ffpf_pull_next(struct ffpf_pull *pull, struct ffpf_rows *out, struct ffpf_error *err);
void ffpf_pull_stop(struct ffpf_pull *pull);

/* Packets that were not pulled yet are filtered anew. Takes over prog on success; NULL: every packet. */
int ffpf_pull_set_filter(struct ffpf_pull *pull, struct ffpf_bpf_prog *prog, struct ffpf_error *err);
int ffpf_pull_set_direction(struct ffpf_pull *pull, enum ffpf_direction direction, struct ffpf_error *err);
int ffpf_pull_set_link_type(struct ffpf_pull *pull, int dlt, struct ffpf_error *err);
int ffpf_pull_set_nonblock(struct ffpf_pull *pull, bool on, struct ffpf_error *err);
int ffpf_pull_inject(struct ffpf_pull *pull, const void *data, size_t len, struct ffpf_error *err);
int ffpf_pull_counters(struct ffpf_pull *pull, struct ffpf_counters *out, struct ffpf_error *err);
int ffpf_pull_info(struct ffpf_pull *pull, struct ffpf_reader_info *out, struct ffpf_error *err);
/* To wait on, before a pull that would not wait; -1: none, or closed. */
int ffpf_pull_poll_fd(struct ffpf_pull *pull);

#endif
