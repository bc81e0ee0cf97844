/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live_device.h"
#include "source/live_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* An interface that went down may be about to vanish, of which the socket does not tell: ask again, ever more seldom.
 */
#define NETDOWN_WAIT_FIRST_MS 1
#define NETDOWN_WAIT_MAX_MS   64

static int
milliseconds_left(const struct timespec *deadline)
{
	struct timespec now;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (int64_t)(deadline->tv_sec - now.tv_sec) * 1000000000 + (deadline->tv_nsec - now.tv_nsec);
	return ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

/* The socket's pending error. ENETDOWN is news, not a failure. */
static int
take_socket_error(struct live *l)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	if (error == ENETDOWN) {
		l->netdown = true;
		l->netdown_wait_ms = NETDOWN_WAIT_FIRST_MS;
		return 0;
	}
	if (error == 0)
		return ffpf_error_set(&l->reader.err, FFPF_E_GENERIC,
				      "Error condition on packet socket: Reported error was 0");
	return ffpf_error_set_errno(&l->reader.err, FFPF_E_SYSTEM, error, "Error condition on packet socket");
}

static int
check_socket_events(struct live *l, short events)
{
	if (events & POLLNVAL)
		return ffpf_error_set(&l->reader.err, FFPF_E_GENERIC, "Invalid polling request on packet socket");
	if (events & (POLLHUP | POLLRDHUP))
		return ffpf_error_set(&l->reader.err, FFPF_E_GENERIC, "Hangup on packet socket");
	return events & POLLERR ? take_socket_error(l) : 0;
}

static int
check_interface(struct live *l)
{
	int state = ffpf_device_state(l->fd, l->ifindex, &l->reader.err);

	if (state < 0)
		return state;
	if (state == DEVICE_IS_GONE)
		return ffpf_error_set(&l->reader.err, FFPF_E_DEVICE_GONE, "The interface disappeared");
	if (state == DEVICE_IS_UP)
		l->netdown = false;
	else if (l->netdown_wait_ms < NETDOWN_WAIT_MAX_MS)
		l->netdown_wait_ms *= 2;
	return 0;
}

enum ffpf_outcome
live_wait(struct live *l, const struct timespec *deadline)
{
	struct pollfd fds[2] = { { .fd = l->fd, .events = POLLIN }, { .fd = l->wake_fd, .events = POLLIN } };

	for (;;) {
		int limit = l->nonblock ? 0 : deadline ? milliseconds_left(deadline) : -1;
		int wait = limit;

		if (l->netdown && (wait < 0 || wait > l->netdown_wait_ms))
			wait = l->netdown_wait_ms;
		if (poll(fds, 2, wait) < 0) {
			if (errno == EINTR)
				return FFPF_INTERRUPTED;
			ffpf_error_set_errno(&l->reader.err, FFPF_E_SYSTEM, errno, "can't poll on packet socket");
			return FFPF_FAILED;
		}
		if (fds[1].revents & POLLIN) {
			uint64_t wakes;

			if (read(l->wake_fd, &wakes, sizeof(wakes)) >= 0)
				return FFPF_BATCH; /* the caller looks at l->woken */
		}
		if (fds[0].revents == POLLIN)
			return FFPF_BATCH;
		if (fds[0].revents && check_socket_events(l, fds[0].revents))
			return FFPF_FAILED;
		if (l->netdown && check_interface(l))
			return FFPF_FAILED;
		if (limit == 0)
			return l->nonblock ? FFPF_WOULD_BLOCK : FFPF_TIMEOUT;
	}
}
