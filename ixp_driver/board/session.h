/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_SESSION_H
#define IXP_BOARD_SESSION_H
/*
 * Hosts: the board's socket, and what stands in the mailboxes of those who are connected (window.h). What a host writes
 * is copied before it is looked at, and does nothing to filters of another session.
 */
#include "board/board.h"

#include <sys/types.h>

#define BOARD_SESSIONS_MAX                                                                                             \
	16 /* a filter each, one for each graph with the device, lists of devices, the administrator */

struct board_window {
	void *base;
	size_t bytes;
	int fd;
};

struct board_session {
	int socket; /* -1: nobody's */
	uid_t user;
	int board_bell, host_bell;
	struct board_window mailbox, replies;
	uint32_t answered, advanced; /* the mailbox's sequence and advance, as they were last taken */
};

struct board_server {
	struct board *board;
	struct board_window registers;
	int listener;
	char path[108];
	bool advanced; /* a host has, since limits were looked at */
	struct board_session sessions[BOARD_SESSIONS_MAX];
};

/* The registers, for board_create; *out is untouched on failure. */
int board_window_create(struct board_window *out, size_t bytes, bool host_writes, struct ffpf_error *err);
void board_window_close(struct board_window *window); /* zeros with fd -1 are legal */

/* Listens at `path`, whose folder is there. A socket that nobody answers at is taken over. */
int board_server_open(struct board_server *server, struct board *board, const char *path, struct ffpf_error *err);
void board_server_close(struct board_server *server);

/* Does whatever hosts have asked for until now. Never waits. True when there was anything. */
bool board_server_serve(struct board_server *server);

/* What to poll for, to know when to serve again: at most BOARD_SESSIONS_MAX * 2 + 1. How many there are. */
struct pollfd;
uint32_t board_server_poll(const struct board_server *server, struct pollfd *out);
#define BOARD_SERVER_FDS (2 * BOARD_SESSIONS_MAX + 1)

#endif
