/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A board and the readers of its filters in one process: what it counts is the same every time. For bench and tests.
 *
 *     board_bench_board RECEIVE ACCEPT srp|frp READ FILTER[,FILTER...] PORT [PORT] [-- NAME=VALUE ...]
 *
 * FILTER is an object file, or `-`: every packet; behind a colon come the octets of its MBuf, if it has one. READ says
 * how many steps of the board lie between two looks of the readers at their IBufs; 0: they look when the board waits,
 * 65535: never before the end. Prints JSON: the registers, what each reader counted, and a checksum of what it was
 * given, in the order of the filters.
 */
#include "board/session.h"
#include "lanes/lanes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTERS_MAX  5
#define READS_AT_END 65535
#define RESTS_ENOUGH 4 /* a board that rests so often in a row has nothing to do */
#define FNV_START    14695981039346656037u
#define FNV_FACTOR   1099511628211u
#define ERROR_BYTES  256

struct tap {
	struct ffpf_reader *reader;
	int engine; /* -code: it was not loaded */
	uint64_t packets, octets, sum;
	struct ffpf_counters counters;
	char ended[ERROR_BYTES]; /* why, when it was not the end of the packets */
};

struct bench {
	struct board_config cfg;
	struct ixp_object receive, accept, filters[FILTERS_MAX];
	const struct ixp_object *filter_objects[FILTERS_MAX];
	uint32_t mbuf_bytes[FILTERS_MAX];
	uint32_t filter_count;
	uint32_t read_steps;
	struct board *board;
	struct board_window registers;
	struct tap taps[FILTERS_MAX];
};

static int
read_object(struct ixp_object *out, const char *path, struct ffpf_error *err)
{
	uint8_t octets[IXP_OBJECT_MAX + 1];
	FILE *fp = fopen(path, "rbe");
	size_t len;

	if (!fp)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: cannot be read", path);
	len = fread(octets, 1, sizeof(octets), fp);
	fclose(fp);
	return ixp_object_parse(out, octets, len, err);
}

static int
read_filters(struct bench *bench, char *list, struct ffpf_error *err)
{
	char *path, *colon;

	while ((path = strsep(&list, ","))) {
		uint32_t i = bench->filter_count;
		int rc;

		if (i == FILTERS_MAX)
			return ffpf_error_set(err, FFPF_E_INVALID, "at most %d filters", FILTERS_MAX);
		bench->filter_count++;
		colon = strchr(path, ':');
		if (colon) {
			*colon = '\0';
			bench->mbuf_bytes[i] = (uint32_t)strtoul(colon + 1, NULL, 10);
		}
		if (strcmp(path, "-") == 0)
			continue;
		rc = read_object(&bench->filters[i], path, err);
		if (rc)
			return rc;
		bench->filter_objects[i] = &bench->filters[i];
	}
	return 0;
}

static int
read_arguments(struct bench *bench, int argc, char **argv, struct ffpf_error *err)
{
	struct board_config *cfg = &bench->cfg;
	const struct ffpf_bms *bms = argc > 6 ? ffpf_bms_find_name(argv[3]) : NULL;
	int i = 6, rc;

	if (!bms)
		return ffpf_error_set(err, FFPF_E_INVALID, "wrong arguments: see bench_board.c");
	board_params_default(&cfg->params);
	cfg->params.bms = bms->id;
	cfg->params.ports = 0;
	cfg->receive = &bench->receive;
	cfg->accept = &bench->accept;
	bench->read_steps = (uint32_t)strtoul(argv[4], NULL, 10);
	rc = read_object(&bench->receive, argv[1], err);
	if (!rc)
		rc = read_object(&bench->accept, argv[2], err);
	if (!rc)
		rc = read_filters(bench, argv[5], err);
	for (; !rc && i < argc && strcmp(argv[i], "--") != 0 && cfg->params.ports < FFPF_IXP_PORTS_MAX; i++)
		rc = board_port_parse(&cfg->ports[cfg->params.ports++], argv[i], err);
	for (i++; !rc && i < argc; i++)
		rc = board_params_set(&cfg->params, argv[i], err);
	return rc;
}

