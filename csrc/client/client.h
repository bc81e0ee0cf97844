/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_CLIENT_H
#define FFPF_CLIENT_CLIENT_H
/*
 * A connection to ffpfd, and one flow on it: the control protocol's requests as functions (docs/protocol.md).
 *
 *     connect -> open -> { filter | successor | events }* -> destroy
 *
 * One thread at a time. Every call is bounded in time. A call that fails with -FFPF_E_NO_SERVER found the daemon gone,
 * or past understanding: from then on every call does, and the memories that it gave go on as they are. Texts are the
 * daemon's own where it said no.
 *
 * Codes for what the daemon refuses: denied -FFPF_E_PERMISSION, no-such-device -FFPF_E_NO_SUCH_DEVICE, device-down
 * -FFPF_E_DEVICE_DOWN, not-supported -FFPF_E_NOT_SUPPORTED, all others -FFPF_E_DENIED.
 */
#include "client/message.h"

struct ffpf_client;

/* Connects and says hello. path NULL: FFPF_SOCKET of the environment (not in programs with raised privileges), else
 * FFPF_CLIENT_SOCKET. -FFPF_E_NO_SERVER: there is no daemon. *out is untouched on failure. */
#define FFPF_CLIENT_SOCKET "/run/ffpf/ffpfd.sock"
int ffpf_client_connect(struct ffpf_client **out, const char *path, const char *program, struct ffpf_error *err);
/* Closes the connection, and with it the flow, unless another process has it too (fork). NULL is legal. */
void ffpf_client_destroy(struct ffpf_client *client);

/* Descriptors are the caller's. */
struct ffpf_client_lane {
	int lane_fd, ibuf_fd;
};

struct ffpf_client_flow {
	struct ffpf_opened opened;
	int counts_fd; /* -1: lanes that count themselves */
	int reader_fd, wake_fd;
	struct ffpf_client_lane lanes[FFPF_FLOW_LANES_MAX]; /* the first opened.lanes of them */
};

/* The flow captures everything from now on. *out is untouched on failure. */
int ffpf_client_open(struct ffpf_client *client, struct ffpf_client_flow *out, const struct ffpf_wanted *wanted,
		     struct ffpf_error *err);
void ffpf_client_flow_close(struct ffpf_client_flow *flow); /* the descriptors */

/* insns as for SO_ATTACH_FILTER; NULL: every packet. */
int ffpf_client_filter(struct ffpf_client *client, struct ffpf_placed *out, const struct ffpf_bpf_insn *insns,
		       uint32_t count, struct ffpf_error *err);

/* 0: the lane moved to these memories; 1: not yet, or no answer yet: ask again; -code. */
int ffpf_client_successor(struct ffpf_client *client, struct ffpf_client_lane *out, uint32_t lane,
			  struct ffpf_error *err);

/* What the daemon said by itself about this flow, up to now. Does not wait. */
struct ffpf_client_news {
	bool revoked, gone, down;
	char reason[200];
};
const struct ffpf_client_news *ffpf_client_events(struct ffpf_client *client);

#endif
