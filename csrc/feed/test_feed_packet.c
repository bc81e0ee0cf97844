/* SPDX-License-Identifier: BSD-3-Clause */
/* What a feed makes of a reader's packets: metadata, times, losses; and when it holds them to be due. */
#include "feed/feed_internal.h"
#include "feed/testing.h"

#include <linux/if_packet.h>
#include <pcap/dlt.h>

#define SHOWN 64u

/* A reader that serves one batch, and then says that it lost packets. */
struct script {
	struct ffpf_reader reader; /* first */
	struct ffpf_packet *packets;
	uint32_t count;
	uint64_t lost;
	bool served;
};

static enum ffpf_outcome
script_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct script *s = (struct script *)r;

	if (s->served)
		return FFPF_END;
	s->served = true;
	*batch = (struct ffpf_batch){ .pkts = s->packets, .count = s->count };
	return FFPF_BATCH;
}

static void
script_release(struct ffpf_reader *r, uint32_t n)
{
	assert_int_equal(n, ((struct script *)r)->count);
}

static int
script_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	*out = (struct ffpf_counters){ .dropped[FFPF_DROP_KERNEL] = ((struct script *)r)->lost };
	return 0;
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
	.counters = script_counters,
	.close = script_close,
};

/* A filter that remembers what it was shown last. */
struct probe {
	struct ffpf_bpf_prog prog; /* first */
	uint8_t seen[SHOWN];
	uint32_t cap_len, wire_len;
	struct ffpf_bpf_aux aux;
};

static uint32_t
remember(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	 const struct ffpf_bpf_aux *aux)
{
	struct probe *probe = (struct probe *)(uintptr_t)prog;

	memcpy(probe->seen, pkt, cap_len < SHOWN ? cap_len : SHOWN);
	probe->cap_len = cap_len;
	probe->wire_len = wire_len;
	probe->aux = *aux;
	return UINT32_MAX;
}

/* One packet on its way through a feed: what a filter saw, what a reader got. */
struct passage {
	struct probe probe;
	struct ffpf_packet got;
	uint8_t octets[SHOWN];
	uint64_t seen, lost;
};

static struct passage
pass(int link_type, enum ffpf_tick tick, const struct ffpf_packet *packet, uint64_t lost)
{
	struct ffpf_packet copy = *packet;
	struct script script = { .reader = { .ops = &script_ops, .info = { .link_type = link_type, .tick = tick } },
				 .packets = &copy,
				 .count = 1,
				 .lost = lost };
	struct passage p = { .probe = { .prog = { .run = remember } } };
	const struct ffpf_feed_config feed_cfg = test_feed_config(FFPF_FEED_DROPS);
	struct ffpf_hook_config hook_cfg = test_hook_config(FFPF_BMS_SRP, 64);
	struct ffpf_feed *feed = NULL;
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;
	struct ffpf_batch batch;
	struct ffpf_counters c;

	must(ffpf_feed_create(&feed, &script.reader, &feed_cfg, &test_err));
	ffpf_feed_describe(feed, &hook_cfg);
	must(ffpf_hook_create(&hook, &hook_cfg, &test_err));
	flow = test_flow(hook, 4, &p.probe.prog);
	r = test_waiting_reader(flow, 1);
	must(ffpf_feed_add(feed, hook, &test_err));
	must(ffpf_feed_start(feed, &test_err));
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 1);
	p.got = batch.pkts[0];
	memcpy(p.octets, p.got.data, p.got.cap_len < SHOWN ? p.got.cap_len : SHOWN);
	r->ops->release(r, 1);
	assert_int_equal(r->ops->next(r, &batch), FFPF_END);
	ffpf_flow_counters(flow, &c);
	p.seen = c.seen;
	p.lost = c.dropped[FFPF_DROP_KERNEL];
	assert_int_equal(test_feed_counters(feed).lost, lost);
	test_law(flow, r);
	test_feed_close(feed, hook, flow, r);
	return p;
}

