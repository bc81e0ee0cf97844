/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/node_reader.h"
#include "common/clock.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SNAP_LEN_MAX 262144u
#define NS_PER_S     1000000000u
#define NS_PER_MS    1000000u
#define LOOK_MS      250 /* wake may have ended the wait of another thread of the graph: it is looked for that often */

struct node_reader {
	struct ffpf_reader reader; /* first */
	struct ffpf_graph_flow *flow;
	uint32_t node;
	int timeout_ms;
	uint32_t pace_want;
	uint64_t pace_until_ns; /* CLOCK_MONOTONIC; 0: timeout_ms */
	bool nonblock;
	struct ffpf_graph_batch batch;
	uint32_t served, released; /* of the batch */
	_Atomic bool woken;
	void (*closed)(void *arg);
	void *arg;
};

static struct node_reader *
of(struct ffpf_reader *r)
{
	return (struct node_reader *)r;
}

/* The packets of one link type that are next in the batch. */
static void
serve(struct node_reader *n, struct ffpf_batch *out)
{
	const uint16_t link_type = n->batch.link_types[n->served];
	uint32_t end = n->served + 1;

	while (end < n->batch.count && n->batch.link_types[end] == link_type)
		end++;
	n->reader.info.link_type = link_type;
	*out = (struct ffpf_batch){ .pkts = n->batch.pkts + n->served, .count = end - n->served };
	n->served = end;
}

/* Milliseconds that next() waits; < 0: for ever. */
static int
patience(const struct node_reader *n)
{
	uint64_t now_ns;

	if (n->nonblock)
		return 0;
	if (!n->pace_until_ns)
		return n->timeout_ms;
	now_ns = ffpf_clock_ns(CLOCK_MONOTONIC);
	return n->pace_until_ns > now_ns ? (int)((n->pace_until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

static enum ffpf_outcome
next(struct ffpf_reader *r, struct ffpf_batch *out)
{
	struct node_reader *n = of(r);
	int left = patience(n);

	if (n->served < n->batch.count) {
		serve(n, out);
		return FFPF_BATCH;
	}
	n->served = n->released = 0;
	for (;;) {
		const int slice = left < 0 || left > LOOK_MS ? LOOK_MS : left;
		enum ffpf_outcome outcome;

		if (atomic_exchange(&n->woken, false))
			return FFPF_INTERRUPTED;
		outcome = ffpf_graph_getnext_paced(n->flow, n->node, 0, n->pace_want, slice, &n->batch, &r->err);
		if (outcome == FFPF_BATCH)
			serve(n, out);
		if (outcome != FFPF_TIMEOUT || left == slice)
			return outcome;
		if (left > 0)
			left -= slice;
	}
}

static void
release(struct ffpf_reader *r, uint32_t n)
{
	of(r)->released += n;
}

/* The graph has its memory back, and packets that were not taken wait in the node's queue again: while packets are out,
 * nothing else passes the graph. */
static void
give_back(struct ffpf_reader *r)
{
	struct node_reader *n = of(r);
	struct ffpf_error err = { 0 };

	if (n->batch.count)
		ffpf_graph_give_back(n->flow, n->node, n->batch.count - n->released, &err); /* closed: nothing is out */
	n->batch.count = n->served = n->released = 0;
}

static int
set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	(void)prog;
	return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED, "a node's packets have passed the filters of its flow");
}

static int
set_nonblock(struct ffpf_reader *r, bool on)
{
	of(r)->nonblock = on;
	return 0;
}

static void
pace(struct ffpf_reader *r, uint32_t want, uint64_t until_ns)
{
	of(r)->pace_want = want;
	of(r)->pace_until_ns = until_ns;
}

static void
wake(struct ffpf_reader *r)
{
	atomic_store(&of(r)->woken, true);
	ffpf_graph_flow_wake(of(r)->flow);
}

static void
close_reader(struct ffpf_reader *r)
{
	struct node_reader *n = of(r);
	void (*closed)(void *arg) = n->closed;
	void *arg = n->arg;

	give_back(r);
	free(n);
	if (closed)
		closed(arg);
}

static const struct ffpf_reader_ops ops = {
	.name = "node",
	.next = next,
	.release = release,
	.settle = give_back,
	.give_back = give_back,
	.set_filter = set_filter,
	.set_nonblock = set_nonblock,
	.pace = pace,
	.wake = wake,
	.close = close_reader,
};

int
ffpf_graph_node_reader(struct ffpf_reader **out, struct ffpf_graph_flow *flow, uint32_t node, void (*closed)(void *arg),
		       void *arg, struct ffpf_error *err)
{
	struct node_reader *n;
	int status = ffpf_graph_read_begin(flow, node, err);

	if (status)
		return status;
	n = calloc(1, sizeof(*n));
	if (!n)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	n->reader.ops = &ops;
	n->reader.info.tick = FFPF_TICK_NS;
	n->reader.info.snap_len = SNAP_LEN_MAX;
	n->reader.info.link_type = 1; /* DLT_EN10MB, until there is a packet */
	n->flow = flow;
	n->node = node;
	n->timeout_ms = -1;
	n->closed = closed;
	n->arg = arg;
	*out = &n->reader;
	return 0;
}

void
ffpf_graph_node_reader_wait(struct ffpf_reader *reader, int timeout_ms)
{
	of(reader)->timeout_ms = timeout_ms;
}
