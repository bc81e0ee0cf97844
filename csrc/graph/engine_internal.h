/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_ENGINE_INTERNAL_H
#define FFPF_GRAPH_ENGINE_INTERNAL_H
/*
 * What the files of the engine share. Everything here is looked at under the engine's lock.
 *
 *     board.c   what a board runs of the graph
 *     device.c  expression -> reader          merge.c  readers -> one batch by time
 *     device_filter.c  what the interface need not bring up
 *     node.c    instances: made, found, freed pass.c   batch -> nodes -> queues
 *     callee.c  filters that programs call
 *     queue.c   what waits for a reader       drive.c  who may run it, and how one waits
 *     relayed.c what goes to other processes
 */
#include "externs/externs.h"
#include "graph/engine.h"
#include "graph/flow.h"
#include "ring/mbuf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/types.h>

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u

enum device_kind { DEVICE_FILE, DEVICE_LIVE, DEVICE_HOOK, DEVICE_GIVEN, DEVICE_BOARD };

/* A hook that an application offers. Never freed before the engine. */
struct ffpf_engine_hook {
	struct ffpf_engine *engine;
	struct ffpf_engine_hook *next;
	char *name;
	uint32_t link_type;
	bool closed;
};

/* A reader that was given and that no flow has taken yet. */
struct given {
	struct given *next;
	char *name;
	struct ffpf_reader *reader;
	void (*close)(void *arg);
	void *arg;
};

/* The source of a device's packets. */
struct device {
	enum device_kind kind;
	struct ffpf_reader *reader;    /* NULL: a hook */
	struct ffpf_engine_hook *hook; /* NULL: a reader */
	FILE *fp;                      /* of a savefile */
	struct given *given;           /* taken over */
	struct ffpf_ixp_session
	    *session; /* of a board's own device, which has no reader until one is needed: board.c */
	char *board;  /* likewise: its name, or its socket's path */
	bool results; /* what its reader says is the packets' result */
	uint16_t link_type, form;
	uint32_t snap_len;
	bool begun; /* a packet was asked for: a later flow would miss it */
	bool ended;
	struct ffpf_error failed; /* code 0: it ended well */
	bool told;                /* of that, by a run */
	struct ffpf_batch batch;  /* of the reader; consumed of it so far: */
	uint32_t consumed;
	uint64_t passed, paused;      /* packets that went into the graph, and that came while none was active */
	uint64_t active_since_ns;     /* live: older packets came while paused */
	struct ffpf_bpf_prog *filter; /* on the interface's socket; NULL: none */
	uint64_t filter_of;           /* the node with that program; 0: none */
};

/* An instance. */
struct node {
	uint64_t id;
	const struct ffpf_class *class; /* NULL: joins the ends of a flow */
	void *instance;
	char *arguments;
	struct callees *callees; /* NULL: it is none of a program */
	uint64_t mbuf_bytes;
	struct ffpf_mbuf
	    mbuf; /* data NULL: none. Of a node that is shown there is one, with room for nothing if need be */
	struct node **inputs;
	uint64_t *input_ids;
	uint32_t input_count;
	const struct ffpf_graph_flow *owner; /* its only flow may be this one; NULL: any */
	uint32_t flows, active;
	struct device
	    *device;  /* NULL: a filter of this process. Of a filter that a board runs: where its packets come */
	char *reason; /* why it runs where it does; NULL: there is nothing special to it */
	uint32_t *link_types;
	uint16_t *forms;
	uint32_t link_type_count;
	struct node **sources; /* the devices whose packets can come here */
	uint32_t source_count;
	bool offline;
	bool flushed; /* since its devices ended */
	uint64_t in, out, dropped;
	/* of the batch: which packets it let through, in order, and with what result */
	uint32_t count;
	uint16_t *pos;
	uint32_t *results;
	struct queue *queues;
};

/* Memory of packets that wait. Freed when no descriptor points into it. */
struct chunk {
	size_t bytes, used;
	uint32_t refs; /* descriptors, and one while it is being filled */
	uint8_t data[];
};

/*
 * One reader of one node: r <= g <= w <= 2 * slots, w - r <= slots. When w comes to the end of the arrays, r .. w moves
 * to their beginning, so that what is given is always in one piece.
 *
 *     r .. g   out: the application has them       g .. w   waiting       borrowed .. w   still in their device's
 * memory
 */
