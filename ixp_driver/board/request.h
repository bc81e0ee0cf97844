/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_REQUEST_H
#define IXP_BOARD_REQUEST_H
/* What a host asks for in its mailbox. Private to the sessions: session.c, request.c. */
#include "board/session.h"

/* Carries out the request that lies in the session's mailbox, and replies. */
void board_request_answer(struct board_server *server, struct board_session *session, uint32_t sequence);

bool board_session_send(const struct board_session *session, const void *octets, size_t len, const int *fds,
			uint32_t count);
void board_session_ring(const struct board_session *session);

#endif
