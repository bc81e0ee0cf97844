/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows that go on in fresh memory, with a reader that follows by descriptors; and readers that are not trusted. */
#include "hook/testing.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/timerfd.h>

#define STEPS 2000u

/* A flow with its reader, as in two processes: the reader has descriptors, and asks where a lane goes on. */
struct peer {
	struct ffpf_hook *hook;
	struct ffpf_flow *flow;
	struct ffpf_lanes_part first, successor;
	struct ffpf_region page;
	struct ffpf_reader *reader;
	bool has_successor, first_retired;
	struct ffpf_lanes_part retired[8]; /* unmapped once next() is over */
	unsigned retired_count;
	uint64_t sent, read;
};

static int
succeed(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	struct peer *p = remote;

	(void)err;
	assert_int_equal(lane, 0);
	if (!p->has_successor)
		return 1;
	*out = p->successor;
	p->has_successor = false;
	return 0;
}

static void
retire(void *remote, uint32_t lane, const struct ffpf_lanes_part *part)
{
	struct peer *p = remote;

	assert_int_equal(lane, 0);
	assert_true(p->retired_count < 8);
	p->first_retired |= part->ibuf.base == p->first.ibuf.base;
	p->retired[p->retired_count++] = *part;
}

static void
unmap_retired(struct peer *p)
{
	while (p->retired_count > 0)
		ffpf_lanes_unmap_part(&p->retired[--p->retired_count]);
}

static void
map_present(struct peer *p, struct ffpf_lanes_part *out)
{
	const struct ffpf_flow_lane *lane = &p->flow->lanes[0];

	must(ffpf_lanes_map_part(out, lane->lane.fd, lane->ibuf->region.fd, &test_err));
}

static struct ffpf_hook *
new_hook(enum ffpf_bms_id bms, uint32_t batch)
{
	struct ffpf_hook_config cfg = test_hook_config(bms, 256);
	struct ffpf_hook *hook = NULL;

	cfg.memory = FFPF_MEMORY_FD;
	cfg.publish_batch = batch;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	return hook;
}

static void
peer_open(struct peer *p, enum ffpf_bms_id bms, uint32_t batch)
{
	static const struct ffpf_lanes_remote_ops ops = { .succeed = succeed, .retire = retire };
	const struct ffpf_flow_config cfg = { .memory = FFPF_MEMORY_FD,
					      .ibuf_slots = 512,
					      .waker = FFPF_WAKER_TIMERFD };
	const struct ffpf_lanes_config lanes = test_reader_config();
	struct ffpf_lanes_parts parts;

	*p = (struct peer){ .hook = new_hook(bms, batch) };
	must(ffpf_flow_create(&p->flow, &cfg, &test_err));
	must(ffpf_hook_attach(p->hook, p->flow, &test_err));
	map_present(p, &p->first);
	must(ffpf_lanes_map_reader(&p->page, p->flow->reader.fd, &test_err));
	parts = (struct ffpf_lanes_parts){ .lanes = &p->first,
					   .count = 1,
					   .reader = p->page,
					   .event_fd = p->flow->event_fd,
					   .event = FFPF_LANES_EVENT_TIMERFD,
					   .ops = &ops,
					   .remote = p };
	must(ffpf_lanes_open(&p->reader, &parts, &lanes, &test_err));
}

static void
peer_close(struct peer *p)
{
	p->reader->ops->close(p->reader);
	unmap_retired(p);
	if (p->has_successor)
		ffpf_lanes_unmap_part(&p->successor);
	if (!p->first_retired)
		ffpf_lanes_unmap_part(&p->first);
	ffpf_region_close(&p->page);
	test_close(p->hook, p->flow, NULL);
}

static void
peer_send(struct peer *p, uint64_t n)
{
	while (n-- > 0)
		assert_int_equal(test_send(p->hook, p->sent++, 16), 1);
}

/* What is there, and as much of what comes meanwhile as one batch has. */
static void
peer_read(struct peer *p)
{
	struct ffpf_batch batch;
	const uint64_t at_least = p->flow->past.delivered + ffpf_counted(&p->flow->lanes[0].ibuf->page->w) -
				  p->flow->lanes[0].ibuf->page->first_pos;
	enum ffpf_outcome outcome = FFPF_BATCH;

	while (outcome == FFPF_BATCH || (outcome == FFPF_LAPPED && p->read < at_least)) {
		outcome = p->reader->ops->next(p->reader, &batch);
		unmap_retired(p);
		if (outcome != FFPF_BATCH)
			continue;
		for (uint32_t i = 0; i < batch.count; i++)
			assert_int_equal(test_number(batch.pkts[i].data), p->read++);
		p->reader->ops->release(p->reader, batch.count);
		if (p->read >= at_least)
			return;
	}
}

