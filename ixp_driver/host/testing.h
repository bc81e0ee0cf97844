/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_TESTING_H
#define FFPF_IXP_HOST_TESTING_H
/*
 * A board without microengines, for tests of the host's side: a window whose lane a hook of csrc/hook writes, one IBuf
 * for each filter that is loaded, and a thread that answers requests. It can lie in every way that a host must see
 * through.
 */
#include "hook/testing.h"

#include "host/boards.h"
#include "host/ixp.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FAKE_SESSIONS 8
#define FAKE_ENGINE   2

enum fake_lie {
	FAKE_HONEST,
	FAKE_REFUSES_SESSION,
	FAKE_WRONG_MAGIC,
	FAKE_WRONG_VERSION,
	FAKE_NO_PORTS,
	FAKE_FEW_DESCRIPTORS,
	FAKE_SHORT_HELLO,
	FAKE_UNSEALED_REGISTERS,
	FAKE_SMALL_MAILBOX,
	FAKE_HANGS_UP,
	/* from here on in the answer to LOAD */
	FAKE_BUSY,
	FAKE_STRANGE_STATUS,
	FAKE_DIES,
	FAKE_OTHER_SEQUENCE,
	FAKE_STRANGE_ENGINE,
	FAKE_FLOW_OF_FEW,
	FAKE_IBUF_FOR_LANE,
	FAKE_LIES
};

struct fake_session {
	int socket; /* -1: none */
	int board_bell, host_bell;
	struct ffpf_region mailbox, replies;
	struct ffpf_flow *flow;
	uint32_t answered;
};

struct fake_board {
	char path[FFPF_IXP_PATH_BYTES];
	enum fake_lie lie;
	unsigned filters_max; /* of all sessions; 0: no limit */
	unsigned filters;
	int listener, stop_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* sessions, which tests look at */
	struct ffpf_region registers;
	struct ffpf_hook *hook; /* the test's thread is its source */
	struct fake_session sessions[FAKE_SESSIONS];
};

/* A memory whose head says that it is the window's. `peer` as for lanes. */
static inline struct ffpf_region
fake_memory(size_t bytes, enum ffpf_peer peer)
{
	struct ffpf_region made = { .fd = -1 };
	struct ffpf_ixp_replies *head;

	must(ffpf_region_create(&made, FFPF_KIND_READER, bytes, FFPF_MEMORY_FD, peer, &test_err));
	head = made.base;
	head->magic = FFPF_IXP_MAGIC;
	head->version = FFPF_IXP_VERSION;
	head->bytes = made.bytes;
	return made;
}

static inline struct ffpf_ixp_registers *
fake_registers(const struct fake_board *board)
{
	return board->registers.base;
}

