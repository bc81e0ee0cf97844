/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_first_n.h"
#include "graph/classes.h"
#include "graph/tuple.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEFAULT_FLOWS 65536u
#define MOST_FLOWS    (1u << 26)
#define WAYS          4u
#define SEED          0xf125u
#define BATCH         32u /* packets whose sets are fetched ahead */
#define STEP_SHIFT    20u

/* Both in steps of time: what is later than now was seen now. */
#define AGE(now, seen) ((int32_t)((now) - (seen)) < 0 ? 0 : (now) - (seen))

struct flow {
	uint64_t hash;
	uint32_t packets; /* 0: nobody's */
	uint32_t seen;    /* step of time */
};

struct set {
	struct flow ways[WAYS];
} __attribute__((aligned(64)));

struct first_n {
	struct ffpf_mbuf_first_n *mbuf;
	struct set *sets;
	uint64_t mask; /* of sets */
	uint32_t n;
	uint64_t idle_ns;    /* 0: for ever */
	uint32_t idle_steps; /* UINT32_MAX: for ever */
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct first_n *self = instance;
	uint64_t n = 0, flows = DEFAULT_FLOWS, sets = 1;
	struct ffpf_arg arg;
	int status = 0;

	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "flows"))
			status = ffpf_arg_uint(args, &arg, WAYS, MOST_FLOWS, &flows, err);
		else if (ffpf_arg_is(&arg, "idle"))
			status = ffpf_arg_duration(args, &arg, &self->idle_ns, err);
		else if (!arg.key_len && !n)
			status = ffpf_arg_uint(args, &arg, 1, UINT32_MAX, &n, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_first_n.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (!n)
		return ffpf_args_fail(args, 0, err, "how many packets? Arguments: %s", ffpf_class_first_n.arguments);
	if (args->mbuf_bytes < sizeof(*self->mbuf))
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: %zu or more", args->mbuf_bytes,
				      sizeof(*self->mbuf));
	while (sets * WAYS < flows)
		sets *= 2;
	self->n = (uint32_t)n;
	self->mask = sets - 1;
	self->idle_steps = UINT32_MAX;
	if (self->idle_ns && self->idle_ns >> STEP_SHIFT < INT32_MAX)
		self->idle_steps = (uint32_t)(self->idle_ns >> STEP_SHIFT);
	ffpf_text_add(&args->canonical, "%" PRIu32 " flows=%" PRIu64, self->n, sets * WAYS);
	if (self->idle_ns)
		ffpf_text_add(&args->canonical, " idle=%" PRIu64 "ns", self->idle_ns);
	return 0;
}

static int
open_table(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct first_n *self = instance;
	const size_t bytes = (self->mask + 1) * sizeof(struct set);

	self->mbuf = env->mbuf;
	self->sets = aligned_alloc(sizeof(struct set), bytes);
	if (!self->sets)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for %" PRIu64 " flows",
				      (self->mask + 1) * WAYS);
	for (uint64_t i = 0; i <= self->mask; i++)
		self->sets[i] = (struct set){ 0 };
	return 0;
}

static void
close_table(void *instance)
{
	free(((struct first_n *)instance)->sets);
}

static uint64_t
hash_of(const struct ffpf_node_pkt *in)
{
	struct ffpf_headers h;
	struct ffpf_flow_key flow;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	return ffpf_flow_of(&flow, &h, SEED);
}

/* Where a flow that is not in the set may go: an empty place, or that of the one seen longest ago. */
static struct flow *
place_in(struct first_n *self, struct set *set, uint32_t now)
{
	struct flow *oldest = &set->ways[0];

	for (unsigned i = 0; i < WAYS; i++) {
		if (!set->ways[i].packets)
			return &set->ways[i];
		if (AGE(now, set->ways[i].seen) > AGE(now, oldest->seen))
			oldest = &set->ways[i];
	}
	ffpf_word_add(&self->mbuf->forgotten, 1);
	return oldest;
}

static bool
is_among_first(struct first_n *self, uint64_t hash, uint32_t now)
{
	struct set *set = &self->sets[hash & self->mask];
	struct flow *flow = NULL;

	for (unsigned i = 0; i < WAYS; i++)
		if (set->ways[i].hash == hash && set->ways[i].packets)
			flow = &set->ways[i];
	if (flow && AGE(now, flow->seen) > self->idle_steps) {
		ffpf_word_add(&self->mbuf->idle, 1);
		flow->packets = 0;
	}
	if (!flow) {
		flow = place_in(self, set, now);
		*flow = (struct flow){ .hash = hash };
	}
	if (!flow->packets)
		ffpf_word_add(&self->mbuf->flows, 1);
	flow->seen = now;
	if (flow->packets >= self->n)
		return false;
	flow->packets++;
	return true;
}

static void
pass_first(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	struct first_n *self = instance;
	uint64_t hashes[BATCH];

	for (uint32_t begin = 0; begin < count; begin += BATCH) {
		const uint32_t n = count - begin < BATCH ? count - begin : BATCH;

		for (uint32_t i = 0; i < n; i++) {
			hashes[i] = hash_of(&in[begin + i]);
			__builtin_prefetch(&self->sets[hashes[i] & self->mask], 1);
		}
		for (uint32_t i = 0; i < n; i++) {
			const struct ffpf_node_pkt *one = &in[begin + i];

			results[begin + i] =
			    is_among_first(self, hashes[i], (uint32_t)(one->ts_ns >> STEP_SHIFT)) ? one->result : 0;
		}
	}
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct first_n *self = instance;

	ffpf_report_uint(report, "flows", ffpf_word_load(&self->mbuf->flows));
	ffpf_report_uint(report, "forgotten", ffpf_word_load(&self->mbuf->forgotten));
	ffpf_report_uint(report, "idle", ffpf_word_load(&self->mbuf->idle));
}

const struct ffpf_class ffpf_class_first_n = {
	.name = "first_n",
	.summary = "lets the first N packets of every flow pass",
	.arguments = "N [flows=F] [idle=TIME]",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct first_n),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_first_n),
	.parse = parse,
	.open = open_table,
	.filter_batch = pass_first,
	.describe = describe,
	.close = close_table,
};
