/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last packets that passed, in a ring by position; those whose hashes share a bucket are chained, newest first:
 *
 *     buckets[hash] -> position -> ring[position]: hash, lengths, time, position before it in the bucket -> ...
 *
 * Positions only go up, so that a chain ends where it leaves the ring: nothing is ever taken out.
 */
#include "graph/class_dedup.h"
#include "graph/classes.h"
#include "graph/tuple.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WINDOW_NS 10000000u
#define DEFAULT_PACKETS   1024u
#define MOST_PACKETS      (1u << 24)
#define BATCH             32u
#define MULTIPLIER_1      0x9fb21c651e98df25u
#define MULTIPLIER_2      0xc6a4a7935bd1e995u

enum ignore { NOTHING, LINK, HOP };

struct passed {
	uint64_t hash, ts_ns;
	uint64_t before;            /* position + 1 in the same bucket; 0: none */
	uint32_t wire_len, cap_len; /* of what was compared */
};

struct dedup {
	struct ffpf_mbuf_dedup *mbuf;
	struct passed *ring;
	uint64_t *buckets;                 /* position + 1 of the newest */
	uint64_t window_ns, packets, mask; /* of both */
	uint64_t position;                 /* of the next that passes */
	enum ignore ignore;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	static const char *const ignores[] = { "none", "link", "hop" };
	struct dedup *self = instance;
	struct ffpf_arg arg;
	size_t ignore = NOTHING;
	int status = 0;

	self->window_ns = DEFAULT_WINDOW_NS;
	self->packets = DEFAULT_PACKETS;
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "window"))
			status = ffpf_arg_duration(args, &arg, &self->window_ns, err);
		else if (ffpf_arg_is(&arg, "packets"))
			status = ffpf_arg_uint(args, &arg, 1, MOST_PACKETS, &self->packets, err);
		else if (ffpf_arg_is(&arg, "ignore"))
			status = ffpf_arg_choice(args, &arg, ignores, 3, &ignore, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_dedup.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (args->mbuf_bytes < sizeof(*self->mbuf))
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: %zu or more", args->mbuf_bytes,
				      sizeof(*self->mbuf));
	self->ignore = (enum ignore)ignore;
	self->mask = 1;
	while (self->mask < self->packets)
		self->mask *= 2;
	self->mask--;
	ffpf_text_add(&args->canonical, "window=%" PRIu64 "ns packets=%" PRIu64 " ignore=%s", self->window_ns,
		      self->packets, ignores[ignore]);
	return 0;
}

static int
open_ring(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct dedup *self = instance;

	self->mbuf = env->mbuf;
	self->ring = calloc(self->mask + 1, sizeof(*self->ring));
	self->buckets = calloc(self->mask + 1, sizeof(*self->buckets));
	if (!self->ring || !self->buckets)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for %" PRIu64 " packets", self->packets);
	return 0;
}

static void
close_ring(void *instance)
{
	struct dedup *self = instance;

	free(self->ring);
	free(self->buckets);
}

struct hasher {
	uint64_t a, b;
};

static void
mix(struct hasher *h, uint64_t word1, uint64_t word2)
{
	h->a = (h->a ^ word1) * MULTIPLIER_1;
	h->a ^= h->a >> 29;
	h->b = (h->b ^ word2) * MULTIPLIER_2;
	h->b ^= h->b >> 31;
}

/* Sixteen octets at a time, in two chains that do not wait for each other. What is left over is filled with zeros: the
 * lengths are compared too. */
static void
mix_octets(struct hasher *h, const uint8_t *octets, uint32_t len)
{
	uint64_t words[2];

	for (; len >= sizeof(words); octets += sizeof(words), len -= (uint32_t)sizeof(words)) {
		memcpy(words, octets, sizeof(words));
		mix(h, words[0], words[1]);
	}
	if (len) {
		memset(words, 0, sizeof(words));
		memcpy(words, octets, len);
		mix(h, words[0], words[1]);
	}
}

