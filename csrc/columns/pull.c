/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/pull_internal.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- who is in it ---- */

void
pull_leave(struct ffpf_pull *pull)
{
	atomic_store(&pull->busy, false);
}

int
pull_enter(struct ffpf_pull *pull, struct ffpf_error *err)
{
	if (getpid() != pull->owner)
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "this capture belongs to process %d, which forked: open one in each process",
				      (int)pull->owner);
	if (atomic_exchange(&pull->busy, true))
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "another thread is reading this capture: one at a time may use it");
	if (atomic_load(&pull->closed)) {
		pull_leave(pull);
		return ffpf_error_set(err, FFPF_E_CLOSED, "the capture is closed");
	}
	return 0;
}

int
pull_enter_without_views(struct ffpf_pull *pull, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc || !atomic_load(&pull->views))
		return rc;
	pull_leave(pull);
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
	pull_leave(pull);
	return 0;
}

int
ffpf_pull_view(struct ffpf_pull *pull, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	ffpf_pull_hold(pull);
	atomic_fetch_add(&pull->views, 1);
	pull_leave(pull);
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
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	if (pull->racing)
		rc = (int)pull->reader->ops->overwritten(pull->reader, pull->at - pull->racing, pull->racing, marks);
	pull_leave(pull);
	return rc;
}

void
pull_forget_batch(struct ffpf_pull *pull)
{
	pull->batch.count = pull->at = pull->racing = 0;
}

void
pull_serve_in_place(struct ffpf_pull *pull, bool on)
{
	if (on == pull->races || !pull->reader->ops->set_in_place)
		return;
	if (pull->reader->ops->set_in_place(pull->reader, on)) {
		pull_forget_batch(pull);
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
	if (!out->count && n)
		pull->first_ns = rows[0].ts_ns;
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

/* There are some packets, and no more at once: the reader waits for company, or for nothing any more. */
static void
wait_for_company(struct ffpf_pull *pull, const struct ffpf_rows *out)
{
	struct ffpf_reader *r = pull->reader;

	if (pull->nonblock)
		return;
	if (r->ops->pace) {
		if (!pull->until_ns)
			pull->until_ns = ffpf_linger_until(&pull->linger, out->linger_ns, out->count, pull->first_ns);
		r->ops->pace(r, out->room - out->count, pull->until_ns);
		pull->paced = true;
	} else if (r->ops->set_nonblock && r->ops->set_nonblock(r, true) == 0) {
		pull->nonblock = true; /* until this pull is over */
	}
}

/* Packets that are there, and those that come while it lingers. */
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
		if (out->count)
			wait_for_company(pull, out);
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
		pull_forget_batch(pull);
	}
}

static enum ffpf_outcome
pull_entered(struct ffpf_pull *pull, struct ffpf_rows *out, struct ffpf_error *err)
{
	const bool waits = !pull->nonblock;
	enum ffpf_outcome outcome = pull->deferred;

	pull_serve_in_place(pull, out->in_place);
	pull->racing = 0;
	pull->deferred = FFPF_BATCH;
	if (outcome == FFPF_BATCH) {
		pull->until_ns = 0;
		outcome = gather(pull, out);
		pull->linger.seen += out->count;
		if (pull->paced) {
			pull->reader->ops->pace(pull->reader, 0, 0);
			pull->paced = false;
		}
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
	if (pull_enter_without_views(pull, err))
		return FFPF_FAILED;
	if (atomic_load(&pull->stopped))
		outcome = FFPF_END;
	else
		outcome = pull_entered(pull, out, err);
	if ((outcome == FFPF_INTERRUPTED || outcome == FFPF_TIMEOUT) && atomic_load(&pull->stopped))
		outcome = FFPF_END;
	pull_leave(pull);
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
