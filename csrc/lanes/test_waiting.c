/* SPDX-License-Identifier: BSD-3-Clause */
/* When a reader waits, what ends its wait, and when it holds a packet back. */
#include "hook/testing.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ROOM 4096

static uint64_t numbers[ROOM];

static void
descriptor_is_readable_while_next_would_not_wait(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_batch batch;

	(void)state;
	assert_false(test_is_readable(r));
	test_send(hook, 0, 16);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, 1);
	r->ops->settle(r);
	assert_false(test_is_readable(r));
	assert_true(test_is_whole(batch.pkts[0].data, 16)); /* its memory is kept: 15 cells are free */
	for (uint64_t i = 1; i < 20; i++)
		assert_int_equal(test_send(hook, i, 16), i < 16);
	assert_int_equal(test_number(batch.pkts[0].data), 0);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, batch.count - 1);
	r->ops->settle(r); /* not all released: there is something to read */
	assert_true(test_is_readable(r));
	r->ops->release(r, 1);
	r->ops->settle(r); /* now all are, without another call of next */
	assert_false(test_is_readable(r));
	test_send(hook, 20, 16);
	test_send(hook, 21, 16);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, batch.count - 1);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH); /* the one that was not released comes again */
	assert_int_equal(batch.count, 1);
	r->ops->release(r, 1);
	r->ops->settle(r);
	assert_false(test_is_readable(r));
	r->ops->wake(r);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_INTERRUPTED);
	assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
	r->ops->settle(r);
	assert_false(test_is_readable(r));
	ffpf_hook_close(hook);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_END);
	test_law(flow, r);
	test_close(hook, flow, r);
}

/* softflowd: a blocking handle without a read timeout, read when poll() says so. */
static void
an_event_without_a_packet_ends_the_wait(void **state)
{
	(void)state;
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_lanes_config cfg = { .snap_len = 100, .want = 1, .wait = wait };
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;
		const uint64_t one = 1;

		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		r->ops->settle(r);
		test_send(hook, 0, 16);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		r->ops->release(r, 1);
		r->ops->settle(r);
		assert_false(test_is_readable(r));
		/* as the kernel does, whose ring of events is written to after the packet was seen */
		assert_int_equal(write(r->ops->poll_fd(r), &one, sizeof(one)), sizeof(one));
		assert_true(test_is_readable(r));
		assert_int_equal(r->ops->next(r, &batch), FFPF_TIMEOUT);
		r->ops->settle(r);
		assert_false(test_is_readable(r));
		test_send(hook, 1, 16);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		r->ops->release(r, 1);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

static int64_t
elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void
next_waits_for_its_packets_or_its_timeout(void **state)
{
	(void)state;
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_lanes_config cfg = {
			.snap_len = 100, .timeout_ms = 30, .want = 3, .nonblock = false, .wait = wait
		};
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;
		struct timespec start;

		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		clock_gettime(CLOCK_MONOTONIC, &start);
		assert_int_equal(r->ops->next(r, &batch), FFPF_TIMEOUT);
		assert_true(elapsed_ms(&start) >= 30);
		test_send(hook, 0, 16);
		clock_gettime(CLOCK_MONOTONIC, &start);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH); /* fewer than it wants, but the time is over */
		assert_int_equal(batch.count, 1);
		assert_true(elapsed_ms(&start) >= 30);
		r->ops->release(r, 1);
		for (uint64_t i = 1; i < 4; i++)
			test_send(hook, i, 16);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 3);
		r->ops->release(r, 3);
		r->ops->wake(r);
		assert_int_equal(r->ops->next(r, &batch), FFPF_INTERRUPTED);
		must(r->ops->set_nonblock(r, true));
		assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

/* dumpcap: a blocking handle, of which one batch is read whenever poll() says so. What waited when the time was over is
 * more than a batch: the rest must not wait for the time once more. */
