/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping, so that no wake-up is lost: hook/wake.c has the writer's side and the argument. */
#include "common/clock.h"
#include "lanes/lanes_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S       1000000000u
#define HELD_NS        1000000u /* a lane is busy: nobody will say when it is not */
#define LOOKS_LOG2_MAX 5        /* ... and looks in vain become rarer, down to one in so many of these */
/* A wait on a futex without a limit would go on after a signal, whose handler may want us to stop. */
#define LONG_NS (3600ull * NS_PER_S)

/* Of an IBuf that is not live: evicted, detached; or it has moved, what it holds was read, and it may go on somewhere.
 */
static bool
must_look(const struct lane *lane)
{
	if (atomic_load(&lane->view.ibuf->state) != FFPF_IBUF_MOVED)
		return true;
	return !lane->ended && lane->stage.head == lane->stage.count && !ffpf_view_pending(&lane->view);
}

uint32_t
lanes_want(const struct lanes *l)
{
	return l->pace_want ? l->pace_want : l->cfg.want;
}

bool
lanes_ready(struct lanes *l)
{
	/* packets are there, and next() can return none of them */
	const bool held = l->held && l->count == l->open && !lanes_go_on(l);
	uint32_t want = l->armed ? l->want : lanes_want(l);
	uint64_t pending = l->count - l->open;
	uint32_t closed = 0;

	for (uint32_t i = 0; i < l->lane_count; i++) {
		const struct lane *lane = &l->lanes[i];

		/* w: seq_cst, pairs with ffpf_ibuf_publish; the store of page->sleep came before it */
		pending += atomic_load(&lane->view.ibuf->w) - lane->view.next + lane->stage.count - lane->stage.head;
		if (atomic_load(&lane->view.ibuf->state) != FFPF_IBUF_LIVE && must_look(lane) &&
		    !(held && lane_has_moved(lane)))
			return true;
		closed += lane_is_closed(l, lane);
	}
	if (lanes_source_is_gone(l))
		return true;
	if (held)
		pending = 0;
	/* what is owed comes without another wait: whoever polls must hear of it, too */
	return pending >= want || closed == l->lane_count || ((l->due || l->owed) && pending) ||
	       atomic_load(&l->woken) || lanes_event_orphaned(&l->event);
}

static void
say_sleep(struct lanes *l, enum ffpf_sleep how, uint32_t want)
{
	/* the packet whose memory is kept counts as unread for the writer */
	if (want > 1 && l->has_last)
		want++;

	/* relaxed: the store below publishes them */
	atomic_store_explicit(&l->page->want, want, memory_order_relaxed);
	atomic_store_explicit(&l->page->timeout_ns, (uint64_t)l->cfg.timeout_ms * 1000000u, memory_order_relaxed);
	l->sleeps++;
	/* seq_cst: pairs with unanswered in hook/wake.c */
	atomic_store(&l->page->sleep, l->sleeps << FFPF_SLEEP_BITS | how);
}

static void
say_awake(struct lanes *l)
{
	/* relaxed: a writer that sees it late wakes somebody who is awake */
	atomic_store_explicit(&l->page->sleep, l->sleeps << FFPF_SLEEP_BITS | FFPF_AWAKE, memory_order_relaxed);
}

static void
look_again(struct lanes *l)
{
	if (!l->held || l->looking)
		return;
	l->looking = true;
	lanes_event_look(&l->event, (uint64_t)HELD_NS << (l->looks < LOOKS_LOG2_MAX ? l->looks++ : LOOKS_LOG2_MAX));
}

void
lanes_arm(struct lanes *l, uint32_t want)
{
	if (!l->armed || l->want != want) {
		l->want = want;
		say_sleep(l, FFPF_SLEEPS_ON_FD, want);
	}
	l->armed = true;
	if (l->rung)
		return;
	if (!lanes_ready(l)) {
		look_again(l);
		return;
	}
	l->rung = true;
	lanes_event_ring(&l->event);
}

/* The kernel's hook keeps no time for readers: who waits outside is told of every packet, unless he keeps the time. */
void
lanes_arm_for_caller(struct lanes *l)
{
	lanes_arm(l, l->pace_want || !l->counts ? lanes_want(l) : 1);
}

void
lanes_disarm(struct lanes *l)
{
	if (!l->armed)
		return;
	l->armed = l->rung = false;
	say_awake(l);
	l->due = lanes_event_drain(&l->event);
	if (l->looking)
		lanes_event_look(&l->event, 0);
	l->looking = false;
}

static enum ffpf_outcome
wait_fd(struct lanes *l, uint64_t ns)
{
	struct pollfd fd = { .fd = l->event.poll_fd, .events = POLLIN };
	struct timespec limit = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
	int rc;

	lanes_arm(l, lanes_want(l));
	rc = ppoll(&fd, 1, &limit, NULL);
	if (rc < 0 && errno == EINTR) {
		lanes_disarm(l);
		return FFPF_INTERRUPTED;
	}
	if (rc < 0) {
		ffpf_error_set_errno(&l->reader.err, FFPF_E_SYSTEM, errno, "can't poll the lanes' event descriptor");
		return FFPF_FAILED;
	}
	lanes_disarm(l);
	return FFPF_BATCH;
}

static enum ffpf_outcome
wait_futex(struct lanes *l, uint64_t ns)
{
	struct timespec limit = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
	/* before say_sleep. acquire: pairs with the addition in answer, hook/wake.c, and with lanes_wake */
	uint32_t wakes = atomic_load_explicit(&l->page->wakes, memory_order_acquire);
	enum ffpf_outcome outcome = FFPF_BATCH;

	say_sleep(l, FFPF_SLEEPS_ON_FUTEX, lanes_want(l));
	if (!lanes_ready(l) && syscall(SYS_futex, &l->page->wakes, FUTEX_WAIT, wakes, &limit, NULL, 0) == -1) {
		if (errno == EINTR)
			outcome = FFPF_INTERRUPTED;
		else if (errno != EAGAIN && errno != ETIMEDOUT) {
			ffpf_error_set_errno(&l->reader.err, FFPF_E_SYSTEM, errno, "can't wait on the lanes' futex");
			outcome = FFPF_FAILED;
		}
	}
	l->due |= atomic_load_explicit(&l->page->wakes, memory_order_acquire) != wakes;
	say_awake(l);
	return outcome;
}

enum ffpf_outcome
lanes_wait(struct lanes *l, uint64_t deadline_ns)
{
	uint64_t ns = LONG_NS;

	if (deadline_ns != UINT64_MAX) {
		uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC);

		ns = deadline_ns > now ? deadline_ns - now : 0;
	}
	if (l->held) {
		/* lanes_ready would say yes: there are packets */
		int rc = nanosleep(&(struct timespec){ .tv_nsec = ns < HELD_NS ? (long)ns : HELD_NS }, NULL);

		return rc == -1 && errno == EINTR ? FFPF_INTERRUPTED : FFPF_BATCH;
	}
	return l->cfg.wait == FFPF_LANES_WAIT_FUTEX ? wait_futex(l, ns) : wait_fd(l, ns);
}

/* Async-signal-safe. */
void
lanes_wake(struct ffpf_reader *r)
{
	struct lanes *l = (struct lanes *)r;
	int saved_errno = errno;

	/* seq_cst: pairs with lanes_ready and the exchange in lanes_next. The futex word comes after it, so who waits
	 * for that to change and sees it changed sees this. */
	atomic_store(&l->woken, true);
	atomic_fetch_add(&l->page->wakes, 1);
	syscall(SYS_futex, &l->page->wakes, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	lanes_event_ring(&l->event);
	errno = saved_errno;
}