static int
open_tap(struct bench *bench, uint32_t number, struct ffpf_error *err)
{
	const struct board_load load = { .object = bench->filter_objects[number],
					 .engine = FFPF_IXP_ANY_ENGINE,
					 .mbuf_bytes = bench->mbuf_bytes[number] };
	const struct ffpf_lanes_config cfg = { .snap_len = FFPF_PACKET_MAX_BYTES,
					       .want = 1,
					       .nonblock = true,
					       .tick = FFPF_TICK_NS,
					       .hooks_results = true };
	struct tap *tap = &bench->taps[number];
	struct ffpf_lanes_part lanes[FFPF_IXP_PORTS_MAX];
	struct ffpf_lanes_parts parts = { .lanes = lanes, .count = bench->board->params.ports };
	const struct board_flow *flow;

	tap->sum = FNV_START;
	tap->engine = board_flow_load(bench->board, &load, err);
	if (tap->engine < 0) { /* as a sixth filter: that is a result, too */
		snprintf(tap->ended, sizeof(tap->ended), "%s", err->text);
		return 0;
	}
	flow = bench->board->engines[tap->engine].flow;
	for (uint32_t port = 0; port < parts.count; port++) {
		lanes[port].lane = bench->board->lanes[port].lane->region;
		lanes[port].ibuf = flow->ibufs[port]->region;
	}
	parts.reader = flow->reader;
	parts.event_fd = flow->event_fd;
	parts.event = FFPF_LANES_EVENT_TIMERFD;
	return ffpf_lanes_open(&tap->reader, &parts, &cfg, err);
}

static void
add(struct tap *tap, const struct ffpf_packet *pkt)
{
	const uint64_t words[] = { (uint64_t)pkt->ts_sec, (uint64_t)pkt->ts_frac, pkt->wire_len, pkt->result };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		tap->sum = (tap->sum ^ words[i]) * FNV_FACTOR;
	for (uint32_t i = 0; i < pkt->cap_len; i++)
		tap->sum = (tap->sum ^ pkt->data[i]) * FNV_FACTOR;
	tap->packets++;
	tap->octets += pkt->cap_len;
}

static void
close_tap(struct tap *tap)
{
	tap->reader->ops->counters(tap->reader, &tap->counters);
	tap->reader->ops->close(tap->reader);
	tap->reader = NULL;
}

/* All that is there. */
static void
drain(struct tap *tap)
{
	while (tap->reader) {
		struct ffpf_batch batch;
		enum ffpf_outcome outcome = tap->reader->ops->next(tap->reader, &batch);

		if (outcome == FFPF_BATCH) {
			for (uint32_t i = 0; i < batch.count; i++)
				add(tap, &batch.pkts[i]);
			tap->reader->ops->release(tap->reader, batch.count);
			continue;
		}
		if (outcome == FFPF_FAILED)
			snprintf(tap->ended, sizeof(tap->ended), "%s", tap->reader->err.text);
		if (outcome == FFPF_FAILED || outcome == FFPF_END)
			close_tap(tap);
		else if (outcome != FFPF_LAPPED)
			return;
	}
}

static void
play(struct bench *bench)
{
	uint64_t steps = 0;
	int rests = 0;

	while (rests < RESTS_ENOUGH) {
		enum board_pace_now how = board_step(bench->board);
		bool due = bench->read_steps && bench->read_steps != READS_AT_END && ++steps % bench->read_steps == 0;

		if (how == BOARD_WAITS && bench->read_steps == READS_AT_END)
			how = BOARD_RESTS; /* for readers that do not come */
		rests = how == BOARD_RESTS ? rests + 1 : 0;
		if (how == BOARD_WORKED && !due)
			continue;
		for (uint32_t i = 0; i < bench->filter_count && bench->read_steps != READS_AT_END; i++)
			drain(&bench->taps[i]);
	}
	board_strongarm_look(bench->board);
	for (uint32_t i = 0; i < bench->filter_count; i++) {
		drain(&bench->taps[i]);
		if (bench->taps[i].reader)
			close_tap(&bench->taps[i]);
	}
}

