/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets handed on: order, memory that is held, readers that hold up, lanes that move, a writer that dies. */
#include "hook/testing.h"
#include "relay/relay.h"

#include <pthread.h>
#include <sched.h>

#define LEN       100 /* three cells with its header */
#define CELLS     64
#define SLOTS     64
#define ROOM      4096
#define FIRST_POS (1ull << 32)
#define PACKETS   40000u

static uint64_t numbers[ROOM];

/* A flow on two hooks, its reader, which hands everything on, and the reader of that. */
struct chain {
	struct ffpf_hook *hooks[2];
	struct ffpf_flow *flow;
	struct ffpf_reader *from;
	struct ffpf_relay *relay;
	struct ffpf_lanes_part parts[2];
	struct ffpf_reader_page *page; /* of the reader of that */
	struct ffpf_reader *to;
	int pipe[2]; /* the relay's end is the second */
	struct ffpf_lanes_part next_from;
};

static int
succeed_from(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	const struct chain *c = remote;

	(void)err;
	assert_int_equal(lane, 0);
	*out = c->next_from;
	return 0;
}

static struct ffpf_region
ibuf_of(const struct chain *c, uint32_t lane, uint32_t least)
{
	uint32_t move;
	const struct ffpf_region *ibuf = ffpf_relay_ibuf(c->relay, lane, least, &move);

	assert_non_null(ibuf);
	assert_int_equal(move, least);
	return *ibuf;
}

static int
succeed_to(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	const struct chain *c = remote;
	uint32_t move;

	(void)err;
	assert_int_equal(lane, 0);
	if (!ffpf_relay_ibuf(c->relay, lane, 1, &move))
		return 1;
	*out = (struct ffpf_lanes_part){ c->next_from.lane, ibuf_of(c, 0, 1) };
	return 0;
}

static void
retire(void *remote, uint32_t lane, const struct ffpf_lanes_part *part)
{
	(void)remote;
	(void)lane;
	(void)part;
}

static const struct ffpf_lanes_remote_ops from_ops = { .succeed = succeed_from, .retire = retire };
static const struct ffpf_lanes_remote_ops to_ops = { .succeed = succeed_to, .retire = retire };

static void
open_from(struct chain *c)
{
	const struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_lanes_part lanes[2];
	const struct ffpf_lanes_parts parts = { .lanes = lanes,
						.count = 2,
						.ops = &from_ops,
						.remote = c,
						.reader = c->flow->reader,
						.event_fd = c->flow->event_fd };

	for (unsigned i = 0; i < 2; i++)
		lanes[i] = (struct ffpf_lanes_part){ c->flow->lanes[i].lane, c->flow->lanes[i].ibuf->region };
	must(ffpf_lanes_open(&c->from, &parts, &cfg, &test_err));
}

static void
open_to(struct chain *c)
{
	struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_lanes_parts parts = { .lanes = c->parts,
					  .count = 2,
					  .ops = &to_ops,
					  .remote = c,
					  .event_fd = ffpf_relay_event_fd(c->relay),
					  .event = FFPF_LANES_EVENT_TIMERFD,
					  .writer_fd = c->pipe[0] };

	cfg.hooks_results = true;
	parts.reader = *ffpf_relay_reader(c->relay);
	c->page = parts.reader.base;
	for (uint32_t i = 0; i < 2; i++)
		c->parts[i] = (struct ffpf_lanes_part){ c->flow->lanes[i].lane, ibuf_of(c, i, 0) };
	must(ffpf_lanes_open(&c->to, &parts, &cfg, &test_err));
}

static void
open_chain(struct chain *c, enum ffpf_bms_id bms, uint64_t cells, uint32_t slots, uint64_t limit_ns)
{
	const struct ffpf_relay_config cfg = { .slots = slots, .limit_ns = limit_ns };

	*c = (struct chain){ 0 };
	for (unsigned i = 0; i < 2; i++)
		c->hooks[i] = test_hook(bms, cells);
	c->flow = test_flow(c->hooks[0], 1024, NULL);
	must(ffpf_hook_attach(c->hooks[1], c->flow, &test_err));
	open_from(c);
	must(ffpf_relay_create(&c->relay, c->from, &cfg, &test_err));
	assert_int_equal(pipe(c->pipe), 0);
	open_to(c);
}

