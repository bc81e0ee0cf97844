/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a packet costs in each filter class, in ns: batches of 256 packets of TCP flows (15 in 16 packets from 256 of
 * them, the rest from 16,384), 60 to 1,514 octets on the wire, 64 captured. packetcount does hardly anything: it is the
 * loop's own cost. CPU time; rows are run in turns; the median is printed with the quartiles and the least. The file
 * sink writes to /dev/null.
 */
#include "common/clock.h"
#include "graph/class.h"
#include "syspcap/syspcap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS  25
#define BATCH   256u
#define PACKETS (BATCH * 16u)
#define LAPS    10u
#define OCTETS  64u

static const struct {
	const char *class, *arguments;
} rows[] = {
	{ "packetcount", "" },
	{ "bytecount", "" },
	{ "BPF", "tcp port 80" },
	{ "sampler", "2" },
	{ "sampler", "1/2 random" },
	{ "sampler", "1/2 hash" },
	{ "flow_hash", "" },
	{ "histogram", "" },
	{ "histogram", "of=tcp.dport scale=log" },
	{ "first_n", "10" },
	{ "topk", "k=10" },
	{ "topk", "k=10 of=ip.src by=bytes" },
	{ "distinct", "of=ip.src" },
	{ "rate", "" },
	{ "flow_table", "" },
	{ "dedup", "" },
	{ "dedup", "ignore=hop" },
	{ "file", "path=/dev/null" },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static uint8_t octets[PACKETS][OCTETS];
static struct ffpf_packet packets[PACKETS];
static struct ffpf_node_pkt in[PACKETS];

static double
now_ns(void)
{
	return (double)ffpf_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void
make_packets(void)
{
	static const uint8_t header[OCTETS] = "\2\2\2\2\2\2\1\1\1\1\1\1\x08\x00"
					      "\x45\0\0\x28\0\0\x40\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2\4\0\0\x50";
	uint64_t state = 1;

	for (uint32_t i = 0; i < PACKETS; i++) {
		uint32_t flow;

		state = state * 6364136223846793005u + 1442695040888963407u;
		flow = (uint32_t)(state >> 33) % (state >> 60 ? 256 : 16384);
		memcpy(octets[i], header, OCTETS);
		octets[i][28] = (uint8_t)(flow >> 8);
		octets[i][29] = (uint8_t)flow;
		memcpy(octets[i] + 44, &i, sizeof(i)); /* no two are the same */
		packets[i] = (struct ffpf_packet){ .data = octets[i],
						   .cap_len = OCTETS,
						   .wire_len = 60 + (uint32_t)(state >> 40) % 1455,
						   .result = UINT32_MAX };
		in[i] = (struct ffpf_node_pkt){ .pkt = &packets[i],
						.ts_ns = 1700000000000000000u + i * 100u,
						.result = UINT32_MAX,
						.link_type = 1,
						.form = FFPF_FORM_SAVEFILE };
	}
}

static double
run(const struct ffpf_class *class, const char *arguments)
{
	static const uint32_t ethernet = 1;
	static const uint16_t form = FFPF_FORM_SAVEFILE;
	struct ffpf_class_args args = { .text = arguments, .mbuf_bytes = class->mbuf_bytes };
	struct ffpf_error err = { 0 };
	uint32_t results[BATCH];
	uint64_t dropped = 0;
	void *instance = calloc(1, class->instance_bytes);
	struct ffpf_class_env env;
	double begin, end;

	if (class->parse && class->parse(instance, &args, &err)) {
		fprintf(stderr, "%s: %s\n", class->name, err.text);
		exit(1);
	}
	env = (struct ffpf_class_env){ .mbuf = calloc(1, args.mbuf_bytes + 8),
				       .mbuf_bytes = args.mbuf_bytes,
				       .link_types = &ethernet,
				       .forms = &form,
				       .link_type_count = 1,
				       .snap_len = 262144,
				       .offline = true,
				       .dropped = &dropped };
	if (class->open && class->open(instance, &env, &err)) {
		fprintf(stderr, "%s: %s\n", class->name, err.text);
		exit(1);
	}
	begin = now_ns();
	for (uint32_t lap = 0; lap < LAPS; lap++) {
		for (uint32_t i = 0; i < PACKETS; i += BATCH) {
			if (class->filter_batch)
				class->filter_batch(instance, &in[i], BATCH, results);
			else
				for (uint32_t k = 0; k < BATCH; k++)
					results[k] = class->filter(instance, &in[i + k]);
		}
	}
	end = now_ns();
	if (class->close)
		class->close(instance);
	ffpf_text_free(&args.canonical);
	free(env.mbuf);
	free(instance);
	return (end - begin) / (LAPS * PACKETS);
}

static int
compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int
main(void)
{
	static double ns[ROWS][ROUNDS];

	make_packets();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < ROWS; i++)
			ns[i][round] = run(ffpf_class_find(rows[i].class, strlen(rows[i].class)), rows[i].arguments);
	for (size_t i = 0; i < ROWS; i++) {
		qsort(ns[i], ROUNDS, sizeof(ns[i][0]), compare);
		printf("(%s,\"%s\") %.1f [%.1f..%.1f] ns, least %.1f\n", rows[i].class, rows[i].arguments,
		       ns[i][ROUNDS / 2], ns[i][ROUNDS / 4], ns[i][ROUNDS * 3 / 4], ns[i][0]);
	}
	return 0;
}
