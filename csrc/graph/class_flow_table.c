/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows lie in an array, found by the index, and each is in one of two queues, by when it was last heard of:
 *
 *     LIVE     oldest <-> ... <-> newest     the oldest leaves when it has been idle
 *     OVER     oldest <-> ... <-> newest     the oldest leaves when it has lingered
 *
 * so that what is due always stands at the head of a queue, and a packet looks at two heads.
 */
#include "graph/class_flow_table.h"
#include "graph/classes.h"
#include "graph/flow_report.h"
#include "graph/flow_state.h"
#include "graph/index.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#define DEFAULT_FLOWS  65536u
#define MOST_FLOWS     (1u << 24)
#define DEFAULT_SLOTS  4096u
#define DEFAULT_IDLE   60000000000u
#define DEFAULT_ACTIVE 1800000000000u
#define DEFAULT_LINGER 5000000000u
#define SEED           0xf107u
#define BATCH          32u
#define RECENT         10u /* records that describe shows */
#define NOBODY         UINT32_MAX

enum queue_name { LIVE, OVER, QUEUES };

struct flow {
	struct ffpf_tuple canonical; /* first: see index.h */
	struct ffpf_mbuf_flow_record record;
	uint64_t hash;
	uint64_t heard_ns;   /* by the table's clock, which never goes back */
	uint32_t prev, next; /* in its queue; next also among the free ones */
	uint8_t queue;
	bool turned;  /* its record's src is the canonical tuple's dst */
	bool resumed; /* after `active`: it has had packets before */
};

struct queue {
	uint32_t oldest, newest;
};

struct flow_table {
	struct ffpf_mbuf_flow_table *mbuf;
	uint64_t room, idle_ns, active_ns, linger_ns;
	uint32_t slots;
	struct flow *flows;
	struct ffpf_index index;
	struct queue queues[QUEUES];
	uint32_t free;    /* the first of them, or NOBODY */
	uint64_t now_ns;  /* latest time that was heard of */
	uint64_t written; /* records */
	uint64_t begun, present, none, full;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct flow_table *self = instance;
	struct ffpf_arg arg;
	uint64_t slots;
	int status = 0;

	*self = (struct flow_table){
		.room = DEFAULT_FLOWS, .idle_ns = DEFAULT_IDLE, .active_ns = DEFAULT_ACTIVE, .linger_ns = DEFAULT_LINGER
	};
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "flows"))
			status = ffpf_arg_uint(args, &arg, 1, MOST_FLOWS, &self->room, err);
		else if (ffpf_arg_is(&arg, "idle"))
			status = ffpf_arg_duration(args, &arg, &self->idle_ns, err);
		else if (ffpf_arg_is(&arg, "active"))
			status = ffpf_arg_duration(args, &arg, &self->active_ns, err);
		else if (ffpf_arg_is(&arg, "linger"))
			status = ffpf_arg_duration(args, &arg, &self->linger_ns, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_flow_table.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (!args->mbuf_bytes)
		args->mbuf_bytes = sizeof(*self->mbuf) + DEFAULT_SLOTS * sizeof(self->mbuf->records[0]);
	slots = args->mbuf_bytes < sizeof(*self->mbuf)
		    ? 0
		    : (args->mbuf_bytes - sizeof(*self->mbuf)) / sizeof(self->mbuf->records[0]);
	if (!slots || slots > UINT32_MAX)
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: 64, and 96 for each record",
				      args->mbuf_bytes);
	self->slots = (uint32_t)slots;
	ffpf_text_add(&args->canonical,
		      "flows=%" PRIu64 " idle=%" PRIu64 "ns active=%" PRIu64 "ns linger=%" PRIu64 "ns", self->room,
		      self->idle_ns, self->active_ns, self->linger_ns);
	return 0;
}

static int
open_table(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct flow_table *self = instance;

	self->mbuf = env->mbuf;
	self->mbuf->slots = self->slots;
	self->flows = calloc(self->room, sizeof(*self->flows));
	if (!self->flows || !ffpf_index_open(&self->index, (uint32_t)self->room))
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for %" PRIu64 " flows", self->room);
	for (uint32_t i = 0; i < self->room; i++)
		self->flows[i].next = i + 1 < self->room ? i + 1 : NOBODY;
	self->queues[LIVE] = self->queues[OVER] = (struct queue){ NOBODY, NOBODY };
	return 0;
}

static void
close_table(void *instance)
{
	struct flow_table *self = instance;

	free(self->flows);
	ffpf_index_close(&self->index);
}

static void
leave_queue(struct flow_table *self, uint32_t i)
{
	struct flow *f = &self->flows[i];
	struct queue *q = &self->queues[f->queue];

	if (f->prev == NOBODY)
		q->oldest = f->next;
	else
		self->flows[f->prev].next = f->next;
	if (f->next == NOBODY)
		q->newest = f->prev;
	else
		self->flows[f->next].prev = f->prev;
}

