/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/session.h"

#include "board/request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8

/* One datagram with descriptors. False: the host does not take it, and is not worth waiting for. */
bool
board_session_send(const struct board_session *session, const void *octets, size_t len, const int *fds, uint32_t count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FFPF_IXP_FLOW_FDS_MAX * sizeof(int))] = { 0 };
	struct iovec piece = { (void *)(uintptr_t)octets, len };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

	if (count) {
		struct cmsghdr *head;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	}
	return sendmsg(session->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

void
board_session_ring(const struct board_session *session)
{
	const uint64_t one = 1;
	ssize_t rc = write(session->host_bell, &one, sizeof(one));

	(void)rc; /* a full counter is readable too */
}

static void
forget(struct board_session *session)
{
	board_window_close(&session->mailbox);
	board_window_close(&session->replies);
	if (session->board_bell >= 0)
		close(session->board_bell);
	if (session->host_bell >= 0)
		close(session->host_bell);
	close(session->socket);
	session->socket = session->board_bell = session->host_bell = -1;
}

static void
count_sessions(struct board_server *server)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++)
		n += server->sessions[i].socket >= 0;
	atomic_store_explicit(&server->board->registers->sessions, n, memory_order_relaxed);
}

static void
end(struct board_server *server, struct board_session *session)
{
	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		const struct board_flow *flow = server->board->engines[i].flow;

		if (flow && flow->owner == session)
			board_flow_unload(server->board, i);
	}
	forget(session);
	count_sessions(server);
}

static bool
greet(struct board_server *server, struct board_session *session)
{
	const struct ffpf_ixp_hello hello = {
		.magic = FFPF_IXP_MAGIC,
		.version = FFPF_IXP_VERSION,
		.what = FFPF_IXP_HELLO,
		.ports = server->board->params.ports,
	};
	const int fds[FFPF_IXP_HELLO_FDS] = {
		[FFPF_IXP_FD_REGISTERS] = server->registers.fd, [FFPF_IXP_FD_MAILBOX] = session->mailbox.fd,
		[FFPF_IXP_FD_REPLIES] = session->replies.fd,    [FFPF_IXP_FD_BOARD_BELL] = session->board_bell,
		[FFPF_IXP_FD_HOST_BELL] = session->host_bell,
	};

	return board_session_send(session, &hello, sizeof(hello), fds, FFPF_IXP_HELLO_FDS);
}

static int
furnish(struct board_session *session, struct ffpf_error *err)
{
	struct ffpf_ixp_mailbox *mailbox;
	struct ffpf_ixp_replies *replies;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int rc = board_window_create(&session->mailbox, FFPF_IXP_STAGE_OFFSET + FFPF_IXP_STAGE_BYTES, true, err);

	if (!rc)
		rc = board_window_create(&session->replies, sizeof(struct ffpf_ixp_replies), false, err);
	if (rc)
		return rc;
	mailbox = session->mailbox.base;
	replies = session->replies.base;
	mailbox->magic = replies->magic = FFPF_IXP_MAGIC;
	mailbox->version = replies->version = FFPF_IXP_VERSION;
	mailbox->bytes = session->mailbox.bytes;
	replies->bytes = session->replies.bytes;
	session->answered = session->advanced = 0;
	session->board_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	session->host_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (session->board_bell == -1 || session->host_bell == -1 ||
	    getsockopt(session->socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make a session");
	session->user = peer.uid;
	return 0;
}

static void
welcome(struct board_server *server, int fd)
{
	const struct ffpf_ixp_hello full = { FFPF_IXP_MAGIC, FFPF_IXP_VERSION, FFPF_IXP_REFUSED, 0 };
	struct board_session refused = { .socket = fd };

	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		struct board_session *session = &server->sessions[i];

		if (session->socket >= 0)
			continue;
		session->socket = fd;
		if (furnish(session, NULL) != 0 || !greet(server, session))
			forget(session);
		count_sessions(server);
		return;
	}
	board_session_send(&refused, &full, sizeof(full), NULL, 0);
	close(fd);
}

/* A host that hangs up; and one that talks, which it has no reason to. */
static bool
hung_up(const struct board_session *session)
{
	char octet;
	ssize_t n = recv(session->socket, &octet, sizeof(octet), MSG_DONTWAIT);

	return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

static bool
serve(struct board_server *server, struct board_session *session)
{
	struct ffpf_ixp_mailbox *mailbox = session->mailbox.base;
	uint64_t rung;
	ssize_t n = read(session->board_bell, &rung, sizeof(rung));
	/* acquire: pairs with the host's release; the request, and R in the reader pages, were stored before */
	uint32_t sequence = atomic_load_explicit(&mailbox->sequence, memory_order_acquire);
	uint32_t advance = atomic_load_explicit(&mailbox->advance, memory_order_acquire);
	bool any = n == sizeof(rung);

	if (advance != session->advanced) {
		session->advanced = advance;
		server->advanced = true;
		atomic_fetch_add_explicit(&server->board->registers->advances, 1, memory_order_relaxed);
	}
	if (sequence != session->answered) {
		session->answered = sequence;
		board_request_answer(server, session, sequence);
		any = true;
	}
	if (!hung_up(session))
		return any;
	end(server, session);
	return true;
}

bool
board_server_serve(struct board_server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool any = fd >= 0;

	if (fd >= 0)
		welcome(server, fd);
	server->advanced = false;
	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		if (server->sessions[i].socket >= 0)
			any |= serve(server, &server->sessions[i]);
	}
	if (server->advanced)
		board_strongarm_limits(server->board);
	return any;
}

uint32_t
board_server_poll(const struct board_server *server, struct pollfd *out)
{
	uint32_t n = 0;

	out[n++] = (struct pollfd){ .fd = server->listener, .events = POLLIN };
	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		if (server->sessions[i].socket < 0)
			continue;
		out[n++] = (struct pollfd){ .fd = server->sessions[i].socket, .events = POLLIN };
		out[n++] = (struct pollfd){ .fd = server->sessions[i].board_bell, .events = POLLIN };
	}
	return n;
}

static bool
answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool there = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

	if (fd >= 0)
		close(fd);
	return there;
}

int
board_server_open(struct board_server *server, struct board *board, const char *path, struct ffpf_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	server->board = board;
	server->listener = -1;
	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		struct board_session *session = &server->sessions[i];

		session->socket = session->board_bell = session->host_bell = -1;
		session->mailbox.fd = session->replies.fd = -1;
	}
	if (strlen(path) >= sizeof(address.sun_path))
		return ffpf_error_set(err, FFPF_E_INVALID, "%.60s...: too long for a socket's name", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (answers(&address))
		return ffpf_error_set(err, FFPF_E_BUSY, "%s: another board answers there", path);
	unlink(path);
	server->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->listener == -1 ||
	    bind(server->listener, (const struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(server->listener, BACKLOG) == -1) {
		int error = errno;

		if (server->listener >= 0)
			close(server->listener);
		server->listener = -1;
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "%s", path);
	}
	snprintf(server->path, sizeof(server->path), "%s", path);
	return 0;
}

void
board_server_close(struct board_server *server)
{
	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		if (server->sessions[i].socket >= 0)
			end(server, &server->sessions[i]);
	}
	if (server->listener >= 0) {
		close(server->listener);
		unlink(server->path);
	}
	server->listener = -1;
}
