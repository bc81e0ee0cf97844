/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_ENGINE_H
#define FFPF_GRAPH_ENGINE_H
/*
 * The embedded engine: the filter graph of a process, all its flows merged, and what drives them. Paper, sections 2.2
 * to 2.4.
 *
 *     devices: readers, hooks --> batch --> nodes in topological order --> queues of whoever reads a node
 *
 * Two flows whose texts begin alike share the nodes of that beginning, and each shared node runs once a packet: nodes
 * are the same when class, arguments (as the class writes them), MBuf size and input nodes are. A flow may refuse to
 * share. A savefile that was begun is shared with no flow that comes later (it would miss the beginning); everything
 * else is, with what it has counted so far.
 *
 * Nothing runs by itself: packets pass while some thread is in ffpf_engine_run, in ffpf_graph_getnext_pkt,
 * ffpf_graph_wait_for_n_pkts (flow.h), or hands packets to a hook. A device is read while an active flow needs it.
 *
 * Threads: any thread may make any call at any time; one is inside at a time, and one that waits lets others in. (One
 * that reads a pipe does not, until octets come.) While a flow's program in FPL-2 is compiled packets pass and are
 * read; other calls wait. A graph belongs to the process that made it: in a forked child every call fails, and closing
 * does nothing.
 */
#include "graph/class.h"
#include "graph/parse.h"
#include "reader/reader.h"

struct ffpf_engine;
struct ffpf_graph_flow;

struct ffpf_engine_config {
	uint32_t batch;       /* packets that pass the graph together: 1 to 1024; 0: 256 */
	uint32_t queue_slots; /* unread packets of one reader of a node: a power of two, at least 2 batches; 0: 16384 */
	size_t store_bytes;   /* of packets that wait for their readers, all together; 0: 64 MiB */
	uint32_t snap_len;    /* live; 0: 262144. With `immediate` the ring has a frame of that size for each packet */
	int timeout_ms;       /* live: after so long the kernel hands over what it has; 0: 10 */
	size_t buffer_bytes;  /* live: the kernel's ring; 0: the default of source/live.h */
	bool promisc;
	bool immediate; /* live: every packet at once, at a higher cost */
	bool shown;     /* each node has a memory that other processes may be given to read: ffpf_graph_flow_memory */
};

int ffpf_engine_create(struct ffpf_engine **out, const struct ffpf_engine_config *cfg, struct ffpf_error *err);
void
ffpf_engine_destroy(struct ffpf_engine *engine); /* closes and frees every flow; no thread is inside; NULL is legal */

/*
 * Packets pass until max_packets have come in from devices (0: no limit), all devices that are needed have ended
 * (FFPF_END: at once when no flow is active), or timeout_ms have gone by (FFPF_TIMEOUT; < 0: no limit; 0: what is there
 * now). FFPF_BATCH: max_packets came. FFPF_INTERRUPTED: a signal, or ffpf_engine_wake. FFPF_FAILED: err, among others
 * once for each device that ended because it failed, at the end of all. *packets: how many came in; may be NULL.
 */
enum ffpf_outcome ffpf_engine_run(struct ffpf_engine *engine, uint64_t max_packets, int timeout_ms, uint64_t *packets,
				  struct ffpf_error *err);

/* The next, or current, call that waits ends with FFPF_INTERRUPTED, once. Async-signal-safe. */
void ffpf_engine_wake(struct ffpf_engine *engine);

/*
 * A filter class of the application's own, for the flows of this graph: see class.h. It and all that it points to stay
 * until the graph is destroyed. -FFPF_E_INVALID: its name is no word of graph text, or there is a class of that name.
 */
int ffpf_engine_add_class(struct ffpf_engine *engine, const struct ffpf_class *class, struct ffpf_error *err);

