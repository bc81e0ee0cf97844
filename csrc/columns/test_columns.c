/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows, heads and columns of scripted readers; and who may use a pull, and when. */
#include "columns/pull.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* the above before cmocka.h */
#include <cmocka.h>

#include <linux/if_packet.h>
#include <pcap/dlt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACKETS 300
#define OCTETS  60

/* Serves `per_batch` packets at a time, `total` in all, and then `last`; counts what is asked of it. */
struct script {
	struct ffpf_reader reader; /* first */
	uint8_t octets[PACKETS][OCTETS];
	struct ffpf_packet packets[PACKETS];
	uint32_t total, per_batch, served, released;
	enum ffpf_outcome last;
	bool nonblock, waited_with_packets, woken, *closed;
	uint32_t nexts, settles;
};

static enum ffpf_outcome
script_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct script *s = (struct script *)r;
	uint32_t n = s->total - s->served < s->per_batch ? s->total - s->served : s->per_batch;

	s->nexts++;
	assert_int_equal(s->released, s->served); /* the contract of reader.h */
	if (s->woken) {
		s->woken = false;
		return FFPF_INTERRUPTED;
	}
	if (!n && s->last == FFPF_FAILED)
		ffpf_error_set(&r->err, FFPF_E_FORMAT, "broken behind packet %u", s->served);
	if (!n)
		return s->last;
	if (s->served && !s->nonblock)
		s->waited_with_packets = true;
	*batch = (struct ffpf_batch){ .pkts = &s->packets[s->served], .count = n };
	s->served += n;
	return FFPF_BATCH;
}

static void
script_release(struct ffpf_reader *r, uint32_t n)
{
	((struct script *)r)->released += n;
}

static void
script_settle(struct ffpf_reader *r)
{
	((struct script *)r)->settles++;
}

static int
script_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct script *s = (struct script *)r;

	(void)prog;
	s->served = s->released;
	return 0;
}

static int
script_set_nonblock(struct ffpf_reader *r, bool on)
{
	((struct script *)r)->nonblock = on;
	return 0;
}

static void
script_wake(struct ffpf_reader *r)
{
	((struct script *)r)->woken = true;
}

static void
script_close(struct ffpf_reader *r)
{
	*((struct script *)r)->closed = true;
	free(r);
}

static const struct ffpf_reader_ops script_ops = {
	.name = "script",
	.next = script_next,
	.release = script_release,
	.settle = script_settle,
	.set_filter = script_set_filter,
	.set_nonblock = script_set_nonblock,
	.wake = script_wake,
	.close = script_close,
};

struct bench {
	struct script *script;
	struct ffpf_pull *pull;
	struct ffpf_error err;
	bool closed;
	struct ffpf_row rows[PACKETS];
	uint8_t octets[PACKETS * OCTETS];
};

static void
set_up(struct bench *b, uint32_t total, uint32_t per_batch, enum ffpf_outcome last)
{
	struct script *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	*b = (struct bench){ .script = s };
	s->reader.ops = &script_ops;
	s->reader.info.link_type = DLT_EN10MB;
	s->total = total;
	s->per_batch = per_batch;
	s->last = last;
	s->closed = &b->closed;
	for (uint32_t i = 0; i < total; i++) {
		memset(s->octets[i], (int)i, OCTETS);
		s->packets[i] = (struct ffpf_packet){
			.data = s->octets[i],
			.ts_sec = i,
			.ts_frac = 7,
			.cap_len = OCTETS - i % 3,
			.wire_len = 1000 + i,
			.result = i,
			.ifindex = 3,
			.pkt_type = PACKET_OUTGOING,
		};
	}
	assert_int_equal(ffpf_pull_create(&b->pull, &s->reader, NULL, false, &b->err), 0);
}

static void
tear_down(struct bench *b)
{
	ffpf_pull_drop(b->pull);
	assert_true(b->closed);
}

static enum ffpf_outcome
pull(struct bench *b, uint32_t room, struct ffpf_rows *out)
{
	*out = (struct ffpf_rows){ .room = room, .rows = b->rows };
	return ffpf_pull_next(b->pull, out, &b->err);
}

