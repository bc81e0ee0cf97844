/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event descriptor: an eventfd that writers and reader write to; or what only the writer can use, a BPF ring buffer
 * or a timerfd, beside an eventfd of our own, both behind one epoll descriptor. Where packets may be held back there is
 * a timer behind it, too.
 */
#include "lanes/lanes_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int
watch(int poll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* kernel/bpf/ringbuf.c (6.18), ringbuf_map_mmap_kern: the consumer's page may be mapped writable, the producer's not.
 */
static int
map_ring(struct lanes_event *e, int fd, struct ffpf_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *producer = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)page);

	e->consumer = consumer == MAP_FAILED ? NULL : consumer;
	e->producer = producer == MAP_FAILED ? NULL : producer;
	if (!e->consumer || !e->producer)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map the BPF ring buffer of events");
	return 0;
}

int
lanes_event_open(struct lanes_event *e, const struct ffpf_lanes_parts *parts, struct ffpf_error *err)
{
	const int fd = parts->event_fd;
	const bool shared = parts->event == FFPF_LANES_EVENT_EVENTFD;
	const bool holds = parts->count > 1 || (parts->ops && parts->ops->succeed);
	int rc = 0;

	*e = (struct lanes_event){
		.poll_fd = fd, .self_fd = fd, .timer_fd = -1, .look_fd = -1, .writer_fd = parts->writer_fd
	};
	if (shared && !holds)
		return 0;
	if (!shared)
		e->self_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (holds)
		e->look_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	e->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	e->own = true;
	e->own_self = !shared;
	if (e->self_fd == -1 || e->poll_fd == -1 || watch(e->poll_fd, e->self_fd) ||
	    (!shared && watch(e->poll_fd, fd)) || (e->writer_fd && watch(e->poll_fd, e->writer_fd)) ||
	    (holds && (e->look_fd == -1 || watch(e->poll_fd, e->look_fd))))
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't watch the descriptor of events");
	if (parts->event == FFPF_LANES_EVENT_TIMERFD)
		e->timer_fd = fd;
	else if (!shared)
		rc = rc ? rc : map_ring(e, fd, err);
	if (rc)
		lanes_event_close(e);
	return rc;
}

void
lanes_event_close(struct lanes_event *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!e->own)
		return;
	if (e->poll_fd != -1)
		close(e->poll_fd);
	if (e->own_self && e->self_fd != -1)
		close(e->self_fd);
	if (e->look_fd != -1)
		close(e->look_fd);
	if (e->consumer)
		munmap((void *)(uintptr_t)e->consumer, page);
	if (e->producer)
		munmap((void *)(uintptr_t)e->producer, page);
}

void
lanes_event_ring(const struct lanes_event *e)
{
	const uint64_t one = 1;
	ssize_t rc = write(e->self_fd, &one, sizeof(one));

	(void)rc; /* a full counter is readable too */
}

void
lanes_event_look(const struct lanes_event *e, uint64_t ns)
{
	const struct itimerspec when = { .it_value = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) } };

	timerfd_settime(e->look_fd, 0, &when, NULL);
}

bool
lanes_event_orphaned(const struct lanes_event *e)
{
	struct pollfd writer = { .fd = e->writer_fd };

	return e->writer_fd && poll(&writer, 1, 0) == 1;
}

bool
lanes_event_drain(const struct lanes_event *e)
{
	uint64_t rings;
	bool rung = read(e->self_fd, &rings, sizeof(rings)) == (ssize_t)sizeof(rings);
	unsigned long produced;

	if (e->timer_fd != -1)
		rung |= read(e->timer_fd, &rings, sizeof(rings)) == (ssize_t)sizeof(rings);
	if (e->look_fd != -1)
		rung |= read(e->look_fd, &rings, sizeof(rings)) == (ssize_t)sizeof(rings);
	if (!e->consumer)
		return rung;
	/* What the records say is nothing. Acquire: pairs with the release store of the kernel. */
	produced = atomic_load_explicit(e->producer, memory_order_acquire);
	if (atomic_load_explicit(e->consumer, memory_order_relaxed) == produced)
		return rung;
	atomic_store_explicit(e->consumer, produced, memory_order_release);
	return true;
}
