/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_flow_table.h"
#include "graph/flow_report.h"
#include "graph/testing_packets.h"

#define SECOND 1000000000ull
#define A      0x0a000001u
#define B      0x0b000001u

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

/* A segment of the connection A:1024 <-> B:80, from A when `there`. */
static void
segment(struct test_filter *f, bool there, unsigned flags, uint64_t ts_ns)
{
	const struct test_octets o = there ? tcp_packet(A, 1024, B, 80, flags) : tcp_packet(B, 80, A, 1024, flags);

	assert_int_equal(test_octets(f, &o, ts_ns), UINT32_MAX);
}

static struct test_octets
datagram(uint32_t src, unsigned sport, uint32_t dst, unsigned dport)
{
	struct test_octets o = { .len = 0 };

	put_ether(&o, 0x0800);
	put_ipv4(&o, &(struct test_ipv4){ .src = src, .dst = dst, .protocol = IPPROTO_UDP, .payload = 8 });
	put_udp(&o, sport, dport, 0);
	return o;
}

static struct ffpf_mbuf_flow_record
record(const struct test_filter *f, uint64_t number)
{
	const struct ffpf_mbuf_flow_table *mbuf = f->env.mbuf;

	assert_true(number < mbuf->written);
	assert_int_equal(mbuf->intent, mbuf->written);
	return mbuf->records[number % mbuf->slots];
}

static void
connection_is_followed_to_its_end(void **state)
{
	const struct ffpf_mbuf_flow_table *mbuf;
	struct ffpf_mbuf_flow_record r;
	struct test_filter f;

	(void)state;
	test_open(&f, "flow_table", "", 0);
	mbuf = f.env.mbuf;
	assert_int_equal(mbuf->slots, 4096);
	segment(&f, true, SYN, 10 * SECOND);
	segment(&f, false, SYN | ACK, 11 * SECOND);
	segment(&f, true, ACK, 12 * SECOND);
	segment(&f, true, FIN | ACK, 13 * SECOND);
	segment(&f, false, FIN | ACK, 14 * SECOND);
	segment(&f, true, ACK, 15 * SECOND); /* a straggler */
	f.class->tick(f.instance, 20 * SECOND - 1);
	assert_int_equal(mbuf->written, 0);
	assert_int_equal(mbuf->present, 1);
	f.class->tick(f.instance, 20 * SECOND);
	r = record(&f, 0);
	assert_int_equal(r.key.src[0], 10);
	assert_int_equal(r.key.dport, 80);
	assert_int_equal(r.first_ns, 10 * SECOND);
	assert_int_equal(r.last_ns, 15 * SECOND);
	assert_int_equal(r.packets[0], 4);
	assert_int_equal(r.packets[1], 2);
	assert_int_equal(r.bytes[1], 108);
	assert_int_equal(r.flags[0], FIN | SYN | ACK);
	assert_int_equal(r.state, FFPF_FLOW_CLOSED);
	assert_int_equal(r.reason, FFPF_FLOW_LINGERED);
	assert_int_equal(mbuf->present, 0);
	assert_report(&f, FFPF_REPORT_TEXT,
		      "flows 1\npresent 0\nexported 1\nfull 0\nnone 0\nrecent\n"
		      "  flow tcp 10.0.0.1:1024 <-> 11.0.0.1:80 seconds 5 packets_there 4 packets_back 2 "
		      "bytes_there 216 bytes_back 108 flags FSA state closed reason lingered\n");
	test_close(&f);
}

/* Flags from here (capital) and back (small): S syn, A ack, B syn+ack, F fin+ack, R rst. What the state is after them.
 */
