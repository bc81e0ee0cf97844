/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_topk.h"
#include "graph/testing_packets.h"

#define KEYS 400u

/* A packet from host `key` with so many octets on the wire. */
static void
from(struct test_filter *f, uint32_t key, uint32_t wire_len)
{
	const struct test_octets o = tcp_packet(0x0a000000 + key, 1024, 0x0b000001, 80, 2);
	struct ffpf_packet pkt = packet_of(&o);
	const struct ffpf_node_pkt in = { .pkt = &pkt, .result = 7, .link_type = DLT_EN10MB };
	uint32_t result = 0;

	pkt.wire_len = wire_len;
	test_filter_batch(f, &in, 1, &result);
	assert_int_equal(result, 7);
}

static uint32_t
key_of(const struct ffpf_mbuf_topk_entry *e)
{
	assert_int_equal(e->key.kind, FFPF_TUPLE_IPV4);
	assert_int_equal(e->key.src[0], 10);
	return (uint32_t)e->key.src[1] << 16 | (uint32_t)e->key.src[2] << 8 | e->key.src[3];
}

static void
few_keys_are_counted_exactly(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "topk", "k=2 of=ip.src by=bytes", 0);
	assert_int_equal(f.env.mbuf_bytes, 64 + 1024 * 64);
	for (unsigned i = 1; i <= 3; i++)
		for (unsigned n = 0; n < i; n++)
			from(&f, i, 100);
	assert_int_equal(test_packet(&f, "none", 4, 1), UINT32_MAX);
	assert_report(&f, FFPF_REPORT_TEXT,
		      "of ip.src\nbytes 600\nnone 1\nerror_most 0\ntop\n"
		      "  key 10.0.0.3 count 300 error 0\n  key 10.0.0.2 count 200 error 0\n");
	test_close(&f);
}

/* What the paper promises, after every packet of random skewed traffic, for every entry and every key that has none. */
static void
bounds_hold_for_random_traffic(void **state)
{
	enum { ROOM = 20, PACKETS = 4000 };
	static const uint64_t seeds[] = { 0x5eed0004, 0x5eed0005, 0x5eed0006 };

	(void)state;
	for (unsigned s = 0; s < 3; s++) {
		uint64_t truth[KEYS] = { 0 }, total = 0, seed = seeds[s];
		struct ffpf_mbuf_topk *mbuf;
		struct test_filter f;

		test_open(&f, "topk", s ? "k=5 of=ip.src by=bytes" : "k=5 of=ip.src", 64 + ROOM * 64);
		mbuf = f.env.mbuf;
		for (unsigned i = 1; i <= PACKETS; i++) {
			uint32_t key = (uint32_t)(test_random(&seed) % (1 + test_random(&seed) % KEYS));
			uint32_t len = 60 + (uint32_t)(test_random(&seed) % 1400);
			bool shown[KEYS] = { false };

			from(&f, key, len);
			truth[key] += s ? len : 1;
			total += s ? len : 1;
			if (i % 100)
				continue;
			assert_int_equal(mbuf->total, total);
			assert_int_equal(mbuf->turn & 1, 0);
			for (uint32_t e = 0; e < mbuf->filled; e++) {
				const struct ffpf_mbuf_topk_entry *entry = &mbuf->entries[e];
				uint32_t k = key_of(entry);

				assert_false(shown[k]);
				shown[k] = true;
				assert_true(entry->count - entry->error <= truth[k]);
				assert_true(truth[k] <= entry->count);
				assert_true(entry->error <= total / ROOM);
			}
			for (uint32_t k = 0; k < KEYS; k++)
				assert_true(shown[k] || truth[k] <= total / ROOM);
		}
		assert_int_equal(mbuf->filled, ROOM);
		test_close(&f);
	}
}

static void
application_may_write_anything_and_reset(void **state)
{
	uint64_t seed = 0x5eed0007;
	struct ffpf_mbuf_topk *mbuf;
	struct test_filter f;

	(void)state;
	test_open(&f, "topk", "k=3 of=ip.src", 64 + 8 * 64);
	mbuf = f.env.mbuf;
	for (unsigned i = 0; i < 500; i++) {
		from(&f, (uint32_t)(test_random(&seed) % 50), 60);
		memset(f.env.mbuf, (int)(test_random(&seed) & 0xff), f.env.mbuf_bytes);
		mbuf->reset = 0;
	}
	mbuf->reset = 1;
	f.class->tick(f.instance, 1);
	assert_int_equal(mbuf->reset, 0);
	assert_int_equal(mbuf->filled, 0);
	from(&f, 4, 60);
	assert_report(&f, FFPF_REPORT_JSON,
		      "{\"of\":\"ip.src\",\"packets\":1,\"none\":0,\"error_most\":0,\"top\":["
		      "{\"key\":\"10.0.0.4\",\"count\":1,\"error\":0}]}");
	test_close(&f);
}

static void
flows_and_both_ends_are_keys(void **state)
{
	const struct test_octets there = tcp_packet(0x0a000001, 1024, 0x0b000001, 80, 2),
				 back = tcp_packet(0x0b000001, 80, 0x0a000001, 1024, 18);
	struct test_filter flows, hosts, ports;

	(void)state;
	test_open(&flows, "topk", "", 0);
	test_open(&hosts, "topk", "of=ip.addr", 0);
	test_open(&ports, "topk", "of=tcp.sport k=1", 0);
	test_octets(&flows, &there, 1);
	test_octets(&flows, &back, 1);
	test_octets(&hosts, &there, 1);
	test_octets(&hosts, &back, 1);
	test_octets(&ports, &back, 1);
	assert_report(&flows, FFPF_REPORT_TEXT,
		      "of flow\npackets 2\nnone 0\nerror_most 0\ntop\n"
		      "  key tcp 10.0.0.1:1024 <-> 11.0.0.1:80 count 2 error 0\n");
	assert_report(&hosts, FFPF_REPORT_TEXT,
		      "of ip.addr\npackets 4\nnone 0\nerror_most 0\ntop\n"
		      "  key 10.0.0.1 count 2 error 0\n  key 11.0.0.1 count 2 error 0\n");
	assert_report(&ports, FFPF_REPORT_TEXT,
		      "of tcp.sport\npackets 1\nnone 0\nerror_most 0\ntop\n  key 80 count 1 error 0\n");
	test_close(&flows);
	test_close(&hosts);
	test_close(&ports);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("topk", "k=0", 0, "\"0\" is no number from 1 to 100000", 2);
	assert_refused("topk", "by=flows", 0, "\"flows\" is not packets or bytes", 3);
	assert_refused("topk", "10", 0, "what is \"10\"? Arguments: [k=N] [of=FIELD] [by=packets|bytes]", 0);
	assert_refused("topk", "k=10", 64 + 9 * 64,
		       "an MBuf of 640 octets: k=10 takes 64 + 64 * k or more, 2^30 at most", 0);
	assert_canonical("topk", "of=port k=3", "k=3 of=port by=packets");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_keys_are_counted_exactly),
		cmocka_unit_test(bounds_hold_for_random_traffic),
		cmocka_unit_test(application_may_write_anything_and_reset),
		cmocka_unit_test(flows_and_both_ends_are_keys),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