struct queue {
	struct queue *next;        /* of the node */
	struct queue *next_of_all; /* of the engine */
	struct ffpf_graph_flow *flow;
	struct node *node;
	struct ffpf_packet *pkts;
	struct chunk **chunks; /* that hold data; NULL: borrowed */
	uint16_t *link_types;
	uint16_t *pos; /* of borrowed ones, in the batch */
	uint32_t r, g, w, borrowed;
	bool out_borrowed; /* some that are out are borrowed */
	pthread_t owner;   /* of what is out */
	uint64_t let_through, dropped_ibuf, dropped_pbuf;
	ffpf_graph_callback callback;
	void *callback_arg;
	uint32_t callback_n;
	uint64_t callback_until_ns; /* CLOCK_MONOTONIC; UINT64_MAX: for ever */
};

struct waiter {
	struct waiter *next;
	int event_fd;
	uint32_t want; /* packets of a device that are worth a wake-up; 0: one */
};

struct ffpf_engine {
	struct ffpf_engine_config cfg;
	pid_t pid;
	pthread_mutex_t lock;
	pthread_cond_t called; /* a callback has returned, or a class was opened */
	bool calling;
	pthread_t caller;
	bool opening; /* a class is, and the lock is open: packets pass, nodes neither come nor go */
	int wake_fd;
	atomic_int woken;
	atomic_uint at_door; /* threads that want the lock */
	struct waiter *waiters;

	struct node **nodes; /* inputs before what they feed */
	uint32_t node_count, node_room;
	uint64_t last_id, last_flow;
	struct ffpf_graph_flow *flows;
	struct ffpf_engine_hook *hooks;
	struct given *given;
	const struct ffpf_class **classes; /* the application's own */
	uint32_t class_count;
	const struct ffpf_extern **externs; /* likewise; rows of externs_scope */
	struct ffpf_extern_scope externs_scope;
	struct queue *queues;
	uint32_t queue_count;
	struct ffpf_graph_relay *relays;

	/* the batch that passes, or passed last */
	struct ffpf_node_pkt *batch;
	struct ffpf_packet *pkts; /* descriptors in nanoseconds */
	uint32_t count;
	const uint8_t **saved; /* where a packet of the batch was copied to, or NULL */
	struct chunk **saved_in;
	struct ffpf_node_pkt *in; /* a node's input */
	uint16_t *in_pos;
	uint32_t *in_results, *marks;

	struct chunk *filling;
	size_t store_used;
	uint64_t now_ns; /* the last that was told to classes */
	uint64_t ticked_ns;
};

/* One node of a flow, and what serves it. */
struct ffpf_graph_flow {
	struct ffpf_engine *engine;
	struct ffpf_graph_flow *next;
	char *name;
	enum ffpf_graph_sharing sharing;
	enum ffpf_graph_state state;
	struct ffpf_graph_text *text;
	struct node **nodes;   /* of text->nodes */
	struct node *last;     /* the ends: the only one, or their join; NULL until it is read */
	struct node **members; /* those, and all that feeds them */
	uint32_t member_count;
};

/* drive.c: enter takes the lock, or fails: another process, or no memory to wait with. may_drive: refuse callers that
 * are inside a callback. */
int engine_enter(struct ffpf_engine *engine, bool may_drive, struct ffpf_error *err);
void engine_leave(struct ffpf_engine *engine);
void engine_away(void *engine, bool on);         /* struct ffpf_class_env.away */
void engine_changed(struct ffpf_engine *engine); /* whoever waits looks again */
bool engine_foreign(const struct ffpf_engine *engine);

enum step { STEP_BATCH, STEP_NOTHING, STEP_END, STEP_HELD, STEP_FAILED };
/* One batch of at most `max` packets. HELD: *holder has packets of a device out that must be given back first. */
enum step engine_step(struct ffpf_engine *engine, uint32_t max, uint32_t *packets, const struct queue **holder,
		      struct ffpf_error *err);
/* Until a device has something (of readers that can be paced: `want` packets, unless somebody else waits for fewer),
 * something changed, or the time is over. FFPF_BATCH: look again. */
