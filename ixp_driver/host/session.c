/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/session.h"

#include "client/channel.h"
#include "host/boards.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS 2000
#define REPLY_MS   5000
#define CODE_MAX   FFPF_E_VIEWED /* the last of enum ffpf_code */

/* ---- mapping ---- */

/* What every memory of the window but the lanes' begins with. */
struct head {
	uint32_t magic;
	uint32_t version; /* and of the registers, their ports above it */
	uint64_t bytes;
};

/* No mapping may fault, and what the board alone may write is not changed by anybody else. */
static int
check_sealed(int fd, bool writable, size_t least, size_t *bytes, struct ffpf_error *err)
{
	const int wanted = F_SEAL_SHRINK | (writable ? 0 : F_SEAL_FUTURE_WRITE);
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals == -1 || (seals & wanted) != wanted)
		return ffpf_error_set(err, FFPF_E_INVALID, "the board's window: a memory that is not sealed");
	if (fstat(fd, &st) == -1 || st.st_size < (off_t)least)
		return ffpf_error_set(err, FFPF_E_INVALID, "the board's window: a memory of less than %zu octets",
				      least);
	*bytes = (size_t)st.st_size;
	return 0;
}

static int
map(void **out, size_t *bytes, int fd, bool writable, size_t least, struct ffpf_error *err)
{
	int rc = check_sealed(fd, writable, least, bytes, err);
	const struct head *head;
	void *base;

	if (rc)
		return rc;
	base = mmap(NULL, *bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map %zu octets of the board's window",
					    *bytes);
	head = base;
	if (head->magic != FFPF_IXP_MAGIC || (head->version & 0xffff) != FFPF_IXP_VERSION) {
		munmap(base, *bytes);
		return ffpf_error_set(err, FFPF_E_INVALID, "the board's window is of another kind or version");
	}
	*out = base;
	return 0;
}

static int
map_window(struct ffpf_ixp_session *s, const int *fds, struct ffpf_error *err)
{
	void *base;
	int rc = map(&base, &s->registers_bytes, fds[FFPF_IXP_FD_REGISTERS], false, sizeof(*s->registers), err);

	if (rc)
		return rc;
	s->registers = base;
	rc = map(&base, &s->mailbox_bytes, fds[FFPF_IXP_FD_MAILBOX], true, FFPF_IXP_STAGE_OFFSET + FFPF_IXP_STAGE_BYTES,
		 err);
	if (rc)
		return rc;
	s->mailbox = base;
	rc = map(&base, &s->replies_bytes, fds[FFPF_IXP_FD_REPLIES], false, sizeof(*s->replies), err);
	if (!rc)
		s->replies = base;
	return rc;
}

/* ---- opening ---- */

static int
gone(const struct ffpf_ixp_session *s, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_DEVICE_GONE, "%s: the board is gone, and its window with it", s->name);
}

/* The next datagram, of at least `bytes` octets and exactly so many descriptors. The caller frees *out and closes what
 * is left in it. */
static int
receive(const struct ffpf_ixp_session *s, struct ffpf_datagram *out, size_t bytes, struct ffpf_error *err)
{
	int rc = ffpf_channel_receive(s->socket, out, ffpf_channel_deadline(REPLY_MS), err);

	if (rc < 0)
		return gone(s, err);
	if (rc == 0)
		return ffpf_error_set(err, FFPF_E_DEVICE_GONE, "%s: the board says nothing", s->name);
	if (out->len >= bytes)
		return 0;
	ffpf_datagram_close(out);
	return ffpf_error_set(err, FFPF_E_INVALID, "%s: the board said %zu octets that mean nothing", s->name,
			      out->len);
}

