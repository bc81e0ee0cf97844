/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The feed's thread.
 *
 *     next -> for each packet: wait until it is due, wait for room, give it to each hook -> release -> next ...
 *
 * It is "inside" (feed_internal.h) while it touches hooks; a wait leaves, and enters again.
 */
#include "common/clock.h"
#include "feed/feed_internal.h"

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NS_PER_S      1000000000u
#define NS_PER_MS     1000000u
#define LOOK_NS       (100u * NS_PER_MS) /* from one look at the reader's counters to the next */
#define ROOM_FIRST_NS 20000u             /* readers say nothing when they give memory back */
#define ROOM_MAX_NS   NS_PER_MS

static void
enter(struct ffpf_feed *feed)
{
	atomic_exchange(&feed->inside, 1); /* seq_cst: pairs with wait_until_quiet in feed.c */
}

static void
leave(struct ffpf_feed *feed)
{
	/* both release: pair with the loads in wait_until_quiet; the hooks are not touched any more */
	atomic_store_explicit(&feed->passes, atomic_load_explicit(&feed->passes, memory_order_relaxed) + 1,
			      memory_order_release);
	atomic_store_explicit(&feed->inside, 0, memory_order_release);
}

static bool
stopping(const struct ffpf_feed *feed)
{
	/* acquire: pairs with ffpf_feed_stop */
	return atomic_load_explicit(&feed->stopping, memory_order_acquire);
}

/* While inside: the next hook from slot *i on, which moves behind it; NULL: no more. */
static struct ffpf_hook *
next_hook(struct ffpf_feed *feed, uint32_t *i)
{
	/* acquire: pairs with ffpf_feed_add, which may be seen late: then the hook's packets begin later */
	const uint32_t slots = atomic_load_explicit(&feed->slots, memory_order_acquire);

	while (*i < slots) {
		struct ffpf_hook *hook = atomic_load(&feed->hooks[(*i)++]); /* seq_cst: see feed_internal.h */

		if (hook)
			return hook;
	}
	return NULL;
}

/* ---- waiting ---- */

/* Publishes everything, tells how far the lanes are (next: the packet to come, or NULL), wakes who is due. Returns when
 * the next one will be. */
static uint64_t
settle(struct ffpf_feed *feed, const struct ffpf_hook_packet *next)
{
	const bool floor = next && next->flags & FFPF_HOOK_TIME_GIVEN && next->time_ns > feed->latest_ns;
	uint64_t first = UINT64_MAX;
	struct ffpf_hook *hook;

	feed->pacer.now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	if (floor)
		feed->latest_ns = next->time_ns;
	for (uint32_t i = 0; (hook = next_hook(feed, &i));) {
		uint64_t when;

		if (floor)
			ffpf_hook_floor(hook, next->time_ns);
		when = ffpf_hook_tick(hook, feed->pacer.now_ns);
		if (when < first)
			first = when;
	}
	return first;
}

