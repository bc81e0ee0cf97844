/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (delivered,J): of a flow that several nodes of ffpfd deliver to, the packets that came out of the J-th. There bit j
 * of a packet's result says that it came out of node j, so this lets those pass whose result has the bit. The result is
 * that of a device: no filter before it has said anything.
 */
#include "graph/classes.h"

#include <inttypes.h>

struct delivered {
	uint32_t bit;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct delivered *self = instance;
	struct ffpf_arg arg;
	uint64_t number = 0;
	int status;

	if (!ffpf_args_next(args, &arg, err))
		return err->code ? -(int)err->code : ffpf_args_fail(args, 0, err, "delivered: which bit?");
	if (!ffpf_arg_is(&arg, ""))
		return ffpf_arg_unknown(args, &arg, "J", err);
	status = ffpf_arg_uint(args, &arg, 0, 31, &number, err);
	if (status)
		return status;
	if (ffpf_args_next(args, &arg, err))
		return ffpf_arg_unknown(args, &arg, "J", err);
	self->bit = 1u << number;
	ffpf_text_add(&args->canonical, "%" PRIu64, number);
	return err->code ? -(int)err->code : 0;
}

static void
filter(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	const struct delivered *self = instance;

	for (uint32_t i = 0; i < n; i++)
		results[i] = in[i].result & self->bit ? UINT32_MAX : 0;
}

const struct ffpf_class ffpf_class_delivered = {
	.name = "delivered",
	.summary = "of packets that several nodes of ffpfd deliver, those of one",
	.arguments = "J",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct delivered),
	.parse = parse,
	.filter_batch = filter,
};
