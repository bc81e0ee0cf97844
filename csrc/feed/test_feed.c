/* SPDX-License-Identifier: BSD-3-Clause */
/* Savefiles through a feed: content, room, loops, ends, and a control plane that changes things meanwhile. */
#include "feed/testing.h"

#define PACKETS 3000u

static void
slow_reader_of_a_small_buffer_loses_nothing(void **state)
{
	const struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_feed *feed = test_feed(test_file(PACKETS), &cfg);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 128);
	struct ffpf_flow *flow = test_flow(hook, 8, NULL);
	/* it waits for more than its IBuf has room for */
	struct ffpf_reader *r = test_waiting_reader(flow, 1000);
	struct ffpf_feed_counters c;
	uint64_t next = 0;

	(void)state;
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	assert_int_equal(test_read_file(r, PACKETS, &next), FFPF_END);
	assert_int_equal(next, PACKETS);
	ffpf_feed_join(feed);
	assert_int_equal(ffpf_feed_state(feed), FFPF_FEED_ENDED);
	test_law(flow, r);
	c = test_feed_counters(feed);
	assert_int_equal(c.packets, PACKETS);
	assert_int_equal(c.loops, 1);
	assert_true(c.waits > 0);
	test_feed_close(feed, hook, flow, r);
}

static void
without_waiting_what_has_no_room_is_dropped_and_counted(void **state)
{
	const struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_DROPS);

	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_feed *feed = test_feed(test_file(PACKETS), &cfg);
		struct ffpf_hook *hook = test_hook(bms, 128);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_counters c;
		struct pollfd end = { .fd = ffpf_feed_end_fd(feed), .events = POLLIN };

		must(ffpf_feed_add(feed, hook, &test_err));
		must(ffpf_feed_start(feed, &test_err));
		assert_int_equal(poll(&end, 1, -1), 1);
		ffpf_flow_counters(flow, &c);
		assert_int_equal(c.seen, PACKETS);
		assert_int_equal(c.delivered + ffpf_counters_dropped(&c), PACKETS);
		if (bms == FFPF_BMS_SRP)
			assert_true(c.dropped[FFPF_DROP_IBUF] + c.dropped[FFPF_DROP_PBUF] > 0);
		else
			assert_int_equal(c.delivered, PACKETS);
		test_feed_close(feed, hook, flow, NULL);
	}
}

static void
patience_has_an_end(void **state)
{
	struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 128);
	struct ffpf_flow *flow = test_flow(hook, 4, NULL); /* nobody reads it */
	struct ffpf_feed *feed;
	struct ffpf_counters c;

	(void)state;
	cfg.patience_ns = 1000;
	feed = test_feed(test_file(20), &cfg);
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	ffpf_feed_join(feed);
	assert_int_equal(ffpf_feed_state(feed), FFPF_FEED_ENDED);
	ffpf_flow_counters(flow, &c);
	assert_int_equal(c.delivered, 4);
	assert_int_equal(c.dropped[FFPF_DROP_IBUF], 16);
	assert_int_equal(test_feed_counters(feed).waits, 16);
	test_feed_close(feed, hook, flow, NULL);
}

static void
loops_give_the_same_packets_again(void **state)
{
	struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 1024);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_waiting_reader(flow, 1);
	struct ffpf_feed *feed;
	uint64_t next = 0;

	(void)state;
	cfg.loops = 5;
	cfg.pace = FFPF_PACE_PACKETS;
	cfg.rate = 1e6;
	feed = test_feed(test_file(300), &cfg);
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	assert_int_equal(test_read_file(r, 300, &next), FFPF_END);
	assert_int_equal(next, 5 * 300);
	assert_int_equal(test_feed_counters(feed).loops, 5);
	test_feed_close(feed, hook, flow, r);
}

static void
a_file_without_packets_ends_though_it_is_looped(void **state)
{
	struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 128);
	struct ffpf_flow *flow = test_flow(hook, 4, NULL);
	struct ffpf_feed *feed;

	(void)state;
	cfg.loops = UINT64_MAX;
	feed = test_feed(test_file(0), &cfg);
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	ffpf_feed_join(feed);
	assert_int_equal(ffpf_feed_state(feed), FFPF_FEED_ENDED);
	test_feed_close(feed, hook, flow, NULL);
}

