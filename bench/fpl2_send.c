/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends the packets of a pcap file into sockets whose filters are measured.
 *
 *   fpl2_send FILE MOST      a line on standard input is the descriptor of a socket: all packets, at most MOST, go
 * there; the answer is a line, ns of processor time a packet
 *
 * FILE: little-endian, microseconds, Ethernet.
 */
#include "filter_run.h"

int
main(int argc, char **argv)
{
	struct packet *packets;
	size_t count, most;
	char line[32];

	if (argc != 3)
		die("usage", "see the head of fpl2_send.c");
	packets = packets_read(argv[1], &count);
	most = strtoul(argv[2], NULL, 10);
	if (count > most)
		count = most;
	while (fgets(line, sizeof(line), stdin)) {
		printf("%.4f\n", (double)packets_send(atoi(line), packets, count) / (double)count);
		fflush(stdout);
	}
	free(packets);
	return 0;
}