static void
join_queue(struct flow_table *self, uint32_t i, enum queue_name name)
{
	struct flow *f = &self->flows[i];
	struct queue *q = &self->queues[name];

	f->queue = (uint8_t)name;
	f->prev = q->newest;
	f->next = NOBODY;
	if (q->newest == NOBODY)
		q->oldest = i;
	else
		self->flows[q->newest].next = i;
	q->newest = i;
}

static void export(struct flow_table *self, struct flow *f, enum ffpf_flow_reason reason)
{
	struct ffpf_mbuf_flow_table *mbuf = self->mbuf;

	f->record.reason = (uint8_t)reason;
	/* pairs with a reader that loads intent after it has copied: before any octet of the new record */
	__atomic_exchange_n(&mbuf->intent, self->written + 1, __ATOMIC_SEQ_CST);
	mbuf->records[self->written % self->slots] = f->record;
	__atomic_store_n(&mbuf->written, ++self->written, __ATOMIC_RELEASE);
	self->full += reason == FFPF_FLOW_FULL;
}

static void
end_flow(struct flow_table *self, uint32_t i, enum ffpf_flow_reason reason)
{
	struct flow *f = &self->flows[i];

	export(self, f, reason);
	leave_queue(self, i);
	ffpf_index_remove(&self->index, f->hash, i);
	f->next = self->free;
	self->free = i;
	self->present--;
}

/* Ends what is due at this time. */
static void
advance(struct flow_table *self, uint64_t now_ns)
{
	uint32_t i;

	if (now_ns > self->now_ns)
		self->now_ns = now_ns;
	while ((i = self->queues[OVER].oldest) != NOBODY && self->now_ns - self->flows[i].heard_ns >= self->linger_ns)
		end_flow(self, i, FFPF_FLOW_LINGERED);
	while ((i = self->queues[LIVE].oldest) != NOBODY && self->now_ns - self->flows[i].heard_ns >= self->idle_ns)
		end_flow(self, i, FFPF_FLOW_IDLE);
}

/* A packet of a flow, before the table was asked. */
struct found {
	const struct ffpf_node_pkt *in;
	struct ffpf_flow_key flow;
	uint64_t hash;
	bool is_tcp; /* and its flags are there */
	uint8_t flags;
};

static void
turn(struct ffpf_tuple *t)
{
	const struct ffpf_tuple was = *t;

	memcpy(t->src, was.dst, sizeof(t->src));
	memcpy(t->dst, was.src, sizeof(t->dst));
	t->sport = was.dport;
	t->dport = was.sport;
}

static uint32_t
begin_flow(struct flow_table *self, const struct found *found)
{
	uint32_t i;
	struct flow *f;

	if (self->free == NOBODY) {
		const uint32_t over = self->queues[OVER].oldest;

		end_flow(self, over != NOBODY ? over : self->queues[LIVE].oldest, FFPF_FLOW_FULL);
	}
	i = self->free;
	f = &self->flows[i];
	self->free = f->next;
	*f = (struct flow){ .canonical = found->flow.tuple, .hash = found->hash, .turned = found->flow.turned };
	/* who sends an answer did not ask */
	if (found->is_tcp && (found->flags & (FFPF_TCP_SYN | FFPF_TCP_ACK)) == (FFPF_TCP_SYN | FFPF_TCP_ACK))
		f->turned = !f->turned;
	f->record.key = f->canonical;
	if (f->turned)
		turn(&f->record.key);
	f->record.first_ns = found->in->ts_ns;
	ffpf_index_insert(&self->index, f->hash, i);
	join_queue(self, i, LIVE);
	self->begun++;
	self->present++;
	return i;
}

/* What was counted so far is told, and the flow goes on. */
static void
export_active(struct flow_table *self, struct flow *f, uint64_t ts_ns)
{
	export(self, f, FFPF_FLOW_ACTIVE);
	f->record = (struct ffpf_mbuf_flow_record){ .key = f->record.key, .first_ns = ts_ns, .state = f->record.state };
	f->resumed = true;
}

static void
count(struct flow_table *self, uint32_t i, const struct found *found)
{
	struct flow *f = &self->flows[i];
	struct ffpf_mbuf_flow_record *r = &f->record;
	const unsigned way = found->flow.turned != f->turned;
	const bool first = !f->resumed && !r->packets[0] && !r->packets[1];

	r->packets[way]++;
	r->bytes[way] += found->in->pkt->wire_len;
	if (found->in->ts_ns > r->last_ns)
		r->last_ns = found->in->ts_ns;
	if (found->is_tcp) {
		r->flags[way] |= found->flags;
		r->state = ffpf_flow_next_state(r, found->flags, way, first);
	}
	f->heard_ns = self->now_ns;
	leave_queue(self, i);
	join_queue(self, i, ffpf_flow_is_over(r->state) ? OVER : LIVE);
}