/* Until then; or until fd, unless it is -1, is readable; or until the feed is stopped. */
static void
wait_for(struct ffpf_feed *feed, int fd, uint64_t until)
{
	struct pollfd fds[2] = { { .fd = feed->stop_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	const uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC);
	const uint64_t ns = until > now ? until - now : 0;
	const struct timespec limit = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	leave(feed);
	ppoll(fds, 2, &limit, NULL); /* signals are blocked; whatever else may go wrong, the caller looks again */
	enter(feed);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* False: the feed is being stopped. */
static bool
wait_until_due(struct ffpf_feed *feed, uint64_t due, const struct ffpf_hook_packet *pkt)
{
	if (due <= feed->pacer.now_ns)
		return true;
	feed->pacer.now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	while (due > feed->pacer.now_ns) {
		uint64_t next;

		if (stopping(feed))
			return false;
		next = settle(feed, pkt);
		if (due > feed->pacer.now_ns)
			wait_for(feed, -1, earlier(due, next));
		feed->pacer.now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	}
	return true;
}

static bool
hooks_have_room(struct ffpf_feed *feed, uint32_t cap_len)
{
	struct ffpf_hook *hook;
	bool room = true;

	for (uint32_t i = 0; (hook = next_hook(feed, &i));)
		room &= ffpf_hook_has_room(hook, cap_len);
	return room;
}

/* False: the feed is being stopped. True does not say that there is room: patience has its end. */
static bool
wait_for_room(struct ffpf_feed *feed, const struct ffpf_hook_packet *pkt)
{
	uint64_t nap_ns = ROOM_FIRST_NS;
	uint64_t began, waited = 0;

	if (hooks_have_room(feed, pkt->cap_len))
		return true;
	began = ffpf_clock_ns(CLOCK_MONOTONIC);
	ffpf_count(&feed->waits, 1);
	while (!stopping(feed) && waited < feed->cfg.patience_ns && !hooks_have_room(feed, pkt->cap_len)) {
		uint64_t next = settle(feed, NULL);
		uint64_t left = feed->cfg.patience_ns - waited;

		wait_for(feed, -1, earlier(feed->pacer.now_ns + earlier(nap_ns, left), next));
		waited = ffpf_clock_ns(CLOCK_MONOTONIC) - began;
		nap_ns = earlier(2 * nap_ns, ROOM_MAX_NS);
	}
	ffpf_count(&feed->wait_ns, waited);
	return !stopping(feed);
}

/* ---- giving ---- */

static void
say_late(struct ffpf_feed *feed, uint64_t due)
{
	uint64_t late = feed->pacer.now_ns > due ? feed->pacer.now_ns - due : 0;

	/* relaxed: numbers for people */
	atomic_store_explicit(&feed->late_ns, late, memory_order_relaxed);
	if (late > ffpf_counted(&feed->late_max_ns))
		atomic_store_explicit(&feed->late_max_ns, late, memory_order_relaxed);
}

static void
give(struct ffpf_feed *feed, const struct ffpf_hook_packet *pkt)
{
	struct ffpf_hook *hook;

	for (uint32_t i = 0; (hook = next_hook(feed, &i));)
		ffpf_hook_handle_packet(hook, pkt);
	if (pkt->time_ns > feed->latest_ns)
		feed->latest_ns = pkt->time_ns;
	ffpf_count(&feed->packets, 1);
	ffpf_count(&feed->bytes, pkt->cap_len);
}

/* How many packets of the batch are done with: all, unless the feed is being stopped or -code is returned. */
static int
give_batch(struct ffpf_feed *feed, const struct ffpf_batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct ffpf_hook_packet pkt;
		uint64_t due;
		int rc = feed_packet(feed, &batch->pkts[i], &pkt);

		if (rc)
			return rc;
		due = feed_due(&feed->pacer, pkt.wire_len, pkt.time_ns);
		if (due && !wait_until_due(feed, due, &pkt))
			return (int)i;
		if (feed->cfg.full == FFPF_FEED_WAITS && !wait_for_room(feed, &pkt))
			return (int)i;
		if (due)
			say_late(feed, due);
		give(feed, &pkt);
	}
	return (int)batch->count;
}

/* What the reader lost reached nobody, and counts for everybody. */
static void
take_losses(struct ffpf_feed *feed)
{
	struct ffpf_counters now;

	feed->looked_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	if (feed->reader->ops->counters(feed->reader, &now))
		return;
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++) {
		const uint64_t lost = now.dropped[cause] - feed->counted.dropped[cause];
		struct ffpf_hook *hook;

		for (uint32_t i = 0; lost && (hook = next_hook(feed, &i));)
			ffpf_hook_lost(hook, cause, lost);
		ffpf_count(&feed->lost, lost);
	}
	feed->counted = now;
}

/* ---- the thread ---- */

static enum ffpf_feed_state
failed(struct ffpf_feed *feed, const struct ffpf_error *err)
{
	feed->err = *err;
	return FFPF_FEED_FAILED;
}