enum ffpf_outcome engine_wait(struct ffpf_engine *engine, uint32_t want, uint64_t until_ns, struct ffpf_error *err);
void engine_callbacks(struct ffpf_engine *engine); /* calls those that are due; the lock is open meanwhile */

/* added.c: of the table, or one of the application's own; NULL: there is none. */
const struct ffpf_class *engine_class_find(const struct ffpf_engine *engine, const char *name);
/* Whether a program's text has this in it as a word, in any case. */
bool engine_has_word(const char *text, const char *word);
bool engine_extern_is_known(const struct ffpf_engine *engine, const char *name); /* likewise, in any case */

/* device.c */
int device_open(struct device **out, struct ffpf_engine *engine, const char *arguments, struct ffpf_error *err);
void device_close(struct device *device);
/* An active flow has it, or none has any more: what comes meanwhile is no flow's. NULL is legal. */
void device_wanted(struct device *device, bool on);
bool device_is_file(const struct device *device); /* has something or has ended: nothing is waited for */

/* board.c. need: somebody of this process takes the packets of a device; what is no board's has them already. place: an
 * engine of the board runs the node now, and node->device is where its packets come; false: this process must. Either
 * way node->reason is set, unless the node has nothing to do with a board. */
int board_open(struct device *device, struct ffpf_engine *engine, const char *name, struct ffpf_error *err);
void board_close(struct device *device); /* what board_open made; zeros are legal */
/* Whether packets that this node of the text lets through, and others of its device that it need not have seen, come to
 * one node again. There they are one packet, which they would not be if a board ran the one, and the host the other. */
bool board_meets(const struct ffpf_graph_text *text, uint32_t number);
int board_check_apart(const struct node *node, struct ffpf_error *err); /* that this did not happen by a name */
int board_need(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err);
bool board_place(struct ffpf_engine *engine, struct node *node, bool apart);
void board_run(struct device *device, bool on);       /* its filter sees packets, or none */
uint64_t board_received(const struct device *device); /* packets that came to the board */

/* device_filter.c: gives each interface's socket the filter that fits what is active and read now. Only to take one
 * away can fail; that one stays in force then. */
int device_filters_fit(struct ffpf_engine *engine, struct ffpf_error *err);

/* readable.c: nodes whose MBufs a program may read, MEM@NAME[n]: functions mem@NAME, of an octet of it, and of how many
 * octets from there on are wanted (1, 2, 4, 8). NAME is what the flow's text calls a node before that of the program,
 * or one of another flow; one without an MBuf is not there. */
struct readables {
	struct readable *list;
	uint32_t count;
};
/* Of the flow's node `number`. */
int readables_create(struct readables *out, const struct ffpf_graph_flow *flow, uint32_t number,
		     struct ffpf_error *err);
const struct ffpf_extern *readables_row(const struct readables *self, uint32_t i);
void readables_want(struct readables *self, const char *text); /* those whose names a program has in it */
bool readables_is_wanted(const struct readables *self, uint32_t i);
const struct node *readables_node(const struct readables *self, uint32_t i);
void readables_free(struct readables *self);

/* callee.c: filters before a flow that a node's program calls, directly or by another one: instances of the node's own,
 * which run with its packet and its MBuf. A filter may call those that stand before it, so that no call comes back. */
struct callees;
/* Where an error is: in the expression of a filter before the flow (NULL: of the node), at this octet of it. */
struct text_place {
	const struct ffpf_graph_node *callee;
	size_t at;
};
/* Whether all of a flow's text, called or not, are filters that there are, by names that are free. */
int callees_check(const struct ffpf_graph_flow *flow, struct ffpf_graph_error *err);
/* For the class's parse(), of the flow's node `number`: all of its text may be called, and read. */
int callees_create(struct callees **out, const struct ffpf_graph_flow *flow, uint32_t number, struct ffpf_error *err);
const struct ffpf_extern_scope *callees_scope(const struct callees *callees);
/* Behind it: those that are called have their arguments parsed, the others are gone. */
int callees_parse(struct callees *callees, struct ffpf_class_args *caller, struct text_place *place,
		  struct ffpf_error *err);
