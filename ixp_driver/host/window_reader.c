/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/window_reader.h"

#include <string.h>

#define ENTRY_WORDS  2                       /* index and result */
#define HEADER_WORDS (FFPF_RECORD_WORDS * 2) /* of 32 bits */
#define LOOK_READS   3                       /* a lane's state, an IBuf's state and its W */
#define TELL_WRITES  2                       /* the mailbox's word, and the doorbell */

/* ---- what crosses the bus ---- */

static void
count(struct window_reader *w, uint64_t packets)
{
	struct ffpf_ixp_accesses *a = &w->accesses;
	struct ffpf_counters now;

	w->lanes->ops->counters(w->lanes, &now);
	pthread_mutex_lock(&w->lock);
	w->counters = now;
	a->packets += packets;
	a->reads += (uint64_t)LOOK_READS * w->buffers.ports;
	a->bursts += 2ull * packets;
	a->burst_words += packets * (ENTRY_WORDS + HEADER_WORDS);
	a->writes += packets ? TELL_WRITES : 0;
	pthread_mutex_unlock(&w->lock);
}

void
window_reader_accesses(struct window_reader *w, struct ffpf_ixp_accesses *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->accesses;
	pthread_mutex_unlock(&w->lock);
}

void
window_reader_counters(struct window_reader *w, struct ffpf_counters *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->counters;
	pthread_mutex_unlock(&w->lock);
}

/* ---- reading ---- */

/* Tells the board that R has moved: by how many packets. */
static uint64_t
tell(struct window_reader *w)
{
	const struct ffpf_reader_page *page = w->buffers.reader.base;
	uint64_t moved = 0;

	for (uint32_t i = 0; i < w->buffers.ports; i++) {
		/* relaxed: our own */
		uint64_t r = atomic_load_explicit(&page->r[i], memory_order_relaxed);

		if (r <= w->advanced[i])
			continue; /* or nothing was read yet */
		moved += r - w->advanced[i];
		w->advanced[i] = r;
	}
	if (moved)
		ffpf_ixp_advance(w->session);
	return moved;
}

/* The flow was detached: the board's own words for it. */
static void
explain(struct window_reader *w)
{
	static const char *const how[] = {
		[FFPF_IXP_ENGINE_EMPTY] = "was emptied", [FFPF_IXP_ENGINE_LOADED] = "was stopped",
		[FFPF_IXP_ENGINE_RUNS] = "was emptied",  [FFPF_IXP_ENGINE_HUNG] = "hung",
		[FFPF_IXP_ENGINE_FAULTED] = "faulted",   [FFPF_IXP_ENGINE_LOST] = "was lost",
	};
	char text[FFPF_IXP_TEXT_BYTES + 1];
	enum ffpf_ixp_engine_state state = ffpf_ixp_engine_text(w->session, w->buffers.engine, text);

	ffpf_error_set(&w->reader.err, FFPF_E_DEVICE_GONE, "%s: microengine %u %s%s%s", w->session->name,
		       w->buffers.engine, how[state], text[0] ? ": " : "", text);
}

enum ffpf_outcome
window_reader_next(struct window_reader *w, struct ffpf_batch *batch)
{
	const bool lost = ffpf_ixp_lost(w->session); /* before the look: what it had published is there then */
	enum ffpf_outcome outcome = w->lanes->ops->next(w->lanes, batch);

	count(w, tell(w));
	if (lost && (outcome == FFPF_WOULD_BLOCK || outcome == FFPF_FAILED)) {
		ffpf_error_set(&w->reader.err, FFPF_E_DEVICE_GONE, "%s: the board is gone, and its window with it",
			       w->session->name);
		return FFPF_FAILED;
	}
	if (outcome == FFPF_FAILED && w->lanes->err.code == FFPF_E_DENIED)
		explain(w);
	else if (outcome == FFPF_FAILED)
		w->reader.err = w->lanes->err;
	return outcome;
}

void
window_reader_settle(struct window_reader *w)
{
	w->lanes->ops->settle(w->lanes);
	count(w, tell(w));
}

/* ---- for the copying thread ---- */

static enum ffpf_outcome
lent_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct window_reader *w = (struct window_reader *)r;
	enum ffpf_outcome outcome = window_reader_next(w, batch);

	if (outcome == FFPF_WOULD_BLOCK)
		window_reader_settle(w); /* the descriptor is armed */
	return outcome;
}

static void
lent_release(struct ffpf_reader *r, uint32_t n)
{
	struct window_reader *w = (struct window_reader *)r;

	w->lanes->ops->release(w->lanes, n);
}

/* What was lost before the window was read is counted by who owns this, not passed on to the hooks. */
static int
lent_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	(void)r;
	*out = (struct ffpf_counters){ 0 };
	return 0;
}

static int
lent_poll_fd(const struct ffpf_reader *r)
{
	const struct window_reader *w = (const struct window_reader *)r;

	return w->lanes->ops->poll_fd(w->lanes);
}

static void
lent_close(struct ffpf_reader *r)
{
	(void)r;
}

static const struct ffpf_reader_ops lent_ops = {
	.name = "window",
	.next = lent_next,
	.release = lent_release,
	.counters = lent_counters,
	.poll_fd = lent_poll_fd,
	.close = lent_close,
};

/* ---- opening ---- */

static int
open_lanes(struct window_reader *w, const struct ffpf_ixp_config *cfg, struct ffpf_error *err)
{
	const struct ffpf_lanes_parts parts = {
		.lanes = w->buffers.parts,
		.count = w->buffers.ports,
		.reader = w->buffers.reader,
		.event_fd = w->buffers.wake_fd,
		.event = FFPF_LANES_EVENT_TIMERFD,
	};
	const struct ffpf_lanes_config lanes = {
		.snap_len = cfg->snap_len,
		.tick = cfg->tick,
		.timeout_ms = cfg->timeout_ms,
		.want = cfg->want,
		.nonblock = true,
		.hooks_results = true,
		.wait = FFPF_LANES_WAIT_FD,
	};

	return ffpf_lanes_open(&w->lanes, &parts, &lanes, err);
}

int
window_reader_open(struct window_reader *w, const struct ffpf_ixp_config *cfg, struct ffpf_error *err)
{
	int rc;

	memset(w, 0, sizeof(*w));
	w->buffers.wake_fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	rc = ffpf_ixp_session_open(&w->session, cfg->board, err);
	if (!rc)
		rc = ffpf_ixp_load(w->session, &cfg->program, &w->buffers, err);
	if (!rc)
		rc = open_lanes(w, cfg, err);
	for (uint32_t i = 0; i < w->buffers.ports; i++)
		w->advanced[i] = ((const struct ffpf_ibuf_page *)w->buffers.parts[i].ibuf.base)->first_pos;
	if (rc) {
		window_reader_close(w);
		return rc;
	}
	w->reader.ops = &lent_ops;
	w->reader.info = w->lanes->info;
	return 0;
}

void
window_reader_close(struct window_reader *w)
{
	if (w->lanes) { /* a board that is gone says so, and has nothing to free */
		w->lanes->ops->close(w->lanes);
		ffpf_ixp_unload(w->session, w->buffers.engine, NULL);
	}
	w->lanes = NULL;
	ffpf_ixp_buffers_close(&w->buffers);
	ffpf_ixp_session_close(w->session);
	w->session = NULL;
	pthread_mutex_destroy(&w->lock);
}
