/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers -> one batch, oldest packet first. A batch ends where a reader has nothing more at hand: what it brings next
 * may be older than what the others have. An interface that is silent holds the others back for as long as the kernel
 * may keep a packet of it to itself; then it does not any more.
 */
#include "common/clock.h"
#include "graph/engine_internal.h"
#include "source/savefile.h"

#define DEFAULT_TIMEOUT_MS 10

/* 1970 for what is older, and the last moment that fits for what is younger. */
uint64_t
merge_time(const struct device *device, const struct ffpf_packet *pkt)
{
	int64_t frac = pkt->ts_frac, ns;

	if (pkt->flags & FFPF_PACKET_FRAC_WIDE && device->reader && device_is_file(device))
		frac = ffpf_savefile_wide_frac(device->reader, pkt);
	if (device->reader && device->reader->info.tick == FFPF_TICK_US && __builtin_mul_overflow(frac, 1000, &frac))
		return frac < 0 ? 0 : INT64_MAX;
	if (__builtin_mul_overflow(pkt->ts_sec, (int64_t)NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		return pkt->ts_sec < 0 ? 0 : INT64_MAX;
	return ns < 0 ? 0 : (uint64_t)ns;
}

void
merge_begin(struct ffpf_engine *engine)
{
	engine->count = 0;
	for (uint32_t i = 0; i < engine->node_count; i++)
		engine->nodes[i]->count = 0;
}

void
merge_add(struct ffpf_engine *engine, struct node *node, const struct ffpf_packet *pkt)
{
	struct device *device = node->device;
	uint32_t at = engine->count++;

	if (device->reader && device->reader->info.tick == FFPF_TICK_US) {
		engine->pkts[at] = *pkt;
		engine->pkts[at].ts_frac *= 1000;
		pkt = &engine->pkts[at];
	}
	engine->batch[at] = (struct ffpf_node_pkt){
		.pkt = pkt,
		.ts_ns = merge_time(device, pkt),
		.result = device->results ? pkt->result : UINT32_MAX,
		.link_type = device->link_type,
		.form = device->form,
	};
	if (device->results)
		node->results[node->count] = pkt->result;
	node->pos[node->count++] = (uint16_t)at;
	device->passed++;
}

static bool
reads(const struct node *node)
{
	return node->device && node->device->reader && node->active;
}

static bool
has_packets(const struct node *node)
{
	return reads(node) && node->device->consumed < node->device->batch.count;
}

/* What came before the flow was activated is skipped. */
static void
skip_paused(struct device *device)
{
	while (device->active_since_ns && device->consumed < device->batch.count) {
		if (merge_time(device, &device->batch.pkts[device->consumed]) >= device->active_since_ns) {
			device->active_since_ns = 0;
			return;
		}
		device->consumed++;
		device->paused++;
	}
}

static void
refill(struct device *device)
{
	const struct ffpf_reader_ops *ops = device->reader->ops;
	enum ffpf_outcome outcome;

	if (device->batch.count)
		ops->release(device->reader, device->batch.count);
	device->batch.count = device->consumed = 0;
	device->begun = true;
	do {
		outcome = ops->next(device->reader, &device->batch);
	} while (outcome == FFPF_LAPPED);
	if (outcome == FFPF_BATCH) {
		skip_paused(device);
		return;
	}
	device->batch.count = 0;
	device->ended = outcome == FFPF_END || outcome == FFPF_FAILED;
	if (outcome == FFPF_FAILED)
		device->failed = device->reader->err;
}

/* How old a packet must be to pass beside this silent interface. */
static uint64_t
hold_ns(const struct ffpf_engine *engine)
{
	int ms = engine->cfg.timeout_ms ? engine->cfg.timeout_ms : DEFAULT_TIMEOUT_MS;

	return engine->cfg.immediate ? NS_PER_MS : 2 * (uint64_t)ms * NS_PER_MS;
}

struct found {
	uint32_t needed, with_packets;
	bool waiting; /* for a hook, or an interface */
	struct node *silent, *only;
};

static struct found
refill_all(struct ffpf_engine *engine)
{
	struct found found = { 0 };

	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];
		struct device *device = node->device;

		if (!device || !node->active || device->ended || (!device->reader && device->session))
			continue; /* or a board's, of which filters have all packets */
		found.needed++;
		if (!device->reader) {
			found.waiting = true;
			continue;
		}
		if (device->consumed == device->batch.count)
			refill(device);
		if (device->consumed < device->batch.count) {
			found.with_packets++;
			found.only = node;
		} else if (!device->ended) {
			found.waiting = true;
			if (!device_is_file(device))
				found.silent = node;
		}
	}
	return found;
}

static struct node *
oldest(const struct ffpf_engine *engine, uint64_t *ts_ns)
{
	struct node *best = NULL;

	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];
		uint64_t ts;

		if (!has_packets(node))
			continue;
		ts = merge_time(node->device, &node->device->batch.pkts[node->device->consumed]);
		if (!best || ts < *ts_ns) {
			best = node;
			*ts_ns = ts;
		}
	}
	return best;
}

static void
take_all(struct ffpf_engine *engine, struct node *node, uint32_t max)
{
	struct device *device = node->device;

	while (engine->count < max && device->consumed < device->batch.count)
		merge_add(engine, node, &device->batch.pkts[device->consumed++]);
}

enum step
merge_devices(struct ffpf_engine *engine, uint32_t max, struct ffpf_error *err)
{
	uint64_t limit = UINT64_MAX, ts = 0;
	struct found found;

	(void)err;
	merge_begin(engine);
	found = refill_all(engine);
	if (!found.needed)
		return STEP_END;
	if (found.silent && found.with_packets)
		limit = ffpf_clock_ns(CLOCK_REALTIME) - hold_ns(engine);
	if (found.with_packets == 1 && !found.silent) {
		take_all(engine, found.only, max);
		return STEP_BATCH;
	}
	while (engine->count < max) {
		struct node *node = oldest(engine, &ts);

		if (!node || ts > limit)
			break;
		merge_add(engine, node, &node->device->batch.pkts[node->device->consumed++]);
		if (!has_packets(node))
			break;
	}
	if (engine->count)
		return STEP_BATCH;
	return found.waiting || found.with_packets ? STEP_NOTHING : STEP_BATCH; /* or devices have ended just now */
}
