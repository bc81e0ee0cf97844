/* SPDX-License-Identifier: BSD-3-Clause */
/* Pulls in place from a lane whose writer does not wait: which rows of which pull were overwritten. */
#include "hook/testing.h"

#include "columns/pull.h"

#define LEN  100 /* three cells with its header */
#define ROOM 16

struct bench {
	struct ffpf_hook *hook;
	struct ffpf_flow *flow;
	struct ffpf_pull *pull;
	struct ffpf_row rows[ROOM];
	uint8_t octets[ROOM * LEN];
};

static void
set_up(struct bench *b, uint64_t cells)
{
	struct ffpf_reader *r;

	memset(b, 0, sizeof(*b));
	b->hook = test_hook(FFPF_BMS_FRP, cells);
	b->flow = test_flow(b->hook, 64, NULL);
	r = test_reader(b->flow);
	must(ffpf_pull_create(&b->pull, r, NULL, false, &test_err));
}

static void
tear_down(struct bench *b)
{
	ffpf_pull_drop(b->pull);
	test_close(b->hook, b->flow, NULL);
}

static void
send_n(struct bench *b, uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(test_send(b->hook, first + i, LEN), 1);
}

/* Reads up to `room` rows; they must be numbers `first` on. */
static struct ffpf_rows
pull(struct bench *b, uint32_t room, bool in_place, uint64_t first, uint32_t expected)
{
	struct ffpf_rows want = { .room = room, .rows = b->rows, .in_place = in_place };

	if (!in_place) {
		want.octets = b->octets;
		want.octets_room = sizeof(b->octets);
	}
	assert_int_equal(ffpf_pull_next(b->pull, &want, &test_err), FFPF_BATCH);
	assert_int_equal(want.count, expected);
	assert_int_equal(want.races, in_place);
	for (uint32_t i = 0; i < want.count; i++) {
		assert_int_equal(test_number(want.base + b->rows[i].offset), first + i);
		assert_true(test_is_whole(want.base + b->rows[i].offset, b->rows[i].caplen));
	}
	return want;
}

static struct ffpf_counters
counters(struct bench *b)
{
	struct ffpf_counters c;

	must(ffpf_pull_counters(b->pull, &c, &test_err));
	assert_int_equal(c.seen, c.filtered + c.delivered + ffpf_counters_dropped(&c));
	return c;
}

/* Two pulls of one batch of the reader: each is told of its own rows. */
static void
each_pull_is_told_of_its_rows(void **state)
{
	uint8_t marks[ROOM];
	struct bench b;

	(void)state;
	set_up(&b, 32);
	send_n(&b, 0, 8);
	pull(&b, 2, true, 0, 2);
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), 0);
	pull(&b, 5, true, 2, 5);
	send_n(&b, 100, 6); /* takes the place of the first four */
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), 2);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(marks[i], i < 2);
	/* the two before had been used and found whole */
	assert_int_equal(counters(&b).delivered, 5);
	assert_int_equal(counters(&b).dropped[FFPF_DROP_LAPPED], 2);
	tear_down(&b);
}

/* What a pull in place left is read as copies, and the other way round. */
static void
what_is_left_is_read_in_the_other_way(void **state)
{
	uint8_t marks[ROOM] = { 7 };
	struct bench b;

	(void)state;
	set_up(&b, 1024);
	send_n(&b, 0, 20);
	pull(&b, 4, true, 0, 4);
	pull(&b, 6, false, 4, 6);
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), 0); /* copies: nobody is asked */
	assert_int_equal(marks[0], 7);
	pull(&b, 3, true, 10, 3);
	pull(&b, ROOM, true, 13, 7);
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), 0);
	assert_int_equal(marks[0], 0);
	assert_int_equal(counters(&b).delivered, 20);
	tear_down(&b);
}

static void
who_sets_a_filter_can_ask_no_more(void **state)
{
	uint8_t marks[ROOM];
	struct bench b;

	(void)state;
	set_up(&b, 32);
	send_n(&b, 0, 4);
	pull(&b, 2, true, 0, 2);
	must(ffpf_pull_set_filter(b.pull, NULL, &test_err));
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), 0);
	send_n(&b, 100, 10); /* all that lay there is gone: two were pulled, and two were not */
	pull(&b, ROOM, false, 100, 10);
	assert_int_equal(counters(&b).delivered, 10);
	assert_int_equal(counters(&b).dropped[FFPF_DROP_LAPPED], 4);
	must(ffpf_pull_close(b.pull, &test_err));
	assert_int_equal(ffpf_pull_overwritten(b.pull, marks, &test_err), -FFPF_E_CLOSED);
	tear_down(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_pull_is_told_of_its_rows),
		cmocka_unit_test(what_is_left_is_read_in_the_other_way),
		cmocka_unit_test(who_sets_a_filter_can_ask_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
