/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/hook_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A packet takes a microsecond or so; a writer that lost its CPU in the middle of one takes a time slice. */
#define QUIET_WAIT_NS 50000

struct ffpf_graph *
ffpf_graph_create(uint32_t capacity)
{
	struct ffpf_graph *graph = calloc(1, sizeof(*graph) + capacity * sizeof(graph->entries[0]));

	if (!graph)
		return NULL;
	graph->capacity = capacity;
	graph->ibufs = calloc(capacity + 1, sizeof(graph->ibufs[0]));
	graph->wanted = calloc(capacity + 1, sizeof(graph->wanted[0]));
	if (graph->ibufs && graph->wanted)
		return graph;
	ffpf_graph_destroy(graph);
	return NULL;
}

void
ffpf_graph_destroy(struct ffpf_graph *graph)
{
	if (!graph)
		return;
	free(graph->ibufs);
	free(graph->wanted);
	free(graph);
}

static int
by_filter(const void *a, const void *b)
{
	uintptr_t left = (uintptr_t)((const struct ffpf_graph_entry *)a)->prog;
	uintptr_t right = (uintptr_t)((const struct ffpf_graph_entry *)b)->prog;

	return (left > right) - (left < right);
}

static void
fill(struct ffpf_graph *graph, const struct ffpf_hook *hook)
{
	graph->count = hook->member_count;
	graph->serial = hook->last_serial;
	if (graph->count)
		memcpy(graph->entries, hook->members, graph->count * sizeof(graph->entries[0]));
	qsort(graph->entries, graph->count, sizeof(graph->entries[0]), by_filter);
	graph->ibuf_count = 0;
	for (uint32_t i = 0; i < graph->count; i++)
		if (!graph->entries[i].guest)
			graph->ibufs[graph->ibuf_count++] = graph->entries[i].ibuf;
}

/* Returns when the writer has left, at least once, the packet that it may have been in. */
static void
wait_until_quiet(struct ffpf_hook *hook)
{
	/* acquire: pairs with the release store in ffpf_hook_leave */
	uint64_t before = atomic_load_explicit(&hook->passes, memory_order_acquire);

	/* seq_cst: pairs with the exchange in ffpf_hook_enter, see hook_internal.h */
	while (atomic_load(&hook->inside) && atomic_load_explicit(&hook->passes, memory_order_acquire) == before)
		nanosleep(&(struct timespec){ .tv_nsec = QUIET_WAIT_NS }, NULL);
}

int
ffpf_graph_reserve(struct ffpf_hook *hook, uint32_t n, struct ffpf_error *err)
{
	uint32_t capacity = hook->capacity ? hook->capacity : 4;
	struct ffpf_graph_entry *members;
	struct ffpf_graph *fresh, *spare, *old;

	if (n <= hook->capacity)
		return 0;
	while (capacity < n)
		capacity *= 2;
	members = realloc(hook->members, capacity * sizeof(*members));
	if (members)
		hook->members = members;
	fresh = ffpf_graph_create(capacity);
	spare = ffpf_graph_create(capacity);
	if (!members || !fresh || !spare) {
		ffpf_graph_destroy(fresh);
		ffpf_graph_destroy(spare);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a graph of %u flows", capacity);
	}
	ffpf_graph_destroy(hook->spare);
	old = atomic_load_explicit(&hook->graph, memory_order_relaxed); /* our own store */
	hook->spare = fresh;
	ffpf_graph_replace(hook);
	ffpf_graph_destroy(old);
	hook->spare = spare;
	hook->capacity = capacity;
	return 0;
}

void
ffpf_graph_replace(struct ffpf_hook *hook)
{
	struct ffpf_graph *old = atomic_load_explicit(&hook->graph, memory_order_relaxed); /* our own store */

	hook->last_serial++;
	fill(hook->spare, hook);
	atomic_store(&hook->graph, hook->spare); /* seq_cst: see hook_internal.h */
	wait_until_quiet(hook);
	hook->spare = old;
}

struct ffpf_graph_entry *
ffpf_graph_find(struct ffpf_hook *hook, const struct ffpf_ibuf *ibuf)
{
	for (uint32_t i = 0; i < hook->member_count; i++)
		if (hook->members[i].ibuf == ibuf)
			return &hook->members[i];
	return NULL;
}

static int
add(struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_ibuf *ibuf, bool guest, struct ffpf_error *err)
{
	int rc;

	pthread_mutex_lock(&hook->control);
	rc = ffpf_graph_reserve(hook, hook->member_count + 1, err);
	if (!rc) {
		hook->members[hook->member_count++] = (struct ffpf_graph_entry){
			.ibuf = ibuf,
			.prog = flow->prog,
			.generation = flow->generation,
			.left = flow->left,
			.guest = guest,
		};
		ffpf_graph_replace(hook);
	}
	pthread_mutex_unlock(&hook->control);
	return rc;
}

int
ffpf_graph_add(struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_ibuf *ibuf, struct ffpf_error *err)
{
	ibuf->page->nested_before = ffpf_counted(&hook->lane->page->nested);
	return add(hook, flow, ibuf, false, err);
}

int
ffpf_graph_add_guest(struct ffpf_hook *hook, const struct ffpf_flow *flow, struct ffpf_ibuf *ibuf,
		     struct ffpf_error *err)
{
	return add(hook, flow, ibuf, true, err);
}

void
ffpf_graph_take(struct ffpf_hook *hook, const struct ffpf_ibuf *ibuf)
{
	struct ffpf_graph_entry *member;

	pthread_mutex_lock(&hook->control);
	member = ffpf_graph_find(hook, ibuf);
	*member = hook->members[--hook->member_count];
	ffpf_graph_replace(hook);
	pthread_mutex_unlock(&hook->control);
}
