/* SPDX-License-Identifier: BSD-3-Clause */
/* Lanes that move: the reader reads what is left, asks where it goes on, and lets no time run backwards meanwhile. */
#include "hook/testing.h"

#define ROOM      4096
#define FIRST_POS (1ull << 32)

static uint64_t numbers[ROOM];

/* A flow on two lanes; where the first of them goes on; and what the flow's other end says when it is asked. */
struct moving {
	struct ffpf_hook *hooks[2], *fresh_hook;
	struct ffpf_flow *flow, *fresh;
	struct ffpf_reader *r;
	struct ffpf_lanes_part successor;
	int answer;          /* of succeed */
	uint64_t send_first; /* if not 0: succeed sends this into the old lane before it answers */
	unsigned asked, retired, closed;
};

static int
succeed(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	struct moving *m = remote;

	m->asked++;
	assert_int_equal(lane, 0);
	if (m->send_first)
		test_send(m->hooks[0], m->send_first, 16);
	m->send_first = 0;
	if (m->answer < 0)
		return ffpf_error_set(err, (enum ffpf_code) - m->answer, "nowhere");
	*out = m->successor;
	return m->answer;
}

static void
retire(void *remote, uint32_t lane, const struct ffpf_lanes_part *part)
{
	struct moving *m = remote;

	assert_int_equal(lane, 0);
	assert_non_null(part->lane.base);
	m->retired++;
}

static void
closed(void *remote)
{
	((struct moving *)remote)->closed++;
}

static const struct ffpf_lanes_remote_ops ops = { .succeed = succeed, .retire = retire, .close = closed };

/* What the control plane would make: an IBuf whose positions go on, with the same reader page. */
static void
make_successor(struct moving *m, enum ffpf_bms_id bms)
{
	struct ffpf_ibuf *ibuf;

	m->fresh_hook = test_hook(bms, 64);
	m->fresh = test_flow(m->fresh_hook, 64, NULL);
	ibuf = m->fresh->lanes[0].ibuf;
	ibuf->w = ibuf->published = ibuf->r = ibuf->sweep = ibuf->page->first_pos = FIRST_POS;
	atomic_store(&ibuf->page->w, FIRST_POS);
	atomic_store(&ibuf->page->intent, FIRST_POS);
	ibuf->reader = m->flow->page;
	ibuf->reader_r = &m->flow->page->r[0];
	m->successor = (struct ffpf_lanes_part){ m->fresh->lanes[0].lane, ibuf->region };
}

static void
open_moving(struct moving *m, enum ffpf_bms_id bms)
{
	const struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_lanes_part lanes[2];
	struct ffpf_lanes_parts parts = { .lanes = lanes, .count = 2, .ops = &ops, .remote = m };

	*m = (struct moving){ .answer = 1 };
	for (unsigned i = 0; i < 2; i++)
		m->hooks[i] = test_hook(bms, 64);
	m->flow = test_flow(m->hooks[0], 64, NULL);
	must(ffpf_hook_attach(m->hooks[1], m->flow, &test_err));
	make_successor(m, bms);
	for (unsigned i = 0; i < 2; i++)
		lanes[i] = (struct ffpf_lanes_part){ m->flow->lanes[i].lane, m->flow->lanes[i].ibuf->region };
	parts.reader = m->flow->reader;
	parts.event_fd = m->flow->event_fd;
	must(ffpf_lanes_open(&m->r, &parts, &cfg, &test_err));
}

static void
close_moving(struct moving *m)
{
	m->r->ops->close(m->r);
	assert_int_equal(m->closed, 1);
	for (unsigned i = 0; i < 2; i++)
		must(ffpf_hook_detach(m->hooks[i], m->flow, &test_err));
	must(ffpf_hook_detach(m->fresh_hook, m->fresh, &test_err));
	ffpf_flow_destroy(m->flow);
	ffpf_flow_destroy(m->fresh);
	for (unsigned i = 0; i < 2; i++)
		ffpf_hook_destroy(m->hooks[i]);
	ffpf_hook_destroy(m->fresh_hook);
}

static void
mark_moved(struct moving *m)
{
	atomic_store(&m->flow->lanes[0].ibuf->page->state, FFPF_IBUF_MOVED);
}

/* Lanes whose times are given are idle at their last packet's: the tests say how far they have come. */
static void
floors(struct moving *m, int64_t ns)
{
	ffpf_hook_floor(m->hooks[0], ns);
	ffpf_hook_floor(m->hooks[1], ns);
	ffpf_hook_floor(m->fresh_hook, ns);
}

