/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may run the engine, a batch of it, and how one waits. */
#include "common/clock.h"
#include "graph/engine_internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define IDLE_TICK_NS (100 * (uint64_t)NS_PER_MS) /* classes hear of time that often when nothing comes */
#define HELD_NS      NS_PER_MS                   /* packets that are held back are looked at again after so long */

bool
engine_foreign(const struct ffpf_engine *engine)
{
	return engine->pid != getpid();
}

int
engine_enter(struct ffpf_engine *engine, bool may_drive, struct ffpf_error *err)
{
	if (engine_foreign(engine))
		return ffpf_error_set(err, FFPF_E_BUSY,
				      "the graph belongs to process %d, of which this one is a child: it needs its own",
				      (int)engine->pid);
	atomic_fetch_add(&engine->at_door, 1);
	pthread_mutex_lock(&engine->lock);
	atomic_fetch_sub(&engine->at_door, 1);
	while ((engine->calling && !pthread_equal(engine->caller, pthread_self())) || (engine->opening && !may_drive))
		pthread_cond_wait(&engine->called, &engine->lock);
	if (!engine->calling || !may_drive)
		return 0;
	pthread_mutex_unlock(&engine->lock);
	return ffpf_error_set(err, FFPF_E_INVALID, "a callback cannot wait for packets, or hand packets over");
}

void
engine_leave(struct ffpf_engine *engine)
{
	pthread_mutex_unlock(&engine->lock);
}

/* While a class compiles, whoever only lets packets pass goes on; all others wait: what the new node hangs on stays.
 * Back, this does not wait for a callback, which may be waiting for this. */
void
engine_away(void *arg, bool on)
{
	struct ffpf_engine *engine = arg;

	if (on) {
		engine->opening = true;
		pthread_mutex_unlock(&engine->lock);
		return;
	}
	atomic_fetch_add(&engine->at_door, 1);
	pthread_mutex_lock(&engine->lock);
	atomic_fetch_sub(&engine->at_door, 1);
	engine->opening = false;
	pthread_cond_broadcast(&engine->called);
}

/* One that runs batch after batch does not keep the others out. */
static void
let_others_in(struct ffpf_engine *engine)
{
	if (!atomic_load(&engine->at_door))
		return;
	pthread_mutex_unlock(&engine->lock);
	sched_yield();
	pthread_mutex_lock(&engine->lock);
	while (engine->calling && !pthread_equal(engine->caller, pthread_self()))
		pthread_cond_wait(&engine->called, &engine->lock);
}

static void
ring(int event_fd)
{
	const uint64_t one = 1;
	ssize_t written = write(event_fd, &one, sizeof(one)); /* fails when it rings already */

	(void)written;
}

void
engine_changed(struct ffpf_engine *engine)
{
	for (const struct waiter *waiter = engine->waiters; waiter; waiter = waiter->next)
		ring(waiter->event_fd);
}

void
ffpf_engine_wake(struct ffpf_engine *engine)
{
	atomic_store(&engine->woken, 1);
	ring(engine->wake_fd);
}

/* Somebody wanted the one that waits, or works, to come out. */
static bool
was_woken(struct ffpf_engine *engine)
{
	uint64_t count;
	ssize_t got;

	if (!atomic_load(&engine->woken) || !atomic_exchange(&engine->woken, 0))
		return false;
	got = read(engine->wake_fd, &count, sizeof(count));
	(void)got;
	return true;
}

static const struct queue *
find_holder(const struct ffpf_engine *engine)
{
	for (const struct queue *queue = engine->queues; queue; queue = queue->next_of_all) {
		if (queue->out_borrowed)
			return queue;
	}
	return NULL;
}

enum step
engine_step(struct ffpf_engine *engine, uint32_t max, uint32_t *packets, const struct queue **holder,
	    struct ffpf_error *err)
{
	enum step step;