/* Perhaps before the reader has read all that the memory so far holds. */
static void
peer_move(struct peer *p, struct ffpf_hook *to, uint32_t slots)
{
	struct ffpf_hook *from = p->hook;

	must(ffpf_flow_prepare(p->flow, from, to, slots, &test_err));
	ffpf_flow_leave(p->flow, from);
	p->hook = to;
	ffpf_flow_arrive(p->flow, from);
	if (to != from)
		ffpf_hook_destroy(from);
	map_present(p, &p->successor);
	p->has_successor = true;
}

static void
reader_follows_without_a_loss(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct peer p;
		struct ffpf_counters c;

		peer_open(&p, bms, 1);
		for (unsigned i = 0; i < STEPS; i++) {
			uint64_t choice = test_random(&seed) % 8;

			if (choice == 0 && !p.has_successor)
				peer_move(&p, test_random(&seed) % 2 ? p.hook : new_hook(bms, 1),
					  256u << test_random(&seed) % 4);
			else if (choice < 4 && p.sent - p.read < 100)
				peer_send(&p, test_random(&seed) % 100);
			else
				peer_read(&p);
			/* a reader that has not followed yet does not know what came since */
			test_law(p.flow, p.has_successor ? NULL : p.reader);
		}
		peer_read(&p);
		assert_int_equal(p.read, p.sent);
		ffpf_flow_counters(p.flow, &c);
		assert_int_equal(c.seen, p.sent);
		assert_int_equal(c.delivered, p.sent);
		peer_close(&p);
	}
}

