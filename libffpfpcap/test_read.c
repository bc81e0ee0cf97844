/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The read loop over a reader that plays a script: every outcome in every reading call, what is released when, and
 * counters beyond 32 bits. What the calls say to programs is compared with stock in the Python tests; here is what no
 * real device can be made to do.
 */
#include "filter.h"
#include "handle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PACKETS 8

struct script {
	struct ffpf_reader reader;
	struct ffpf_packet packets[PACKETS];
	uint8_t octets[PACKETS];
	const int *steps; /* > 0: a batch of so many packets; else -outcome; 0: the end, again and again */
	uint32_t unreleased, released, next_calls, set_filters, settles, pauses;
	struct ffpf_counters counters;
};

static enum ffpf_outcome
script_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct script *s = (struct script *)r;
	int step = *s->steps;

	s->next_calls++;
	assert_int_equal(s->unreleased, 0); /* the contract of next() */
	if (step == 0)
		return FFPF_END;
	s->steps++;
	if (step < 0) {
		snprintf(r->err.text, sizeof(r->err.text), "the script says so");
		r->err.code = FFPF_E_GENERIC;
		return (enum ffpf_outcome) - step;
	}
	s->unreleased = (uint32_t)step;
	*batch = (struct ffpf_batch){ s->packets, (uint32_t)step, s->octets, s->octets + PACKETS };
	return FFPF_BATCH;
}

static void
script_release(struct ffpf_reader *r, uint32_t n)
{
	struct script *s = (struct script *)r;

	assert_true(n > 0 && n <= s->unreleased);
	s->unreleased -= n;
	s->released += n;
}

static void
script_settle(struct ffpf_reader *r)
{
	struct script *s = (struct script *)r;

	if (s->unreleased > 0)
		s->pauses++;
	else
		s->settles++;
}

static int
script_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct script *s = (struct script *)r;

	s->set_filters++;
	if (prog && prog->insn_count == 2) {
		r->err.code = FFPF_E_NO_MEMORY;
		snprintf(r->err.text, sizeof(r->err.text), "no room for two");
		return -FFPF_E_NO_MEMORY;
	}
	s->unreleased = 0; /* given back */
	return 0;
}

static int
script_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	*out = ((struct script *)r)->counters;
	return 0;
}

static void
script_wake(struct ffpf_reader *r)
{
	(void)r;
}

static void
script_close(struct ffpf_reader *r)
{
	(void)r;
}

static const struct ffpf_reader_ops script_ops = {
	.name = "script",
	.next = script_next,
	.release = script_release,
	.settle = script_settle,
	.set_filter = script_set_filter,
	.counters = script_counters,
	.wake = script_wake,
	.close = script_close,
};

static struct pcap *
open_script(struct script *s, const int *steps)
{
	static struct ffpf_handle_ops ops;
	struct pcap *p;

	ops = ffpf_live_ops;
	ops.setfilter = ffpf_reader_setfilter; /* the other asks a live reader for warnings */
	p = ffpf_handle_create(&ops, NULL);
	assert_non_null(p);
	memset(s, 0, sizeof(*s));
	s->reader.ops = &script_ops;
	s->steps = steps;
	for (uint8_t i = 0; i < PACKETS; i++) {
		s->octets[i] = i;
		s->packets[i] =
		    (struct ffpf_packet){ .data = &s->octets[i], .ts_sec = i, .cap_len = 1, .wire_len = 100 };
	}
	p->reader = &s->reader;
	p->activated = true;
	return p;
}

struct seen {
	struct pcap *handle;
	int count, break_at, filter_at, finish_at;
	int finished_with; /* packets seen when p->finish was called */
	uint8_t octets[64];
};

static struct seen *finishing; /* p->finish takes nothing but the handle */

static void
finish(struct pcap *p)
{
	assert_null(p->finish);
	finishing->finished_with = finishing->count;
}