static void
assert_numbers(uint32_t n, const uint64_t *wanted, uint32_t count)
{
	assert_int_equal(n, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(numbers[i], wanted[i]);
}

#define assert_drains(m, ...)                                                                                          \
	do {                                                                                                           \
		const uint64_t expected[] = { __VA_ARGS__ };                                                           \
		assert_numbers(test_drain((m)->r, numbers, ROOM), expected, sizeof(expected) / sizeof(expected[0]));   \
	} while (0)

static void
merge_waits_for_the_successor(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_counters c;
		struct moving m;

		open_moving(&m, bms);
		test_send(m.hooks[0], 10, 16);
		test_send(m.hooks[0], 30, 16);
		test_send(m.hooks[1], 20, 16);
		test_send(m.hooks[1], 50, 16);
		mark_moved(&m);
		test_send(m.fresh_hook, 40, 16);
		test_send(m.fresh_hook, 60, 16);
		floors(&m, FFPF_FLOOR_IDLE);
		assert_drains(&m, 10, 20, 30);
		m.r->ops->settle(m.r);
		test_wait(m.r); /* there is somebody to ask */
		m.answer = 0;
		assert_drains(&m, 40, 50, 60);
		assert_int_equal(m.retired, 1);
		assert_true(m.asked >= 2);
		test_send(m.fresh_hook, 70, 16);
		ffpf_hook_floor(m.fresh_hook, FFPF_FLOOR_IDLE);
		assert_drains(&m, 70);
		assert_int_equal(atomic_load(&m.flow->page->r[0]), FIRST_POS + 3);
		m.r->ops->counters(m.r, &c);
		assert_int_equal(c.delivered, 7);
		assert_int_equal(c.seen, 7);
		close_moving(&m);
		assert_int_equal(m.retired, 2);
	}
}

static void
what_comes_before_the_answer_is_read_first(void **state)
{
	struct moving m;

	(void)state;
	open_moving(&m, FFPF_BMS_SRP);
	test_send(m.hooks[0], 10, 16);
	mark_moved(&m);
	test_send(m.fresh_hook, 30, 16);
	floors(&m, FFPF_FLOOR_IDLE);
	m.answer = 0;
	m.send_first = 20;
	test_send(m.hooks[1], 40, 16);
	ffpf_hook_floor(m.hooks[1], FFPF_FLOOR_IDLE);
	assert_drains(&m, 10, 20, 30, 40);
	assert_int_equal(m.asked, 1);
	close_moving(&m);
}

static void
losses_of_both_memories_are_counted(void **state)
{
	struct ffpf_counters c;
	struct moving m;

	(void)state;
	open_moving(&m, FFPF_BMS_SRP);
	for (uint64_t i = 1; i <= 70; i++) /* PBuf has 64 cells */
		test_send(m.hooks[0], i, 16);
	mark_moved(&m);
	for (uint64_t i = 101; i <= 170; i++)
		test_send(m.fresh_hook, i, 16);
	floors(&m, FFPF_FLOOR_IDLE);
	m.answer = 0;
	assert_int_equal(test_drain(m.r, numbers, ROOM), 128);
	m.r->ops->counters(m.r, &c);
	assert_int_equal(c.seen, 140);
	assert_int_equal(c.dropped[FFPF_DROP_PBUF] + c.dropped[FFPF_DROP_IBUF], 12);
	close_moving(&m);
}

static void
lane_that_goes_on_nowhere_lets_the_others_be_read(void **state)
{
	struct ffpf_batch batch;
	struct moving m;

	(void)state;
	open_moving(&m, FFPF_BMS_SRP);
	test_send(m.hooks[0], 10, 16);
	test_send(m.hooks[1], 20, 16);
	floors(&m, FFPF_FLOOR_IDLE);
	mark_moved(&m);
	m.answer = -FFPF_E_DENIED;
	assert_drains(&m, 10, 20);
	test_send(m.hooks[1], 30, 16);
	ffpf_hook_floor(m.hooks[1], FFPF_FLOOR_IDLE);
	assert_drains(&m, 30);
	assert_int_equal(m.asked, 1);
	/* the other one too */
	atomic_store(&m.flow->lanes[1].ibuf->page->state, FFPF_IBUF_DETACHED);
	assert_int_equal(m.r->ops->next(m.r, &batch), FFPF_FAILED);
	assert_int_equal(m.r->err.code, FFPF_E_DENIED);
	close_moving(&m);
}

static void
wrong_successor_is_refused(void **state)
{
	(void)state;
	for (unsigned wrong = 0; wrong < 3; wrong++) {
		struct moving m;
		struct ffpf_ibuf_page *page;

		open_moving(&m, FFPF_BMS_SRP);
		page = m.fresh->lanes[0].ibuf->page;
		if (wrong == 0)
			page->lane = 1;
		else if (wrong == 1)
			page->first_pos = 0;
		else
			page->slots_log2 = 40;
		test_send(m.hooks[0], 10, 16);
		floors(&m, FFPF_FLOOR_IDLE);
		mark_moved(&m);
		m.answer = 0;
		assert_drains(&m, 10);
		assert_int_equal(m.retired, 1); /* the wrong one */
		test_send(m.hooks[1], 30, 16);
		ffpf_hook_floor(m.hooks[1], FFPF_FLOOR_IDLE);
		assert_drains(&m, 30);
		assert_int_equal(m.asked, 1);
		close_moving(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge_waits_for_the_successor),
		cmocka_unit_test(what_comes_before_the_answer_is_read_first),
		cmocka_unit_test(losses_of_both_memories_are_counted),
		cmocka_unit_test(lane_that_goes_on_nowhere_lets_the_others_be_read),
		cmocka_unit_test(wrong_successor_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
