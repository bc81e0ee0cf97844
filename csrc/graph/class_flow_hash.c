/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_flow_hash.h"
#include "graph/classes.h"
#include "graph/tuple.h"

#include <inttypes.h>

#define DEFAULT_SEED 1

struct flow_hash {
	uint64_t seed;
	uint64_t modulus; /* 0: none */
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct flow_hash *self = instance;
	struct ffpf_arg arg;
	int status = 0;

	self->seed = DEFAULT_SEED;
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "mod"))
			status = ffpf_arg_uint(args, &arg, 1, UINT32_MAX, &self->modulus, err);
		else if (ffpf_arg_is(&arg, "seed"))
			status = ffpf_arg_uint(args, &arg, 0, UINT64_MAX, &self->seed, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_flow_hash.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (self->modulus)
		ffpf_text_add(&args->canonical, "mod=%" PRIu64 " ", self->modulus);
	ffpf_text_add(&args->canonical, "seed=%" PRIu64, self->seed);
	return 0;
}

static uint32_t
classify(void *instance, const struct ffpf_node_pkt *in)
{
	const struct flow_hash *self = instance;
	struct ffpf_headers h;
	struct ffpf_flow_key flow;
	uint32_t hash;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	hash = (uint32_t)(ffpf_flow_of(&flow, &h, self->seed) >> 32);
	if (self->modulus)
		return (uint32_t)(1 + (hash * self->modulus >> 32));
	return hash ? hash : 1;
}

const struct ffpf_class ffpf_class_flow_hash = {
	.name = "flow_hash",
	.summary = "makes a hash of the packet's flow its classification result",
	.arguments = "[mod=N] [seed=S]",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct flow_hash),
	.parse = parse,
	.filter = classify,
};
