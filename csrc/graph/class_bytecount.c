/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_bytecount.h"
#include "graph/classes.h"

struct bytecount {
	struct ffpf_mbuf_bytecount *mbuf;
};

static int
open_counter(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct bytecount *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	return 0;
}

static void
count(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	struct bytecount *self = instance;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		results[i] = in[i].result;
		bytes += in[i].pkt->wire_len;
	}
	ffpf_word_add(&self->mbuf->bytes, bytes);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct bytecount *self = instance;

	ffpf_report_uint(report, "bytes", ffpf_word_load(&self->mbuf->bytes));
}

const struct ffpf_class ffpf_class_bytecount = {
	.name = "bytecount",
	.summary = "adds up the lengths of packets on the wire",
	.arguments = "",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct bytecount),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_bytecount),
	.open = open_counter,
	.filter_batch = count,
	.describe = describe,
};
