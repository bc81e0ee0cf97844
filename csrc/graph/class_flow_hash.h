/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_FLOW_HASH_H
#define FFPF_GRAPH_CLASS_FLOW_HASH_H
/*
 * (flow_hash,"mod=N seed=S",) makes the packet's flow its classification result: all packets of a flow, in both
 * directions, have the same, so that filters behind it, and readers, share work by it. No packet is turned away.
 *
 *   without mod   the upper 32 bits of ffpf_tuple_hash with seed S (1 when it is not given); 0, which would turn the
 *                 packet away, is 1
 *   mod=N         1 + hash * N / 2^32: 1 to N, evenly
 *
 * It has no MBuf. Packets without a flow (see tuple.h) have one result with each other.
 */

#endif