static void
a_pull_gathers_batches_and_tells_the_end_later(void **state)
{
	struct bench b;
	struct ffpf_rows out;

	(void)state;
	set_up(&b, 250, 100, FFPF_FAILED);
	out = (struct ffpf_rows){ .room = 290, .rows = b.rows, .octets = b.octets, .octets_room = sizeof(b.octets) };
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 250);
	assert_false(b.script->waited_with_packets);
	assert_false(b.script->nonblock);
	assert_int_equal(b.script->settles, 1);
	assert_int_equal(b.script->released, 250);
	for (uint32_t i = 0; i < out.count; i++) {
		const struct ffpf_row *row = &b.rows[i];

		assert_int_equal(row->ts_ns, i * 1000000000ull + 7000);
		assert_int_equal(row->caplen, OCTETS - i % 3);
		assert_int_equal(row->len, 1000 + i);
		assert_int_equal(row->result, i);
		assert_int_equal(row->pkt_type, PACKET_OUTGOING);
		assert_memory_equal(out.base + row->offset, b.script->octets[i], row->caplen);
	}
	assert_int_equal(pull(&b, 10, &out), FFPF_FAILED);
	assert_string_equal(b.err.text, "broken behind packet 250");
	tear_down(&b);
}

static void
a_batch_that_is_too_large_is_taken_in_parts(void **state)
{
	struct bench b;
	struct ffpf_rows out;
	uint32_t seen = 0;

	(void)state;
	set_up(&b, 250, 100, FFPF_END);
	for (;;) {
		enum ffpf_outcome outcome = pull(&b, 7, &out);

		if (outcome == FFPF_END)
			break;
		assert_int_equal(outcome, FFPF_BATCH);
		for (uint32_t i = 0; i < out.count; i++)
			assert_int_equal(b.rows[i].result, seen++);
	}
	assert_int_equal(seen, 250);
	tear_down(&b);
}

static void
octets_that_are_full_end_a_pull(void **state)
{
	struct bench b;
	struct ffpf_rows out;

	(void)state;
	set_up(&b, 4, 4, FFPF_END);
	out = (struct ffpf_rows){ .room = 4, .rows = b.rows, .octets = b.octets, .octets_room = 10 };
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 0);
	assert_int_equal(out.octets_needed, OCTETS);
	out.octets_room = 2 * OCTETS + 10;
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 2);
	assert_int_equal(out.octets_needed, 0);
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 2);
	assert_int_equal(b.rows[0].result, 2);
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_END);
	tear_down(&b);
}

static void
counting_needs_no_arrays(void **state)
{
	struct bench b;
	struct ffpf_rows out = { .room = UINT32_MAX };

	(void)state;
	set_up(&b, 300, 300, FFPF_END);
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 300);
	assert_int_equal(out.caplen_sum, 300 * OCTETS - 300);
	assert_int_equal(out.len_sum, 300 * 1000 + 299 * 300 / 2);
	tear_down(&b);
}

static void
a_view_holds_the_reader_back(void **state)
{
	struct bench b;
	struct ffpf_rows out;

	(void)state;
	set_up(&b, 250, 100, FFPF_END);
	out = (struct ffpf_rows){ .room = 290, .rows = b.rows, .in_place = true };
	assert_int_equal(ffpf_pull_next(b.pull, &out, &b.err), FFPF_BATCH);
	assert_int_equal(out.count, 100);
	assert_int_equal(b.script->settles, 0);
	assert_ptr_equal(out.base + b.rows[99].offset, b.script->octets[99]);
	assert_int_equal(ffpf_pull_view(b.pull, &b.err), 0);
	assert_int_equal(pull(&b, 10, &out), FFPF_FAILED);
	assert_int_equal(b.err.code, FFPF_E_VIEWED);
	assert_int_equal(ffpf_pull_set_filter(b.pull, NULL, &b.err), -FFPF_E_VIEWED);
	assert_int_equal(b.script->nexts, 1);
	ffpf_pull_forget(b.pull);
	assert_int_equal(pull(&b, 10, &out), FFPF_BATCH);
	assert_int_equal(b.rows[0].result, 100);
	assert_int_equal(ffpf_pull_view(b.pull, &b.err), 0);
	assert_int_equal(ffpf_pull_close(b.pull, &b.err), 0);
	assert_false(b.closed);
	assert_int_equal(pull(&b, 10, &out), FFPF_FAILED);
	assert_int_equal(b.err.code, FFPF_E_CLOSED);
	ffpf_pull_forget(b.pull);
	assert_true(b.closed);
	ffpf_pull_stop(b.pull);
	tear_down(&b);
}

