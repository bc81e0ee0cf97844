/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waking readers that said that they sleep.
 *
 *     writer                                    reader (lanes/wait.c)
 *     publish: w = ...           (seq_cst)      sleep = a new value      (seq_cst)
 *     look at sleep              (seq_cst)      look at w                (seq_cst)
 *
 * One of the two stores is the later in the order of all seq_cst operations, and whoever made it sees the other's: no
 * wake-up is lost. A wake-up answers one value of `sleep`, which the writer remembers; it never writes what is the
 * reader's. A reader that writes nonsense there costs a system call a packet at most, and only itself its wake-ups.
 */
#include "common/clock.h"
#include "hook/hook_internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void
ring(const struct ffpf_ibuf *ibuf)
{
	static const struct itimerspec at_once = { .it_value.tv_nsec = 1 };
	const uint64_t one = 1;
	ssize_t rc;

	if (ibuf->waker == FFPF_WAKER_TIMERFD) {
		timerfd_settime(ibuf->event_fd, 0, &at_once, NULL);
		return;
	}
	rc = write(ibuf->event_fd, &one, sizeof(one));
	(void)rc; /* a full counter is readable too */
}

static void
wake(const struct ffpf_ibuf *ibuf, uint32_t sleep)
{
	if ((sleep & FFPF_SLEEP_MASK) == FFPF_SLEEPS_ON_FUTEX) {
		/* release: pairs with the load in lanes/wait.c; FUTEX_WAIT compares the word with what was loaded there
		 */
		atomic_fetch_add_explicit(&ibuf->reader->wakes, 1, memory_order_release);
		syscall(SYS_futex, &ibuf->reader->wakes, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	} else {
		ring(ibuf);
	}
}

static void
answer(struct ffpf_ibuf *ibuf, uint32_t sleep)
{
	ibuf->woken = sleep;
	wake(ibuf, sleep);
}

/* The value of `sleep` that wants an answer; FFPF_AWAKE when there is none. */
static uint32_t
unanswered(const struct ffpf_ibuf *ibuf)
{
	uint32_t sleep = atomic_load(&ibuf->reader->sleep); /* seq_cst: see above */

	return (sleep & FFPF_SLEEP_MASK) == FFPF_AWAKE || sleep == ibuf->woken ? FFPF_AWAKE : sleep;
}

/* When the reader, of which `sleep` is known, is due: its n packets are there (0), or its time comes. */
static uint64_t
due(struct ffpf_ibuf *ibuf, uint32_t sleep, uint64_t now_ns)
{
	/* relaxed: stored before sleep, which was loaded */
	uint32_t want = atomic_load_explicit(&ibuf->reader->want, memory_order_relaxed);
	uint64_t timeout_ns = atomic_load_explicit(&ibuf->reader->timeout_ns, memory_order_relaxed);
	uint64_t unread = ibuf->published - ffpf_ibuf_reader_r(ibuf);

	if (unread >= want)
		return 0;
	if (!unread || !timeout_ns)
		return UINT64_MAX;
	if (ibuf->due_sleep != sleep) {
		if (!now_ns)
			now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
		ibuf->due_sleep = sleep;
		ibuf->due_ns = now_ns + timeout_ns < now_ns ? UINT64_MAX : now_ns + timeout_ns;
	}
	return ibuf->due_ns;
}

void
ffpf_wake_if_due(struct ffpf_ibuf *ibuf)
{
	uint32_t sleep = unanswered(ibuf);
	uint64_t when;

	if (sleep == FFPF_AWAKE)
		return;
	when = due(ibuf, sleep, 0);
	if (when == 0 || (when != UINT64_MAX && ffpf_clock_ns(CLOCK_MONOTONIC) >= when))
		answer(ibuf, sleep);
}

uint64_t
ffpf_wake_tick(struct ffpf_ibuf *ibuf, uint64_t now_ns)
{
	uint32_t sleep = unanswered(ibuf);
	uint64_t when;

	if (sleep == FFPF_AWAKE)
		return UINT64_MAX;
	when = due(ibuf, sleep, now_ns);
	if (when > now_ns)
		return when;
	answer(ibuf, sleep);
	return UINT64_MAX;
}

void
ffpf_wake(struct ffpf_ibuf *ibuf)
{
	uint32_t sleep = unanswered(ibuf);

	if (sleep != FFPF_AWAKE)
		answer(ibuf, sleep);
}

void
ffpf_wake_unasked(const struct ffpf_ibuf *ibuf)
{
	uint32_t sleep = atomic_load(&ibuf->reader->sleep); /* seq_cst: what it is woken for was stored before */

	if ((sleep & FFPF_SLEEP_MASK) != FFPF_AWAKE)
		wake(ibuf, sleep);
}
