/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers in other processes: honest, killed at any moment, hostile. */
#include "hook/testing.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define PACKETS 5000u
#define KILLS   25u
#define ROOM    65536u

static uint64_t numbers[ROOM];

/* What a child says before it ends, in memory that it shares with us. */
struct report {
	_Atomic uint64_t read, lapped, broken;
	_Atomic uint32_t outcome;
};

static struct report *
new_report(void)
{
	struct report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(report, MAP_FAILED);
	return report;
}

static void
read_to_the_end(struct ffpf_reader *r, struct report *report)
{
	struct ffpf_counters c;
	struct ffpf_batch batch;
	enum ffpf_outcome outcome;

	for (;;) {
		outcome = r->ops->next(r, &batch);
		if (outcome == FFPF_LAPPED)
			continue;
		if (outcome != FFPF_BATCH)
			break;
		for (uint32_t i = 0; i < batch.count; i++)
			if (!test_is_whole(batch.pkts[i].data, batch.pkts[i].cap_len))
				atomic_fetch_add(&report->broken, 1);
		r->ops->release(r, batch.count);
		atomic_fetch_add(&report->read, batch.count);
	}
	r->ops->counters(r, &c);
	atomic_store(&report->lapped, c.dropped[FFPF_DROP_LAPPED]);
	atomic_store(&report->outcome, outcome);
}

static struct ffpf_lanes_config
blocking(enum ffpf_lanes_wait wait)
{
	return (struct ffpf_lanes_config){ .snap_len = 65536, .timeout_ms = 20000, .want = 1, .wait = wait };
}

/* The other process's side, from descriptors alone. Exit code 0: all went as it should. */
static int
child_of_descriptors(const struct ffpf_flow *flow, enum ffpf_lanes_wait wait, struct report *report)
{
	const struct ffpf_lanes_config cfg = blocking(wait);
	struct ffpf_lanes_part part;
	struct ffpf_lanes_parts parts = { .lanes = &part, .count = 1, .event_fd = flow->event_fd };
	struct ffpf_reader *r;

	if (ffpf_region_map(&part.lane, flow->lanes[0].lane.fd, FFPF_KIND_LANE, false, &test_err) ||
	    ffpf_region_map(&part.ibuf, flow->lanes[0].ibuf->region.fd, FFPF_KIND_IBUF, false, &test_err) ||
	    ffpf_region_map(&parts.reader, flow->reader.fd, FFPF_KIND_READER, true, &test_err))
		return 1;
	if (mprotect(part.lane.base, part.lane.bytes, PROT_READ | PROT_WRITE) != -1 || errno != EACCES)
		return 2;
	if (ftruncate(flow->reader.fd, 0) != -1 || ftruncate(part.lane.fd, 0) != -1)
		return 3;
	if (ffpf_lanes_open(&r, &parts, &cfg, &test_err))
		return 4;
	read_to_the_end(r, report);
	r->ops->close(r);
	ffpf_region_close(&part.lane);
	ffpf_region_close(&part.ibuf);
	ffpf_region_close(&parts.reader);
	return 0;
}

static void
reader_with_descriptors_gets_everything(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
			struct ffpf_hook_config cfg = test_hook_config(bms, 1024);
			const struct ffpf_flow_config flow_cfg = { .memory = FFPF_MEMORY_FD, .ibuf_slots = 256 };
			struct report *report = new_report();
			struct ffpf_hook *hook = NULL;
			struct ffpf_flow *flow = NULL;
			struct ffpf_counters c;
			pid_t child;
			int status;

			cfg.memory = FFPF_MEMORY_FD;
			must(ffpf_hook_create(&hook, &cfg, &test_err));
			must(ffpf_flow_create(&flow, &flow_cfg, &test_err));
			must(ffpf_hook_attach(hook, flow, &test_err));
			child = fork();
			if (child == 0)
				_exit(child_of_descriptors(flow, wait, report));
			for (uint64_t i = 0; i < PACKETS; i++) {
				test_send(hook, i, 8 + i % 500);
				if (i % 64 == 0)
					sched_yield();
			}
			ffpf_hook_close(hook);
			assert_int_equal(waitpid(child, &status, 0), child);
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			assert_int_equal(report->outcome, FFPF_END);
			assert_int_equal(report->broken, 0);
			ffpf_flow_counters(flow, &c);
			assert_int_equal(c.seen, PACKETS);
			assert_int_equal(report->read + report->lapped + ffpf_counters_dropped(&c), PACKETS);
			assert_int_equal(atomic_load(&flow->page->delivered), report->read);
			assert_int_equal(atomic_load(&flow->page->lapped), report->lapped);
			munmap(report, sizeof(*report));
			test_close(hook, flow, NULL);
		}
	}
}