static void
a_filter_serves_again_what_was_not_taken(void **state)
{
	struct bench b;
	struct ffpf_rows out;

	(void)state;
	set_up(&b, 250, 100, FFPF_END);
	assert_int_equal(pull(&b, 30, &out), FFPF_BATCH);
	assert_int_equal(ffpf_pull_set_filter(b.pull, NULL, &b.err), 0);
	assert_int_equal(pull(&b, 290, &out), FFPF_BATCH);
	assert_int_equal(out.count, 220);
	assert_int_equal(b.rows[0].result, 30);
	tear_down(&b);
}

static void
stop_ends_it_for_good(void **state)
{
	struct bench b;
	struct ffpf_rows out;

	(void)state;
	set_up(&b, 250, 100, FFPF_END);
	ffpf_pull_stop(b.pull);
	assert_int_equal(pull(&b, 30, &out), FFPF_END);
	assert_int_equal(pull(&b, 30, &out), FFPF_END);
	assert_int_equal(b.script->nexts, 0);
	tear_down(&b);
}

static void
a_forked_process_may_only_close(void **state)
{
	struct bench b;
	struct ffpf_rows out;
	int status;
	pid_t child;

	(void)state;
	set_up(&b, 250, 100, FFPF_END);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		bool told = pull(&b, 3, &out) == FFPF_FAILED && b.err.code == FFPF_E_BUSY;

		_exit(told && ffpf_pull_close(b.pull, &b.err) == 0 && b.closed ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(pull(&b, 3, &out), FFPF_BATCH);
	tear_down(&b);
}

struct other {
	struct bench *bench;
	uint32_t packets;
};

static void *
pull_in_thread(void *arg)
{
	struct other *other = arg;
	struct ffpf_rows out = { .room = 1 };
	enum ffpf_outcome outcome;

	do {
		outcome = ffpf_pull_next(other->bench->pull, &out, NULL);
		other->packets += out.count;
	} while (outcome == FFPF_BATCH || outcome == FFPF_FAILED);
	return NULL;
}

static void
two_threads_never_meet_in_it(void **state)
{
	struct bench b;
	struct other other = { .bench = &b };
	pthread_t thread;
	uint32_t packets = 0;
	enum ffpf_outcome outcome;

	(void)state;
	set_up(&b, PACKETS, 1, FFPF_END);
	assert_int_equal(pthread_create(&thread, NULL, pull_in_thread, &other), 0);
	do {
		struct ffpf_rows out = { .room = 1 };
		struct ffpf_error err = { .text = "" };

		outcome = ffpf_pull_next(b.pull, &out, &err);
		packets += out.count;
		assert_true(outcome != FFPF_FAILED || err.code == FFPF_E_BUSY);
	} while (outcome == FFPF_BATCH || outcome == FFPF_FAILED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(packets + other.packets, PACKETS);
	tear_down(&b);
}

static void
fields_say_what_a_packet_lacks(void **state)
{
	/* Ethernet, VLAN 5, IPv4 to 192.0.2.1, TCP to port 80, cut behind its ports */
	static const uint8_t octets[] = {
		2,    0, 0, 0,  0, 1, 2,    0, 0,  0, 0, 2, 0x81, 0, 0x60, 5, 8,   0, /* network */
		0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10,   0, 0,    7, 192, 0, 2, 1, 0x30, 0x39, 0, 80,
	};
	const struct ffpf_row rows[2] = { { .caplen = sizeof(octets), .len = 90 }, { .caplen = 13, .len = 13 } };
	uint8_t valid[5][2], prio[2];
	uint16_t vlan[2], port[2];
	uint32_t address[2], seq[2];
	const struct ffpf_column columns[5] = {
		{ ffpf_column_field_find("vlan.id"), vlan, valid[0] },
		{ ffpf_column_field_find("vlan.prio"), prio, valid[1] },
		{ ffpf_column_field_find("tcp.dport"), port, valid[2] },
		{ ffpf_column_field_find("ip.dst"), address, valid[3] },
		{ ffpf_column_field_find("tcp.seq"), seq, valid[4] },
	};

	(void)state;
	ffpf_columns_extract(columns, 5, 0, rows, 2, octets, DLT_EN10MB);
	for (unsigned i = 0; i < 4; i++)
		assert_true(valid[i][0] && !valid[i][1]);
	assert_false(valid[4][0] || valid[4][1]);
	assert_int_equal(vlan[0], 5);
	assert_int_equal(prio[0], 3);
	assert_int_equal(port[0], 80);
	assert_int_equal(address[0], 0xc0000201);
	assert_int_equal(seq[0], 0);
	assert_null(ffpf_column_field_find("tcp"));
}

static void
heads_are_filled_up_with_zeros(void **state)
{
	static const uint8_t octets[100] = { [0 ... 99] = 0xee };
	struct ffpf_row rows[100];
	uint8_t heads[100 * 64];

	(void)state;
	for (uint32_t width = 1; width <= 64; width++) {
		memset(heads, 0x55, sizeof(heads));
		for (uint32_t i = 0; i < 100; i++)
			rows[i] = (struct ffpf_row){ .offset = i, .caplen = 100 - i };
		ffpf_rows_heads(heads, width, rows, 100, octets);
		for (uint32_t i = 0; i < 100; i++)
			for (uint32_t at = 0; at < width; at++)
				assert_int_equal(heads[i * width + at], at < 100 - i ? 0xee : 0);
	}
}

static void
packets_from_anywhere_are_gathered(void **state)
{
	static const uint8_t octets[3000];
	uint8_t one[] = { 1, 2, 3 }, other[] = { 4 };
	struct ffpf_packet pkts[] = {
		{ .data = one, .ts_sec = 5, .ts_frac = 7, .cap_len = 3, .wire_len = 9, .result = 11, .ifindex = 2 },
		{ .data = octets,
		  .cap_len = sizeof(octets),
		  .flags = FFPF_PACKET_VLAN_BESIDE,
		  .vlan_tci = 6,
		  .vlan_tpid = 0x8100 },
		{ .data = NULL, .ts_sec = -1 },
		{ .data = other, .cap_len = 1, .flags = FFPF_PACKET_HEAD_READABLE },
	};
	struct ffpf_row rows[4];
	uint8_t to[3004 + 1];

	(void)state;
	assert_int_equal(ffpf_rows_octets(pkts, 4), 3004);
	assert_int_equal(ffpf_rows_octets(pkts, 0), 0);
	to[3004] = 0x55;
	ffpf_rows_gather(rows, to, pkts, 4);
	assert_int_equal(to[3004], 0x55);
	assert_memory_equal(to, one, 3);
	assert_memory_equal(to + 3, octets, sizeof(octets));
	assert_int_equal(to[3003], 4);
	assert_int_equal(rows[0].ts_ns, 5000000007);
	assert_int_equal(rows[0].result, 11);
	assert_int_equal(rows[0].ifindex, 2);
	assert_int_equal(rows[0].len, 9);
	assert_int_equal(rows[1].vlan, 0x81000006);
	assert_int_equal(rows[2].ts_ns, -1000000000);
	assert_int_equal(rows[2].caplen, 0);
	assert_int_equal(rows[3].offset, 3003);
	assert_int_equal(rows[3].flags, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pull_gathers_batches_and_tells_the_end_later),
		cmocka_unit_test(a_batch_that_is_too_large_is_taken_in_parts),
		cmocka_unit_test(octets_that_are_full_end_a_pull),
		cmocka_unit_test(counting_needs_no_arrays),
		cmocka_unit_test(a_view_holds_the_reader_back),
		cmocka_unit_test(a_filter_serves_again_what_was_not_taken),
		cmocka_unit_test(stop_ends_it_for_good),
		cmocka_unit_test(a_forked_process_may_only_close),
		cmocka_unit_test(two_threads_never_meet_in_it),
		cmocka_unit_test(fields_say_what_a_packet_lacks),
		cmocka_unit_test(heads_are_filled_up_with_zeros),
		cmocka_unit_test(packets_from_anywhere_are_gathered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