static void
print_ports(const struct bench *bench)
{
	const struct ffpf_ixp_registers *from = bench->board->registers;

	for (uint32_t i = 0; i < bench->board->params.ports; i++) {
		const struct ffpf_ixp_port_registers *port = &from->port[i];

		printf(
		    "%s{\"state\": %u, \"offered\": %" PRIu64 ", \"offered_octets\": %" PRIu64 ", \"rx_lost\": %" PRIu64
		    ", \"no_descriptor\": %" PRIu64 ", \"no_room\": %" PRIu64 ", \"oversize\": %" PRIu64
		    ", \"unwanted\": %" PRIu64 ", \"received\": %" PRIu64 ", \"failed\": \"%s\"}",
		    i ? ", " : "", port->state, port->offered, port->offered_octets, port->rx_lost, port->no_descriptor,
		    port->no_room, port->oversize, port->unwanted, port->received, bench->board->ports[i]->err.text);
	}
}

static void
print_engines(const struct bench *bench)
{
	for (uint32_t i = 0; i < FFPF_IXP_ENGINES; i++) {
		const struct ffpf_ixp_engine_registers *engine = &bench->board->registers->engine[i];

		printf("%s{\"role\": %u, \"state\": %u, \"words\": %u, \"busy\": %" PRIu64 ", \"stalled\": %" PRIu64
		       ", \"idle\": %" PRIu64 ", \"instructions\": %" PRIu64 ", \"packets\": %" PRIu64
		       ", \"sustained_pps\": %" PRIu64 ", \"text\": \"%s\"}",
		       i ? ", " : "", engine->role, engine->state, engine->words, engine->busy_cycles,
		       engine->stall_cycles, engine->idle_cycles, engine->instructions, engine->packets,
		       engine->sustained_pps, engine->text);
	}
}

static void
print_taps(const struct bench *bench)
{
	for (uint32_t i = 0; i < bench->filter_count; i++) {
		const struct tap *tap = &bench->taps[i];

		printf("%s{\"engine\": %d, \"packets\": %" PRIu64 ", \"octets\": %" PRIu64 ", \"sum\": %" PRIu64
		       ", \"seen\": %" PRIu64 ", \"filtered\": %" PRIu64 ", \"delivered\": %" PRIu64
		       ", \"ended\": \"%s\", \"dropped\": {",
		       i ? ", " : "", tap->engine, tap->packets, tap->octets, tap->sum, tap->counters.seen,
		       tap->counters.filtered, tap->counters.delivered, tap->ended);
		for (enum ffpf_drop cause = 0; cause < FFPF_DROP_CAUSES; cause++)
			printf("%s\"%s\": %" PRIu64, cause ? ", " : "", ffpf_drop_name(cause),
			       tap->counters.dropped[cause]);
		printf("}}");
	}
}

static void
print(const struct bench *bench)
{
	const struct ffpf_ixp_registers *from = bench->board->registers;

	printf("{\"cycles\": %" PRIu64 ", \"clock_hz\": %u, \"state\": %u, \"free_descriptors\": %" PRIu64
	       ", \"descriptors\": %" PRIu64 ", \"sustained_pps\": %" PRIu64 ", \"ports\": [",
	       from->cycles, from->clock_hz, from->state, from->free_descriptors, from->descriptors,
	       from->sustained_pps);
	print_ports(bench);
	printf("], \"engines\": [");
	print_engines(bench);
	printf("], \"readers\": [");
	print_taps(bench);
	printf("]}\n");
}

int
main(int argc, char **argv)
{
	static struct bench bench = { .registers = { .fd = -1 } };
	struct ffpf_error err = { 0 };
	int rc = read_arguments(&bench, argc, argv, &err);

	if (!rc)
		rc = board_window_create(&bench.registers, sizeof(struct ffpf_ixp_registers), false, &err);
	if (!rc)
		rc = board_create(&bench.board, &bench.cfg, bench.registers.base, &err);
	for (uint32_t i = 0; !rc && i < bench.filter_count; i++)
		rc = open_tap(&bench, i, &err);
	if (rc) {
		fprintf(stderr, "%s\n", err.text);
	} else {
		play(&bench);
		print(&bench);
	}
	board_destroy(bench.board);
	board_window_close(&bench.registers);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
