/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/request.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Who may say what concerns all: root, and whose board it is. */
static int
check_administrator(const struct board_session *session, struct ffpf_error *err)
{
	if (session->user == 0 || session->user == geteuid())
		return 0;
	return ffpf_error_set(err, FFPF_E_DENIED, "only the board's own user may do that");
}

static int
check_owner(const struct board *board, const struct board_session *session, uint32_t engine, struct ffpf_error *err)
{
	if (engine >= FFPF_IXP_ENGINES || !board->engines[engine].flow || board->engines[engine].flow->owner != session)
		return ffpf_error_set(err, FFPF_E_INVALID, "engine %u runs no filter of this session", engine);
	return 0;
}

/* The flow's descriptors, as window.h has their order. */
static bool
send_flow(const struct board *board, const struct board_session *session, uint32_t engine, uint32_t sequence)
{
	const struct board_flow *flow = board->engines[engine].flow;
	const struct ffpf_ixp_flow datagram = {
		.magic = FFPF_IXP_MAGIC,
		.version = FFPF_IXP_VERSION,
		.what = FFPF_IXP_FLOW,
		.sequence = sequence,
		.engine = engine,
		.ports = board->params.ports,
		.mbuf = flow->mbuf.data != NULL,
	};
	int fds[FFPF_IXP_FLOW_FDS_MAX] = { flow->reader.fd, flow->event_fd };
	uint32_t n = 2;

	for (uint32_t port = 0; port < board->params.ports; port++) {
		fds[n++] = board->lanes[port].lane->region.fd;
		fds[n++] = flow->ibufs[port]->region.fd;
	}
	if (flow->mbuf.data)
		fds[n++] = flow->mbuf.region.fd;
	return board_session_send(session, &datagram, sizeof(datagram), fds, n);
}

static int
load(struct board *board, const struct board_session *session, const struct ffpf_ixp_request *request,
     uint32_t sequence, struct ffpf_error *err)
{
	uint8_t staged[FFPF_IXP_STAGE_BYTES]; /* ours: what is checked must be what is loaded */
	struct ixp_object object;
	struct board_load what = {
		.engine = request->engine,
		.ibuf_slots = request->ibuf_slots,
		.mbuf_bytes = request->mbuf_bytes,
		.owner = session,
		.stopped = request->flags & FFPF_IXP_LOAD_STOPPED,
	};
	int rc;

	if (request->stage_bytes > sizeof(staged))
		return ffpf_error_set(err, FFPF_E_INVALID, "microcode of %u octets", request->stage_bytes);
	if (request->stage_bytes) {
		memcpy(staged, (const uint8_t *)session->mailbox.base + FFPF_IXP_STAGE_OFFSET, request->stage_bytes);
		rc = ixp_object_parse(&object, staged, request->stage_bytes, err);
		if (rc)
			return rc;
		what.object = &object;
	}
	rc = board_flow_load(board, &what, err);
	if (rc >= 0 && !send_flow(board, session, (uint32_t)rc, sequence)) {
		board_flow_unload(board, (uint32_t)rc);
		return ffpf_error_set(err, FFPF_E_SYSTEM, "the host takes no descriptors");
	}
	return rc;
}

static void
ring_all(const struct board_server *server)
{
	for (uint32_t i = 0; i < BOARD_SESSIONS_MAX; i++) {
		if (server->sessions[i].socket >= 0)
			board_session_ring(&server->sessions[i]);
	}
}

static int
change_copy_mode(struct board_server *server, const struct board_session *session, uint32_t mode,
		 struct ffpf_error *err)
{
	struct ffpf_ixp_registers *registers = server->board->registers;
	int rc = check_administrator(session, err);

	if (rc)
		return rc;
	if (mode > FFPF_IXP_COPY_INTERESTING)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no copy mode %u", mode);
	atomic_store_explicit(&registers->copy_mode, mode, memory_order_relaxed);
	/* release: whoever sees the change sees the mode */
	atomic_fetch_add_explicit(&registers->copy_changes, 1, memory_order_release);
	ring_all(server);
	return 0;
}

static int
reset(struct board_server *server, const struct board_session *session, struct ffpf_error *err)
{
	int rc = check_administrator(session, err);

	if (rc)
		return rc;
	rc = board_reset(server->board, err);
	ring_all(server);
	return rc;
}

/* The engine of a LOAD, 0, or -code. */
static int
carry_out(struct board_server *server, struct board_session *session, const struct ffpf_ixp_request *request,
	  uint32_t sequence, struct ffpf_error *err)
{
	struct board *board = server->board;
	int rc = 0;

	switch ((enum ffpf_ixp_op)request->op) {
	case FFPF_IXP_LOAD:
		return load(board, session, request, sequence, err);
	case FFPF_IXP_COPY_MODE:
		return change_copy_mode(server, session, request->value, err);
	case FFPF_IXP_RESET:
		return reset(server, session, err);
	case FFPF_IXP_START:
	case FFPF_IXP_STOP:
	case FFPF_IXP_UNLOAD:
		rc = check_owner(board, session, request->engine, err);
		break;
	default:
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "the board knows no request %u", request->op);
	}
	if (rc == 0 && request->op == FFPF_IXP_START)
		return board_flow_start(board, request->engine, err);
	if (rc == 0 && request->op == FFPF_IXP_STOP)
		board_flow_stop(board, request->engine);
	else if (rc == 0)
		board_flow_unload(board, request->engine);
	return rc;
}

void
board_request_answer(struct board_server *server, struct board_session *session, uint32_t sequence)
{
	struct ffpf_ixp_mailbox *mailbox = session->mailbox.base;
	struct ffpf_ixp_replies *replies = session->replies.base;
	struct ffpf_ixp_request request = mailbox->request;
	struct ffpf_error err = { 0 };
	int rc = carry_out(server, session, &request, sequence, &err);

	if (rc < 0)
		atomic_fetch_add_explicit(&server->board->registers->refused, 1, memory_order_relaxed);
	replies->reply.status = rc < 0 ? rc : 0;
	replies->reply.engine = rc < 0 ? 0 : (uint32_t)rc;
	snprintf(replies->reply.text, sizeof(replies->reply.text), "%.*s", FFPF_IXP_TEXT_BYTES - 1, err.text);
	/* release: whoever sees the sequence sees the reply */
	atomic_store_explicit(&replies->sequence, sequence, memory_order_release);
	board_session_ring(session);
}