static int
take_hello(struct ffpf_ixp_session *s, struct ffpf_datagram *said, struct ffpf_error *err)
{
	struct ffpf_ixp_hello hello;

	memcpy(&hello, said->octets, sizeof(hello));
	if (hello.magic != FFPF_IXP_MAGIC || hello.version != FFPF_IXP_VERSION)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: no board answers there, or one of another version",
				      s->name);
	if (hello.what == FFPF_IXP_REFUSED)
		return ffpf_error_set(err, FFPF_E_BUSY, "%s: the board takes no more sessions", s->name);
	if (hello.what != FFPF_IXP_HELLO || said->fd_count != FFPF_IXP_HELLO_FDS || hello.ports == 0 ||
	    hello.ports > FFPF_IXP_PORTS_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: the board's greeting makes no sense", s->name);
	s->ports = hello.ports;
	s->board_bell = said->fds[FFPF_IXP_FD_BOARD_BELL];
	s->host_bell = said->fds[FFPF_IXP_FD_HOST_BELL];
	said->fd_count = FFPF_IXP_FD_BOARD_BELL; /* those two are ours now */
	return map_window(s, said->fds, err);
}

static int
greet(struct ffpf_ixp_session *s, struct ffpf_error *err)
{
	struct ffpf_datagram *said = malloc(sizeof(*said));
	int rc;

	if (!said)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a session with %s", s->name);
	rc = receive(s, said, sizeof(struct ffpf_ixp_hello), err);
	if (!rc) {
		rc = take_hello(s, said, err);
		ffpf_datagram_close(said);
	}
	free(said);
	return rc;
}

/* The last part of a path. */
static void
keep_name(struct ffpf_ixp_session *s, const char *path)
{
	const char *slash = strrchr(path, '/');

	snprintf(s->name, sizeof(s->name), "%.*s", FFPF_IXP_NAME_BYTES, slash ? slash + 1 : path);
}

int
ffpf_ixp_session_open(struct ffpf_ixp_session **out, const char *board, struct ffpf_error *err)
{
	struct ffpf_ixp_session *s;
	char path[FFPF_IXP_PATH_BYTES];
	int rc = ffpf_ixp_path(path, board, err);

	if (rc)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a session with %s", board);
	s->board_bell = s->host_bell = -1;
	keep_name(s, path);
	s->socket = ffpf_channel_connect(path, CONNECT_MS, err);
	if (s->socket == -FFPF_E_NO_SERVER)
		rc = ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "%s: no board answers at %.140s", s->name, path);
	else
		rc = s->socket < 0 ? s->socket : greet(s, err);
	if (rc)
		ffpf_ixp_session_close(s);
	else
		*out = s;
	return rc;
}

void
ffpf_ixp_session_close(struct ffpf_ixp_session *s)
{
	if (!s)
		return;
	if (s->registers)
		munmap((void *)(uintptr_t)s->registers, s->registers_bytes);
	if (s->mailbox)
		munmap(s->mailbox, s->mailbox_bytes);
	if (s->replies)
		munmap((void *)(uintptr_t)s->replies, s->replies_bytes);
	if (s->socket >= 0)
		close(s->socket);
	if (s->board_bell >= 0)
		close(s->board_bell);
	if (s->host_bell >= 0)
		close(s->host_bell);
	free(s);
}

/* ---- requests ---- */

static void
ring(const struct ffpf_ixp_session *s)
{
	const uint64_t one = 1;
	ssize_t rc = write(s->board_bell, &one, sizeof(one));

	(void)rc; /* a full counter rings too */
}

/* Until the reply to the last request is there. */
static int
await_reply(const struct ffpf_ixp_session *s, struct ffpf_error *err)
{
	const uint64_t deadline = ffpf_channel_deadline(REPLY_MS);
	uint64_t rings;
	ssize_t rc;

	/* acquire: pairs with the board's store behind the reply */
	while (atomic_load_explicit(&s->replies->sequence, memory_order_acquire) != s->sequence) {
		struct pollfd fds[2] = { { .fd = s->host_bell, .events = POLLIN }, { .fd = s->socket } };

		if (ffpf_ixp_lost(s))
			return gone(s, err);
		if (ffpf_channel_over(deadline))
			return ffpf_error_set(err, FFPF_E_DEVICE_GONE, "%s: the board does not answer", s->name);
		poll(fds, 2, 100);
		rc = read(s->host_bell, &rings, sizeof(rings));
		(void)rc;
	}
	return 0;
}