static inline void
fake_send(int socket, const void *octets, size_t len, const int *fds, uint32_t count)
{
	char space[CMSG_SPACE(16 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)octets, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		struct cmsghdr *c;

		msg.msg_control = space;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	sendmsg(socket, &msg, MSG_NOSIGNAL); /* a host that has gone is no failure */
}

static inline void
fake_close_session(struct fake_board *board, struct fake_session *s)
{
	if (s->socket < 0)
		return;
	close(s->socket);
	close(s->board_bell);
	close(s->host_bell);
	ffpf_region_close(&s->mailbox);
	ffpf_region_close(&s->replies);
	if (s->flow) {
		ffpf_hook_detach(board->hook, s->flow, NULL);
		ffpf_flow_destroy(s->flow);
		board->filters--;
	}
	*s = (struct fake_session){ .socket = -1 };
}

static inline void
fake_greet(struct fake_board *board, struct fake_session *s)
{
	const enum fake_lie lie = board->lie;
	struct ffpf_ixp_hello hello = {
		.magic = lie == FAKE_WRONG_MAGIC ? 0 : FFPF_IXP_MAGIC,
		.version = FFPF_IXP_VERSION + (lie == FAKE_WRONG_VERSION),
		.what = lie == FAKE_REFUSES_SESSION ? FFPF_IXP_REFUSED : FFPF_IXP_HELLO,
		.ports = lie != FAKE_NO_PORTS,
	};
	struct ffpf_region open = fake_memory(sizeof(struct ffpf_ixp_registers), FFPF_PEER_WRITES);
	int fds[FFPF_IXP_HELLO_FDS];

	s->mailbox = fake_memory(lie == FAKE_SMALL_MAILBOX ? 4096 : FFPF_IXP_STAGE_OFFSET + FFPF_IXP_STAGE_BYTES,
				 FFPF_PEER_WRITES);
	s->replies = fake_memory(sizeof(struct ffpf_ixp_replies), FFPF_PEER_READS);
	s->board_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->host_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[FFPF_IXP_FD_REGISTERS] = lie == FAKE_UNSEALED_REGISTERS ? open.fd : board->registers.fd;
	fds[FFPF_IXP_FD_MAILBOX] = s->mailbox.fd;
	fds[FFPF_IXP_FD_REPLIES] = s->replies.fd;
	fds[FFPF_IXP_FD_BOARD_BELL] = s->board_bell;
	fds[FFPF_IXP_FD_HOST_BELL] = s->host_bell;
	if (lie != FAKE_HANGS_UP)
		fake_send(s->socket, &hello, lie == FAKE_SHORT_HELLO ? 8 : sizeof(hello), fds,
			  lie == FAKE_FEW_DESCRIPTORS ? 3 : FFPF_IXP_HELLO_FDS);
	ffpf_region_close(&open);
	if (lie == FAKE_HANGS_UP || lie == FAKE_REFUSES_SESSION)
		fake_close_session(board, s);
}

static inline void
fake_accept(struct fake_board *board)
{
	struct fake_session *s = board->sessions;

	while (s->socket >= 0)
		s++; /* tests have fewer than there is room for */
	s->socket = accept4(board->listener, NULL, NULL, SOCK_CLOEXEC);
	fake_greet(board, s);
}

static inline int
fake_load(struct fake_board *board, struct fake_session *s)
{
	const struct ffpf_flow_config cfg = { .memory = FFPF_MEMORY_FD,
					      .ibuf_slots = 1024,
					      .waker = FFPF_WAKER_TIMERFD };
	const enum fake_lie lie = board->lie;
	struct ffpf_ixp_flow said = {
		.magic = FFPF_IXP_MAGIC,
		.version = FFPF_IXP_VERSION,
		.what = FFPF_IXP_FLOW,
		.sequence = s->answered + (lie == FAKE_OTHER_SEQUENCE),
		.engine = lie == FAKE_STRANGE_ENGINE ? FFPF_IXP_ENGINES : FAKE_ENGINE,
		.ports = 1,
	};
	int fds[4];

	if (lie == FAKE_BUSY || (board->filters_max && board->filters == board->filters_max))
		return -FFPF_E_BUSY;
	if (lie == FAKE_STRANGE_STATUS)
		return INT32_MIN;
	must(ffpf_flow_create(&s->flow, &cfg, &test_err));
	must(ffpf_hook_attach(board->hook, s->flow, &test_err));
	board->filters++;
	fds[0] = s->flow->reader.fd;
	fds[1] = s->flow->event_fd;
	fds[2] = s->flow->lanes[0].lane.fd;
	fds[3] = lie == FAKE_IBUF_FOR_LANE ? fds[2] : s->flow->lanes[0].ibuf->region.fd;
	fake_send(s->socket, &said, sizeof(said), fds, lie == FAKE_FLOW_OF_FEW ? 2 : 4);
	return 0;
}

static inline void
fake_answer(struct fake_board *board, struct fake_session *s)
{
	const struct ffpf_ixp_mailbox *mailbox = s->mailbox.base;
	struct ffpf_ixp_replies *replies = s->replies.base;
	const uint32_t sequence = atomic_load(&mailbox->sequence);
	const uint64_t one = 1;
	uint64_t rings;

	if (read(s->board_bell, &rings, sizeof(rings)) != sizeof(rings) || sequence == s->answered)
		return;
	s->answered = sequence;
	if (board->lie == FAKE_DIES) {
		fake_close_session(board, s);
		return;
	}
	replies->reply = (struct ffpf_ixp_reply){ .engine = FAKE_ENGINE };
	if (mailbox->request.op == FFPF_IXP_LOAD)
		replies->reply.status = fake_load(board, s);
	if (replies->reply.status)
		snprintf(replies->reply.text, sizeof(replies->reply.text), "every engine has a filter");
	if (board->lie == FAKE_STRANGE_STATUS) /* and a text without an end */
		memset(replies->reply.text, 'x', sizeof(replies->reply.text));
	atomic_store(&replies->sequence, sequence);
	assert_int_equal(write(s->host_bell, &one, sizeof(one)), sizeof(one));
}

static inline void *
fake_run(void *arg)
{
	struct fake_board *board = arg;

	for (;;) {
		struct pollfd fds[2 + 2 * FAKE_SESSIONS] = { { .fd = board->listener, .events = POLLIN },
							     { .fd = board->stop_fd, .events = POLLIN } };

		for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
			const struct fake_session *s = &board->sessions[i];

			fds[2 + 2 * i] = (struct pollfd){ .fd = s->socket, .events = POLLRDHUP };
			fds[3 + 2 * i] = (struct pollfd){ .fd = s->socket < 0 ? -1 : s->board_bell, .events = POLLIN };
		}
		poll(fds, 2 + 2 * FAKE_SESSIONS, -1);
		if (fds[1].revents)
			return NULL;
		pthread_mutex_lock(&board->lock);
		for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
			if (fds[3 + 2 * i].revents)
				fake_answer(board, &board->sessions[i]);
			if (fds[2 + 2 * i].revents & (POLLRDHUP | POLLHUP))
				fake_close_session(board, &board->sessions[i]);
		}
		if (fds[0].revents)
			fake_accept(board);
		pthread_mutex_unlock(&board->lock);
	}
}