	let_others_in(engine);
	*packets = 0;
	*holder = find_holder(engine);
	if (*holder)
		return STEP_HELD;
	queue_save_all(engine);
	step = merge_devices(engine, max < engine->cfg.batch ? max : engine->cfg.batch, err);
	*packets = engine->count;
	if (engine->count) {
		pass_batch(engine);
		relays_pass(engine);
	}
	relays_end(engine);
	if (pass_flush(engine, err))
		return STEP_FAILED;
	if (step == STEP_NOTHING) {
		uint64_t now = ffpf_clock_ns(CLOCK_REALTIME);

		if (now - engine->ticked_ns >= IDLE_TICK_NS) {
			engine->ticked_ns = now;
			pass_tick(engine, now);
		}
	}
	if (step == STEP_BATCH)
		engine_changed(engine);
	return step;
}

struct polled {
	struct pollfd *fds;
	nfds_t count;
	bool ready; /* a device needs no waiting for */
	bool held;  /* packets are at hand that must not pass yet */
};

/* What all who wait, and this one, are content with. */
static uint32_t
least_wanted(const struct ffpf_engine *engine, uint32_t want)
{
	for (const struct waiter *waiter = engine->waiters; waiter; waiter = waiter->next) {
		if (waiter->want < want)
			want = waiter->want;
	}
	return want;
}

/* The devices that can be waited for; those whose packets are out are not: their descriptor would be readable. */
static int
collect(struct ffpf_engine *engine, struct polled *polled, uint32_t want)
{
	const bool out = find_holder(engine) != NULL;

	polled->fds = calloc(engine->node_count + 2, sizeof(*polled->fds));
	if (!polled->fds)
		return -1;
	polled->count = 2;
	for (uint32_t i = 0; i < engine->node_count && !out; i++) {
		struct device *device = engine->nodes[i]->device;

		if (!device || !device->reader || device->ended || !engine->nodes[i]->active)
			continue;
		polled->ready |= device_is_file(device);
		polled->held |= device->consumed < device->batch.count;
		if (device->consumed < device->batch.count)
			continue;
		if (device->reader->ops->pace)
			device->reader->ops->pace(device->reader, want, 0);
		if (device->reader->ops->settle)
			device->reader->ops->settle(device->reader);
		polled->fds[polled->count++] = (struct pollfd){
			.fd = device->reader->ops->poll_fd(device->reader),
			.events = POLLIN,
		};
	}
	return 0;
}

static enum ffpf_outcome
wait_on(struct ffpf_engine *engine, struct polled *polled, struct waiter *self, uint64_t until_ns)
{
	const uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC);
	uint64_t most = polled->held ? HELD_NS : IDLE_TICK_NS;
	struct timespec timeout;
	int ready, saved;

	if (now >= until_ns)
		return FFPF_TIMEOUT;
	if (most > relays_look_ns(engine))
		most = relays_look_ns(engine);
	if (most > until_ns - now)
		most = until_ns - now;
	timeout = (struct timespec){ .tv_sec = (time_t)(most / NS_PER_S), .tv_nsec = (long)(most % NS_PER_S) };
	polled->fds[0] = (struct pollfd){ .fd = engine->wake_fd, .events = POLLIN };
	polled->fds[1] = (struct pollfd){ .fd = self->event_fd, .events = POLLIN };
	self->next = engine->waiters;
	engine->waiters = self;
	pthread_mutex_unlock(&engine->lock);
	ready = ppoll(polled->fds, polled->count, &timeout, NULL);
	saved = errno;
	pthread_mutex_lock(&engine->lock);
	while (engine->calling && !pthread_equal(engine->caller, pthread_self()))
		pthread_cond_wait(&engine->called, &engine->lock);
	for (struct waiter **at = &engine->waiters; *at; at = &(*at)->next) {
		if (*at == self) {
			*at = self->next;
			break;
		}
	}
	if (was_woken(engine) || (ready < 0 && saved == EINTR))
		return FFPF_INTERRUPTED;
	return FFPF_BATCH;
}

enum ffpf_outcome
engine_wait(struct ffpf_engine *engine, uint32_t want, uint64_t until_ns, struct ffpf_error *err)
{
	enum ffpf_outcome outcome = FFPF_BATCH;
	struct polled polled = { 0 };
	struct waiter self = { .want = want };

	if (was_woken(engine))
		return FFPF_INTERRUPTED;
	self.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self.event_fd < 0) {
		ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "eventfd");
		return FFPF_FAILED;
	}
	if (collect(engine, &polled, least_wanted(engine, want))) {
		ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
		outcome = FFPF_FAILED;
	} else if (!polled.ready) {
		outcome = wait_on(engine, &polled, &self, until_ns);
	}
	free(polled.fds);
	close(self.event_fd);
	return outcome;
}