static void
tag_that_the_kernel_took_out_is_beside_for_filters_and_inside_for_readers(void **state)
{
	static const uint8_t ethernet[] = "aaaaaabbbbbb\x88\xa8\x20\x64\x08\x00payload";
	static const uint32_t lengths[] = { sizeof(ethernet) - 1, 18, 17, 16 };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const struct ffpf_packet packet = { .data = ethernet,
						    .ts_sec = 10,
						    .cap_len = lengths[i],
						    .wire_len = 1004,
						    .ifindex = 3,
						    .vlan_tci = 0x2064,
						    .vlan_tpid = 0x88a8,
						    .protocol = 0x0800,
						    .pkt_type = PACKET_OUTGOING,
						    .flags = FFPF_PACKET_VLAN };
		struct passage p = pass(DLT_EN10MB, FFPF_TICK_NS, &packet, 0);

		assert_int_equal(p.probe.cap_len, lengths[i] - 4);
		assert_int_equal(p.probe.wire_len, 1000);
		assert_memory_equal(p.probe.seen, "aaaaaabbbbbb", 12);
		assert_memory_equal(p.probe.seen + 12, ethernet + 16, lengths[i] - 16);
		assert_true(p.probe.aux.vlan_present);
		assert_int_equal(p.probe.aux.vlan_tci, 0x2064);
		assert_int_equal(p.probe.aux.vlan_tpid, 0x88a8);
		assert_int_equal(p.probe.aux.protocol, 0x0800);
		assert_int_equal(p.probe.aux.hatype, 1);
		assert_int_equal(p.probe.aux.pkt_type, PACKET_OUTGOING);
		assert_int_equal(p.probe.aux.ifindex, 3);
		assert_int_equal(p.got.cap_len, lengths[i]);
		assert_int_equal(p.got.wire_len, 1004);
		assert_memory_equal(p.octets, ethernet, lengths[i]);
		assert_int_equal(p.got.flags & FFPF_PACKET_VLAN, FFPF_PACKET_VLAN);
		assert_int_equal(p.got.vlan_tci, 0x2064);
	}
}

static void
tag_that_is_part_of_a_recorded_packet_stays_there(void **state)
{
	static const uint8_t ethernet[] = "aaaaaabbbbbb\x81\x00\x20\x64\x08\x00payload";
	const struct ffpf_packet packet = { .data = ethernet, .ts_sec = 10, .cap_len = 24, .wire_len = 24 };
	struct passage p = pass(DLT_EN10MB, FFPF_TICK_NS, &packet, 0);

	(void)state;
	assert_int_equal(p.probe.cap_len, 24);
	assert_memory_equal(p.probe.seen, ethernet, 24);
	assert_false(p.probe.aux.vlan_present);
	assert_int_equal(p.got.cap_len, 24);
	assert_memory_equal(p.octets, ethernet, 24);
}

/* An attached filter sees a cooked packet from its network header on, and what the header says beside it. */
static void
cooked_header_is_for_readers_only(void **state)
{
	static const uint8_t cooked[] = "\x86\xdd\0\0\0\0\1\5\3\7\4\6aaaaaa\0\0payload";
	const struct ffpf_packet packet = { .data = cooked,
					    .ts_sec = 10,
					    .cap_len = 27,
					    .wire_len = 120,
					    .ifindex = 261,
					    .vlan_tci = 5,
					    .vlan_tpid = 0x8100,
					    .flags = FFPF_PACKET_VLAN_BESIDE };
	struct passage p = pass(DLT_LINUX_SLL2, FFPF_TICK_NS, &packet, 0);

	(void)state;
	assert_int_equal(p.probe.cap_len, 7);
	assert_int_equal(p.probe.wire_len, 100);
	assert_memory_equal(p.probe.seen, "payload", 7);
	assert_int_equal(p.probe.aux.protocol, 0x86dd);
	assert_int_equal(p.probe.aux.hatype, 0x0307);
	assert_int_equal(p.probe.aux.pkt_type, PACKET_OUTGOING);
	assert_int_equal(p.probe.aux.ifindex, 261);
	assert_true(p.probe.aux.vlan_present);
	assert_int_equal(p.probe.aux.vlan_tci, 5);
	/* it has no place for a tag */
	assert_int_equal(p.got.cap_len, 27);
	assert_int_equal(p.got.wire_len, 120);
	assert_memory_equal(p.octets, cooked, 27);
	assert_int_equal(p.got.vlan_tci, 5);
	assert_int_equal(p.got.vlan_tpid, 0x8100);
}