/* Listens on a name of its own; free with fake_stop. */
static inline struct fake_board *
fake_start(enum fake_lie lie)
{
	struct fake_board *board = calloc(1, sizeof(*board));
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_SRP, 4096);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	static unsigned boards;

	cfg.memory = FFPF_MEMORY_FD;
	snprintf(board->path, sizeof(board->path), "/tmp/ffpf-fake-%d-%u", (int)getpid(), boards++);
	snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", board->path);
	board->lie = lie;
	board->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	board->stop_fd = eventfd(0, EFD_CLOEXEC);
	board->registers = fake_memory(sizeof(struct ffpf_ixp_registers), FFPF_PEER_READS);
	fake_registers(board)->ports = 1;
	atomic_store(&fake_registers(board)->port[0].link_type, TEST_DLT_EN10MB);
	must(ffpf_hook_create(&board->hook, &cfg, &test_err));
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++)
		board->sessions[i].socket = -1;
	pthread_mutex_init(&board->lock, NULL);
	assert_int_equal(bind(board->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(board->listener, 4), 0);
	assert_int_equal(pthread_create(&board->thread, NULL, fake_run, board), 0);
	return board;
}

/* The board dies: its window stays as it was in whoever has mapped it. */
static inline void
fake_die(struct fake_board *board)
{
	const uint64_t one = 1;

	assert_int_equal(write(board->stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(board->thread, NULL);
	close(board->listener);
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
		if (board->sessions[i].socket >= 0)
			shutdown(board->sessions[i].socket, SHUT_RDWR);
	}
}

static inline void
fake_bury(struct fake_board *board)
{
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++)
		fake_close_session(board, &board->sessions[i]);
	ffpf_hook_destroy(board->hook);
	ffpf_region_close(&board->registers);
	close(board->stop_fd);
	unlink(board->path);
	pthread_mutex_destroy(&board->lock);
	free(board);
}

static inline void
fake_stop(struct fake_board *board)
{
	fake_die(board);
	fake_bury(board);
}

static inline void
fake_set_mode(struct fake_board *board, enum ffpf_ixp_copy_mode mode)
{
	const uint64_t one = 1;

	atomic_store(&fake_registers(board)->copy_mode, mode);
	pthread_mutex_lock(&board->lock);
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
		if (board->sessions[i].socket >= 0)
			assert_int_equal(write(board->sessions[i].host_bell, &one, sizeof(one)), sizeof(one));
	}
	pthread_mutex_unlock(&board->lock);
}

static inline struct ffpf_ixp_config
fake_config(const struct fake_board *board)
{
	return (struct ffpf_ixp_config){ .board = board->path, .snap_len = 65536, .tick = FFPF_TICK_NS, .want = 1 };
}

static inline struct ffpf_reader *
fake_open(const struct fake_board *board, bool nonblock)
{
	struct ffpf_ixp_config cfg = fake_config(board);
	struct ffpf_reader *r = NULL;

	cfg.nonblock = nonblock;
	must(ffpf_ixp_open(&r, &cfg, &test_err));
	return r;
}

#endif