/*
 * An external function of the application's own, for programs in FPL-2 and FPL-1 of this graph that are instantiated
 * later: see externs/externs.h. It and all that it points to stay until the graph is destroyed. Its sizes are those of
 * the row: parse is NULL, or changes none. -FFPF_E_INVALID: no name, or one that is taken.
 */
struct ffpf_extern;
int ffpf_engine_add_extern(struct ffpf_engine *engine, const struct ffpf_extern *function, struct ffpf_error *err);

/*
 * hook_handle_packet: one function is all that a new source of packets needs. Paper, section 3.6.
 *
 * An application offers a hook, flows name it as (device,hook:NAME), and each packet handed to it passes the graph
 * before the call returns: nothing is left waiting, and the packet's memory is the caller's again. Time is the
 * packets': ts_sec and ts_frac (nanoseconds). Names are those of parse.h.
 */
struct ffpf_engine_hook;
int ffpf_engine_hook_open(struct ffpf_engine_hook **out, struct ffpf_engine *engine, const char *name,
			  uint32_t link_type, struct ffpf_error *err);
/* Hands over `count` packets. 0, or -code. While no active flow has the hook they go nowhere, and count nowhere. */
int ffpf_engine_hook_handle_packets(struct ffpf_engine_hook *hook, const struct ffpf_packet *pkts, uint32_t count,
				    struct ffpf_error *err);
/* No packet will come: readers see the end. The hook is the graph's, and freed with it; it cannot be used any more. */
void ffpf_engine_hook_close(struct ffpf_engine_hook *hook);

/*
 * A reader of the application's as a device, (device,given:NAME): it is the graph's from now on, and closed when no
 * flow has it any more. `close(arg)` (may be NULL) is called after that, for what the reader reads from. A reader is
 * given to one flow, or to several that share it. On failure it stays the caller's.
 */
int ffpf_engine_give_reader(struct ffpf_engine *engine, const char *name, struct ffpf_reader *reader,
			    void (*close)(void *arg), void *arg, struct ffpf_error *err);

/* Why packets did not pass a node. Law, for every node at every moment between calls: in = out + filtered +
 * sum(dropped). The causes of a reader come first (reader/reader.h). What the filter on an interface's socket turned
 * away never came, and is counted nowhere; what came up just before it was there, and failed it, is filtered at the
 * device. */
enum ffpf_node_drop {
	FFPF_NODE_DROP_PAUSED = FFPF_DROP_CAUSES, /* a device: came while no flow with it was active */
	FFPF_NODE_DROP_CLASS,                     /* the class had no room for it: table, disk */
	FFPF_NODE_DROP_CAUSES
};

const char *ffpf_node_drop_name(unsigned cause); /* "kernel" ... "paused", "class"; static text */

struct ffpf_node_counters {
	uint64_t in, out, filtered;
	uint64_t dropped[FFPF_NODE_DROP_CAUSES];
};

/* An instance: what one or more flows' nodes have become. Strings and arrays stay until the last of its flows closes.
 */
struct ffpf_engine_instance {
	uint64_t id;           /* from 1, never used again; an input has a smaller one than what it feeds */
	const char *class;     /* "" for the joined ends of a flow, when somebody reads a flow of several ends */
	const char *arguments; /* as the class writes them */
	uint64_t mbuf_bytes;
	const uint64_t *inputs; /* ids */
	uint32_t input_count;
	uint32_t flows;     /* that have it */
	uint32_t active;    /* of those, the ones that are active: it runs while there is one */
	unsigned level;     /* one of FFPF_LEVEL_*: where it runs */
	const char *reason; /* why there */
	struct ffpf_node_counters counters;
};

uint32_t ffpf_engine_instance_count(struct ffpf_engine *engine);
/* Instance number `index`, in topological order. -FFPF_E_INVALID: there is none. */
int ffpf_engine_instance_at(struct ffpf_engine *engine, uint32_t index, struct ffpf_engine_instance *out,
			    struct ffpf_error *err);

#endif
