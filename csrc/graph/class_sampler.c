/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_sampler.h"
#include "graph/classes.h"
#include "graph/tuple.h"

#include <inttypes.h>
#include <string.h>

#define DEFAULT_SEED 1

enum mode { EVERY_NTH, BY_CHANCE, BY_FLOW };

struct sampler {
	void *mbuf;
	bool narrow; /* the MBuf is struct ffpf_mbuf_sampler_4 */
	enum mode mode;
	uint32_t n;
	uint32_t since; /* EVERY_NTH: packets since one was kept */
	uint64_t seed;
	uint64_t state; /* BY_CHANCE: of the generator */
	uint64_t most;  /* BY_CHANCE, BY_FLOW: kept up to this value */
};

static int
parse_ratio(struct sampler *self, struct ffpf_class_args *args, struct ffpf_arg *arg, struct ffpf_error *err)
{
	uint64_t n;
	int status;

	if (self->n)
		return ffpf_args_fail(args, arg->at, err, "how many packets make a sample is said twice");
	if (arg->value_len > 2 && memcmp(arg->value, "1/", 2) == 0) {
		arg->value += 2;
		arg->value_len -= 2;
	}
	status = ffpf_arg_uint(args, arg, 1, UINT32_MAX, &n, err);
	if (status)
		ffpf_error_append(err, " (N of \"N\", or of \"1/N random\" or \"1/N hash\")");
	else
		self->n = (uint32_t)n;
	return status;
}

static int
parse_word(struct sampler *self, struct ffpf_class_args *args, struct ffpf_arg *arg, struct ffpf_error *err)
{
	static const char *const modes[] = { "random", "hash" };
	size_t choice;

	if (ffpf_arg_is(arg, "seed"))
		return ffpf_arg_uint(args, arg, 0, UINT64_MAX, &self->seed, err);
	if (arg->key_len)
		return ffpf_arg_unknown(args, arg, ffpf_class_sampler.arguments, err);
	if (arg->value_len && arg->value[0] >= '0' && arg->value[0] <= '9')
		return parse_ratio(self, args, arg, err);
	if (ffpf_arg_choice(args, arg, modes, 2, &choice, err))
		return ffpf_arg_unknown(args, arg, ffpf_class_sampler.arguments, err);
	self->mode = choice ? BY_FLOW : BY_CHANCE;
	return 0;
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct sampler *self = instance;
	struct ffpf_arg arg;
	bool seeded = false;

	self->seed = DEFAULT_SEED;
	while (ffpf_args_next(args, &arg, err)) {
		int status = parse_word(self, args, &arg, err);

		if (status)
			return status;
		seeded |= ffpf_arg_is(&arg, "seed");
	}
	if (err->code)
		return -(int)err->code;
	if (!self->n)
		return ffpf_args_fail(args, 0, err, "which packets? Arguments: %s", ffpf_class_sampler.arguments);
	if (seeded && self->mode == EVERY_NTH)
		return ffpf_args_fail(args, 0, err, "seed= is for random and hash alone");
	if (args->mbuf_bytes != 4 && args->mbuf_bytes < 8)
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: 4, or 8 or more", args->mbuf_bytes);
	if (self->mode == EVERY_NTH)
		ffpf_text_add(&args->canonical, "%" PRIu32, self->n);
	else
		ffpf_text_add(&args->canonical, "1/%" PRIu32 " %s seed=%" PRIu64, self->n,
			      self->mode == BY_FLOW ? "hash" : "random", self->seed);
	return 0;
}

static int
open_sampler(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct sampler *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	self->narrow = env->mbuf_bytes == sizeof(struct ffpf_mbuf_sampler_4);
	self->state = self->seed;
	self->most = UINT64_MAX / self->n;
	return 0;
}

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static bool
is_kept(struct sampler *self, const struct ffpf_node_pkt *in)
{
	struct ffpf_headers h;
	struct ffpf_flow_key flow;

	switch (self->mode) {
	case EVERY_NTH:
		if (++self->since < self->n)
			return false;
		self->since = 0;
		return true;
	case BY_CHANCE:
		return splitmix64(&self->state) <= self->most;
	case BY_FLOW:
		ffpf_headers_find(&h, in->pkt, in->link_type);
		return ffpf_flow_of(&flow, &h, self->seed) <= self->most;
	}
	return false;
}

static void
sample(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	struct sampler *self = instance;

	for (uint32_t i = 0; i < count; i++)
		results[i] = is_kept(self, &in[i]) ? in[i].result : 0;
	if (self->narrow)
		__atomic_fetch_add(&((struct ffpf_mbuf_sampler_4 *)self->mbuf)->seen, count, __ATOMIC_RELAXED);
	else
		ffpf_word_add(&((struct ffpf_mbuf_sampler *)self->mbuf)->seen, count);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct sampler *self = instance;

	if (self->narrow)
		ffpf_report_uint(report, "seen",
				 __atomic_load_n(&((struct ffpf_mbuf_sampler_4 *)self->mbuf)->seen, __ATOMIC_RELAXED));
	else
		ffpf_report_uint(report, "seen", ffpf_word_load(&((struct ffpf_mbuf_sampler *)self->mbuf)->seen));
}

const struct ffpf_class ffpf_class_sampler = {
	.name = "sampler",
	.summary = "lets one in N packets pass, or all packets of one in N flows",
	.arguments = "N | 1/N random [seed=S] | 1/N hash [seed=S]",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct sampler),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_sampler_4),
	.parse = parse,
	.open = open_sampler,
	.filter_batch = sample,
	.describe = describe,
};
