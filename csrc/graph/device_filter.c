/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The filter on an interface's socket: what no active flow wants is not brought up. There is one while all that active
 * flows do with the device is to hand its packets to one BPF node, and it is that node's program. The node judges what
 * passes once more, so its verdict is the whole truth; and its own view of a packet, which may be cut, accepts no
 * packet that the kernel's does not.
 *
 *     active flows                                            on the socket
 *     (device,a) -> (BPF,tcp) -> ...                          tcp
 *       the same, and (device,a) -> (BPF,tcp) -> (topk)       tcp: one node
 *       the same, and (device,a) -> (packetcount)             nothing
 *       the same, and somebody reads the device's node        nothing
 *       the same, and (device,a) -> (BPF,udp) -> ...          nothing. To or programs is not exact: a load beyond a
 *                                                             short packet's end would turn it away for both
 */
#include "bpf/bpf.h"
#include "graph/classes.h"
#include "graph/engine_internal.h"
#include "source/cooked.h"
#include "syspcap/syspcap.h"

/* A frame that is cut before the place of its tag comes without it; an unfiltered socket cuts no shorter than this. */
static bool
can_filter(const struct device *device)
{
	return device->kind == DEVICE_LIVE && device->form == FFPF_FORM_LIVE && !device->ended &&
	       device->snap_len >= COOKED_MAX_BYTES;
}

/* An active flow ends with the device itself: its counters are wanted of all packets. */
static bool
is_an_end(const struct ffpf_engine *engine, const struct node *node)
{
	for (const struct ffpf_graph_flow *flow = engine->flows; flow; flow = flow->next) {
		for (uint32_t i = 0; flow->state == FFPF_GRAPH_ACTIVE && i < flow->text->end_count; i++) {
			if (flow->nodes[flow->text->ends[i]] == node)
				return true;
		}
	}
	return false;
}

static bool
feeds(const struct node *input, const struct node *node)
{
	for (uint32_t i = 0; i < node->input_count; i++) {
		if (node->inputs[i] == input)
			return true;
	}
	return false;
}

/* The BPF node that takes all of the device's packets that anybody takes; NULL: there is none. */
static const struct node *
only_filter(const struct ffpf_engine *engine, const struct node *node)
{
	const struct node *only = NULL;

	if (!node->active || node->queues || is_an_end(engine, node))
		return NULL;
	for (uint32_t i = 0; i < engine->node_count; i++) {
		const struct node *child = engine->nodes[i];

		if (!child->active || !feeds(node, child))
			continue;
		if (child->class != &ffpf_class_bpf || only)
			return NULL;
		only = child;
	}
	return only;
}

/* What was served and has not passed the graph is given back, and judged anew. */
static int
set(struct device *device, const struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	struct ffpf_reader *reader = device->reader;
	int status;

	if (device->consumed)
		reader->ops->release(reader, device->consumed);
	status = reader->ops->set_filter(reader, prog);
	if (!status) {
		device->batch.count = device->consumed = 0;
		return 0;
	}
	device->batch.pkts += device->consumed;
	device->batch.count -= device->consumed;
	device->consumed = 0;
	if (err)
		*err = reader->err;
	return status;
}

static int
clear(struct device *device, struct ffpf_error *err)
{
	int status = device->filter ? set(device, NULL, err) : 0;

	if (status)
		return status;
	ffpf_bpf_prog_destroy(device->filter);
	device->filter = NULL;
	device->filter_of = 0;
	return 0;
}

/* What the kernel will not run stays where it is: in the node. */
static void
put(struct device *device, const struct node *node)
{
	const struct ffpf_bpf_prog *of_node = ffpf_bpf_of(node->instance, device->link_type, device->form);
	struct ffpf_bpf_prog *own; /* the node may go before the device */

	if (ffpf_bpf_prog_create(&own, of_node->insns, of_node->insn_count, FFPF_BPF_INTERPRETER, NULL))
		return;
	if (set(device, own, NULL)) {
		ffpf_bpf_prog_destroy(own);
		return;
	}
	device->filter = own;
	device->filter_of = node->id;
	if (device->reader->info.filter_kind != FFPF_FILTER_KERNEL)
		clear(device, NULL);
}

int
device_filters_fit(struct ffpf_engine *engine, struct ffpf_error *err)
{
	int status = 0;

	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct node *node = engine->nodes[i];
		const struct node *filter;

		if (!node->device || !can_filter(node->device))
			continue;
		filter = only_filter(engine, node);
		if (node->device->filter_of == (filter ? filter->id : 0))
			continue;
		if (clear(node->device, status ? NULL : err))
			status = -FFPF_E_SYSTEM;
		else if (filter)
			put(node->device, filter);
	}
	return status;
}