static void
close_chain(struct chain *c)
{
	c->to->ops->close(c->to);
	ffpf_relay_destroy(c->relay);
	c->from->ops->close(c->from);
	for (unsigned i = 0; i < 2; i++)
		must(ffpf_hook_detach(c->hooks[i], c->flow, &test_err));
	ffpf_flow_destroy(c->flow);
	for (unsigned i = 0; i < 2; i++) {
		ffpf_hook_destroy(c->hooks[i]);
		if (c->pipe[i] != -1)
			close(c->pipe[i]);
	}
}

static void
floors(const struct chain *c, int64_t ns)
{
	for (unsigned i = 0; i < 2; i++)
		ffpf_hook_floor(c->hooks[i], ns);
}

/* `from` reads what there is, hands on what has an odd number and is done with all; how many it read. */
static uint32_t
hand_on(const struct chain *c, bool all)
{
	struct ffpf_batch batch;
	uint32_t n = 0;

	while (c->from->ops->next(c->from, &batch) == FFPF_BATCH) {
		for (uint32_t i = 0; i < batch.count; i++) {
			if (all || test_number(batch.pkts[i].data) % 2)
				ffpf_relay_add(c->relay, i, 7 + (uint32_t)test_number(batch.pkts[i].data));
		}
		ffpf_relay_publish(c->relay);
		c->from->ops->release(c->from, batch.count);
		n += batch.count;
	}
	return n;
}

static struct ffpf_counters
law(const struct chain *c)
{
	struct ffpf_counters counters;

	must(c->to->ops->counters(c->to, &counters));
	assert_int_equal(counters.seen, counters.filtered + counters.delivered + ffpf_counters_dropped(&counters));
	return counters;
}

static void
packets_of_two_lanes_come_in_their_order_from_where_they_lie(void **state)
{
	struct chain c;
	struct ffpf_batch batch;
	uint64_t expected = 1;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	assert_int_equal(c.to->ops->next(c.to, &batch), FFPF_WOULD_BLOCK);
	c.to->ops->settle(c.to);
	assert_false(test_is_readable(c.to));
	for (uint64_t number = 1; number <= 12; number++)
		test_send(c.hooks[number / 2 % 2], number, LEN);
	floors(&c, 100);
	assert_int_equal(hand_on(&c, false), 12);
	assert_true(test_is_readable(c.to));
	while (expected < 12) {
		assert_int_equal(c.to->ops->next(c.to, &batch), FFPF_BATCH);
		for (uint32_t i = 0; i < batch.count; i++, expected += 2) {
			const struct ffpf_lane *lane = ffpf_hook_lane(c.hooks[expected / 2 % 2]);

			assert_int_equal(test_number(batch.pkts[i].data), expected);
			assert_int_equal(batch.pkts[i].result, 7 + expected);
			assert_true(batch.pkts[i].data > lane->cells);
			assert_true(batch.pkts[i].data < lane->cells + CELLS * FFPF_CELL_BYTES);
		}
		c.to->ops->release(c.to, batch.count);
	}
	assert_int_equal(law(&c).delivered, 6);
	assert_int_equal(law(&c).seen, 6);
	close_chain(&c);
}

/* SRP: records that are unread second hand are not given back, and what room they take is the flow's loss. */
static void
what_is_unread_second_hand_is_not_overwritten(void **state)
{
	struct chain c;
	uint32_t stored = 0;
	uint64_t number = 1;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	for (; number <= 100; number++) {
		stored += test_send(c.hooks[0], number, LEN) == 1;
		floors(&c, 1000);
		hand_on(&c, true);
	}
	assert_int_equal(stored + test_dropped(c.flow, FFPF_DROP_PBUF), 100);
	assert_true(stored < 25);
	assert_int_equal(test_drain(c.to, numbers, ROOM), stored); /* whole, all of them */
	for (uint32_t i = 0; i < stored; i++)
		assert_int_equal(numbers[i], 1 + i);
	hand_on(&c, true); /* R of `from` follows */
	assert_int_equal(test_send(c.hooks[0], number, LEN), 1);
	close_chain(&c);
}

static void
what_finds_no_room_in_the_ibuf_is_counted(void **state)
{
	struct chain c;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, 1024, 8, 0);
	for (uint64_t number = 1; number <= 30; number++)
		test_send(c.hooks[0], number, LEN);
	floors(&c, 1000);
	assert_int_equal(hand_on(&c, true), 30);
	assert_int_equal(law(&c).dropped[FFPF_DROP_IBUF], 22);
	assert_int_equal(test_drain(c.to, numbers, ROOM), 8);
	assert_int_equal(law(&c).seen, 30);
	close_chain(&c);
}

