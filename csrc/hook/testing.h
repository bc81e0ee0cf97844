/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_HOOK_TESTING_H
#define FFPF_HOOK_TESTING_H
/* What the test programs of the lanes share: small hooks and flows, and packets that say which they are. */
/* cmocka.h wants the first four before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hook/hook.h"
#include "lanes/lanes.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_DLT_EN10MB 1
#define TEST_DATA_MAX   (FFPF_PACKET_MAX_BYTES + 4096)

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct ffpf_error *must_err = &test_err;                                                               \
		if ((call) != 0)                                                                                       \
			fail_msg("%s: %s", #call, must_err->text);                                                     \
	} while (0)

static struct ffpf_error test_err; /* of the last call that failed; a test program is one file */

static inline struct ffpf_hook_config
test_hook_config(enum ffpf_bms_id bms, uint64_t cells)
{
	return (struct ffpf_hook_config){
		.pbuf_bytes = cells * FFPF_CELL_BYTES,
		.bms = bms,
		.link_type = TEST_DLT_EN10MB,
		.vlan_offset = 12,
		.publish_batch = 1,
	};
}

static inline struct ffpf_hook *
test_hook(enum ffpf_bms_id bms, uint64_t cells)
{
	const struct ffpf_hook_config cfg = test_hook_config(bms, cells);
	struct ffpf_hook *hook = NULL;

	must(ffpf_hook_create(&hook, &cfg, &test_err));
	return hook;
}

static inline struct ffpf_flow *
test_flow(struct ffpf_hook *hook, uint32_t slots, const struct ffpf_bpf_prog *prog)
{
	const struct ffpf_flow_config cfg = { .ibuf_slots = slots, .prog = prog };
	struct ffpf_flow *flow = NULL;

	must(ffpf_flow_create(&flow, &cfg, &test_err));
	if (hook)
		must(ffpf_hook_attach(hook, flow, &test_err));
	return flow;
}

static inline struct ffpf_lanes_config
test_reader_config(void)
{
	return (struct ffpf_lanes_config){
		.snap_len = 65536, .tick = FFPF_TICK_NS, .timeout_ms = 0, .want = 1, .nonblock = true
	};
}

static inline struct ffpf_reader *
test_reader(struct ffpf_flow *flow)
{
	const struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_reader *r = NULL;

	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	return r;
}

/* Octet i of packet `number`: the number itself first, so that a packet says which it is, then a pattern of its own. */
static inline uint8_t
test_octet(uint64_t number, uint32_t i)
{
	if (i < 8)
		return (uint8_t)(number >> (8 * i));
	return (uint8_t)((number * 0x9e3779b97f4a7c15ull >> 32) + i * 31u);
}

static inline void
test_fill(uint8_t *data, uint64_t number, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = test_octet(number, i);
}

static inline uint64_t
test_number(const uint8_t *data)
{
	uint64_t number;

	memcpy(&number, data, sizeof(number));
	return number;
}

static inline bool
test_is_whole(const uint8_t *data, uint32_t len)
{
	uint64_t number = test_number(data);

	for (uint32_t i = 8; i < len; i++)
		if (data[i] != test_octet(number, i))
			return false;
	return true;
}

/* A packet of len octets, at least 8, at time number ns. */
static inline uint32_t
test_send(struct ffpf_hook *hook, uint64_t number, uint32_t len)
{
	static _Thread_local uint8_t data[TEST_DATA_MAX];
	const struct ffpf_hook_packet pkt = {
		.data = data,
		.time_ns = (int64_t)number,
		.cap_len = len,
		.wire_len = len,
		.flags = FFPF_HOOK_TIME_GIVEN,
	};

	test_fill(data, number, len);
	return ffpf_hook_handle_packet(hook, &pkt);
}

/* The law on both sides, while no hook is at work: what the lanes counted, and what the reader says of it. */
static inline void
test_law(const struct ffpf_flow *flow, struct ffpf_reader *r)
{
	struct ffpf_counters writer, reader;

	ffpf_flow_counters(flow, &writer);
	assert_int_equal(writer.seen, writer.filtered + writer.delivered + ffpf_counters_dropped(&writer));
	if (!r)
		return;
	assert_int_equal(r->ops->counters(r, &reader), 0);
	assert_int_equal(reader.seen, reader.filtered + reader.delivered + ffpf_counters_dropped(&reader));
	assert_int_equal(reader.seen + reader.waiting, writer.seen);
}

/* The end of a flow of two hooks, and of its reader. */
static inline void
test_end_two(struct ffpf_reader *r, struct ffpf_flow *flow, struct ffpf_hook *a, struct ffpf_hook *b)
{
	r->ops->close(r);
	must(ffpf_hook_detach(a, flow, &test_err));
	must(ffpf_hook_detach(b, flow, &test_err));
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(a);
	ffpf_hook_destroy(b);
}

/* Takes everything there is; appends the numbers; how many. */
static inline uint32_t
test_drain(struct ffpf_reader *r, uint64_t *numbers, uint32_t room)
{
	struct ffpf_batch batch;
	uint32_t n = 0;

	for (;;) {
		enum ffpf_outcome outcome = r->ops->next(r, &batch);

		if (outcome == FFPF_LAPPED)
			continue;
		if (outcome != FFPF_BATCH)
			return n;
		for (uint32_t i = 0; i < batch.count; i++) {
			assert_true(test_is_whole(batch.pkts[i].data, batch.pkts[i].cap_len));
			assert_true(n < room);
			numbers[n++] = test_number(batch.pkts[i].data);
		}
		r->ops->release(r, batch.count);
	}
}

static inline uint64_t
test_dropped(const struct ffpf_flow *flow, enum ffpf_drop cause)
{
	struct ffpf_counters c;

	ffpf_flow_counters(flow, &c);
	return c.dropped[cause];
}

static inline bool
test_is_readable(const struct ffpf_reader *r)
{
	struct pollfd p = { .fd = r->ops->poll_fd(r), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* As a program does that polls. */
static inline void
test_wait(const struct ffpf_reader *r)
{
	struct pollfd p = { .fd = r->ops->poll_fd(r), .events = POLLIN };

	assert_int_equal(poll(&p, 1, -1), 1);
}

/* Ends a test of one hook and one flow; r may be NULL. */
static inline void
test_close(struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_reader *r)
{
	if (r)
		r->ops->close(r);
	must(ffpf_hook_detach(hook, flow, &test_err));
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(hook);
}

static inline uint64_t
test_seed(void)
{
	const char *given = getenv("FFPF_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u;

	print_message("seed=%llu (again: FFPF_SEED=%llu)\n", (unsigned long long)seed, (unsigned long long)seed);
	return seed;
}

static inline uint64_t
test_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