/* A child that reads until it is killed. */
static pid_t
start_victim(struct ffpf_flow *flow, struct report *report)
{
	const struct ffpf_lanes_config cfg = blocking(FFPF_LANES_WAIT_FUTEX);
	struct ffpf_reader *r;
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ffpf_lanes_open_flow(&r, flow, &cfg, &test_err))
		_exit(1);
	read_to_the_end(r, report);
	for (;;)
		pause();
}

static void
kill_and_reap(pid_t child)
{
	int status;

	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
}

/* Between the kill and the detach the dead one may block its group, as SRP says; behind it everything goes on. */
static void
killed_readers_leave_nothing_behind(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *hook = test_hook(bms, 256);
		struct ffpf_flow *honest = test_flow(hook, 64, NULL);
		struct ffpf_reader *r = test_reader(honest);
		struct report *report = new_report();
		uint64_t sent = 0, got = 0;
		struct ffpf_counters c;

		for (unsigned i = 0; i < KILLS; i++) {
			struct ffpf_flow *flow = test_flow(hook, 64, NULL);
			pid_t child = start_victim(flow, report);
			uint64_t until = sent + test_random(&seed) % 2000;
			struct timespec nap = { .tv_nsec = (long)(test_random(&seed) % 1000000) };

			nanosleep(&nap, NULL);
			while (sent < until) {
				test_send(hook, sent++, 8 + (uint32_t)(test_random(&seed) % 300));
				got += test_drain(r, numbers, ROOM);
			}
			kill_and_reap(child);
			for (unsigned n = 0; n < 300; n++) {
				test_send(hook, sent++, 200);
				got += test_drain(r, numbers, ROOM);
			}
			must(ffpf_hook_detach(hook, flow, &test_err));
			test_law(flow, NULL);
			ffpf_flow_destroy(flow);
			for (unsigned n = 0; n < 300; n++) {
				assert_int_equal(test_send(hook, sent++, 200), 1);
				assert_int_equal(test_drain(r, numbers, ROOM), 1);
				got++;
			}
			test_law(honest, r);
		}
		r->ops->counters(r, &c);
		assert_int_equal(c.seen, sent);
		assert_int_equal(c.delivered, got);
		assert_int_equal(report->broken, 0);
		munmap(report, sizeof(*report));
		test_close(hook, honest, r);
	}
}

/* A child that writes anything into the page that is its own. */
static pid_t
start_hostile(struct ffpf_flow *flow, uint64_t seed)
{
	uint64_t *words = (uint64_t *)flow->reader.base;
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		uint64_t value = test_random(&seed);
		size_t at = test_random(&seed) % (FFPF_PAGE_BYTES / sizeof(uint64_t));

		if (value % 4 == 0)
			value %= 64; /* numbers that might pass */
		__atomic_store_n(&words[at], value, __ATOMIC_RELAXED);
		__atomic_store_n(&words[2048 / sizeof(uint64_t)], test_random(&seed) % 64, __ATOMIC_RELAXED);
		if (value % 1024 == 0)
			sched_yield();
	}
}

static void
hostile_reader_harms_only_itself(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		for (unsigned i = 0; i < 5; i++) {
			struct ffpf_hook *hook = test_hook(bms, 64);
			struct ffpf_flow *honest = test_flow(hook, 64, NULL), *flow = test_flow(hook, 64, NULL);
			struct ffpf_reader *r = test_reader(honest);
			pid_t child = start_hostile(flow, test_random(&seed));
			uint64_t got = 0;

			while (!atomic_load(&flow->page->wakes)) /* it has begun */
				sched_yield();
			for (uint64_t n = 0; n < 3000; n++) {
				test_send(hook, n, 8 + n % 200);
				got += test_drain(r, numbers, ROOM);
				ffpf_hook_tick(hook, n);
				test_law(flow, NULL);
				test_law(honest, r);
				if (n % 256 == 0)
					sched_yield();
			}
			/* sooner or later it has written an R that cannot be */
			while (bms == FFPF_BMS_SRP && !flow->lanes[0].ibuf->evicted) {
				test_send(hook, 1, 16);
				test_drain(r, numbers, ROOM);
				sched_yield();
			}
			kill_and_reap(child);
			if (bms == FFPF_BMS_FRP)
				assert_int_equal(got, 3000);
			must(ffpf_hook_detach(hook, flow, &test_err));
			ffpf_flow_destroy(flow);
			assert_int_equal(test_send(hook, 1, 16), 1);
			test_close(hook, honest, r);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_with_descriptors_gets_everything),
		cmocka_unit_test(killed_readers_leave_nothing_behind),
		cmocka_unit_test(hostile_reader_harms_only_itself),
	};

	return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
