/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/pull.h"

#include "bpf/bpf.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	uint32_t at;                /* descriptors of it that were taken */
	uint32_t racing;            /* the last of which may be overwritten until they are checked */
	bool races;                 /* the reader serves in place what a writer may overwrite */
	enum ffpf_outcome deferred; /* what ended the gathering before; FFPF_BATCH: nothing */
	struct ffpf_row slice[SLICE];
};

/* ---- who is in it ---- */

static void
leave(struct ffpf_pull *pull)
{
	atomic_store(&pull->busy, false);
}

static int
enter(struct ffpf_pull *pull, struct ffpf_error *err)
{
	if (getpid() != pull->owner)
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "this capture belongs to process %d, which forked: open one in each process",
				      (int)pull->owner);
	if (atomic_exchange(&pull->busy, true))
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "another thread is reading this capture: one at a time may use it");
	if (atomic_load(&pull->closed)) {
		leave(pull);
		return ffpf_error_set(err, FFPF_E_CLOSED, "the capture is closed");
	}
	return 0;
}

/* For calls that make the reader serve again, or go on. */
static int
enter_without_views(struct ffpf_pull *pull, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc || !atomic_load(&pull->views))
		return rc;
	leave(pull);
	return ffpf_error_set(err, FFPF_E_VIEWED,
			      "a view of the packets before still lives, and they would be overwritten: let go of it, "
			      "or copy");
}

int
ffpf_pull_create(struct ffpf_pull **out, struct ffpf_reader *reader, FILE *fp, bool stream, struct ffpf_error *err)
{
	struct ffpf_pull *pull = calloc(1, sizeof(*pull));

	if (!pull) {
		reader->ops->close(reader);
		if (fp)
			fclose(fp);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a capture");
	}
	pull->reader = reader;
	pull->fp = fp;
	pull->stream = stream;
	pull->owner = getpid();
	pull->deferred = FFPF_BATCH;
	atomic_init(&pull->holders, 1);
	*out = pull;
	return 0;
}

void
ffpf_pull_hold(struct ffpf_pull *pull)
{
	atomic_fetch_add(&pull->holders, 1);
}

/* Once, by whoever finds that nothing needs the reader any more. */
static void
close_reader(struct ffpf_pull *pull)
{
	if (atomic_exchange(&pull->gone, true))
		return;
	/* who comes to stop it from now on finds it closed; a handler of this thread is over before we go on */
	while (atomic_load(&pull->stopping))
		sched_yield();
	pull->reader->ops->close(pull->reader);
	pull->reader = NULL;
	if (pull->fp)
		fclose(pull->fp);
	ffpf_bpf_prog_destroy(pull->prog);
}

void
ffpf_pull_drop(struct ffpf_pull *pull)
{
	if (!pull || atomic_fetch_sub(&pull->holders, 1) != 1)
		return;
	close_reader(pull);
	free(pull);
}

int
ffpf_pull_close(struct ffpf_pull *pull, struct ffpf_error *err)
{
	/* in a forked process nobody else is in it: threads are not forked */
	const bool here = getpid() == pull->owner;

	if (here && atomic_exchange(&pull->busy, true))
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "another thread is reading this capture: stop it before it is closed");
	atomic_store(&pull->closed, true); /* pairs with forget: one of both sees the other's store */
	if (!atomic_load(&pull->views))
		close_reader(pull);
	leave(pull);
	return 0;
}

int
ffpf_pull_view(struct ffpf_pull *pull, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	ffpf_pull_hold(pull);
	atomic_fetch_add(&pull->views, 1);
	leave(pull);
	return 0;
}

void
ffpf_pull_forget(struct ffpf_pull *pull)
{
	if (atomic_fetch_sub(&pull->views, 1) == 1 && atomic_load(&pull->closed))
		close_reader(pull);
	ffpf_pull_drop(pull);
}

/* ---- packets that may be overwritten ---- */

int
ffpf_pull_overwritten(struct ffpf_pull *pull, uint8_t *marks, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	if (pull->racing)
		rc = (int)pull->reader->ops->overwritten(pull->reader, pull->at - pull->racing, pull->racing, marks);
	leave(pull);
	return rc;
}

/* The reader's descriptors begin anew. */
static void
forget_batch(struct ffpf_pull *pull)
{
	pull->batch.count = pull->at = pull->racing = 0;
}

static void
serve_in_place(struct ffpf_pull *pull, bool on)
{
	if (on == pull->races || !pull->reader->ops->set_in_place)
		return;
	if (pull->reader->ops->set_in_place(pull->reader, on)) {
		forget_batch(pull);
		pull->races = on;
	}
}

/* ---- gathering ---- */