static void
a_broken_file_fails_behind_its_good_packets(void **state)
{
	const struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 1024), *late = test_hook(FFPF_BMS_SRP, 128);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL), *late_flow = test_flow(late, 4, NULL);
	struct ffpf_reader *r = test_waiting_reader(flow, 1), *late_r = test_waiting_reader(late_flow, 1);
	int fd = test_file(100);
	struct ffpf_feed *feed;
	struct ffpf_batch batch;
	uint64_t next = 0;

	(void)state;
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 1), 0);
	feed = test_feed(fd, &cfg);
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	assert_int_equal(test_read_file(r, 100, &next), FFPF_END);
	assert_int_equal(next, 99);
	ffpf_feed_join(feed);
	assert_int_equal(ffpf_feed_state(feed), FFPF_FEED_FAILED);
	assert_int_equal(ffpf_feed_error(feed)->code, FFPF_E_TRUNCATED);
	/* who comes too late sees the end at once */
	must(ffpf_feed_add(feed, late, &test_err));
	assert_int_equal(late_r->ops->next(late_r, &batch), FFPF_END);
	ffpf_feed_remove(feed, late);
	test_close(late, late_flow, late_r);
	test_feed_close(feed, hook, flow, r);
}

static void
groups_get_the_same_packets_each_in_its_lane(void **state)
{
	const struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_WAITS);
	struct ffpf_feed *feed = test_feed(test_file(PACKETS), &cfg);
	struct ffpf_hook *hooks[3];
	struct ffpf_flow *flows[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		hooks[i] = test_hook(FFPF_BMS_SRP, 65536);
		flows[i] = test_flow(hooks[i], 4096, NULL);
		must(ffpf_feed_add(feed, hooks[i], &test_err));
	}
	assert_int_equal(ffpf_feed_add(feed, hooks[1], &test_err), -FFPF_E_INVALID);
	must(ffpf_feed_start(feed, &test_err));
	ffpf_feed_join(feed);
	for (unsigned i = 0; i < 3; i++) {
		struct ffpf_reader *r = test_waiting_reader(flows[i], 1);
		uint64_t next = 0;

		assert_int_equal(test_read_file(r, PACKETS, &next), FFPF_END);
		assert_int_equal(next, PACKETS);
		test_law(flows[i], r);
		ffpf_feed_remove(feed, hooks[i]);
		test_close(hooks[i], flows[i], r);
	}
	ffpf_feed_destroy(feed);
}

/* Wherever the thread is: waiting for a packet's time or for room, or in the middle of a batch. */
static void
stops_at_any_instant(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct ffpf_feed_config cfg = test_feed_config(i % 3 == 0 ? FFPF_FEED_WAITS : FFPF_FEED_DROPS);
		struct timespec nap = { .tv_nsec = (long)(test_random(&seed) % 3000000) };
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 256);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_reader *r = test_waiting_reader(flow, 1);
		struct ffpf_feed *feed;
		struct ffpf_counters c;
		uint64_t next = 0;

		cfg.loops = UINT64_MAX;
		cfg.pace = i % 3 == 1 ? FFPF_PACE_RECORDED : FFPF_PACE_NONE;
		cfg.rate = 1e-6; /* a second a packet */
		feed = test_feed(test_file(50), &cfg);
		must(ffpf_feed_add(feed, hook, &test_err));
		must(ffpf_feed_start(feed, &test_err));
		assert_int_equal(ffpf_feed_start(feed, &test_err), -FFPF_E_INVALID);
		nanosleep(&nap, NULL);
		ffpf_feed_stop(feed);
		ffpf_feed_join(feed);
		assert_int_equal(ffpf_feed_state(feed), FFPF_FEED_STOPPED);
		/* what was stored is published, and the hook has another source now */
		ffpf_flow_counters(flow, &c);
		assert_int_equal(c.seen, test_feed_counters(feed).packets);
		ffpf_feed_remove(feed, hook);
		ffpf_hook_close(hook);
		if (cfg.full == FFPF_FEED_WAITS)
			assert_int_equal(test_read_file(r, 50, &next), FFPF_END);
		test_close(hook, flow, r);
		ffpf_feed_destroy(feed);
	}
}