/* At the end of a savefile: FFPF_FEED_RUNNING when it is played once more. */
static enum ffpf_feed_state
play_again(struct ffpf_feed *feed)
{
	const uint64_t played = ffpf_counted(&feed->packets);
	struct ffpf_reader *again;
	struct ffpf_error err;

	ffpf_count(&feed->loops, 1);
	/* a file without packets is played once, however often it is asked for */
	if (!feed->fp || ffpf_counted(&feed->loops) >= feed->cfg.loops || played == feed->played)
		return FFPF_FEED_ENDED;
	feed->played = played;
	feed->pacer.playing = false;
	feed->reader->ops->close(feed->reader);
	feed->reader = NULL;
	if (feed_open_savefile(&again, feed->fp, &err))
		return failed(feed, &err);
	feed->reader = again;
	if (again->info.link_type == feed->info.link_type)
		return FFPF_FEED_RUNNING;
	ffpf_error_set(&err, FFPF_E_FORMAT, "the file's link type is another one now");
	return failed(feed, &err);
}

static enum ffpf_feed_state
handle(struct ffpf_feed *feed, const struct ffpf_batch *batch)
{
	int n = give_batch(feed, batch);

	if (n < 0)
		return FFPF_FEED_FAILED;
	feed->reader->ops->release(feed->reader, (uint32_t)n);
	return (uint32_t)n < batch->count ? FFPF_FEED_STOPPED : FFPF_FEED_RUNNING;
}

static enum ffpf_feed_state
take(struct ffpf_feed *feed, enum ffpf_outcome outcome, const struct ffpf_batch *batch)
{
	struct ffpf_reader *reader = feed->reader;
	uint64_t next;

	switch (outcome) {
	case FFPF_BATCH:
		return handle(feed, batch);
	case FFPF_END:
		return play_again(feed);
	case FFPF_FAILED:
		return failed(feed, &reader->err);
	case FFPF_WOULD_BLOCK:
	case FFPF_TIMEOUT:
		next = settle(feed, NULL);
		wait_for(feed, reader->ops->poll_fd(reader), earlier(next, feed->pacer.now_ns + LOOK_NS));
		return FFPF_FEED_RUNNING;
	case FFPF_INTERRUPTED:
	case FFPF_LAPPED:
		return FFPF_FEED_RUNNING;
	}
	return FFPF_FEED_RUNNING;
}

/* Not inside when it is called, while it reads, and when it returns. */
static enum ffpf_feed_state
play(struct ffpf_feed *feed)
{
	enum ffpf_feed_state state = FFPF_FEED_RUNNING;

	while (state == FFPF_FEED_RUNNING) {
		struct ffpf_batch batch;
		enum ffpf_outcome outcome;

		if (stopping(feed))
			return FFPF_FEED_STOPPED;
		outcome = feed->reader->ops->next(feed->reader, &batch);
		enter(feed);
		state = take(feed, outcome, &batch);
		if (!feed->fp && ffpf_clock_ns(CLOCK_MONOTONIC) - feed->looked_ns >= LOOK_NS)
			take_losses(feed);
		leave(feed);
	}
	return state;
}

/* With `control`: hooks that are added from now on are closed by who adds them. */
static void
finish(struct ffpf_feed *feed, enum ffpf_feed_state state)
{
	const bool open = state == FFPF_FEED_STOPPED || (state == FFPF_FEED_FAILED && feed->cfg.tells_failure);
	const uint64_t one = 1;
	struct ffpf_hook *hook;
	ssize_t rc;

	if (feed->reader)
		take_losses(feed);
	for (uint32_t i = 0; (hook = next_hook(feed, &i));) {
		if (open)
			ffpf_hook_flush(hook);
		else
			ffpf_hook_close(hook);
	}
	/* release: pairs with ffpf_feed_state; err is set, and the hooks are closed */
	atomic_store_explicit(&feed->now, state, memory_order_release);
	rc = write(feed->end_fd, &one, sizeof(one));
	(void)rc; /* the first and only write finds room */
}

void *
feed_run(void *arg)
{
	struct ffpf_feed *feed = arg;
	enum ffpf_feed_state state;

	prctl(PR_SET_NAME, "ffpf-feed");
	prctl(PR_SET_TIMERSLACK, 1); /* a paced packet is due when it is due */
	state = play(feed);
	pthread_mutex_lock(&feed->control);
	finish(feed, state);
	pthread_mutex_unlock(&feed->control);
	return NULL;
}