/* It keeps what it holds as long as nobody loses for it; then it is told, and its group goes on. */
static void
a_reader_that_holds_up_is_left(void **state)
{
	struct ffpf_batch batch;
	struct chain c;
	uint64_t number = 1, unread;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 1);
	for (; number <= 12; number++)
		test_send(c.hooks[0], number, LEN);
	floors(&c, 1000);
	for (unsigned i = 0; i < 5; i++)
		hand_on(&c, true);
	assert_int_equal(law(&c).waiting, 12);
	assert_int_equal(c.to->ops->next(c.to, &batch), FFPF_BATCH);
	for (; number <= 60; number++) {
		test_send(c.hooks[0], number, LEN);
		hand_on(&c, true);
	}
	unread = law(&c).waiting;
	assert_true(test_dropped(c.flow, FFPF_DROP_PBUF) > 0);
	assert_int_equal(c.to->ops->next(c.to, &batch), FFPF_FAILED);
	assert_non_null(
	    strstr(c.to->err.text, "left: it read too slowly, or not at all, while its group lost packets; "));
	assert_true(law(&c).dropped[FFPF_DROP_EVICTED] >= unread);
	assert_int_equal(test_send(c.hooks[0], number, LEN), 1);
	assert_int_equal(hand_on(&c, true), 1);
	assert_int_equal(law(&c).seen + test_dropped(c.flow, FFPF_DROP_PBUF), number);
	close_chain(&c);
}

static void
a_reader_that_lies_about_r_holds_nothing(void **state)
{
	struct ffpf_batch batch;
	struct chain c;
	uint64_t number = 1;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	for (; number <= 12; number++)
		test_send(c.hooks[0], number, LEN);
	floors(&c, 1000);
	hand_on(&c, true);
	atomic_store(&c.page->r[0], 1000);
	hand_on(&c, true);
	for (; number <= 60; number++) {
		assert_int_equal(test_send(c.hooks[0], number, LEN), 1);
		assert_int_equal(hand_on(&c, true), 1);
	}
	assert_int_equal(c.to->ops->next(c.to, &batch), FFPF_FAILED);
	assert_int_equal(law(&c).dropped[FFPF_DROP_EVICTED], 60);
	close_chain(&c);
}

/* What is left is read first, and none comes twice. */
static void
a_lane_that_moves_moves_second_hand_too(void **state)
{
	struct chain c;
	struct ffpf_hook *fresh_hook = test_hook(FFPF_BMS_SRP, CELLS);
	struct ffpf_flow *fresh = test_flow(fresh_hook, SLOTS, NULL);
	struct ffpf_ibuf *ibuf = fresh->lanes[0].ibuf;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	ibuf->w = ibuf->published = ibuf->r = ibuf->sweep = ibuf->page->first_pos = FIRST_POS;
	atomic_store(&ibuf->page->w, FIRST_POS);
	ibuf->reader = c.flow->page;
	ibuf->reader_r = &c.flow->page->r[0];
	c.next_from = (struct ffpf_lanes_part){ fresh->lanes[0].lane, ibuf->region };
	for (uint64_t number = 1; number <= 3; number++)
		test_send(c.hooks[0], number, LEN);
	atomic_store(&c.flow->lanes[0].ibuf->page->state, FFPF_IBUF_MOVED);
	for (uint64_t number = 4; number <= 6; number++)
		test_send(fresh_hook, number, LEN);
	floors(&c, 1000);
	ffpf_hook_floor(fresh_hook, 1000);
	assert_int_equal(hand_on(&c, true), 6);
	assert_int_equal(atomic_load(&c.flow->page->r[0]), 0); /* SRP: all of it is protected, the old memory too */
	assert_int_equal(test_drain(c.to, numbers, ROOM), 6);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(numbers[i], 1 + i);
	test_send(fresh_hook, 7, LEN);
	assert_int_equal(hand_on(&c, true), 1);
	assert_int_equal(atomic_load(&c.flow->page->r[0]), FIRST_POS + 3);
	assert_int_equal(test_drain(c.to, numbers, ROOM), 1);
	assert_int_equal(law(&c).seen, 7);
	must(ffpf_hook_detach(fresh_hook, fresh, &test_err)); /* it has the reader page of the chain's flow */
	close_chain(&c);
	ffpf_flow_destroy(fresh);
	ffpf_hook_destroy(fresh_hook);
}

