/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * send INTERFACE COUNT RATE SIZE: sends COUNT Ethernet frames of SIZE octets at RATE frames a second, and prints what
 * that cost this process: "packets cpu_ns_per_packet seconds".
 *
 * On a veth pair the receiver's side of the kernel, capture included, runs in the sender's context: so the sender's
 * CPU time above that of a run with no capture is what the capture costs the kernel.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

enum { BURST = 64 };

static uint8_t frames[BURST][FRAME_MAX];

static double
seconds(const struct timespec *t)
{
	return (double)t->tv_sec + (double)t->tv_nsec / 1e9;
}

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return seconds(&t);
}

/* Sends bursts, each at its time; returns frames sent. The wait is a sleep, so that it costs next to nothing. */
static uint64_t
send_all(int fd, const struct sockaddr_ll *to, uint64_t count, double rate, unsigned size)
{
	struct mmsghdr messages[BURST] = { 0 };
	struct iovec pieces[BURST];
	struct timespec start, due;
	uint64_t sent = 0;

	for (unsigned i = 0; i < BURST; i++) {
		frame_fill(frames[i], size, i);
		pieces[i] = (struct iovec){ frames[i], size };
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = (void *)to, .msg_namelen = sizeof(*to), .msg_iov = &pieces[i], .msg_iovlen = 1
		};
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (sent < count) {
		unsigned burst = count - sent < BURST ? (unsigned)(count - sent) : BURST;
		double at = seconds(&start) + (double)sent / rate;
		int done;

		due.tv_sec = (time_t)at;
		due.tv_nsec = (long)((at - (double)due.tv_sec) * 1e9);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		done = sendmmsg(fd, messages, burst, 0);
		if (done < 0 && errno != ENOBUFS && errno != EINTR) {
			perror("sendmmsg");
			exit(1);
		}
		if (done > 0)
			sent += (uint64_t)done;
	}
	return sent;
}

int
main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6 };
	struct timespec start, end;
	uint64_t sent;
	double cpu;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: send INTERFACE COUNT RATE SIZE\n");
		return 2;
	}
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	unsigned size = (unsigned)strtoul(argv[4], NULL, 10);
	if (!to.sll_ifindex || size < FRAME_MIN || size > FRAME_MAX) {
		fprintf(stderr, "send: no such interface, or a size outside %d..%d\n", FRAME_MIN, FRAME_MAX);
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) {
		perror("socket");
		return 1;
	}
	cpu = cpu_seconds();
	clock_gettime(CLOCK_MONOTONIC, &start);
	sent = send_all(fd, &to, strtoull(argv[2], NULL, 10), strtod(argv[3], NULL), size);
	clock_gettime(CLOCK_MONOTONIC, &end);
	cpu = cpu_seconds() - cpu;
	close(fd);
	printf("%llu %.1f %.3f\n", (unsigned long long)sent, cpu * 1e9 / (double)sent, seconds(&end) - seconds(&start));
	return 0;
}
