/* SPDX-License-Identifier: BSD-3-Clause */
/* When a pull waits for company, and what it tells its reader. */
#include "columns/pull_internal.h"
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* the above before cmocka.h */
#include <cmocka.h>

#include <pcap/dlt.h>

#define NS_PER_S  1000000000ull
#define LINGER_NS (3600 * NS_PER_S)
#define PACKETS   2 /* of a batch */

/* So much was seen since it was asked last that packets come fast, however long ago that was. */
static struct ffpf_linger
fast(void)
{
	return (struct ffpf_linger){ .seen = UINT64_MAX / 2 };
}

static void
only_what_comes_fast_and_now_is_waited_for(void **state)
{
	const int64_t real = (int64_t)ffpf_clock_ns(CLOCK_REALTIME);
	struct ffpf_linger slow = { 0 }, stream = fast(), none = fast(), late = fast(), early = fast();
	uint64_t until;

	(void)state;
	assert_true(ffpf_linger_until(&slow, LINGER_NS, 9, real) <= ffpf_clock_ns(CLOCK_MONOTONIC));
	assert_true(ffpf_linger_until(&none, 0, 9, real) <= ffpf_clock_ns(CLOCK_MONOTONIC));
	until = ffpf_linger_until(&late, LINGER_NS, 9, real - (int64_t)LINGER_NS);
	assert_true(until <= ffpf_clock_ns(CLOCK_MONOTONIC));
	until = ffpf_linger_until(&early, LINGER_NS, 9, real + (int64_t)LINGER_NS);
	assert_true(until <= ffpf_clock_ns(CLOCK_MONOTONIC));
	/* half of its time is over */
	until = ffpf_linger_until(&stream, LINGER_NS, 9, real - (int64_t)LINGER_NS / 2);
	assert_true(until > ffpf_clock_ns(CLOCK_MONOTONIC));
	assert_true(until <= ffpf_clock_ns(CLOCK_MONOTONIC) + LINGER_NS / 2);
}

/* Serves a batch in each call that may wait, and says FFPF_TIMEOUT in one that may not. */
struct paced {
	struct ffpf_reader reader; /* first */
	uint8_t octets[PACKETS];
	struct ffpf_packet packets[PACKETS];
	uint32_t want, wanted; /* now, and at first */
	uint64_t until_ns;
	bool closed;
};

static enum ffpf_outcome
paced_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct paced *p = (struct paced *)r;

	if (p->until_ns && p->until_ns <= ffpf_clock_ns(CLOCK_MONOTONIC))
		return FFPF_TIMEOUT;
	*batch = (struct ffpf_batch){ .pkts = p->packets, .count = PACKETS };
	return FFPF_BATCH;
}

static void
paced_release(struct ffpf_reader *r, uint32_t n)
{
	(void)r;
	(void)n;
}

static void
paced_pace(struct ffpf_reader *r, uint32_t want, uint64_t until_ns)
{
	struct paced *p = (struct paced *)r;

	p->want = want;
	p->until_ns = until_ns;
	if (!p->wanted)
		p->wanted = want;
}

static void
paced_close(struct ffpf_reader *r)
{
	((struct paced *)r)->closed = true;
}

static const struct ffpf_reader_ops paced_ops = {
	.name = "paced",
	.next = paced_next,
	.release = paced_release,
	.pace = paced_pace,
	.close = paced_close,
};

/* A pull of 3 batches' room: how many packets it gives. */
static uint32_t
pulled(struct paced *p, struct ffpf_linger linger)
{
	struct ffpf_row rows[3 * PACKETS];
	struct ffpf_rows want = { .room = 3 * PACKETS, .rows = rows, .linger_ns = LINGER_NS };
	struct ffpf_error err = { 0 };
	struct ffpf_pull *pull;

	p->reader.ops = &paced_ops;
	p->reader.info.link_type = DLT_EN10MB;
	p->reader.info.tick = FFPF_TICK_NS;
	for (uint32_t i = 0; i < PACKETS; i++)
		p->packets[i] = (struct ffpf_packet){ .data = &p->octets[i], .ts_sec = time(NULL), .cap_len = 1 };
	assert_int_equal(ffpf_pull_create(&pull, &p->reader, NULL, false, &err), 0);
	pull->linger = linger;
	assert_int_equal(ffpf_pull_next(pull, &want, &err), FFPF_BATCH);
	assert_int_equal(p->want, 0); /* as it was opened */
	assert_int_equal(p->until_ns, 0);
	assert_int_equal(pull->linger.seen, linger.seen + want.count);
	ffpf_pull_drop(pull);
	assert_true(p->closed);
	return want.count;
}

static void
a_pull_waits_for_what_it_has_room_for(void **state)
{
	struct paced p = { 0 };

	(void)state;
	assert_int_equal(pulled(&p, fast()), 3 * PACKETS);
	assert_int_equal(p.wanted, 2 * PACKETS);
}

static void
a_pull_of_few_takes_what_is_there(void **state)
{
	struct paced p = { 0 };

	(void)state;
	assert_int_equal(pulled(&p, (struct ffpf_linger){ 0 }), PACKETS);
	assert_int_equal(p.wanted, 2 * PACKETS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_comes_fast_and_now_is_waited_for),
		cmocka_unit_test(a_pull_waits_for_what_it_has_room_for),
		cmocka_unit_test(a_pull_of_few_takes_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