static void
descriptor_is_readable_for_the_rest_of_what_waited(void **state)
{
	(void)state;
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 1024);
		struct ffpf_flow *flow = test_flow(hook, 1024, NULL);
		struct ffpf_lanes_config cfg = { .snap_len = 100, .timeout_ms = 30, .want = 1000, .wait = wait };
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;
		uint32_t left = 300;

		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		for (uint64_t i = 0; i < left; i++)
			assert_true(test_send(hook, i, 16));
		while (left > 0) {
			assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
			assert_true(batch.count <= left);
			r->ops->release(r, batch.count);
			r->ops->settle(r);
			left -= batch.count;
			assert_int_equal(test_is_readable(r), left > 0);
		}
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

/* A reader that is paced waits for as many as it was told, and until then; then as it was opened. */
static void
a_paced_reader_waits_for_company(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_lanes_config cfg = { .snap_len = 100, .want = 1, .wait = FFPF_LANES_WAIT_FD };
	struct ffpf_reader *r = NULL;
	struct ffpf_batch batch;
	struct timespec now;

	(void)state;
	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	r->ops->pace(r, 3, 1);
	assert_int_equal(r->ops->next(r, &batch), FFPF_TIMEOUT); /* that has passed */
	r->ops->settle(r);
	for (uint64_t i = 0; i < 3; i++) {
		assert_false(test_is_readable(r));
		test_send(hook, i, 16);
	}
	assert_true(test_is_readable(r));
	clock_gettime(CLOCK_MONOTONIC, &now);
	r->ops->pace(r, 3, (uint64_t)(now.tv_sec + 3600) * 1000000000u);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 3);
	r->ops->release(r, 3);
	test_send(hook, 3, 16);
	r->ops->pace(r, 3, 1); /* fewer than it wants, but the time is over */
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 1);
	r->ops->release(r, 1);
	r->ops->pace(r, 0, 0);
	r->ops->settle(r);
	assert_false(test_is_readable(r));
	test_send(hook, 4, 16);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	r->ops->release(r, 1);
	test_law(flow, r);
	test_close(hook, flow, r);
}

static void
on_alarm(int signal)
{
	(void)signal;
}

/* What is there when a reader wakes up is delivered, batch after batch, before it waits for as many as it wants again.
 */
static void
a_wake_up_is_for_all_that_is_there(void **state)
{
	const struct itimerval limit = { .it_value = { .tv_sec = 10 } };
	struct sigaction action = { .sa_handler = on_alarm };
	const uint32_t sent = 3 * 128 + 5;

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 1024);
		struct ffpf_flow *flow = test_flow(hook, 1024, NULL);
		struct ffpf_lanes_config cfg = { .snap_len = 100, .want = 100, .wait = wait };
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;
		uint32_t n = 0;

		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		for (uint64_t i = 0; i < sent; i++)
			test_send(hook, i, 16);
		setitimer(ITIMER_REAL, &limit, NULL);
		while (n < sent) {
			assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
			n += batch.count;
			r->ops->release(r, batch.count);
		}
		setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
	signal(SIGALRM, SIG_DFL);
}

/* Also where the handler was installed with SA_RESTART, as by signal(2). */
static void
signal_ends_a_wait(void **state)
{
	const struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	for (enum ffpf_lanes_wait wait = FFPF_LANES_WAIT_FUTEX; wait <= FFPF_LANES_WAIT_FD; wait++) {
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_lanes_config cfg = { .snap_len = 100, .want = 1, .wait = wait };
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;

		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		setitimer(ITIMER_REAL, &soon, NULL);
		assert_int_equal(r->ops->next(r, &batch), FFPF_INTERRUPTED);
		test_close(hook, flow, r);
	}
	signal(SIGALRM, SIG_DFL);
}