static void
times_are_the_readers_as_far_as_64_bits_go(void **state)
{
	static const struct {
		enum ffpf_tick tick;
		int64_t sec;
		int32_t frac;
		int64_t want_ns;
	} cases[] = {
		{ FFPF_TICK_NS, 1700000000, 123456789, 1700000000123456789 },
		{ FFPF_TICK_US, 1700000000, 123456, 1700000000123456000 },
		{ FFPF_TICK_US, 5, 1999999, 6999999000 },
		{ FFPF_TICK_NS, -1, 1, -999999999 },
		{ FFPF_TICK_NS, 0, -5, -5 },
		{ FFPF_TICK_NS, INT64_MAX, 0, INT64_MAX - 1 },
		{ FFPF_TICK_NS, 9223372036, 854775807, INT64_MAX - 1 }, /* INT64_MAX: FFPF_FLOOR_IDLE */
		{ FFPF_TICK_NS, 9223372036, 854775808, INT64_MAX - 1 },
		{ FFPF_TICK_NS, INT64_MIN, 0, INT64_MIN + 1 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ffpf_packet packet = { .data = (const uint8_t *)"x",
						    .ts_sec = cases[i].sec,
						    .ts_frac = cases[i].frac,
						    .cap_len = 1,
						    .wire_len = 1 };
		struct passage p = pass(DLT_EN10MB, cases[i].tick, &packet, 0);
		int64_t sec = cases[i].want_ns / 1000000000, ns = cases[i].want_ns % 1000000000;

		if (ns < 0) {
			sec--;
			ns += 1000000000;
		}
		assert_int_equal(p.got.ts_sec, sec);
		assert_int_equal(p.got.ts_frac, ns);
	}
}

static void
what_the_reader_lost_every_flow_counts(void **state)
{
	const struct ffpf_packet packet = { .data = (const uint8_t *)"x", .cap_len = 1, .wire_len = 1 };
	struct passage p = pass(DLT_EN10MB, FFPF_TICK_NS, &packet, 7);

	(void)state;
	assert_int_equal(p.seen, 8);
	assert_int_equal(p.lost, 7);
}

static void
packets_are_due_when_the_rate_says(void **state)
{
	static const struct {
		enum ffpf_feed_pace pace;
		double rate;
		uint64_t due[4]; /* of packets of 125 octets, 10 ms apart, the third a second before the others */
	} cases[] = {
		{ FFPF_PACE_PACKETS, 1000, { 0, 1000000, 2000000, 3000000 } },
		{ FFPF_PACE_PACKETS, 0.5, { 0, 2000000000, 4000000000, 6000000000 } },
		{ FFPF_PACE_BITS, 1e6, { 0, 1000000, 2000000, 3000000 } },
		{ FFPF_PACE_RECORDED, 1, { 0, 10000000, 10000000, 30000000 } },
		{ FFPF_PACE_RECORDED, 2, { 0, 5000000, 5000000, 15000000 } },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct feed_pacer pacer = { .pace = cases[i].pace, .rate = cases[i].rate };

		for (int64_t n = 0; n < 4; n++) {
			int64_t time_ns = 1700000000000000000 + n * 10000000 - (n == 2 ? 1000000000 : 0);
			uint64_t due = feed_due(&pacer, 125, time_ns);

			assert_int_equal(due - pacer.start_ns, cases[i].due[n]);
		}
	}
}

static void
without_a_pace_nothing_waits_and_a_gap_of_centuries_is_no_overflow(void **state)
{
	struct feed_pacer none = { .pace = FFPF_PACE_NONE };
	struct feed_pacer slow = { .pace = FFPF_PACE_RECORDED, .rate = 1e-300 };

	(void)state;
	assert_int_equal(feed_due(&none, 60, 1), 0);
	assert_int_equal(feed_due(&slow, 60, INT64_MIN + 1) - slow.start_ns, 0);
	assert_int_equal(feed_due(&slow, 60, INT64_MAX - 1) - slow.start_ns, 1ull << 62);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tag_that_the_kernel_took_out_is_beside_for_filters_and_inside_for_readers),
		cmocka_unit_test(tag_that_is_part_of_a_recorded_packet_stays_there),
		cmocka_unit_test(cooked_header_is_for_readers_only),
		cmocka_unit_test(times_are_the_readers_as_far_as_64_bits_go),
		cmocka_unit_test(what_the_reader_lost_every_flow_counts),
		cmocka_unit_test(packets_are_due_when_the_rate_says),
		cmocka_unit_test(without_a_pace_nothing_waits_and_a_gap_of_centuries_is_no_overflow),
	};

	return cmocka_run_group_tests_name("feed_packet", tests, NULL, NULL);
}
