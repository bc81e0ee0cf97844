/* SPDX-License-Identifier: BSD-3-Clause */
/* The bitcode of nodes.bpf.c, and that its layouts are those of csrc/graph. */
#include "kernel/kernel.h"

#include "graph/class_first_n.h"
#include "graph/class_histogram.h"
#include "graph/class_topk.h"
#include "graph/tuple.h"

#include "gen_nodes_bpf.h"

#define SAME(member)                                                                                                   \
	_Static_assert(offsetof(struct ffpf_node_tuple, member) == offsetof(struct ffpf_tuple, member), #member)

_Static_assert(sizeof(struct ffpf_node_tuple) == sizeof(struct ffpf_tuple), "tuple");
SAME(src);
SAME(dst);
SAME(sport);
SAME(dport);
SAME(ether_type);
SAME(protocol);
SAME(kind);

_Static_assert(offsetof(struct ffpf_mbuf_histogram, below) == 16, "histogram");
_Static_assert(offsetof(struct ffpf_mbuf_histogram, above) == 24, "histogram");
_Static_assert(offsetof(struct ffpf_mbuf_histogram, none) == 32, "histogram");
_Static_assert(offsetof(struct ffpf_mbuf_histogram, counts) == 48, "histogram");
_Static_assert(offsetof(struct ffpf_mbuf_first_n, forgotten) == 8, "first_n");
_Static_assert(offsetof(struct ffpf_mbuf_first_n, idle) == 16, "first_n");

_Static_assert(offsetof(struct ffpf_mbuf_topk, filled) == 24, "topk");
_Static_assert(offsetof(struct ffpf_mbuf_topk, none) == 32, "topk");
_Static_assert(offsetof(struct ffpf_mbuf_topk, missed) == 40, "topk");
_Static_assert(offsetof(struct ffpf_mbuf_topk, entries) == 64, "topk");

const void *
ffpf_kernel_nodes_bitcode(size_t *bytes)
{
	*bytes = sizeof(nodes_bpf);
	return nodes_bpf;
}
