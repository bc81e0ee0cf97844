/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a packet costs in a lane, in ns: storing alone, and through the hook with a reader that touches every cell. By
 * way to store, packets published at once, packet size and PBuf.
 *
 * Rows are run in turns, five times each; the median is printed with the least and the most.
 */
#include "common/clock.h"
#include "hook/hook.h"
#include "lanes/lanes.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS  3
#define SAMPLES 16

struct row {
	enum ffpf_store_kind store;
	uint32_t batch, len;
	uint64_t pbuf_bytes;
	bool reads;
	double ns[ROUNDS];
};

static double
now_ns(void)
{
	return (double)ffpf_clock_ns(CLOCK_MONOTONIC);
}

static uint64_t
touch(const struct ffpf_packet *p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->cap_len; i += FFPF_CELL_BYTES)
		sum += p->data[i];
	return sum;
}

static void *
read_all(void *arg)
{
	struct ffpf_reader *r = arg;
	struct ffpf_batch batch;
	uint64_t sum = 0;

	for (;;) {
		enum ffpf_outcome outcome = r->ops->next(r, &batch);

		if (outcome == FFPF_END || outcome == FFPF_FAILED)
			return (void *)(uintptr_t)(sum & 1);
		if (outcome != FFPF_BATCH)
			continue;
		for (uint32_t i = 0; i < batch.count; i++)
			sum += touch(&batch.pkts[i]);
		r->ops->release(r, batch.count);
	}
}

static uint32_t
packets(const struct row *row)
{
	return row->len < 200 ? 600000 : 200000;
}

/* So many fill the PBuf once: its pages are there when it counts. */
static uint32_t
first_lap(const struct row *row)
{
	return (uint32_t)(row->pbuf_bytes / (ffpf_record_cells(row->len) * FFPF_CELL_BYTES));
}

static void
check(int rc, const struct ffpf_error *err)
{
	if (rc) {
		fprintf(stderr, "%s\n", err->text);
		exit(1);
	}
}

/* The lane alone: claim, store, commit, publish. */
static double
fill_lane(const struct row *row)
{
	const struct ffpf_lane_config cfg = { .pbuf_bytes = row->pbuf_bytes, .store = row->store };
	static uint8_t data[SAMPLES][2048];
	struct ffpf_error err;
	struct ffpf_lane *lane;
	uint32_t cells = ffpf_record_cells(row->len), warm = first_lap(row), n = packets(row);
	double start = 0;

	check(ffpf_lane_create(&lane, &cfg, &err), &err);
	for (uint32_t i = 0; i < warm + n; i++) {
		struct ffpf_record rec = { .cap_len = row->len, .wire_len = row->len };
		uint8_t *cell = ffpf_lane_claim(lane, cells);

		if (i == warm)
			start = now_ns();
		ffpf_lane_store(lane, cell, &rec, NULL, 0, data[i % SAMPLES]);
		ffpf_lane_commit(lane, cell, cells);
		if (i % row->batch == 0)
			ffpf_lane_publish(lane);
	}
	start = now_ns() - start;
	ffpf_lane_destroy(lane);
	return start / n;
}

/* Hook and reader, each on its CPU; a packet that does not fit is tried again, so all are read: what the slower of the
 * two needs. */
static double
feed_reader(const struct row *row)
{
	const struct ffpf_hook_config hook_cfg = { .pbuf_bytes = row->pbuf_bytes,
						   .bms = FFPF_BMS_SRP,
						   .store = row->store,
						   .link_type = 1,
						   .vlan_offset = 12,
						   .publish_batch = row->batch };
	const struct ffpf_flow_config flow_cfg = { .ibuf_slots = 1u << 20 };
	const struct ffpf_lanes_config reader_cfg = { .snap_len = 65536, .want = 32, .timeout_ms = 1 };
	static uint8_t data[SAMPLES][2048];
	struct ffpf_error err;
	struct ffpf_hook *hook;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;
	uint32_t warm = first_lap(row), n = packets(row);
	pthread_t thread;
	double start = 0;

	check(ffpf_hook_create(&hook, &hook_cfg, &err), &err);
	check(ffpf_flow_create(&flow, &flow_cfg, &err), &err);
	check(ffpf_hook_attach(hook, flow, &err), &err);
	check(ffpf_lanes_open_flow(&r, flow, &reader_cfg, &err), &err);
	pthread_create(&thread, NULL, read_all, r);
	for (uint32_t i = 0; i < warm + n; i++) {
		const struct ffpf_hook_packet pkt = { .data = data[i % SAMPLES],
						      .cap_len = row->len,
						      .wire_len = row->len };

		if (i == warm)
			start = now_ns();
		while (!ffpf_hook_handle_packet(hook, &pkt))
			sched_yield();
	}
	ffpf_hook_close(hook);
	pthread_join(thread, NULL);
	start = now_ns() - start;
	r->ops->close(r);
	check(ffpf_hook_detach(hook, flow, &err), &err);
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(hook);
	return start / n;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
main(void)
{
	static struct row rows[128];
	static const uint32_t lengths[] = { 60, 1500 };
	static const char *const stores[] = { "auto", "words", "memcpy", "stream" };
	unsigned n = 0;

	for (uint64_t mib = 4; mib <= 64; mib += 60)
		for (unsigned l = 0; l < 2; l++)
			for (unsigned reads = 0; reads < 2; reads++)
				for (unsigned store = FFPF_STORE_WORDS; store <= FFPF_STORE_STREAM; store++)
					for (uint32_t batch = 1; batch <= 32; batch += 31)
						rows[n++] =
						    (struct row){ store, batch, lengths[l], mib << 20, reads, { 0 } };
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < n; i++)
			rows[i].ns[round] = rows[i].reads ? feed_reader(&rows[i]) : fill_lane(&rows[i]);
	printf("%-7s %5s %5s %8s %9s %7s %7s %7s\n", "store", "batch", "len", "pbuf MiB", "", "ns", "least", "most");
	for (unsigned i = 0; i < n; i++) {
		struct row *row = &rows[i];

		qsort(row->ns, ROUNDS, sizeof(row->ns[0]), by_value);
		printf("%-7s %5u %5u %8llu %9s %7.1f %7.1f %7.1f\n", stores[row->store], row->batch, row->len,
		       (unsigned long long)row->pbuf_bytes >> 20, row->reads ? "hook+read" : "lane",
		       row->ns[ROUNDS / 2], row->ns[0], row->ns[ROUNDS - 1]);
	}
	return 0;
}