/* The IP header's first octets with what routers change made zero; how many they are. */
static uint32_t
without_hop(const struct ffpf_headers *h, uint8_t out[20])
{
	memcpy(out, h->data + h->network, 20); /* as many are there: IPV4 and IPV6 promise it */
	if (h->found & FFPF_FOUND_IPV4)
		out[8] = out[10] = out[11] = 0;
	else
		out[7] = 0;
	return 20;
}

static struct passed
digest(const struct dedup *self, const struct ffpf_node_pkt *in)
{
	const struct ffpf_packet *pkt = in->pkt;
	struct hasher h = { 1, 2 };
	uint32_t from = 0, skipped = 0, end = pkt->cap_len, wire_end = pkt->wire_len;

	if (self->ignore != NOTHING) {
		struct ffpf_headers headers;
		uint8_t first[20];

		ffpf_headers_find(&headers, pkt, in->link_type);
		if (headers.found & (FFPF_FOUND_IPV4 | FFPF_FOUND_IPV6)) {
			skipped = from = headers.network;
			end = headers.len; /* padding differs where a tag has come or gone */
			if (end < pkt->cap_len)
				wire_end = end;
			if (self->ignore == HOP) {
				from += without_hop(&headers, first);
				mix_octets(&h, first, sizeof(first));
			}
		}
	}
	if (end > from) /* else data may be nothing at all */
		mix_octets(&h, pkt->data + from, end - from);
	mix(&h, h.b, h.a);
	return (struct passed){
		.hash = h.a ^ h.b,
		.ts_ns = in->ts_ns,
		.wire_len = wire_end - skipped,
		.cap_len = end - skipped,
	};
}

static bool
came_already(const struct dedup *self, const struct passed *p)
{
	uint64_t next = self->buckets[p->hash & self->mask];

	while (next && self->position - (next - 1) <= self->packets) {
		const struct passed *old = &self->ring[(next - 1) & self->mask];
		const uint64_t apart = p->ts_ns > old->ts_ns ? p->ts_ns - old->ts_ns : old->ts_ns - p->ts_ns;

		if (old->hash == p->hash && old->wire_len == p->wire_len && old->cap_len == p->cap_len &&
		    apart <= self->window_ns)
			return true;
		next = old->before;
	}
	return false;
}

static void
remember(struct dedup *self, const struct passed *p)
{
	uint64_t *bucket = &self->buckets[p->hash & self->mask];
	struct passed *place = &self->ring[self->position & self->mask];

	*place = *p;
	place->before = *bucket;
	*bucket = ++self->position;
}

static void
turn_away(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	struct dedup *self = instance;
	struct passed digests[BATCH];
	uint64_t duplicates = 0, bytes = 0;

	for (uint32_t begin = 0; begin < count; begin += BATCH) {
		const uint32_t n = count - begin < BATCH ? count - begin : BATCH;

		for (uint32_t i = 0; i < n; i++) {
			digests[i] = digest(self, &in[begin + i]);
			__builtin_prefetch(&self->buckets[digests[i].hash & self->mask], 1);
		}
		for (uint32_t i = 0; i < n; i++) {
			if (came_already(self, &digests[i])) {
				results[begin + i] = 0;
				duplicates++;
				bytes += in[begin + i].pkt->wire_len;
				continue;
			}
			remember(self, &digests[i]);
			results[begin + i] = in[begin + i].result;
		}
	}
	ffpf_word_add(&self->mbuf->packets, count);
	ffpf_word_add(&self->mbuf->duplicates, duplicates);
	ffpf_word_add(&self->mbuf->bytes, bytes);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct dedup *self = instance;

	ffpf_report_uint(report, "packets", ffpf_word_load(&self->mbuf->packets));
	ffpf_report_uint(report, "duplicates", ffpf_word_load(&self->mbuf->duplicates));
	ffpf_report_uint(report, "bytes", ffpf_word_load(&self->mbuf->bytes));
}

const struct ffpf_class ffpf_class_dedup = {
	.name = "dedup",
	.summary = "turns away packets that came already, a moment before",
	.arguments = "[window=TIME] [packets=N] [ignore=none|link|hop]",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct dedup),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_dedup),
	.parse = parse,
	.open = open_ring,
	.filter_batch = turn_away,
	.describe = describe,
	.close = close_ring,
};
