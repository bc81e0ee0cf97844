/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_LAYOUT_H
#define FFPF_KERNEL_NODE_LAYOUT_H
/*
 * What the nodes of graphs in the kernel work on, one value for each lane of a source; written by the program of
 * fpl/graph, which has the same numbers in fpl/graph/emit.py, and by the functions of nodes.bpf.c that it calls.
 */
#include "kernel/kernel_layout.h"

#define FFPF_NODE_NUMBERS   64
#define FFPF_NODE_REGISTERS 128
/* So much of a packet is looked at for its headers; a power of two. What lies behind is as if it had been cut off. */
#define FFPF_NODE_HEADERS_BYTES 256

/* How a packet begins: enum of link types as fpl/graph knows them. */
#define FFPF_NODE_ETHERNET 0
#define FFPF_NODE_COOKED   1 /* at the network header; records get one of LINUX_SLL2 */
#define FFPF_NODE_RAW      2 /* at an IP header */
#define FFPF_NODE_OTHER    3

/* Numeric fields of graph/fields.c that the kernel finds: "tcp.dport" is TCP_DPORT. */
enum ffpf_node_field {
	FFPF_NODE_FIELD_LEN,
	FFPF_NODE_FIELD_IFINDEX,
	FFPF_NODE_FIELD_ETH_TYPE,
	FFPF_NODE_FIELD_VLAN_ID,
	FFPF_NODE_FIELD_VLAN_PRIORITY,
	FFPF_NODE_FIELD_IP_VERSION,
	FFPF_NODE_FIELD_IP_LEN,
	FFPF_NODE_FIELD_IP_TTL,
	FFPF_NODE_FIELD_IP_DSCP,
	FFPF_NODE_FIELD_IP_PROTO,
	FFPF_NODE_FIELD_IP_FRAGMENT,
	FFPF_NODE_FIELD_SPORT,
	FFPF_NODE_FIELD_DPORT,
	FFPF_NODE_FIELD_PORT,
	FFPF_NODE_FIELD_TCP_SPORT,
	FFPF_NODE_FIELD_TCP_DPORT,
	FFPF_NODE_FIELD_TCP_PORT,
	FFPF_NODE_FIELD_TCP_SEQ,
	FFPF_NODE_FIELD_TCP_ACK,
	FFPF_NODE_FIELD_TCP_FLAGS,
	FFPF_NODE_FIELD_TCP_WINDOW,
	FFPF_NODE_FIELD_TCP_LEN,
	FFPF_NODE_FIELD_UDP_SPORT,
	FFPF_NODE_FIELD_UDP_DPORT,
	FFPF_NODE_FIELD_UDP_PORT,
	FFPF_NODE_FIELD_UDP_LEN,
	FFPF_NODE_FIELD_ICMP_TYPE,
	FFPF_NODE_FIELD_ICMP_CODE,
	FFPF_NODE_FIELDS
};

/* Beside these, what the keys of a table can be. */
enum ffpf_node_key {
	FFPF_NODE_KEY_FLOW = 64,
	FFPF_NODE_KEY_PAIR,
	FFPF_NODE_KEY_IP_SRC,
	FFPF_NODE_KEY_IP_DST,
	FFPF_NODE_KEY_IP_ADDR,
	FFPF_NODE_KEY_ETH_SRC,
	FFPF_NODE_KEY_ETH_DST,
};

/* As struct ffpf_headers (graph/tuple.h), offsets from where the octets begin that a filter sees. */
struct ffpf_node_headers {
	uint32_t len, network, transport;
	uint16_t found; /* FFPF_FOUND_* */
	uint16_t ether_type;
	uint16_t vlan_tci;
	uint16_t sport, dport;
	uint8_t protocol, reserved;
};
FFPF_SIZE(ffpf_node_headers, 24);

/* As struct ffpf_tuple. */
struct ffpf_node_tuple {
	uint64_t src[2], dst[2];
	uint16_t sport, dport;
	uint16_t ether_type;
	uint8_t protocol, kind;
};
FFPF_SIZE(ffpf_node_tuple, 40);

/*
 * Of a program in FPL-2 while it runs; fpl/fpl2/ebpf.py has the same numbers. The packet with its tag in place begins
 * at shift - 4 of ffpf_scratch.data.
 */
struct ffpf_node_program {
	uint64_t registers[FFPF_NODE_REGISTERS]; /* those that a program uses it clears itself */
	uint64_t captured, wire;                 /* octets of the packet with its tag in place */
	uint64_t bounds[5];                      /* of loops, by depth */
	uint64_t scan[3]; /* of CONTAINS: from where, how many octets, found; of an assignment: where, by what */
	uint32_t result;
	uint32_t ended;       /* by RETURN, or by what it may not do */
	uint32_t shift;       /* 4; 0: a tag was put back */
	uint32_t saved;       /* what lay in front of data then */
	uint64_t external[8]; /* what an external function keeps while it runs */
};
FFPF_AT(ffpf_node_program, captured, 1024);
FFPF_AT(ffpf_node_program, bounds, 1040);
FFPF_AT(ffpf_node_program, scan, 1080);
FFPF_AT(ffpf_node_program, result, 1104);
FFPF_AT(ffpf_node_program, shift, 1112);
FFPF_SIZE(ffpf_node_program, 1184);

struct ffpf_node_work {
	uint64_t bits; /* nodes that the packet came out of */
	uint64_t on, deliver;
	uint64_t reserved[5];
	struct {
		uint64_t came, out;
	} counters[FFPF_NODE_NUMBERS];
	uint32_t results[FFPF_NODE_NUMBERS]; /* of nodes whose classification result is their own */
	struct ffpf_node_headers headers;
	struct ffpf_node_tuple flow; /* both directions made one */
	struct ffpf_node_program program;
};
FFPF_AT(ffpf_node_work, counters, 64);
FFPF_AT(ffpf_node_work, results, 1088);
FFPF_AT(ffpf_node_work, headers, 1344);
FFPF_AT(ffpf_node_work, flow, 1368);
FFPF_AT(ffpf_node_work, program, 1408);
FFPF_SIZE(ffpf_node_work, 2592);

#endif
