/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_NODE_READER_H
#define FFPF_GRAPH_NODE_READER_H
/*
 * A node of a flow as a reader (reader/reader.h): whoever gathers rows, columns or tables from a capture gathers them
 * from a node. It is the flow's reader of that node, as in flow.h: packets are queued from now on.
 *
 * Packets of one batch have one link type, which is info.link_type until the next batch. Times are in nanoseconds.
 * Filters, directions and descriptors to wait on are not the reader's: those of the flow's devices are the graph's.
 */
#include "graph/flow.h"
#include "reader/reader.h"

/* The flow is closed only, not destroyed, before the reader is closed: from then on next fails. closed, may be NULL, is
 * called at the end of the reader's close, by its caller. */
int ffpf_graph_node_reader(struct ffpf_reader **out, struct ffpf_graph_flow *flow, uint32_t node,
			   void (*closed)(void *arg), void *arg, struct ffpf_error *err);
/* How long next waits, in milliseconds; < 0, as at first: until a packet comes. */
void ffpf_graph_node_reader_wait(struct ffpf_reader *reader, int timeout_ms);

#endif
