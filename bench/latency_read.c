/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * latency_read INTERFACE COUNT FILE HOW: reads up to COUNT frames of latency_send, or until SIGINT, and writes to FILE
 * two numbers of 64 bits for each: nanoseconds from sending to reading, and from the kernel's time stamp to reading.
 * HOW: "socket", a plain AF_PACKET socket and recvmsg; "immediate", libpcap in immediate mode; or a libpcap read
 * timeout in milliseconds. Says "listening on" when it captures.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"

enum { SNAP_LEN = 256 };

struct sample {
	int64_t of_sender_ns, of_kernel_ns;
};

struct samples {
	struct sample *all;
	uint64_t count, room;
};

static pcap_t *capture; /* these two for the signal handler, which is given nothing */
static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
	if (capture)
		pcap_breakloop(capture);
}

static void
fail(const char *why)
{
	fprintf(stderr, "latency_read: %s\n", why);
	exit(1);
}

static void
take(struct samples *s, const uint8_t *frame, size_t len, int64_t stamp_ns)
{
	const int64_t now = latency_clock_ns(CLOCK_MONOTONIC), real = latency_clock_ns(CLOCK_REALTIME);
	struct latency_mark mark;

	if (len < FRAME_HEAD + sizeof(mark) || s->count == s->room)
		return;
	memcpy(&mark, frame + FRAME_HEAD, sizeof(mark));
	if (mark.magic == LATENCY_MAGIC)
		s->all[s->count++] = (struct sample){ now - mark.sent_ns, real - stamp_ns };
}

static void
with_packet(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	take((struct samples *)(void *)user, data, header->caplen,
	     (int64_t)header->ts.tv_sec * 1000000000 + header->ts.tv_usec); /* nanoseconds, as asked for */
}

static void
read_pcap(const char *interface, const char *how, struct samples *s)
{
	char errbuf[PCAP_ERRBUF_SIZE] = "";
	bool immediate = !strcmp(how, "immediate");

	capture = pcap_create(interface, errbuf);
	if (!capture)
		fail(errbuf);
	pcap_set_snaplen(capture, SNAP_LEN);
	pcap_set_promisc(capture, 1);
	pcap_set_immediate_mode(capture, immediate);
	if (!immediate)
		pcap_set_timeout(capture, (int)strtol(how, NULL, 10));
	pcap_set_tstamp_precision(capture, PCAP_TSTAMP_PRECISION_NANO);
	if (pcap_activate(capture) < 0)
		fail(pcap_geterr(capture));
	fprintf(stderr, "listening on %s\n", interface);
	while (!stopped && s->count < s->room)
		if (pcap_dispatch(capture, -1, with_packet, (u_char *)s) == PCAP_ERROR)
			fail(pcap_geterr(capture));
	signal(SIGINT, SIG_IGN); /* it may come while all packets are there already */
	pcap_close(capture);
}

static int64_t
stamp_of(struct msghdr *message)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(message);
	struct timespec stamp = { 0 };

	if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS)
		memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
	return (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
}

static void
read_socket(const char *interface, struct samples *s)
{
	struct sockaddr_ll on = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1, room = 2 << 20; /* octets, as many as libpcap's ring has */

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    bind(fd, (struct sockaddr *)&on, sizeof(on)))
		fail("no socket");
	fprintf(stderr, "listening on %s\n", interface);
	while (!stopped && s->count < s->room) {
		uint8_t frame[SNAP_LEN], beside[CMSG_SPACE(sizeof(struct timespec))];
		struct iovec piece = { frame, sizeof(frame) };
		struct msghdr message = {
			.msg_iov = &piece, .msg_iovlen = 1, .msg_control = beside, .msg_controllen = sizeof(beside)
		};
		ssize_t len = recvmsg(fd, &message, 0);

		if (len >= 0)
			take(s, frame, (size_t)len, stamp_of(&message));
		else if (errno != EINTR)
			fail("recvmsg");
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = stop }; /* no SA_RESTART: recvmsg ends */
	struct samples s = { 0 };
	FILE *file;

	if (argc != 5) {
		fprintf(stderr, "usage: latency_read INTERFACE COUNT FILE socket|immediate|TIMEOUT_MS\n");
		return 2;
	}
	s.room = strtoull(argv[2], NULL, 10);
	s.all = malloc(s.room * sizeof(*s.all));
	file = fopen(argv[3], "w");
	if (!s.all || !file)
		fail("no memory, or no file");
	memset(s.all, 0, s.room * sizeof(*s.all)); /* the pages are there before the first packet is */
	sigaction(SIGINT, &action, NULL);
	if (!strcmp(argv[4], "socket"))
		read_socket(argv[1], &s);
	else
		read_pcap(argv[1], argv[4], &s);
	if (fwrite(s.all, sizeof(*s.all), s.count, file) != s.count || fclose(file))
		fail("can't write");
	free(s.all);
	return 0;
}