static void
abandoned_move_leaves_things_as_they_were(void **state)
{
	struct ffpf_hook *other = new_hook(FFPF_BMS_SRP, 1);
	struct peer p;

	(void)state;
	peer_open(&p, FFPF_BMS_SRP, 1);
	peer_send(&p, 10);
	must(ffpf_flow_prepare(p.flow, p.hook, other, 512, &test_err));
	assert_int_equal(ffpf_flow_prepare(p.flow, p.hook, other, 512, &test_err), -FFPF_E_INVALID);
	ffpf_flow_abandon(p.flow, p.hook);
	assert_int_equal(ffpf_flow_prepare(p.flow, other, p.hook, 512, &test_err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_flow_prepare(p.flow, p.hook, p.hook, 500, &test_err), -FFPF_E_INVALID);
	ffpf_hook_destroy(other);
	peer_send(&p, 10);
	peer_read(&p);
	assert_int_equal(p.read, 20);
	peer_close(&p);
}

/* Packets that the flow misses, on whatever hook its group's source has gone to. */
static void
miss(struct ffpf_hook *hook, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(test_send(hook, 0, 16), 0);
}

static void
count_on(struct peer *p, struct ffpf_hook *to)
{
	must(ffpf_flow_count_on(p->flow, p->hook, to, &test_err));
}

/* Each packet is the flow's or counted as missed, over two moves of its group and until it gets packets again. */
static void
who_is_left_out_misses_what_is_counted(void **state)
{
	struct ffpf_hook *second = new_hook(FFPF_BMS_SRP, 1), *third = new_hook(FFPF_BMS_SRP, 1);
	struct ffpf_counters c;
	struct peer p;

	(void)state;
	peer_open(&p, FFPF_BMS_SRP, 1);
	peer_send(&p, 10);
	assert_int_equal(ffpf_flow_count_on(p.flow, p.hook, second, &test_err), -FFPF_E_INVALID);
	ffpf_flow_leave_out(p.flow, NULL);
	miss(p.hook, 3);
	count_on(&p, second);
	ffpf_flow_uncount(p.flow, p.hook);
	assert_int_equal(test_send(second, 0, 16), 0); /* counted nowhere */
	count_on(&p, second);
	ffpf_flow_counted(p.flow, p.hook);
	ffpf_flow_strand(p.flow, p.hook);
	miss(second, 600); /* more than its own lane or IBuf has room for: nobody waits for it there */
	assert_true(ffpf_hook_has_room(second, 16));
	count_on(&p, third);
	ffpf_flow_counted(p.flow, p.hook);
	ffpf_hook_destroy(second);
	miss(third, 4);
	test_law(p.flow, NULL);
	peer_move(&p, third, 512);
	miss(third, 5);
	ffpf_flow_set_generation(p.flow, NULL, 2);
	peer_send(&p, 20);
	peer_read(&p);
	assert_int_equal(p.read, 30);
	test_law(p.flow, p.reader);
	ffpf_flow_counters(p.flow, &c);
	assert_int_equal(c.seen, 30 + 612);
	assert_int_equal(c.dropped[FFPF_DROP_LEFT], 612);
	assert_int_equal(test_dropped(p.flow, FFPF_DROP_LEFT), 612);
	peer_close(&p);
}

/* Entries of the IBuf that was left keep their records until the reader has come from there. */
static void
records_are_kept_for_who_has_not_followed(void **state)
{
	struct peer p;
	uint64_t accepted;

	(void)state;
	peer_open(&p, FFPF_BMS_SRP, 1);
	peer_send(&p, 10);
	peer_move(&p, p.hook, 1024);
	while (test_send(p.hook, p.sent, 16))
		p.sent++;
	accepted = p.sent; /* as many as the PBuf has cells */
	assert_int_equal(accepted, 256);
	assert_int_equal(test_send(p.hook, p.sent, 16), 0);
	peer_read(&p);
	assert_int_equal(p.read, accepted);
	peer_send(&p, 100);
	peer_read(&p);
	assert_int_equal(p.read, accepted + 100);
	peer_close(&p);
}

/* Moves while another thread is the hook's source, in batches. */
struct source {
	struct ffpf_hook *hook;
	_Atomic bool over;
	uint64_t sent;
};

static void *
send_on(void *arg)
{
	struct source *s = arg;

	while (!atomic_load(&s->over))
		if (ffpf_hook_has_room(s->hook, 16))
			s->sent += test_send(s->hook, s->sent, 16);
	ffpf_hook_flush(s->hook);
	return NULL;
}

static void
flow_grows_while_packets_come(void **state)
{
	struct source source = { 0 };
	pthread_t thread;
	struct peer p;

	(void)state;
	peer_open(&p, FFPF_BMS_SRP, 32);
	source.hook = p.hook;
	assert_int_equal(pthread_create(&thread, NULL, send_on, &source), 0);
	for (unsigned i = 0; i < 200; i++) {
		if (!p.has_successor)
			peer_move(&p, p.hook, 64u << i % 3);
		peer_read(&p);
	}
	atomic_store(&source.over, true);
	pthread_join(thread, NULL);
	peer_read(&p);
	assert_int_equal(p.read, source.sent);
	test_law(p.flow, p.reader);
	peer_close(&p);
}

/* What a reader in another process can do to the descriptor that it is woken with. */
static void *
spoil(void *arg)
{
	const struct peer *p = arg;
	const struct itimerspec never = { .it_value.tv_sec = 1000000 }, off = { .it_value.tv_sec = 0 };
	int fd = p->flow->event_fd;

	for (unsigned i = 0; i < 20000; i++) {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		timerfd_settime(fd, 0, i % 2 ? &never : &off, NULL);
	}
	return NULL;
}

static void
event_descriptor_never_stops_the_writer(void **state)
{
	struct peer p;
	pthread_t thread;

	(void)state;
	peer_open(&p, FFPF_BMS_FRP, 1);
	assert_int_equal(pthread_create(&thread, NULL, spoil, &p), 0);
	for (uint32_t i = 1; i < 20000; i++) {
		/* each packet wakes, and nobody drains */
		atomic_store(&p.flow->page->want, 1);
		atomic_store(&p.flow->page->sleep, i << FFPF_SLEEP_BITS | FFPF_SLEEPS_ON_FD);
		test_send(p.hook, i, 16);
	}
	pthread_join(thread, NULL);
	peer_close(&p);
}

static void
sleeper_is_woken_by_a_timerfd(void **state)
{
	struct peer p;

	(void)state;
	peer_open(&p, FFPF_BMS_SRP, 1);
	p.reader->ops->settle(p.reader);
	for (unsigned i = 0; i < 100; i++) {
		struct pollfd event = { .fd = p.reader->ops->poll_fd(p.reader), .events = POLLIN };

		assert_int_equal(poll(&event, 1, 0), 0);
		peer_send(&p, 1);
		assert_int_equal(poll(&event, 1, -1), 1);
		assert_int_equal(poll(&event, 1, 0), 1);
		peer_read(&p);
		p.reader->ops->settle(p.reader);
	}
	p.reader->ops->wake(p.reader);
	assert_int_equal(poll(&(struct pollfd){ .fd = p.reader->ops->poll_fd(p.reader), .events = POLLIN }, 1, -1), 1);
	peer_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_follows_without_a_loss),
		cmocka_unit_test(records_are_kept_for_who_has_not_followed),
		cmocka_unit_test(flow_grows_while_packets_come),
		cmocka_unit_test(abandoned_move_leaves_things_as_they_were),
		cmocka_unit_test(who_is_left_out_misses_what_is_counted),
		cmocka_unit_test(event_descriptor_never_stops_the_writer),
		cmocka_unit_test(sleeper_is_woken_by_a_timerfd),
	};

	return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
