/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader of a board's filter, whose packets come from the window or from this host's lane: see ixp.h. */
#include "common/clock.h"
#include "host/ixp_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u

/* ---- next ---- */

static void
drain(int fd)
{
	uint64_t rings;
	ssize_t rc = read(fd, &rings, sizeof(rings));

	(void)rc; /* nobody had rung */
}

static void
settle(struct ixp *x)
{
	if (x->copier)
		x->copier->reader->ops->settle(x->copier->reader);
	else
		window_reader_settle(&x->window);
}

/* What is served now; FFPF_INTERRUPTED: the mode has changed, look again. */
static enum ffpf_outcome
look(struct ixp *x, struct ffpf_batch *batch)
{
	enum ffpf_outcome outcome;

	if (ixp_follow_mode(x))
		return FFPF_FAILED;
	if (!x->copier) {
		outcome = window_reader_next(&x->window, batch);
		if (outcome == FFPF_FAILED)
			x->reader.err = x->window.reader.err;
		return outcome;
	}
	outcome = x->copier->reader->ops->next(x->copier->reader, batch);
	if (outcome == FFPF_FAILED)
		x->reader.err = x->copier->reader->err;
	if (outcome != FFPF_END)
		return outcome;
	outcome = copier_why(x->copier, &x->reader.err);
	if (outcome == FFPF_INTERRUPTED && ixp_end_copier(x))
		return FFPF_FAILED;
	return outcome;
}

/* FFPF_BATCH: look again. */
static enum ffpf_outcome
wait_for(struct ixp *x, uint64_t deadline_ns)
{
	struct pollfd fd = { .fd = x->poll_fd, .events = POLLIN };
	struct timespec limit, *until = NULL;

	settle(x);
	if (deadline_ns != UINT64_MAX) {
		uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC), left = deadline_ns > now ? deadline_ns - now : 0;

		if (!left)
			return FFPF_TIMEOUT;
		limit = (struct timespec){ (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
		until = &limit;
	}
	if (ppoll(&fd, 1, until, NULL) < 0 && errno == EINTR)
		return FFPF_INTERRUPTED;
	return FFPF_BATCH;
}

static bool
was_woken(struct ixp *x)
{
	if (!atomic_load_explicit(&x->woken, memory_order_relaxed) || !atomic_exchange(&x->woken, false))
		return false;
	drain(x->wake_fd);
	return true;
}

static enum ffpf_outcome
ixp_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct ixp *x = (struct ixp *)r;
	uint64_t deadline =
	    x->timeout_ms ? ffpf_clock_ns(CLOCK_MONOTONIC) + (uint64_t)x->timeout_ms * NS_PER_MS : UINT64_MAX;

	for (;;) {
		enum ffpf_outcome outcome;

		if (was_woken(x))
			return FFPF_INTERRUPTED;
		outcome = look(x, batch);
		if (outcome == FFPF_INTERRUPTED)
			continue;
		if (outcome != FFPF_WOULD_BLOCK)
			return outcome;
		drain(x->window.session->host_bell); /* rung for the mode, which is looked at behind it */
		if (!x->copier && ffpf_ixp_copy_mode(x->window.session) != x->mode)
			continue;
		if (x->nonblock)
			return outcome;
		outcome = wait_for(x, deadline);
		if (outcome != FFPF_BATCH)
			return outcome;
	}
}

static void
ixp_release(struct ffpf_reader *r, uint32_t n)
{
	struct ixp *x = (struct ixp *)r;

	ixp_served(x)->ops->release(ixp_served(x), n);
}

static void
ixp_settle(struct ffpf_reader *r)
{
	settle((struct ixp *)r);
}

/* ---- changes while reading ---- */

static int
ixp_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct ixp *x = (struct ixp *)r;
	int rc = ixp_served(x)->ops->set_filter(ixp_served(x), prog);

	if (rc) {
		r->err = ixp_served(x)->err;
		return rc;
	}
	x->prog = prog;
	r->info.filter_kind = ixp_served(x)->info.filter_kind;
	return 0;
}

static int
ixp_set_direction(struct ffpf_reader *r, enum ffpf_direction direction)
{
	struct ixp *x = (struct ixp *)r;

	x->direction = direction;
	return ixp_served(x)->ops->set_direction(ixp_served(x), direction);
}

static bool
ixp_set_in_place(struct ffpf_reader *r, bool on)
{
	struct ixp *x = (struct ixp *)r;

	bool changed = !x->copier && x->window.lanes->ops->set_in_place(x->window.lanes, on);

	x->in_place = changed && on;
	return changed;
}

static uint32_t
ixp_overwritten(struct ffpf_reader *r, uint32_t first, uint32_t n, uint8_t *marks)
{
	struct ixp *x = (struct ixp *)r;

	return ixp_served(x)->ops->overwritten(ixp_served(x), first, n, marks);
}