/* How many of n rows fit into the octets that are left; copies them. */
static uint32_t
copy_octets(struct ffpf_rows *out, struct ffpf_row *rows, uint32_t n, const uint8_t *base)
{
	for (uint32_t i = 0; i < n; i++) {
		if (rows[i].caplen > out->octets_room - out->octets_used)
			return i;
		memcpy(out->octets + out->octets_used, base + rows[i].offset, rows[i].caplen);
		rows[i].offset = out->octets_used;
		out->octets_used += rows[i].caplen;
	}
	return n;
}

/* Takes what it can from the reader's batch. False: the octets are full. */
static bool
take(struct ffpf_pull *pull, struct ffpf_rows *out)
{
	const uint8_t *base = ffpf_rows_base(&pull->batch);
	const struct ffpf_packet *pkts = pull->batch.pkts + pull->at;
	uint32_t left = pull->batch.count - pull->at;
	uint32_t room = out->room - out->count;
	uint32_t n = left < room ? left : room, wanted;
	struct ffpf_row *rows = out->rows ? out->rows + out->count : pull->slice;

	if (!out->rows && n > SLICE)
		n = SLICE;
	wanted = n;
	ffpf_rows_describe(rows, pkts, n, base, pull->reader);
	if (out->heads)
		ffpf_rows_heads(out->heads + (size_t)out->count * out->head_bytes, out->head_bytes, rows, n, base);
	if (out->column_count)
		ffpf_columns_extract(out->columns, out->column_count, out->count, rows, n, base,
				     pull->reader->info.link_type);
	if (out->octets)
		n = copy_octets(out, rows, n, base);
	for (uint32_t i = 0; i < n; i++) {
		out->caplen_sum += rows[i].caplen;
		out->len_sum += rows[i].len;
	}
	if (out->in_place)
		out->base = base;
	out->link_type = pull->reader->info.link_type;
	if (n)
		pull->reader->ops->release(pull->reader, n);
	pull->at += n;
	out->count += n;
	if (n == wanted)
		return true;
	out->octets_needed = out->count ? 0 : pkts[0].cap_len;
	return false;
}

/* Packets that are there, without a wait once there are some. */
static enum ffpf_outcome
gather(struct ffpf_pull *pull, struct ffpf_rows *out)
{
	struct ffpf_reader *r = pull->reader;

	while (out->count < out->room) {
		enum ffpf_outcome outcome;

		if (pull->at < pull->batch.count) {
			if (!take(pull, out))
				return FFPF_BATCH;
			if (out->in_place)
				return FFPF_BATCH;
			continue;
		}
		if (out->count && (pull->stream || out->in_place))
			return FFPF_BATCH;
		if (out->count && !pull->nonblock && r->ops->set_nonblock && r->ops->set_nonblock(r, true) == 0)
			pull->nonblock = true; /* until this pull is over */
		pull->batch.count = pull->at = 0;
		outcome = r->ops->next(r, &pull->batch);
		if (outcome == FFPF_BATCH && out->count && r->info.link_type != out->link_type)
			return FFPF_BATCH;
		if (outcome == FFPF_BATCH || outcome == FFPF_LAPPED)
			continue;
		pull->batch.count = 0;
		return outcome;
	}
	return FFPF_BATCH;
}

static enum ffpf_outcome
failed(struct ffpf_pull *pull, struct ffpf_error *err)
{
	if (err)
		*err = pull->reader->err;
	return FFPF_FAILED;
}

/* Who pulled goes away for a while. */
static void
settle(struct ffpf_pull *pull, const struct ffpf_rows *out)
{
	const struct ffpf_reader_ops *ops = pull->reader->ops;
	const bool left = pull->at < pull->batch.count;

	if (!out->in_place && !left && ops->settle)
		ops->settle(pull->reader);
	if (!out->in_place && left && ops->give_back) {
		ops->give_back(pull->reader);
		forget_batch(pull);
	}
}

static enum ffpf_outcome
pull_entered(struct ffpf_pull *pull, struct ffpf_rows *out, struct ffpf_error *err)
{
	const bool waits = !pull->nonblock;
	enum ffpf_outcome outcome = pull->deferred;

	serve_in_place(pull, out->in_place);
	pull->racing = 0;
	pull->deferred = FFPF_BATCH;
	if (outcome == FFPF_BATCH) {
		outcome = gather(pull, out);
		if (waits && pull->nonblock) {
			pull->reader->ops->set_nonblock(pull->reader, false);
			pull->nonblock = false;
		}
		settle(pull, out);
	}
	if (out->count || out->octets_needed) {
		if (outcome == FFPF_END || outcome == FFPF_FAILED)
			pull->deferred = outcome;
		out->races = pull->races;
		pull->racing = pull->races ? out->count : 0;
		if (out->octets)
			out->base = out->octets;
		return FFPF_BATCH;
	}
	return outcome == FFPF_FAILED ? failed(pull, err) : outcome;
}