static void
note(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	struct seen *seen = (struct seen *)user;
	struct bpf_insn accept = { .code = 0x06, .k = 65535 };
	struct bpf_program program = { 1, &accept };

	assert_ptr_equal(ffpf_current, seen->handle);
	assert_ptr_equal(seen->handle->current->data, data);
	assert_int_equal(header->caplen, 1);
	seen->octets[seen->count++] = *data;
	if (seen->count == seen->break_at)
		pcap_breakloop(seen->handle);
	if (seen->count == seen->filter_at)
		assert_int_equal(pcap_setfilter(seen->handle, &program), 0);
	if (seen->count == seen->finish_at)
		seen->handle->finish = finish;
}

enum call { DISPATCH, LOOP, NEXT };

static const struct {
	const char *name;
	int steps[6];
	enum call call;
	int count;
	bool nonblock;
	int result, packets;
} outcomes[] = {
	{ "a batch", { 3, -FFPF_TIMEOUT }, DISPATCH, -1, false, 3, 3 },
	{ "part of a batch", { 3 }, DISPATCH, 2, false, 2, 2 },
	{ "non-blocking goes on", { 3, 2, -FFPF_WOULD_BLOCK }, DISPATCH, -1, true, 5, 5 },
	{ "count over two batches", { 3, 3 }, DISPATCH, 4, true, 4, 4 },
	{ "timeout", { -FFPF_TIMEOUT, 3 }, DISPATCH, -1, false, 0, 0 },
	{ "would block", { -FFPF_WOULD_BLOCK, 3 }, DISPATCH, -1, true, 0, 0 },
	{ "a signal of others", { -FFPF_INTERRUPTED, 3 }, DISPATCH, -1, false, 3, 3 },
	{ "lapped", { -FFPF_LAPPED, 3 }, DISPATCH, -1, false, 3, 3 },
	{ "failed", { -FFPF_FAILED }, DISPATCH, -1, false, -1, 0 },
	{ "loop over timeouts", { 2, -FFPF_TIMEOUT, -FFPF_LAPPED, -FFPF_INTERRUPTED, 3 }, LOOP, -1, false, 0, 5 },
	{ "loop until count", { 2, -FFPF_TIMEOUT, 8 }, LOOP, 5, false, 0, 5 },
	{ "loop until failure", { 2, -FFPF_FAILED }, LOOP, -1, false, -1, 2 },
	{ "next", { 2 }, NEXT, 1, false, 1, 0 },
	{ "next at a timeout", { -FFPF_TIMEOUT, 2 }, NEXT, 1, false, 0, 0 },
	{ "next after others' signal", { -FFPF_INTERRUPTED, -FFPF_LAPPED, 2 }, NEXT, 1, false, 1, 0 },
	{ "next failed", { -FFPF_FAILED }, NEXT, 1, false, -1, 0 },
	{ "next at the end", { 0 }, NEXT, 1, false, -2, 0 },
};

static int
call(struct pcap *p, enum call how, int count, struct seen *seen)
{
	struct pcap_pkthdr *header;
	const u_char *data;

	if (how == NEXT)
		return pcap_next_ex(p, &header, &data);
	return (how == LOOP ? pcap_loop : pcap_dispatch)(p, count, note, (u_char *)seen);
}

static void
test_outcomes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		struct script s;
		struct pcap *p = open_script(&s, outcomes[i].steps);
		struct seen seen = { .handle = p };
		int result;

		print_message("%s\n", outcomes[i].name);
		p->nonblock = outcomes[i].nonblock;
		result = call(p, outcomes[i].call, outcomes[i].count, &seen);
		assert_int_equal(result, outcomes[i].result);
		assert_int_equal(seen.count, outcomes[i].packets);
		if (result == -1)
			assert_string_equal(pcap_geterr(p), "the script says so");
		assert_null(ffpf_current);
		pcap_close(p);
	}
}

/* The count is kept, and the call after it is broken; a loop is broken at once. */
static void
test_break(void **state)
{
	static const int steps[] = { 3, 3, 3, 0 };
	struct script s;
	struct pcap *p = open_script(&s, steps);
	struct seen seen = { .handle = p, .break_at = 2 };

	(void)state;
	assert_int_equal(call(p, DISPATCH, -1, &seen), 2);
	assert_int_equal(call(p, DISPATCH, -1, &seen), PCAP_ERROR_BREAK);
	assert_int_equal(call(p, DISPATCH, -1, &seen), 1);
	seen.break_at = 4;
	assert_int_equal(call(p, LOOP, -1, &seen), PCAP_ERROR_BREAK);
	pcap_breakloop(p);
	assert_int_equal(call(p, NEXT, 1, NULL), PCAP_ERROR_BREAK);
	assert_int_equal(call(p, NEXT, 1, NULL), 1);
	pcap_close(p);
}