static void
what_makes_no_sense_is_refused(void **state)
{
	struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_DROPS);
	struct ffpf_feed *feed = NULL;
	int fd = test_file(1), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(ffpf_feed_create_savefile(&feed, null, &cfg, &test_err), -FFPF_E_NOT_SUPPORTED);
	cfg.loops = 0;
	assert_int_equal(ffpf_feed_create_savefile(&feed, fd, &cfg, &test_err), -FFPF_E_INVALID);
	cfg.loops = 1;
	cfg.pace = FFPF_PACE_BITS;
	for (unsigned i = 0; i < 4; i++) {
		const double rates[] = { 0, -1, 1.0 / 0.0, 0.0 / 0.0 };

		cfg.rate = rates[i];
		assert_int_equal(ffpf_feed_create_savefile(&feed, fd, &cfg, &test_err), -FFPF_E_INVALID);
	}
	cfg.rate = 1;
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_int_equal(ffpf_feed_create_savefile(&feed, fd, &cfg, &test_err), -FFPF_E_TRUNCATED);
	assert_null(feed);
	close(fd);
	close(null);
}

/* One batch, if there is one. */
static uint64_t
read_some(struct ffpf_reader *r)
{
	struct ffpf_batch batch;

	if (r->ops->next(r, &batch) != FFPF_BATCH)
		return 0;
	for (uint32_t i = 0; i < batch.count; i++)
		assert_true(test_is_whole(batch.pkts[i].data, batch.pkts[i].cap_len));
	r->ops->release(r, batch.count);
	return batch.count;
}

/* Flows come and go, filters change, hooks come and go, while the thread gives packets. */
static void
control_plane_changes_everything_meanwhile(void **state)
{
	struct ffpf_feed_config cfg = test_feed_config(FFPF_FEED_DROPS);
	static const struct ffpf_bpf_insn none = { 0x06, 0, 0, 0 };
	struct ffpf_bpf_prog *prog = NULL;
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 4096);
	struct ffpf_flow *flow = test_flow(hook, 1024, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_feed *feed;
	struct ffpf_counters c;
	uint64_t got = 0, n;

	(void)state;
	must(ffpf_bpf_prog_create(&prog, &none, 1, FFPF_BPF_INTERPRETER, &test_err));
	cfg.loops = UINT64_MAX;
	feed = test_feed(test_file(500), &cfg);
	must(ffpf_feed_start(feed, &test_err));
	must(ffpf_feed_add(feed, hook, &test_err));
	for (unsigned i = 0; i < 200; i++) {
		struct ffpf_hook *other = test_hook(FFPF_BMS_FRP, 64);
		struct ffpf_flow *passing = test_flow(i % 2 ? hook : other, 4, NULL);

		must(ffpf_feed_add(feed, other, &test_err));
		ffpf_flow_set_filter(passing, prog);
		got += read_some(r);
		ffpf_flow_set_filter(passing, NULL);
		ffpf_feed_remove(feed, other);
		must(ffpf_hook_detach(i % 2 ? hook : other, passing, &test_err));
		test_law(passing, NULL);
		ffpf_flow_destroy(passing);
		ffpf_hook_destroy(other);
	}
	ffpf_feed_stop(feed);
	ffpf_feed_join(feed);
	while ((n = read_some(r)))
		got += n;
	assert_int_equal(r->ops->counters(r, &c), 0);
	assert_int_equal(c.delivered, got);
	test_law(flow, r);
	test_feed_close(feed, hook, flow, r);
	ffpf_bpf_prog_destroy(prog);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_reader_of_a_small_buffer_loses_nothing),
		cmocka_unit_test(without_waiting_what_has_no_room_is_dropped_and_counted),
		cmocka_unit_test(patience_has_an_end),
		cmocka_unit_test(loops_give_the_same_packets_again),
		cmocka_unit_test(a_file_without_packets_ends_though_it_is_looped),
		cmocka_unit_test(a_broken_file_fails_behind_its_good_packets),
		cmocka_unit_test(groups_get_the_same_packets_each_in_its_lane),
		cmocka_unit_test(stops_at_any_instant),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(control_plane_changes_everything_meanwhile),
	};

	return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