static void
states_follow_the_table(void **state)
{
	static const struct {
		const char *segments;
		enum ffpf_flow_state state;
		const char *src; /* who asked */
	} cases[] = {
		{ "A", FFPF_FLOW_OPEN, "10" },         { "Aa", FFPF_FLOW_OPEN, "10" },
		{ "S", FFPF_FLOW_SYN, "10" },          { "SS", FFPF_FLOW_SYN, "10" },
		{ "Sb", FFPF_FLOW_SYN_ACK, "10" },     { "b", FFPF_FLOW_SYN_ACK, "10" },
		{ "Sba", FFPF_FLOW_SYN_ACK, "10" },    { "SbA", FFPF_FLOW_ESTABLISHED, "10" },
		{ "bA", FFPF_FLOW_ESTABLISHED, "10" }, { "SbAaSb", FFPF_FLOW_ESTABLISHED, "10" },
		{ "SbAf", FFPF_FLOW_FIN, "10" },       { "SbAff", FFPF_FLOW_FIN, "10" },
		{ "SbAfF", FFPF_FLOW_CLOSED, "10" },   { "AfF", FFPF_FLOW_CLOSED, "10" },
		{ "Sr", FFPF_FLOW_RESET, "10" },       { "SbAfFr", FFPF_FLOW_CLOSED, "10" },
		{ "aR", FFPF_FLOW_RESET, "11" },       { "AS", FFPF_FLOW_OPEN, "10" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_mbuf_flow_record r;
		struct test_filter f;

		test_open(&f, "flow_table", "", 0);
		for (const char *s = cases[i].segments; *s; s++) {
			const char there = *s & ~0x20;

			segment(&f, *s == there,
				there == 'S'   ? SYN
				: there == 'A' ? ACK
				: there == 'B' ? SYN | ACK
				: there == 'F' ? FIN | ACK
					       : RST,
				SECOND);
		}
		assert_int_equal(f.class->flush(f.instance, &f.err), 0);
		r = record(&f, 0);
		assert_string_equal(ffpf_flow_state_name(r.state), ffpf_flow_state_name((uint8_t)cases[i].state));
		assert_int_equal(r.key.src[0], atoi(cases[i].src));
		assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->written, 1);
		test_close(&f);
	}
}

static void
syn_after_the_end_is_another_flow(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "flow_table", "", 0);
	segment(&f, true, SYN, SECOND);
	segment(&f, false, RST | ACK, SECOND);
	segment(&f, true, SYN, 2 * SECOND);
	assert_int_equal(record(&f, 0).state, FFPF_FLOW_RESET);
	assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->present, 1);
	f.class->flush(f.instance, &f.err);
	assert_int_equal(record(&f, 1).state, FFPF_FLOW_SYN);
	assert_int_equal(record(&f, 1).reason, FFPF_FLOW_END);
	test_close(&f);
}

static void
long_flow_is_told_in_parts(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "flow_table", "active=10s", 0);
	segment(&f, true, SYN, 0);
	segment(&f, false, SYN | ACK, 0);
	segment(&f, true, ACK, 5 * SECOND);
	segment(&f, false, ACK, 12 * SECOND);
	segment(&f, false, SYN, 13 * SECOND); /* no first packet: the state stays */
	f.class->flush(f.instance, &f.err);
	assert_int_equal(record(&f, 0).packets[0], 2);
	assert_int_equal(record(&f, 0).reason, FFPF_FLOW_ACTIVE);
	assert_int_equal(record(&f, 1).packets[1], 2);
	assert_int_equal(record(&f, 1).first_ns, 12 * SECOND);
	assert_int_equal(record(&f, 1).state, FFPF_FLOW_ESTABLISHED);
	assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->flows, 1);
	test_close(&f);
}

static void
full_table_lets_the_oldest_go_and_over_ones_first(void **state)
{
	struct test_filter f;
	struct test_octets o;

	(void)state;
	test_open(&f, "flow_table", "flows=3", 64 + 96 * 2);
	o = datagram(A, 1, B, 53);
	test_octets(&f, &o, 1);
	segment(&f, true, RST, 2);
	o = datagram(A, 2, B, 53);
	test_octets(&f, &o, 3);
	o = datagram(A, 3, B, 53);
	test_octets(&f, &o, 4); /* the reset connection goes */
	assert_int_equal(record(&f, 0).state, FFPF_FLOW_RESET);
	assert_int_equal(record(&f, 0).reason, FFPF_FLOW_FULL);
	o = datagram(B, 53, A, 1);
	test_octets(&f, &o, 5); /* heard of again */
	o = datagram(A, 4, B, 53);
	test_octets(&f, &o, 6);
	assert_int_equal(record(&f, 1).key.sport, 2);
	assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->full, 2);
	f.class->flush(f.instance, &f.err); /* five records through two slots */
	assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->written, 5);
	assert_int_equal(record(&f, 4).key.sport, 4);
	assert_int_equal(record(&f, 4).packets[0], 1);
	test_close(&f);
}