/* Packets are released before next(), and when the program gets control back with the batch used up; not before. */
static void
test_release(void **state)
{
	static const int steps[] = { 3, 3, 0 };
	struct script s;
	struct pcap *p = open_script(&s, steps);
	struct seen seen = { .handle = p };

	(void)state;
	assert_int_equal(call(p, NEXT, 1, NULL), 1);
	assert_int_equal(s.released + s.settles, 0);
	assert_int_equal(s.pauses, 1);
	assert_int_equal(call(p, DISPATCH, -1, &seen), 2);
	assert_int_equal(s.released, 3);
	assert_int_equal(s.settles, 1);
	assert_int_equal(call(p, LOOP, 2, &seen), 0);
	assert_int_equal(s.settles, 1);
	ffpf_handle_settle(p);
	assert_int_equal(s.released, 5);
	pcap_close(p);
}

/* A filter set while a packet is handled gives the rest of the batch back; one that fails leaves all as it was. */
static void
test_filter_inside(void **state)
{
	static const int steps[] = { 4, 2, 0 };
	struct bpf_insn accept[2] = { { .code = 0x00 }, { .code = 0x06, .k = 1 } };
	struct bpf_program two = { 2, accept };
	struct script s;
	struct pcap *p = open_script(&s, steps);
	struct seen seen = { .handle = p, .filter_at = 1 };
	const struct ffpf_bpf_prog *kept;

	(void)state;
	assert_int_equal(call(p, LOOP, -1, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_memory_equal(seen.octets, "\0\0\1", 3);
	assert_int_equal(s.released, 3);
	kept = p->filter;
	assert_non_null(kept);
	assert_int_equal(pcap_setfilter(p, &two), PCAP_ERROR);
	assert_string_equal(pcap_geterr(p), "no room for two");
	assert_ptr_equal(p->filter, kept);
	pcap_close(p);
}

/* Gathered writes end before the memory goes, before the call returns, and before another handle is read inside. */
static void
test_finish(void **state)
{
	static const int steps[] = { 3, 3, 0 };
	struct script s;
	struct pcap *p = open_script(&s, steps);
	struct seen seen = { .handle = p, .finish_at = 2 };

	(void)state;
	finishing = &seen;
	assert_int_equal(call(p, LOOP, 5, &seen), 0);
	assert_int_equal(seen.finished_with, 3); /* before the second batch */
	seen.finish_at = 6;
	assert_int_equal(call(p, DISPATCH, 1, &seen), 1);
	assert_int_equal(seen.finished_with, 6);
	p->finish = finish;
	seen.count = 9;
	pcap_close(p);
	assert_int_equal(seen.finished_with, 9);
}

static void
test_statistics_wrap(void **state)
{
	static const int steps[] = { 0 };
	struct script s;
	struct pcap *p = open_script(&s, steps);
	struct pcap_stat stat;

	(void)state;
	s.counters.seen = (1ULL << 32) + 5;
	s.counters.waiting = 2;
	s.counters.dropped[FFPF_DROP_KERNEL] = (3ULL << 32) + 7;
	s.counters.dropped[FFPF_DROP_INVALID] = 1;
	s.counters.iface_drops = (1ULL << 33) + 9;
	assert_int_equal(pcap_stats(p, &stat), 0);
	assert_int_equal(stat.ps_recv, 7);
	assert_int_equal(stat.ps_drop, 8);
	assert_int_equal(stat.ps_ifdrop, 9);
	pcap_close(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes), cmocka_unit_test(test_break),
		cmocka_unit_test(test_release),  cmocka_unit_test(test_filter_inside),
		cmocka_unit_test(test_finish),   cmocka_unit_test(test_statistics_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