int
ffpf_ixp_request(struct ffpf_ixp_session *s, const struct ffpf_ixp_request *request, struct ffpf_ixp_reply *reply,
		 struct ffpf_error *err)
{
	struct ffpf_ixp_reply said;
	uint32_t code;
	int rc;

	s->mailbox->request = *request;
	/* release: the board sees the request, and what is staged, once it sees its number */
	atomic_store_explicit(&s->mailbox->sequence, ++s->sequence, memory_order_release);
	ring(s);
	rc = await_reply(s, err);
	if (rc)
		return rc;
	said = s->replies->reply;
	said.text[sizeof(said.text) - 1] = '\0';
	if (reply)
		*reply = said;
	if (!said.status)
		return 0;
	code = (uint32_t) - (int64_t)said.status;
	return ffpf_error_set(err, code <= CODE_MAX ? (enum ffpf_code)code : FFPF_E_GENERIC, "%s: %s", s->name,
			      said.text[0] ? said.text : "the board refuses");
}

int
ffpf_ixp_start(struct ffpf_ixp_session *s, uint32_t engine, bool on, struct ffpf_error *err)
{
	const struct ffpf_ixp_request request = { .op = on ? FFPF_IXP_START : FFPF_IXP_STOP, .engine = engine };

	return ffpf_ixp_request(s, &request, NULL, err);
}

int
ffpf_ixp_unload(struct ffpf_ixp_session *s, uint32_t engine, struct ffpf_error *err)
{
	const struct ffpf_ixp_request request = { .op = FFPF_IXP_UNLOAD, .engine = engine };

	return ffpf_ixp_request(s, &request, NULL, err);
}

void
ffpf_ixp_advance(struct ffpf_ixp_session *s)
{
	/* release: whoever sees it sees the R that was stored before */
	atomic_fetch_add_explicit(&s->mailbox->advance, 1, memory_order_release);
	ring(s);
}

int
ffpf_ixp_set_copy_mode(const char *board, enum ffpf_ixp_copy_mode mode, struct ffpf_error *err)
{
	const struct ffpf_ixp_request request = { .op = FFPF_IXP_COPY_MODE, .value = mode };
	struct ffpf_ixp_session *session;
	int rc = ffpf_ixp_session_open(&session, board, err);

	if (rc)
		return rc;
	rc = ffpf_ixp_request(session, &request, NULL, err);
	ffpf_ixp_session_close(session);
	return rc;
}

/* ---- a filter's buffers ---- */

static int
map_buffers(struct ffpf_ixp_buffers *out, const struct ffpf_datagram *said, uint32_t mbuf_bytes, struct ffpf_error *err)
{
	const int *fds = said->fds;
	int rc = ffpf_lanes_map_reader(&out->reader, fds[0], err);

	for (uint32_t i = 0; !rc && i < out->ports; i++)
		rc = ffpf_lanes_map_part(&out->parts[i], fds[2 + 2 * i], fds[3 + 2 * i], err);
	if (!rc && mbuf_bytes)
		rc = ffpf_region_map(&out->mbuf, fds[2 + 2 * out->ports], FFPF_KIND_MBUF, true, err);
	if (!rc && mbuf_bytes && out->mbuf.bytes < FFPF_PAGE_BYTES + (size_t)mbuf_bytes)
		rc = ffpf_error_set(err, FFPF_E_INVALID, "the board's MBuf has less than %u octets", mbuf_bytes);
	return rc;
}

static int
take_flow(const struct ffpf_ixp_session *s, struct ffpf_datagram *said, uint32_t mbuf_bytes,
	  struct ffpf_ixp_buffers *out, struct ffpf_error *err)
{
	struct ffpf_ixp_buffers made = { .wake_fd = -1, .reader.fd = -1, .mbuf.fd = -1 };
	struct ffpf_ixp_flow flow;
	int rc;