/* Two lanes, times as given; what may be delivered depends on what the other lane says of its future. */
static void
lanes_are_merged_by_time(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *a = test_hook(bms, 64), *b = test_hook(bms, 64);
		struct ffpf_flow *flow = test_flow(a, 64, NULL);
		struct ffpf_reader *r;
		static const uint64_t expected[] = { 10, 20, 25, 30, 40, 41, 50, 60 };

		must(ffpf_hook_attach(b, flow, &test_err));
		r = test_reader(flow);
		test_send(a, 10, 16);
		test_send(a, 30, 16);
		test_send(a, 40, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 3); /* b never had a packet, and is idle */
		assert_int_equal(numbers[2], 40);
		test_law(flow, r);

		test_send(b, 20, 16); /* late, by its own clock: nothing can be done about it */
		test_send(b, 25, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 2); /* a is at 40, ahead */
		test_send(a, 50, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 0); /* b may still bring 26 */
		test_send(b, 41, 16);
		test_send(b, 60, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 2); /* 41, 50; a may still bring 51 */
		assert_int_equal(numbers[0], expected[5]);
		assert_int_equal(numbers[1], expected[6]);
		test_law(flow, r);
		ffpf_hook_floor(a, 59);
		assert_int_equal(test_drain(r, numbers, ROOM), 0);
		ffpf_hook_floor(a, 60);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
		assert_int_equal(numbers[0], expected[7]);
		test_send(b, 70, 16);
		ffpf_hook_floor(a, FFPF_FLOOR_IDLE);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
		test_send(a, 80, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 0);
		ffpf_hook_close(b);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
		test_law(flow, r);
		test_end_two(r, flow, a, b);
	}
}

/* The flow's lanes, as those of a writer that has died when nobody holds the other end of the pipe. */
static struct ffpf_reader *
open_with_writer(struct ffpf_flow *flow, int writer_fd)
{
	const struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_lanes_part lanes[2];
	const struct ffpf_lanes_parts parts = {
		.lanes = lanes, .count = 2, .reader = flow->reader, .event_fd = flow->event_fd, .writer_fd = writer_fd
	};
	struct ffpf_reader *r = NULL;

	for (unsigned i = 0; i < 2; i++)
		lanes[i] = (struct ffpf_lanes_part){ flow->lanes[i].lane, flow->lanes[i].ibuf->region };
	must(ffpf_lanes_open(&r, &parts, &cfg, &test_err));
	return r;
}

/*
 * A program that polls, while a lane says that it may still bring an older packet: it comes for a look now and then,
 * rarer and rarer, and not as fast as it can. It gets the packet when the lane says so; or when its writer, which will
 * not say it any more, has died.
 */
static void
who_polls_for_packets_that_are_held_back_does_not_spin(void **state)
{
	(void)state;
	for (int dies = 0; dies <= 1; dies++) {
		struct ffpf_hook *a = test_hook(FFPF_BMS_SRP, 64), *b = test_hook(FFPF_BMS_SRP, 64);
		struct ffpf_flow *flow = test_flow(a, 64, NULL);
		struct timespec start;
		struct ffpf_reader *r;
		struct ffpf_batch batch;
		int writer[2];

		must(ffpf_hook_attach(b, flow, &test_err));
		assert_int_equal(pipe(writer), 0);
		r = open_with_writer(flow, writer[0]);
		r->ops->settle(r);
		ffpf_hook_floor(b, 5);
		test_send(a, 10, 16);
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (unsigned looks = 0; looks < 10; looks++) {
			test_wait(r);
			assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
			r->ops->settle(r);
		}
		assert_true(elapsed_ms(&start) >=
			    1 + 2 + 4 + 8 + 4 * 16); /* the first is for the packet; timers are never early */
		if (dies)
			close(writer[1]);
		else
			ffpf_hook_floor(b, FFPF_FLOOR_IDLE);
		assert_true(test_is_readable(r) || dies == 0);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(test_number(batch.pkts[0].data), 10);
		r->ops->release(r, 1);
		assert_int_equal(r->ops->next(r, &batch), dies ? FFPF_FAILED : FFPF_WOULD_BLOCK);
		r->ops->settle(r);
		test_law(flow, r);
		test_end_two(r, flow, a, b);
		close(writer[0]);
		if (!dies)
			close(writer[1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptor_is_readable_while_next_would_not_wait),
		cmocka_unit_test(an_event_without_a_packet_ends_the_wait),
		cmocka_unit_test(descriptor_is_readable_for_the_rest_of_what_waited),
		cmocka_unit_test(next_waits_for_its_packets_or_its_timeout),
		cmocka_unit_test(a_paced_reader_waits_for_company),
		cmocka_unit_test(a_wake_up_is_for_all_that_is_there),
		cmocka_unit_test(signal_ends_a_wait),
		cmocka_unit_test(lanes_are_merged_by_time),
		cmocka_unit_test(who_polls_for_packets_that_are_held_back_does_not_spin),
	};

	return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
