/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_RELAYED_H
#define FFPF_GRAPH_RELAYED_H
/*
 * Packets of nodes for another process, second hand and without a copy (relay/relay.h). All of one given device, whose
 * reader is one of lanes and has times in nanoseconds:
 *
 *     (device,given:NAME) -> ... nodes ... -> relay: IBufs to the device's lanes
 *
 * A packet that several nodes let through goes there once. The result is the node's; of several nodes bit j says that
 * it came out of the j-th.
 */
#include "graph/flow.h"
#include "relay/relay.h"

#define FFPF_GRAPH_RELAY_NODES_MAX 32

struct ffpf_graph_relay;

/* device: a flow whose first node is the device. *out is untouched on failure. */
int ffpf_graph_relay_open(struct ffpf_graph_relay **out, struct ffpf_graph_flow *device,
			  const struct ffpf_relay_config *cfg, struct ffpf_error *err);
/* What this node lets through while the flow is active, until the flow is closed. Only the device's packets can come to
 * it. */
int ffpf_graph_relay_add(struct ffpf_graph_relay *relay, struct ffpf_graph_flow *flow, uint32_t node,
			 struct ffpf_error *err);
/* What the other process has read goes back to the lanes. The engine does it as it reads on; to be called now and then
 * for a device that no active flow reads. */
void ffpf_graph_relay_look(struct ffpf_graph_relay *relay);
/* The other process is told that it was detached. Before the engine is destroyed; NULL is legal. */
void ffpf_graph_relay_close(struct ffpf_graph_relay *relay);

/* Copies of descriptors for the other process, the caller's, or -code. */
int ffpf_graph_relay_reader(struct ffpf_graph_relay *relay, struct ffpf_error *err);
int ffpf_graph_relay_event(struct ffpf_graph_relay *relay, struct ffpf_error *err);
/* As ffpf_relay_ibuf. -FFPF_E_NO_SUCH_DEVICE: there is none, yet. */
int ffpf_graph_relay_ibuf(struct ffpf_graph_relay *relay, uint32_t lane, uint32_t least, uint32_t *move,
			  struct ffpf_error *err);

#endif