/* Random datagrams: the records are what splitting each flow's packets at gaps of `idle` gives. */
static void
random_traffic_agrees_with_splitting_at_gaps(void **state)
{
	enum { FLOWS = 40, PACKETS = 3000, ROOM = 4000 };
	uint64_t seed = 0x5eed0009;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		uint64_t last[FLOWS], now = 5, expected[FLOWS] = { 0 }, exported[FLOWS] = { 0 };
		uint64_t sent[FLOWS] = { 0 }, told[FLOWS] = { 0 };
		const struct ffpf_mbuf_flow_table *mbuf;
		struct test_filter f;

		test_open(&f, "flow_table", "idle=1us", 64 + 96 * ROOM);
		mbuf = f.env.mbuf;
		for (unsigned i = 0; i < PACKETS; i++) {
			unsigned flow = (unsigned)(test_random(&seed) % FLOWS);
			bool there = test_random(&seed) % 2;
			struct test_octets o =
			    there ? datagram(A, 1000 + flow, B, 53) : datagram(B, 53, A, 1000 + flow);

			now += test_random(&seed) % 60;
			test_octets(&f, &o, now);
			expected[flow] += !sent[flow] || now - last[flow] >= 1000;
			last[flow] = now;
			sent[flow]++;
		}
		f.class->flush(f.instance, &f.err);
		assert_true(mbuf->written < ROOM);
		for (uint64_t i = 0; i < mbuf->written; i++) {
			const struct ffpf_mbuf_flow_record r = record(&f, i);
			unsigned flow = (r.key.sport == 53 ? r.key.dport : r.key.sport) - 1000u;

			exported[flow]++;
			told[flow] += r.packets[0] + r.packets[1];
			assert_true(r.packets[0] > 0); /* who spoke first is src */
			assert_true(r.last_ns >= r.first_ns);
			assert_int_equal(r.bytes[0], r.packets[0] * 42);
		}
		assert_memory_equal(exported, expected, sizeof(expected));
		assert_memory_equal(told, sent, sizeof(sent));
		assert_int_equal(mbuf->flows, mbuf->written);
		test_close(&f);
	}
}

static void
other_packets_pass_and_time_may_go_back(void **state)
{
	struct test_filter f;

	(void)state;
	test_open(&f, "flow_table", "", 0);
	assert_int_equal(test_packet(&f, "no packet", 9, 1), UINT32_MAX);
	assert_int_equal(((struct ffpf_mbuf_flow_table *)f.env.mbuf)->none, 1);
	segment(&f, true, ACK, 100 * SECOND);
	segment(&f, true, ACK, 10 * SECOND);
	segment(&f, true, ACK, 159 * SECOND);
	f.class->flush(f.instance, &f.err);
	assert_int_equal(record(&f, 0).packets[0], 3);
	assert_int_equal(record(&f, 0).first_ns, 100 * SECOND);
	assert_int_equal(record(&f, 0).last_ns, 159 * SECOND);
	test_close(&f);
}

static void
bad_arguments_are_named(void **state)
{
	(void)state;
	assert_refused("flow_table", "flows=0", 0, "\"0\" is no number from 1 to 16777216", 6);
	assert_refused("flow_table", "idle=0", 0, "\"0\" is no time: a number and ns, us, ms, s, m or h", 5);
	assert_refused("flow_table", "tcp", 0,
		       "what is \"tcp\"? Arguments: [flows=F] [idle=TIME] [active=TIME] [linger=TIME]", 0);
	assert_refused("flow_table", "", 100, "an MBuf of 100 octets: 64, and 96 for each record", 0);
	assert_canonical("flow_table", "idle=1m",
			 "flows=65536 idle=60000000000ns active=1800000000000ns linger=5000000000ns");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connection_is_followed_to_its_end),
		cmocka_unit_test(states_follow_the_table),
		cmocka_unit_test(syn_after_the_end_is_another_flow),
		cmocka_unit_test(long_flow_is_told_in_parts),
		cmocka_unit_test(full_table_lets_the_oldest_go_and_over_ones_first),
		cmocka_unit_test(random_traffic_agrees_with_splitting_at_gaps),
		cmocka_unit_test(other_packets_pass_and_time_may_go_back),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
