/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * count INTERFACE: a libpcap program that only counts. Says "listening on", captures until SIGINT, and prints
 * "N packets captured" and "N packets dropped by kernel" to standard error, as tcpdump words them.
 */
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static pcap_t *capture; /* for the signal handler, which is given nothing */

static void
stop(int number)
{
	(void)number;
	pcap_breakloop(capture);
}

static void
count(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	(void)header;
	(void)data;
	++*(unsigned long *)(void *)user;
}

int
main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = stop };
	char errbuf[PCAP_ERRBUF_SIZE] = "";
	unsigned long packets = 0;
	struct pcap_stat stat;

	if (argc != 2) {
		fprintf(stderr, "usage: count INTERFACE\n");
		return 2;
	}
	capture = pcap_open_live(argv[1], 262144, 1, 100, errbuf);
	if (!capture) {
		fprintf(stderr, "count: %s\n", errbuf);
		return 1;
	}
	sigaction(SIGINT, &action, NULL);
	fprintf(stderr, "listening on %s\n", argv[1]);
	if (pcap_loop(capture, -1, count, (u_char *)&packets) == PCAP_ERROR || pcap_stats(capture, &stat) < 0) {
		fprintf(stderr, "count: %s\n", pcap_geterr(capture));
		return 1;
	}
	fprintf(stderr, "%lu packets captured\n%u packets dropped by kernel\n", packets, stat.ps_drop);
	pcap_close(capture);
	return 0;
}