enum ffpf_outcome
ffpf_pull_next(struct ffpf_pull *pull, struct ffpf_rows *out, struct ffpf_error *err)
{
	enum ffpf_outcome outcome;

	out->count = 0;
	out->octets_used = out->octets_needed = out->caplen_sum = out->len_sum = 0;
	out->base = NULL;
	out->races = false;
	if (!out->room) {
		ffpf_error_set(err, FFPF_E_INVALID, "there is no room for a row");
		return FFPF_FAILED;
	}
	if (enter_without_views(pull, err))
		return FFPF_FAILED;
	if (atomic_load(&pull->stopped))
		outcome = FFPF_END;
	else
		outcome = pull_entered(pull, out, err);
	if ((outcome == FFPF_INTERRUPTED || outcome == FFPF_TIMEOUT) && atomic_load(&pull->stopped))
		outcome = FFPF_END;
	leave(pull);
	return outcome;
}

void
ffpf_pull_stop(struct ffpf_pull *pull)
{
	atomic_store(&pull->stopped, true);
	atomic_fetch_add(&pull->stopping, 1);
	if (!atomic_load(&pull->closed)) /* pairs with close: its store comes before it waits for us */
		pull->reader->ops->wake(pull->reader);
	atomic_fetch_sub(&pull->stopping, 1);
}

/* ---- settings and facts ---- */

static int
done(struct ffpf_pull *pull, int rc, struct ffpf_error *err)
{
	if (rc < 0)
		*err = pull->reader->err;
	leave(pull);
	return rc;
}

static int
cannot(struct ffpf_pull *pull, const char *what, struct ffpf_error *err)
{
	leave(pull);
	return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s is not supported by this source", what);
}

/* The reader serves again what was not released. */
static int
again(struct ffpf_pull *pull, struct ffpf_bpf_prog *prog)
{
	int rc = pull->reader->ops->set_filter(pull->reader, prog);

	if (rc == 0)
		forget_batch(pull);
	return rc;
}

int
ffpf_pull_set_filter(struct ffpf_pull *pull, struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	int rc = enter_without_views(pull, err);

	if (rc)
		return rc;
	rc = again(pull, prog);
	if (rc == 0) {
		ffpf_bpf_prog_destroy(pull->prog);
		pull->prog = prog;
	}
	return done(pull, rc, err);
}

int
ffpf_pull_set_direction(struct ffpf_pull *pull, enum ffpf_direction direction, struct ffpf_error *err)
{
	int rc = enter_without_views(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_direction)
		return cannot(pull, "a direction", err);
	rc = pull->reader->ops->set_direction(pull->reader, direction);
	return done(pull, rc ? rc : again(pull, pull->prog), err);
}

int
ffpf_pull_set_link_type(struct ffpf_pull *pull, int dlt, struct ffpf_error *err)
{
	int rc = enter_without_views(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_link_type)
		return cannot(pull, "another link type", err);
	serve_in_place(pull, false); /* of another link type, packets may be made anew from copies */
	rc = pull->reader->ops->set_link_type(pull->reader, dlt);
	return done(pull, rc ? rc : again(pull, pull->prog), err);
}

int
ffpf_pull_set_nonblock(struct ffpf_pull *pull, bool on, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_nonblock)
		return cannot(pull, "reading without waiting", err);
	rc = pull->reader->ops->set_nonblock(pull->reader, on);
	if (rc == 0)
		pull->nonblock = on;
	return done(pull, rc, err);
}

int
ffpf_pull_inject(struct ffpf_pull *pull, const void *data, size_t len, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->inject)
		return cannot(pull, "sending packets", err);
	return done(pull, pull->reader->ops->inject(pull->reader, data, len), err);
}

int
ffpf_pull_counters(struct ffpf_pull *pull, struct ffpf_counters *out, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->counters)
		return cannot(pull, "counting", err);
	return done(pull, pull->reader->ops->counters(pull->reader, out), err);
}

int
ffpf_pull_info(struct ffpf_pull *pull, struct ffpf_reader_info *out, struct ffpf_error *err)
{
	int rc = enter(pull, err);

	if (rc)
		return rc;
	*out = pull->reader->info;
	leave(pull);
	return 0;
}

int
ffpf_pull_poll_fd(struct ffpf_pull *pull)
{
	if (atomic_load(&pull->closed) || !pull->reader->ops->poll_fd)
		return -1;
	return pull->reader->ops->poll_fd(pull->reader);
}