	memcpy(&flow, said->octets, sizeof(flow));
	if (flow.magic != FFPF_IXP_MAGIC || flow.version != FFPF_IXP_VERSION || flow.what != FFPF_IXP_FLOW ||
	    flow.sequence != s->sequence || flow.ports != s->ports || flow.engine >= FFPF_IXP_ENGINES ||
	    flow.mbuf != (mbuf_bytes > 0) || said->fd_count != 2 + 2 * flow.ports + flow.mbuf)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: the board's buffers make no sense", s->name);
	made.ports = flow.ports;
	made.engine = flow.engine;
	for (uint32_t i = 0; i < FFPF_IXP_PORTS_MAX; i++)
		made.parts[i].lane.fd = made.parts[i].ibuf.fd = -1;
	rc = map_buffers(&made, said, mbuf_bytes, err);
	if (rc) {
		ffpf_ixp_buffers_close(&made);
		return rc;
	}
	made.wake_fd = said->fds[1];
	said->fds[1] = said->fds[--said->fd_count]; /* that one is kept */
	*out = made;
	return 0;
}

int
ffpf_ixp_load(struct ffpf_ixp_session *s, const struct ffpf_ixp_program *program, struct ffpf_ixp_buffers *out,
	      struct ffpf_error *err)
{
	struct ffpf_ixp_request request = { .op = FFPF_IXP_LOAD, .engine = FFPF_IXP_ANY_ENGINE };
	struct ffpf_datagram *said;
	int rc;

	request.flags = program && program->stopped ? FFPF_IXP_LOAD_STOPPED : 0;
	if (program && program->object) {
		if (program->bytes > FFPF_IXP_STAGE_BYTES)
			return ffpf_error_set(err, FFPF_E_INVALID, "microcode of %zu octets; the mailbox takes %d",
					      program->bytes, FFPF_IXP_STAGE_BYTES);
		memcpy((uint8_t *)s->mailbox + FFPF_IXP_STAGE_OFFSET, program->object, program->bytes);
		request.stage_bytes = (uint32_t)program->bytes;
		request.mbuf_bytes = program->mbuf_bytes;
	}
	rc = ffpf_ixp_request(s, &request, NULL, err);
	if (rc)
		return rc;
	said = malloc(sizeof(*said));
	if (!said)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a filter of %s", s->name);
	rc = receive(s, said, sizeof(struct ffpf_ixp_flow), err);
	if (!rc) {
		rc = take_flow(s, said, request.mbuf_bytes, out, err);
		ffpf_datagram_close(said);
	}
	free(said);
	return rc;
}

void
ffpf_ixp_buffers_close(struct ffpf_ixp_buffers *buffers)
{
	for (uint32_t i = 0; i < FFPF_IXP_PORTS_MAX; i++)
		ffpf_lanes_unmap_part(&buffers->parts[i]);
	ffpf_region_close(&buffers->reader);
	ffpf_region_close(&buffers->mbuf);
	if (buffers->wake_fd >= 0)
		close(buffers->wake_fd);
	buffers->wake_fd = -1;
}

/* ---- what the board says ---- */

bool
ffpf_ixp_lost(const struct ffpf_ixp_session *s)
{
	struct pollfd fd = { .fd = s->socket, .events = POLLRDHUP };

	return poll(&fd, 1, 0) > 0 && fd.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

enum ffpf_ixp_copy_mode
ffpf_ixp_copy_mode(const struct ffpf_ixp_session *s)
{
	/* relaxed: a mode that is seen late is taken up late */
	uint32_t mode = atomic_load_explicit(&s->registers->copy_mode, memory_order_relaxed);

	return mode <= FFPF_IXP_COPY_INTERESTING ? (enum ffpf_ixp_copy_mode)mode : FFPF_IXP_COPY_ZERO;
}

enum ffpf_ixp_engine_state
ffpf_ixp_engine_text(const struct ffpf_ixp_session *s, uint32_t engine, char text[FFPF_IXP_TEXT_BYTES + 1])
{
	const struct ffpf_ixp_engine_registers *registers = &s->registers->engine[engine];
	/* acquire: the text was stored before */
	uint32_t state = atomic_load_explicit(&registers->state, memory_order_acquire);

	memcpy(text, registers->text, FFPF_IXP_TEXT_BYTES);
	text[FFPF_IXP_TEXT_BYTES] = '\0';
	return state <= FFPF_IXP_ENGINE_LOST ? (enum ffpf_ixp_engine_state)state : FFPF_IXP_ENGINE_EMPTY;
}