static void
what_was_handed_on_is_read_before_the_writers_death_and_the_sources_end_are_told(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		const bool dies = how == 0;
		struct ffpf_batch batch;
		struct chain c;

		(void)state;
		open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
		test_send(c.hooks[0], 1, LEN);
		floors(&c, 1000);
		hand_on(&c, true);
		assert_int_equal(test_drain(c.to, numbers, ROOM), 1);
		test_send(c.hooks[0], 2, LEN);
		floors(&c, 1001);
		hand_on(&c, true);
		c.to->ops->settle(c.to);
		if (dies) {
			close(c.pipe[1]);
			c.pipe[1] = -1;
		} else {
			ffpf_relay_end(c.relay, how == 1);
		}
		assert_true(test_is_readable(c.to));
		assert_int_equal(test_drain(c.to, numbers, ROOM), 1);
		assert_int_equal(c.to->ops->next(c.to, &batch), how == 2 ? FFPF_END : FFPF_FAILED);
		if (how < 2)
			assert_int_equal(c.to->err.code, dies ? FFPF_E_DENIED : FFPF_E_DEVICE_GONE);
		close_chain(&c);
	}
}

/* FRP: whoever is overtaken finds it out, and nothing waits for it. */
static void
a_reader_that_is_lapped_counts_what_it_lost(void **state)
{
	struct ffpf_counters counters;
	struct chain c;

	(void)state;
	open_chain(&c, FFPF_BMS_FRP, CELLS, 8, 0);
	for (uint64_t number = 1; number <= 100; number++) {
		assert_int_equal(test_send(c.hooks[0], number, LEN), 1);
		floors(&c, 1000);
		assert_int_equal(hand_on(&c, true), 1);
	}
	assert_int_equal(test_drain(c.to, numbers, ROOM), 8);
	assert_int_equal(numbers[7], 100);
	counters = law(&c);
	assert_int_equal(counters.seen, 100);
	assert_int_equal(counters.dropped[FFPF_DROP_LAPPED], 92);
	close_chain(&c);
}

static void
second_hand_is_not_handed_on(void **state)
{
	const struct ffpf_relay_config cfg = { .slots = SLOTS };
	struct ffpf_relay *relay;
	struct chain c;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	assert_int_equal(ffpf_relay_create(&relay, c.to, &cfg, &test_err), -FFPF_E_INVALID);
	close_chain(&c);
}

/* ---- three at once ---- */

static void *
write_packets(void *arg)
{
	const struct chain *c = arg;

	for (uint64_t number = 1; number <= PACKETS; number++) {
		while (test_send(c->hooks[number * 7 / 5 % 2], number, LEN) != 1)
			sched_yield();
		floors(c, (int64_t)number);
	}
	return NULL;
}

static void *
hand_on_until_the_end(void *arg)
{
	const struct chain *c = arg;

	for (uint32_t n = 0; n < PACKETS;) {
		uint32_t read = hand_on(c, true);

		n += read;
		if (!read)
			sched_yield();
	}
	while (atomic_load(&c->page->delivered) < PACKETS) {
		hand_on(c, true);
		sched_yield();
	}
	return NULL;
}

static void
none_is_lost_torn_or_out_of_order_while_all_are_at_work(void **state)
{
	pthread_t writer, worker;
	struct chain c;
	uint64_t next = 1;

	(void)state;
	open_chain(&c, FFPF_BMS_SRP, CELLS, SLOTS, 0);
	assert_int_equal(pthread_create(&writer, NULL, write_packets, &c), 0);
	assert_int_equal(pthread_create(&worker, NULL, hand_on_until_the_end, &c), 0);
	while (next <= PACKETS) {
		uint32_t n = test_drain(c.to, numbers, ROOM);

		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(numbers[i], next++);
		if (!n)
			sched_yield();
	}
	assert_int_equal(test_drain(c.to, numbers, ROOM), 0);
	pthread_join(writer, NULL);
	pthread_join(worker, NULL);
	assert_int_equal(law(&c).delivered, PACKETS);
	close_chain(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_of_two_lanes_come_in_their_order_from_where_they_lie),
		cmocka_unit_test(what_is_unread_second_hand_is_not_overwritten),
		cmocka_unit_test(what_finds_no_room_in_the_ibuf_is_counted),
		cmocka_unit_test(a_reader_that_holds_up_is_left),
		cmocka_unit_test(a_reader_that_lies_about_r_holds_nothing),
		cmocka_unit_test(a_lane_that_moves_moves_second_hand_too),
		cmocka_unit_test(what_was_handed_on_is_read_before_the_writers_death_and_the_sources_end_are_told),
		cmocka_unit_test(a_reader_that_is_lapped_counts_what_it_lost),
		cmocka_unit_test(second_hand_is_not_handed_on),
		cmocka_unit_test(none_is_lost_torn_or_out_of_order_while_all_are_at_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