/* One whose callback is due; NULL: none. Callbacks whose time is over are taken away. */
static struct queue *
find_due(struct ffpf_engine *engine)
{
	uint64_t now = 0;

	for (struct queue *queue = engine->queues; queue; queue = queue->next_of_all) {
		uint32_t waiting = queue->w - queue->g;

		if (!queue->callback)
			continue;
		if (queue->callback_until_ns != UINT64_MAX) {
			now = now ? now : ffpf_clock_ns(CLOCK_MONOTONIC);
			if (now >= queue->callback_until_ns) {
				queue->callback = NULL;
				continue;
			}
		}
		if (waiting >= queue->callback_n || (waiting && node_ended(queue->node, NULL)))
			return queue;
	}
	return NULL;
}

static bool
is_there(const struct ffpf_engine *engine, const struct queue *queue)
{
	const struct queue *at = engine->queues;

	while (at && at != queue)
		at = at->next_of_all;
	return at != NULL;
}

void
engine_callbacks(struct ffpf_engine *engine)
{
	struct queue *queue;

	while ((queue = find_due(engine))) {
		struct ffpf_graph_batch batch;
		ffpf_graph_callback callback = queue->callback;
		void *arg = queue->callback_arg;
		bool more;

		if (!queue_give(engine, queue, queue->callback_n, &batch))
			continue;
		engine->calling = true;
		engine->caller = pthread_self();
		pthread_mutex_unlock(&engine->lock);
		more = callback(arg, &batch);
		pthread_mutex_lock(&engine->lock);
		engine->calling = false;
		pthread_cond_broadcast(&engine->called);
		if (!is_there(engine, queue)) /* the callback closed its flow */
			continue;
		queue_release(engine, queue);
		if (!more && queue->callback == callback && queue->callback_arg == arg)
			queue->callback = NULL;
	}
}

static int
held(const struct queue *holder, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_INVALID,
			      "flow \"%s\" has packets of a device out: read on, or release them, before others go on",
			      holder->flow->name);
}

/* Whether a device of an active flow ended by a failure that no run has told yet. */
static bool
untold_failure(struct ffpf_engine *engine, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < engine->node_count; i++) {
		struct device *device = engine->nodes[i]->device;

		if (device && engine->nodes[i]->active && device->failed.code && !device->told) {
			device->told = true;
			if (err)
				*err = device->failed;
			return true;
		}
	}
	return false;
}

enum ffpf_outcome
ffpf_engine_run(struct ffpf_engine *engine, uint64_t max_packets, int timeout_ms, uint64_t *packets,
		struct ffpf_error *err)
{
	uint64_t until = UINT64_MAX, total = 0;
	enum ffpf_outcome outcome = FFPF_BATCH;

	if (engine_enter(engine, true, err))
		return FFPF_FAILED;
	if (timeout_ms >= 0)
		until = ffpf_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NS_PER_MS;
	while (outcome == FFPF_BATCH && (!max_packets || total < max_packets)) {
		uint64_t left = max_packets ? max_packets - total : UINT32_MAX;
		const struct queue *holder;
		uint32_t n;
		enum step step = engine_step(engine, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, &n, &holder, err);

		total += n;
		if (n || step == STEP_END)
			engine_callbacks(engine);
		if (step == STEP_FAILED || (step == STEP_HELD && pthread_equal(holder->owner, pthread_self()))) {
			if (step == STEP_HELD)
				held(holder, err);
			outcome = FFPF_FAILED;
		} else if (step == STEP_END) {
			outcome = untold_failure(engine, err) ? FFPF_FAILED : FFPF_END;
		} else if (step == STEP_BATCH) {
			outcome = was_woken(engine) ? FFPF_INTERRUPTED : FFPF_BATCH;
			if (timeout_ms > 0 && ffpf_clock_ns(CLOCK_MONOTONIC) >= until)
				outcome = FFPF_TIMEOUT;
		} else {
			outcome = engine_wait(engine, 0, until, err);
		}
	}
	if (packets)
		*packets = total;
	engine_leave(engine);
	return outcome;
}