static int
ixp_set_nonblock(struct ffpf_reader *r, bool on)
{
	((struct ixp *)r)->nonblock = on;
	return 0;
}

static int
ixp_inject(struct ffpf_reader *r, const void *data, size_t len)
{
	(void)data;
	(void)len;
	return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED, "Sending packets isn't supported on a board");
}

static int
ixp_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	ixp_count((struct ixp *)r, out);
	return 0;
}

static int
ixp_poll_fd(const struct ffpf_reader *r)
{
	return ((const struct ixp *)r)->poll_fd;
}

static void
ixp_wake(struct ffpf_reader *r)
{
	struct ixp *x = (struct ixp *)r;
	const int saved_errno = errno;
	const uint64_t one = 1;
	ssize_t rc;

	atomic_store(&x->woken,
		     true); /* seq_cst: before the descriptor, which ends a wait that is followed by a look */
	rc = write(x->wake_fd, &one, sizeof(one));
	(void)rc; /* a full counter is readable too */
	errno = saved_errno;
}

static void
ixp_close(struct ffpf_reader *r)
{
	struct ixp *x = (struct ixp *)r;

	if (!x)
		return;
	copier_destroy(x->copier);
	window_reader_close(&x->window);
	if (x->poll_fd >= 0)
		close(x->poll_fd);
	if (x->wake_fd >= 0)
		close(x->wake_fd);
	free(x);
}

static const struct ffpf_reader_ops ixp_ops = {
	.name = "ixp",
	.next = ixp_next,
	.release = ixp_release,
	.settle = ixp_settle,
	.set_filter = ixp_set_filter,
	.set_in_place = ixp_set_in_place,
	.overwritten = ixp_overwritten,
	.set_direction = ixp_set_direction,
	.set_nonblock = ixp_set_nonblock,
	.inject = ixp_inject,
	.counters = ixp_counters,
	.poll_fd = ixp_poll_fd,
	.wake = ixp_wake,
	.close = ixp_close,
};

/* ---- opening ---- */

static int
open_descriptors(struct ixp *x, struct ffpf_error *err)
{
	x->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	x->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (x->poll_fd == -1 || x->wake_fd == -1 || ixp_watch(x, EPOLL_CTL_ADD, x->wake_fd, EPOLLIN) ||
	    ixp_watch(x, EPOLL_CTL_ADD, x->window.session->host_bell, EPOLLIN) ||
	    ixp_watch(x, EPOLL_CTL_ADD, x->window.session->socket, EPOLLRDHUP))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't watch the board");
	return 0;
}

int
ffpf_ixp_open(struct ffpf_reader **out, const struct ffpf_ixp_config *cfg, struct ffpf_error *err)
{
	struct ixp *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a reader of %s", cfg->board);
	x->poll_fd = x->wake_fd = -1;
	rc = window_reader_open(&x->window, cfg, err);
	if (rc) {
		free(x);
		return rc;
	}
	x->lanes = (struct ffpf_lanes_config){ .snap_len = cfg->snap_len,
					       .tick = cfg->tick,
					       .timeout_ms = cfg->timeout_ms,
					       .want = cfg->want,
					       .nonblock = true,
					       .hooks_results = true,
					       .wait = FFPF_LANES_WAIT_FD };
	x->timeout_ms = cfg->timeout_ms;
	x->nonblock = cfg->nonblock;
	x->reader.ops = &ixp_ops;
	x->reader.info = x->window.lanes->info;
	rc = open_descriptors(x, err);
	if (!rc && ixp_serve(x, true)) {
		*err = x->reader.err;
		rc = -FFPF_E_SYSTEM;
	}
	if (rc)
		ixp_close(&x->reader);
	else
		*out = &x->reader;
	return rc;
}

int
ffpf_ixp_run(struct ffpf_reader *reader, bool on, struct ffpf_error *err)
{
	struct window_reader *window = &((struct ixp *)reader)->window;

	return ffpf_ixp_start(window->session, window->buffers.engine, on, err);
}

bool
ffpf_ixp_is_reader(const struct ffpf_reader *reader)
{
	return reader->ops == &ixp_ops;
}

void
ffpf_ixp_accesses(struct ffpf_reader *reader, struct ffpf_ixp_accesses *out)
{
	struct ixp *x = (struct ixp *)reader;

	window_reader_accesses(&x->window, out);
	ixp_count_copied(x, out);
	out->bursts += out->copied;
	out->burst_words += out->copied_bytes / sizeof(uint32_t);
}

enum ffpf_ixp_copy_mode
ffpf_ixp_mode(const struct ffpf_reader *reader)
{
	return ((const struct ixp *)reader)->mode;
}

uint32_t
ffpf_ixp_engine(const struct ffpf_reader *reader)
{
	return ((const struct ixp *)reader)->window.buffers.engine;
}

struct ffpf_region
ffpf_ixp_mbuf(const struct ffpf_reader *reader)
{
	return ((const struct ixp *)reader)->window.buffers.mbuf;
}
