/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * latency_send INTERFACE COUNT RATE BURST PROCESSOR: sends COUNT frames of 64 octets, each with the time at which it is
 * sent: BURST of them one after the other, and as many bursts a second as make RATE frames a second. Runs on one
 * processor. Prints "packets seconds".
 *
 * A sender that is late sends what is due without a pause: the frames' own times are true all the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"

enum { SIZE = 64 };

static void
send_one(int fd, uint8_t *frame)
{
	struct latency_mark mark = { .magic = LATENCY_MAGIC };

	mark.sent_ns = latency_clock_ns(CLOCK_MONOTONIC);
	memcpy(frame + FRAME_HEAD, &mark, sizeof(mark));
	while (send(fd, frame, SIZE, 0) < 0) {
		if (errno != ENOBUFS && errno != EINTR) {
			perror("latency_send: send");
			exit(1);
		}
	}
}

static void
send_all(int fd, uint64_t count, double rate, uint64_t burst)
{
	const int64_t start = latency_clock_ns(CLOCK_MONOTONIC);
	uint8_t frame[SIZE];

	frame_fill(frame, SIZE, 0);
	for (uint64_t sent = 0; sent < count;) {
		const int64_t due = start + (int64_t)((double)sent * 1e9 / rate);
		const struct timespec until = { due / 1000000000, due % 1000000000 };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		for (uint64_t i = 0; i < burst && sent < count; i++, sent++)
			send_one(fd, frame);
	}
}

static int
open_on(const char *interface)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0, also when bound: it receives nothing */

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("latency_send: socket");
		exit(1);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	cpu_set_t one;
	int64_t began;
	uint64_t count;
	int fd;

	if (argc != 6) {
		fprintf(stderr, "usage: latency_send INTERFACE COUNT RATE BURST PROCESSOR\n");
		return 2;
	}
	fd = open_on(argv[1]);
	count = strtoull(argv[2], NULL, 10);
	CPU_ZERO(&one);
	CPU_SET(strtoul(argv[5], NULL, 10), &one);
	/* the slack of a sleep is 50 us by default */
	if (sched_setaffinity(0, sizeof(one), &one) || prctl(PR_SET_TIMERSLACK, 1ul)) {
		perror("latency_send");
		return 1;
	}
	began = latency_clock_ns(CLOCK_MONOTONIC);
	send_all(fd, count, strtod(argv[3], NULL), strtoull(argv[4], NULL, 10));
	printf("%llu %.3f\n", (unsigned long long)count, (double)(latency_clock_ns(CLOCK_MONOTONIC) - began) / 1e9);
	close(fd);
	return 0;
}
