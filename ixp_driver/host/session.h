/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_SESSION_H
#define FFPF_IXP_HOST_SESSION_H
/*
 * A session with a board: its window mapped and checked, and the requests that go through it. ixp_driver/window.h has
 * the bytes; nothing in them is trusted: sizes are checked against the mappings once, and texts end where their room
 * does.
 *
 *     open -> { load | request | advance }* -> close
 *
 * One thread at a time, but for advance, lost, copy_mode and engine_text, which any thread may call. Every call is
 * bounded in time. What the board says no to has its code and its text.
 */
#include "lanes/lanes.h"
#include "window.h"

struct ffpf_ixp_session {
	int socket;                /* its end is the board's */
	int board_bell, host_bell; /* eventfds: we ring, and are rung */
	const struct ffpf_ixp_registers *registers;
	struct ffpf_ixp_mailbox *mailbox;
	const struct ffpf_ixp_replies *replies;
	size_t registers_bytes, mailbox_bytes, replies_bytes;
	uint32_t sequence; /* of the last request */
	uint32_t ports;    /* lanes of a flow */
	char name[FFPF_IXP_NAME_BYTES + 1];
};

/* A filter's buffers on the board, mapped here: what ffpf_lanes_open wants, and the MBuf. */
struct ffpf_ixp_buffers {
	struct ffpf_lanes_part parts[FFPF_IXP_PORTS_MAX];
	struct ffpf_region reader; /* read-write */
	struct ffpf_region mbuf;   /* read-write; base NULL: there is none */
	int wake_fd;               /* a timerfd; -1 */
	uint32_t ports;
	uint32_t engine;
};

/* What to load: an object of microcode, or NULL, which is the framework's own filter that takes every packet. */
struct ffpf_ixp_program {
	const void *object;
	size_t bytes;
	uint32_t mbuf_bytes; /* a power of two, or 0 */
	bool stopped;        /* it sees packets from ffpf_ixp_start on */
};

/*
 * board: a name, found where ffpf_ixp_path says, or the path of a socket. -FFPF_E_NO_SUCH_DEVICE: no board answers
 * there. *out is untouched on failure.
 */
int ffpf_ixp_session_open(struct ffpf_ixp_session **out, const char *board, struct ffpf_error *err);
void ffpf_ixp_session_close(struct ffpf_ixp_session *session); /* the board unloads its filters; NULL is legal */

/* reply may be NULL. -code of the board, with its text; -FFPF_E_DEVICE_GONE: it is gone, or did not answer in time. */
int ffpf_ixp_request(struct ffpf_ixp_session *session, const struct ffpf_ixp_request *request,
		     struct ffpf_ixp_reply *reply, struct ffpf_error *err);

/* A filter of this session's sees packets from the next one on, or none any more: they are not counted. */
int ffpf_ixp_start(struct ffpf_ixp_session *session, uint32_t engine, bool on, struct ffpf_error *err);

/* When this returns its engine is free for another filter. */
int ffpf_ixp_unload(struct ffpf_ixp_session *session, uint32_t engine, struct ffpf_error *err);

/* Loads and starts a filter, and maps its buffers. *out is untouched on failure. -FFPF_E_BUSY: every engine has one. */
int ffpf_ixp_load(struct ffpf_ixp_session *session, const struct ffpf_ixp_program *program,
		  struct ffpf_ixp_buffers *out, struct ffpf_error *err);
void ffpf_ixp_buffers_close(struct ffpf_ixp_buffers *buffers); /* zeros are legal, but for wake_fd */

/* `advance read pointer`, after R was stored in a reader page. */
void ffpf_ixp_advance(struct ffpf_ixp_session *session);

/* Whether the board is gone: the window is as it left it. */
bool ffpf_ixp_lost(const struct ffpf_ixp_session *session);

/* What the board's administrator does: in a session of its own, for all that the board serves. */
int ffpf_ixp_set_copy_mode(const char *board, enum ffpf_ixp_copy_mode mode, struct ffpf_error *err);
enum ffpf_ixp_copy_mode ffpf_ixp_copy_mode(const struct ffpf_ixp_session *session);

/* Why an engine that ended did: its state, and its own words into text. */
enum ffpf_ixp_engine_state ffpf_ixp_engine_text(const struct ffpf_ixp_session *session, uint32_t engine,
						char text[FFPF_IXP_TEXT_BYTES + 1]);

#endif
