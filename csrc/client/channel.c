/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/channel.h"
#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define KERNEL_FDS_MAX 253 /* SCM_MAX_FD, include/net/scm.h, Linux 6.1 */

uint64_t
ffpf_channel_deadline(int timeout_ms)
{
	return ffpf_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000u;
}

bool
ffpf_channel_over(uint64_t deadline_ns)
{
	return ffpf_clock_ns(CLOCK_MONOTONIC) >= deadline_ns;
}

int
ffpf_channel_connect(const char *path, int timeout_ms, struct ffpf_error *err)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const struct timeval limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000L };
	uint64_t deadline = ffpf_channel_deadline(timeout_ms);
	int fd, rc, error;

	if (strlen(path) >= sizeof(to.sun_path))
		return ffpf_error_set(err, FFPF_E_INVALID, "%.60s...: too long for a socket's name", path);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "socket");
	/* connect() waits while the server's queue is full: so long, and no longer */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	do {
		rc = connect(fd, (const struct sockaddr *)&to, sizeof(to));
		error = errno;
	} while (rc == -1 && error == EINTR && ffpf_clock_ns(CLOCK_MONOTONIC) < deadline);
	if (rc == 0)
		return fd;
	close(fd);
	return ffpf_error_set_errno(err, error == ENOENT || error == ECONNREFUSED ? FFPF_E_NO_SERVER : FFPF_E_SYSTEM,
				    error, "%s", path);
}

/* Until the socket is ready for `events`: 1, or 0 when the time is over. Signals do not shorten it. */
static int
wait_ready(int fd, short events, uint64_t deadline_ns, struct ffpf_error *err)
{
	struct pollfd waiting = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC);
		uint64_t left_ms = deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
		int rc = poll(&waiting, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);

		if (rc > 0)
			return 1;
		if (rc == 0)
			return 0;
		if (errno != EINTR)
			return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't poll the control socket");
	}
}

int
ffpf_channel_send(int fd, const char *octets, size_t len, uint64_t deadline_ns, struct ffpf_error *err)
{
	for (;;) {
		int rc;

		if (send(fd, octets, len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return ffpf_error_set_errno(
			    err, errno == EPIPE || errno == ECONNRESET ? FFPF_E_NO_SERVER : FFPF_E_SYSTEM, errno,
			    "control socket");
		rc = wait_ready(fd, POLLOUT, deadline_ns, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return ffpf_error_set(err, FFPF_E_GENERIC, "the control socket takes nothing");
	}
}

/* All that came is ours, also what is too much: that is closed. */
static void
take_fds(struct ffpf_datagram *out, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (out->fd_count < FFPF_MESSAGE_FDS_MAX)
				out->fds[out->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static int
receive_now(int fd, struct ffpf_datagram *out, struct ffpf_error *err)
{
	union {
		char space[CMSG_SPACE(KERNEL_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { out->octets, sizeof(out->octets) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	ssize_t len;

	out->fd_count = 0;
	do
		len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0) {
		if (errno == EAGAIN)
			return 0;
		return ffpf_error_set_errno(err, errno == ECONNRESET ? FFPF_E_NO_SERVER : FFPF_E_SYSTEM, errno,
					    "control socket");
	}
	take_fds(out, &msg);
	out->len = (size_t)len;
	if (len == 0) {
		ffpf_datagram_close(out);
		return ffpf_error_set(err, FFPF_E_NO_SERVER, "the control socket was closed");
	}
	/* a process at its limit of descriptors loses them: MSG_CTRUNC */
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		ffpf_datagram_close(out);
		return ffpf_error_set(err, FFPF_E_GENERIC,
				      msg.msg_flags & MSG_TRUNC ? "a message that is too long"
								: "no room for the descriptors of a message");
	}
	return 1;
}

int
ffpf_channel_receive(int fd, struct ffpf_datagram *out, uint64_t deadline_ns, struct ffpf_error *err)
{
	for (;;) {
		int rc = receive_now(fd, out, err);

		if (rc || deadline_ns == FFPF_CHANNEL_NOW)
			return rc;
		rc = wait_ready(fd, POLLIN, deadline_ns, err);
		if (rc <= 0)
			return rc;
	}
}

void
ffpf_datagram_close(struct ffpf_datagram *datagram)
{
	for (uint32_t i = 0; i < datagram->fd_count; i++)
		close(datagram->fds[i]);
	datagram->fd_count = 0;
}