static void
see(struct flow_table *self, const struct found *found)
{
	uint32_t i;

	advance(self, found->in->ts_ns);
	i = ffpf_index_find(&self->index, found->hash, self->flows, sizeof(*self->flows), &found->flow.tuple);
	if (i != FFPF_INDEX_NONE && found->is_tcp && ffpf_flow_is_over(self->flows[i].record.state) &&
	    (found->flags & (FFPF_TCP_SYN | FFPF_TCP_ACK | FFPF_TCP_RST)) == FFPF_TCP_SYN) {
		end_flow(self, i, FFPF_FLOW_LINGERED);
		i = FFPF_INDEX_NONE;
	}
	if (i == FFPF_INDEX_NONE)
		i = begin_flow(self, found);
	else if (found->in->ts_ns >= self->flows[i].record.first_ns &&
		 found->in->ts_ns - self->flows[i].record.first_ns >= self->active_ns)
		export_active(self, &self->flows[i], found->in->ts_ns);
	count(self, i, found);
}

/* False: no IP. */
static bool
find(struct flow_table *self, const struct ffpf_node_pkt *in, struct found *found)
{
	struct ffpf_headers h;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	if (!(h.found & (FFPF_FOUND_IPV4 | FFPF_FOUND_IPV6)))
		return false;
	found->in = in;
	found->hash = ffpf_flow_of(&found->flow, &h, SEED);
	/* pieces of datagrams are a flow of their own, and have no state */
	found->is_tcp = h.protocol == IPPROTO_TCP && (h.found & FFPF_FOUND_PORTS) && !(h.found & FFPF_FOUND_FRAGMENT) &&
			h.len - h.transport > 13;
	found->flags = found->is_tcp ? h.data[h.transport + 13] : 0;
	ffpf_index_prefetch(&self->index, found->hash);
	return true;
}

static void
publish(struct flow_table *self)
{
	ffpf_word_store(&self->mbuf->flows, self->begun);
	ffpf_word_store(&self->mbuf->present, self->present);
	ffpf_word_store(&self->mbuf->none, self->none);
	ffpf_word_store(&self->mbuf->full, self->full);
}

static void
pass(void *instance, const struct ffpf_node_pkt *in, uint32_t packets, uint32_t *results)
{
	struct flow_table *self = instance;
	struct found found[BATCH];

	for (uint32_t begin = 0; begin < packets; begin += BATCH) {
		const uint32_t end = packets - begin < BATCH ? packets : begin + BATCH;
		uint32_t n = 0;

		for (uint32_t i = begin; i < end; i++) {
			results[i] = in[i].result;
			if (find(self, &in[i], &found[n]))
				n++;
			else
				self->none++;
		}
		for (uint32_t i = 0; i < n; i++)
			see(self, &found[i]);
	}
	publish(self);
}

static void
tick(void *instance, uint64_t now_ns)
{
	struct flow_table *self = instance;

	advance(self, now_ns);
	publish(self);
}

/* Oldest first, those that are over before those that live. */
static int
flush(void *instance, struct ffpf_error *err)
{
	struct flow_table *self = instance;
	uint32_t i;

	(void)err;
	for (int q = OVER; q >= LIVE; q--)
		while ((i = self->queues[q].oldest) != NOBODY)
			end_flow(self, i, q == OVER ? FFPF_FLOW_LINGERED : FFPF_FLOW_END);
	publish(self);
	return 0;
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct flow_table *self = instance;
	uint64_t n = self->written < RECENT ? self->written : RECENT;

	if (n > self->slots)
		n = self->slots;
	ffpf_report_uint(report, "flows", self->begun);
	ffpf_report_uint(report, "present", self->present);
	ffpf_report_uint(report, "exported", self->written);
	ffpf_report_uint(report, "full", self->full);
	ffpf_report_uint(report, "none", self->none);
	ffpf_report_list(report, "recent");
	for (uint64_t i = self->written - n; i < self->written; i++)
		ffpf_flow_report(report, &self->mbuf->records[i % self->slots]);
	ffpf_report_end(report);
}

const struct ffpf_class ffpf_class_flow_table = {
	.name = "flow_table",
	.summary = "a record of every TCP, UDP or other IP flow, exported when it is over",
	.arguments = "[flows=F] [idle=TIME] [active=TIME] [linger=TIME]",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct flow_table),
	.parse = parse,
	.open = open_table,
	.filter_batch = pass,
	.tick = tick,
	.flush = flush,
	.describe = describe,
	.close = close_table,
};