/* env: the node's, complete but for `externs`, which this sets. */
int callees_open(struct callees *callees, struct ffpf_class_env *env, struct text_place *place, struct ffpf_error *err);
/* Whether one of the programs reads this node's MBuf, which must stay, and run, as an input does. NULL is legal. */
bool callees_read(const struct callees *callees, const struct node *node);
const char *callees_key(const struct callees *callees); /* equal for those that do the same; "" for none */
void callees_tick(struct callees *callees, uint64_t now_ns);
int callees_flush(struct callees *callees, struct ffpf_error *err);
void callees_destroy(struct callees *callees); /* NULL is legal */

/* node.c: *out is a new node, or one that does the same. */
struct node_wanted {
	const struct ffpf_class *class;
	const char *expression;
	const struct ffpf_graph_flow *flow; /* whose node `number` it is; NULL: it is a join */
	uint32_t number;
	uint64_t mbuf_bytes;
	bool has_mbuf;
	struct node **inputs;
	uint32_t input_count;
	const struct ffpf_graph_flow *owner;
	bool apart; /* never what a board runs: see board_meets */
};
int node_get(struct node **out, struct ffpf_engine *engine, const struct node_wanted *wanted, struct text_place *place,
	     struct ffpf_error *err);
/* A node without MBuf that a board runs, and no active flow has, runs in this process from now on: its board may have
 * the engine back. On failure nothing has changed. */
int node_to_host(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err);
int node_flush(struct node *node, struct ffpf_error *err);
int node_free(struct ffpf_engine *engine, struct node *node, struct ffpf_error *err); /* flushes first */
void node_counters(const struct node *node, struct ffpf_node_counters *out);
bool node_ended(const struct node *node, struct ffpf_error *failed); /* all its devices have; failed may be NULL */

/* merge.c: fills engine->batch and the devices' pos. */
enum step merge_devices(struct ffpf_engine *engine, uint32_t max, struct ffpf_error *err);
void merge_begin(struct ffpf_engine *engine);
/* Adds the packet to the batch as one of this device's. */
void merge_add(struct ffpf_engine *engine, struct node *node, const struct ffpf_packet *pkt);
uint64_t merge_time(const struct device *device, const struct ffpf_packet *pkt);

/* pass.c */
void pass_batch(struct ffpf_engine *engine);
void pass_tick(struct ffpf_engine *engine, uint64_t now_ns);
int pass_flush(struct ffpf_engine *engine, struct ffpf_error *err); /* nodes whose devices have ended since */

/* queue.c */
int queue_create(struct queue **out, struct ffpf_engine *engine, struct ffpf_graph_flow *flow, struct node *node,
		 struct ffpf_error *err);
void queue_destroy(struct ffpf_engine *engine, struct queue *queue);
struct queue *queue_find(const struct node *node, const struct ffpf_graph_flow *flow);
void queue_push(struct ffpf_engine *engine, struct queue *queue, uint32_t pos, uint32_t result);
void queue_save_all(struct ffpf_engine *engine); /* nothing is borrowed any more, but what is out */
void queue_release(struct ffpf_engine *engine, struct queue *queue);
bool queue_give(struct ffpf_engine *engine, struct queue *queue, uint32_t max, struct ffpf_graph_batch *out);

/* relayed.c */
void relays_pass(struct ffpf_engine *engine);      /* what the batch that has passed brings to other processes */
void relays_end(const struct ffpf_engine *engine); /* devices that have ended: those are told */
uint64_t relays_look_ns(const struct ffpf_engine *engine); /* after so long at most a step is due */
void relays_forget_flow(struct ffpf_engine *engine, const struct ffpf_graph_flow *flow);
void relays_forget_device(struct ffpf_engine *engine, const struct node *device);

/* flow.c */
int flow_check(const struct ffpf_graph_flow *flow, const char *call, unsigned states, struct ffpf_error *err);
/* The instance behind a place of the flow (FFPF_GRAPH_LAST: makes the join if there is none yet). */
int flow_node_at(struct ffpf_graph_flow *flow, uint32_t place, struct node **out, struct ffpf_error *err);
/* Set err at this octet of the flow's text, and return -code. */
int flow_fail_at(const struct ffpf_graph_flow *flow, uint32_t at, struct ffpf_graph_error *err, enum ffpf_code code,
		 const char *text);
int flow_unknown_class(const struct ffpf_graph_flow *flow, const struct ffpf_graph_node *node,
		       struct ffpf_graph_error *err);
int flow_close_locked(struct ffpf_graph_flow *flow, struct ffpf_error *err);

#endif
