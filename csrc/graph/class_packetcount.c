/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_packetcount.h"
#include "graph/classes.h"

struct packetcount {
	struct ffpf_mbuf_packetcount *mbuf;
};

static int
open_counter(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct packetcount *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	return 0;
}

static void
count(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	struct packetcount *self = instance;

	for (uint32_t i = 0; i < n; i++)
		results[i] = in[i].result;
	ffpf_word_add(&self->mbuf->packets, n);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct packetcount *self = instance;

	ffpf_report_uint(report, "packets", ffpf_word_load(&self->mbuf->packets));
}

const struct ffpf_class ffpf_class_packetcount = {
	.name = "packetcount",
	.summary = "counts packets",
	.arguments = "",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct packetcount),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_packetcount),
	.open = open_counter,
	.filter_batch = count,
	.describe = describe,
};
