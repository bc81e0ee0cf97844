/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_CHANNEL_H
#define FFPF_CLIENT_CHANNEL_H
/* Datagrams and descriptors on a UNIX SEQPACKET socket. Every wait is bounded; no call raises SIGPIPE. */
#include "client/message.h"

#define FFPF_CHANNEL_NOW 0 /* a deadline: do not wait */

struct ffpf_datagram {
	char octets[FFPF_MESSAGE_MAX];
	size_t len;
	int fds[FFPF_MESSAGE_FDS_MAX]; /* the receiver's, close-on-exec */
	uint32_t fd_count;
};

/* A descriptor (close-on-exec) or -code. -FFPF_E_NO_SERVER: no such socket, or nobody behind it. */
int ffpf_channel_connect(const char *path, int timeout_ms, struct ffpf_error *err);

/* Deadlines: CLOCK_MONOTONIC in ns. */
uint64_t ffpf_channel_deadline(int timeout_ms);
bool ffpf_channel_over(uint64_t deadline_ns);
int ffpf_channel_send(int fd, const char *octets, size_t len, uint64_t deadline_ns, struct ffpf_error *err);
/* 1: a datagram; 0: none in time, or FFPF_CHANNEL_NOW and none there; -code: the other side is gone
 * (-FFPF_E_NO_SERVER), broke the rules or the system failed. */
int ffpf_channel_receive(int fd, struct ffpf_datagram *out, uint64_t deadline_ns, struct ffpf_error *err);

/* Closes the descriptors of a datagram. */
void ffpf_datagram_close(struct ffpf_datagram *datagram);

#endif
