/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_first_n.h"
#include "graph/testing_packets.h"

#define SECOND 1000000000u

static uint32_t
of_flow(struct test_filter *f, unsigned flow, uint64_t ts_ns)
{
	const struct test_octets o = flow & 1 ? tcp_packet(0x0a000001, 1024 + flow / 2, 0x0a0000ff, 80, 2)
					      : tcp_packet(0x0a0000ff, 80, 0x0a000001, 1024 + flow / 2, 2);

	return test_octets(f, &o, ts_ns);
}

/* As long as nothing is forgotten: exactly what counting per flow says. Both directions are one flow. */
static void
first_packets_of_each_flow_pass(void **state)
{
	unsigned counts[500] = { 0 };
	uint64_t seed = 0x5eed0002;
	struct test_filter f;

	(void)state;
	test_open(&f, "first_n", "3 flows=65536", 0);
	for (unsigned i = 0; i < 5000; i++) {
		unsigned way = (unsigned)(test_random(&seed) % 1000);

		assert_int_equal(of_flow(&f, way, i) != 0, counts[way / 2]++ < 3);
	}
	assert_int_equal(((struct ffpf_mbuf_first_n *)f.env.mbuf)->forgotten, 0);
	assert_report(&f, FFPF_REPORT_TEXT, "flows 500\nforgotten 0\nidle 0\n");
	test_close(&f);
}

static void
flows_of_a_full_set_are_forgotten_oldest_first(void **state)
{
	const struct ffpf_mbuf_first_n *mbuf;
	struct test_filter f;

	(void)state;
	test_open(&f, "first_n", "1 flows=4", 0);
	mbuf = f.env.mbuf;
	for (unsigned i = 0; i < 4; i++)
		assert_int_not_equal(of_flow(&f, 2 * i, i * SECOND), 0);
	assert_int_equal(of_flow(&f, 0, 4 * (uint64_t)SECOND), 0);     /* seen again, turned away */
	assert_int_not_equal(of_flow(&f, 8, 5 * (uint64_t)SECOND), 0); /* in the place of the second */
	assert_int_equal(mbuf->forgotten, 1);
	assert_int_equal(of_flow(&f, 0, 6 * (uint64_t)SECOND), 0);     /* still known */
	assert_int_not_equal(of_flow(&f, 2, 7 * (uint64_t)SECOND), 0); /* begins anew */
	assert_int_equal(mbuf->forgotten, 2);
	assert_int_equal(mbuf->flows, 6);
	test_close(&f);
}

static void
idle_flows_begin_anew_and_time_may_go_back(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "first_n", "1 idle=10s", 0);
	assert_int_not_equal(of_flow(&f, 0, 100 * (uint64_t)SECOND), 0);
	assert_int_equal(of_flow(&f, 0, 109 * (uint64_t)SECOND), 0);
	assert_int_equal(of_flow(&f, 0, 118 * (uint64_t)SECOND), 0);
	assert_int_not_equal(of_flow(&f, 0, 129 * (uint64_t)SECOND), 0);
	assert_int_equal(of_flow(&f, 0, 50 * (uint64_t)SECOND), 0);
	assert_report(&f, FFPF_REPORT_JSON, "{\"flows\":2,\"forgotten\":0,\"idle\":1}");
	test_close(&f);
}

static void
batches_do_what_single_packets_do(void **state)
{
	enum { COUNT = 100 };
	struct test_octets octets[COUNT];
	struct ffpf_packet pkts[COUNT];
	struct ffpf_node_pkt in[COUNT];
	uint32_t results[COUNT];
	struct test_filter single, batch;
	uint64_t seed = 0x5eed0003;

	(void)state;
	test_open(&single, "first_n", "2 flows=16", 0);
	test_open(&batch, "first_n", "2 flows=16", 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			octets[i] = tcp_packet(1, (unsigned)(test_random(&seed) % 60), 2, 80, 2);
			pkts[i] = packet_of(&octets[i]);
			in[i] = (struct ffpf_node_pkt){
				.pkt = &pkts[i], .ts_ns = round * SECOND + i, .result = 9, .link_type = DLT_EN10MB
			};
		}
		test_filter_batch(&batch, in, COUNT, results);
		for (unsigned i = 0; i < COUNT; i++) {
			uint32_t one = 0;

			test_filter_batch(&single, &in[i], 1, &one);
			assert_int_equal(results[i], one);
		}
	}
	assert_memory_equal(single.env.mbuf, batch.env.mbuf, sizeof(struct ffpf_mbuf_first_n));
	test_close(&single);
	test_close(&batch);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("first_n", "", 0, "how many packets? Arguments: N [flows=F] [idle=TIME]", 0);
	assert_refused("first_n", "0", 0, "\"0\" is no number from 1 to 4294967295", 0);
	assert_refused("first_n", "1 2", 0, "what is \"2\"? Arguments: N [flows=F] [idle=TIME]", 2);
	assert_refused("first_n", "1 flows=3", 0, "\"3\" is no number from 4 to 67108864", 8);
	assert_refused("first_n", "1 idle=x", 0, "\"x\" is no time: a number and ns, us, ms, s, m or h", 7);
	assert_refused("first_n", "1", 8, "an MBuf of 8 octets: 32 or more", 0);
	assert_canonical("first_n", "5", "5 flows=65536");
	assert_canonical("first_n", "idle=1s 5 flows=5", "5 flows=8 idle=1000000000ns");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_packets_of_each_flow_pass),
		cmocka_unit_test(flows_of_a_full_set_are_forgotten_oldest_first),
		cmocka_unit_test(idle_flows_begin_anew_and_time_may_go_back),
		cmocka_unit_test(batches_do_what_single_packets_do),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
