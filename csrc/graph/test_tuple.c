/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers, tuples, fields: what is found in packets of every link type, and in packets that end anywhere. */
#include "graph/fields.h"
#include "graph/testing_packets.h"

#include <stdlib.h>

#define A 0x0a000001u
#define B 0xc0a80002u

static struct ffpf_headers
find(const struct test_octets *o, uint32_t link_type)
{
	static struct ffpf_packet pkt; /* headers point to it */
	struct ffpf_headers h;

	pkt = packet_of(o);
	ffpf_headers_find(&h, &pkt, link_type);
	return h;
}

static const char *
flow_text(const struct test_octets *o, uint32_t link_type)
{
	static char text[FFPF_TUPLE_TEXT_BYTES];
	struct ffpf_headers h = find(o, link_type);
	struct ffpf_tuple t;
	size_t len;

	ffpf_tuple_of(&t, &h);
	len = ffpf_tuple_text(&t, text, sizeof(text));
	assert_int_equal(len, strlen(text));
	return text;
}

/* Values of a field as text, blank separated. */
static const char *
field_text(const char *name, const struct test_octets *o, uint32_t link_type)
{
	static char text[4 * FFPF_TUPLE_TEXT_BYTES];
	const struct ffpf_field *field = ffpf_field_find(name);
	struct ffpf_headers h = find(o, link_type);
	struct ffpf_tuple keys[FFPF_FIELD_MOST_VALUES];
	char *end = text;
	unsigned count;

	assert_non_null(field);
	text[0] = 0;
	count = ffpf_field_keys(field, &h, keys);
	for (unsigned i = 0; i < count; i++) {
		if (i)
			*end++ = ' ';
		end += ffpf_tuple_text(&keys[i], end, FFPF_TUPLE_TEXT_BYTES);
	}
	return text;
}

static void
put_plain_tcp(struct test_octets *o)
{
	put_ipv4(o, &(struct test_ipv4){ .src = A, .dst = B, .protocol = IPPROTO_TCP, .payload = 20 });
	put_tcp(o, 1024, 80, 0x12);
}

static void
every_link_type_leads_to_the_same_flow(void **state)
{
	static const struct {
		uint32_t link_type;
		uint32_t before;
		const char *header;
	} cases[] = {
		{ DLT_EN10MB, 14, "\2\2\2\2\2\2\1\1\1\1\1\1\x08\x00" },
		{ DLT_EN10MB, 18, "\2\2\2\2\2\2\1\1\1\1\1\1\x81\x00\x20\x05\x08\x00" },
		{ DLT_EN10MB, 22, "\2\2\2\2\2\2\1\1\1\1\1\1\x88\xa8\x20\x05\x81\x00\x00\x07\x08\x00" },
		{ DLT_RAW, 0, "" },
		{ DLT_IPV4, 0, "" },
		{ DLT_LINUX_SLL, 16, "\0\0\0\1\0\6aaaaaaaa\x08\x00" },
		{ DLT_LINUX_SLL2, 20, "\x08\x00\0\0\0\0\0\1\0\1\0\6aaaaaaaa" },
		{ DLT_NULL, 4, "\2\0\0\0" },
		{ DLT_NULL, 4, "\0\0\0\2" },
		{ DLT_LOOP, 4, "\0\0\0\2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct test_octets o = { .len = 0 };

		put(&o, cases[i].header, cases[i].before);
		put_plain_tcp(&o);
		assert_string_equal(flow_text(&o, cases[i].link_type), "tcp 10.0.0.1:1024 <-> 192.168.0.2:80");
		assert_string_equal(field_text("vlan.id", &o, cases[i].link_type),
				    cases[i].link_type == DLT_EN10MB && cases[i].before > 14 ? "5" : "");
	}
}

static void
other_families_and_types_are_no_ip(void **state)
{
	struct test_octets o = { .len = 0 }, odd = { .len = 0 };

	(void)state;
	put(&o, "\7\0\0\0", 4);
	put_plain_tcp(&o);
	assert_string_equal(flow_text(&o, DLT_NULL), "none");
	assert_string_equal(flow_text(&o, DLT_IEEE802_11), "none");
	put_ether(&odd, 0x88cc);
	put(&odd, "lldp", 4);
	assert_string_equal(flow_text(&odd, DLT_EN10MB), "ether 0x88cc 01:01:01:01:01:01 <-> 02:02:02:02:02:02");
	assert_string_equal(field_text("eth.src", &odd, DLT_EN10MB), "01:01:01:01:01:01");
	assert_string_equal(field_text("ip.src", &odd, DLT_EN10MB), "");
}

static void
tag_beside_the_packet_counts_as_one_in_it(void **state)
{
	struct test_octets o = { .len = 0 };
	struct ffpf_headers h;
	struct ffpf_packet pkt;
	uint64_t out[2] = { 0 };

	(void)state;
	put_plain_tcp(&o);
	pkt = packet_of(&o);
	pkt.flags = FFPF_PACKET_VLAN_BESIDE;
	pkt.vlan_tci = 0xa064;
	ffpf_headers_find(&h, &pkt, DLT_RAW);
	assert_int_equal(ffpf_field_find("vlan.id")->numbers(&h, out), 1);
	assert_int_equal(out[0], 100);
	assert_int_equal(ffpf_field_find("vlan.priority")->numbers(&h, out), 1);
	assert_int_equal(out[0], 5);
}

static void
options_and_padding_are_not_the_transport(void **state)
{
	struct test_octets o = { .len = 0 };

	(void)state;
	put_ether(&o, 0x0800);
	put_ipv4(&o, &(struct test_ipv4){ .src = A, .dst = B, .protocol = IPPROTO_UDP, .options = 12, .payload = 8 });
	put_udp(&o, 53, 5353, 0);
	put(&o, "padding", 7);
	assert_string_equal(flow_text(&o, DLT_EN10MB), "udp 10.0.0.1:53 <-> 192.168.0.2:5353");
	assert_int_equal(find(&o, DLT_EN10MB).len, o.len - 7);
	assert_int_equal(find(&o, DLT_EN10MB).transport, 14 + 32);
}

static void
pieces_of_a_datagram_are_one_flow_without_ports(void **state)
{
	static const uint16_t pieces[] = { 0x2000, 0x2010, 0x0020 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct test_octets o = { .len = 0 };

		put_ipv4(&o, &(struct test_ipv4){
				 .src = A, .dst = B, .protocol = IPPROTO_UDP, .piece = pieces[i], .payload = 8 });
		put_udp(&o, 7, 9, 0);
		assert_string_equal(flow_text(&o, DLT_RAW), "udp 10.0.0.1 <-> 192.168.0.2");
		assert_string_equal(field_text("udp.dport", &o, DLT_RAW), i == 0 ? "9" : "");
		assert_string_equal(field_text("ip.fragment", &o, DLT_RAW), "1");
		assert_string_equal(field_text("udp.len", &o, DLT_RAW), i == 0 ? "8" : "");
	}
}

static void
extension_headers_are_walked(void **state)
{
	struct test_octets o = { .len = 0 };

	(void)state;
	put_ipv6(&o, 1, 2, IPPROTO_HOPOPTS, 8 + 16 + 12 + 8 + 8 + 20);
	put(&o, "\x2b\0\1\4\0\0\0\0", 8);                  /* hop by hop, then routing */
	put(&o, "\x33\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16); /* routing, then authentication */
	put(&o, "\x3c\1\0\0\0\0\0\0\0\0\0\0", 12);         /* authentication, then destination */
	put(&o, "\x2c\0\1\4\0\0\0\0", 8);                  /* destination, then fragment */
	put(&o, "\x06\0\0\0\0\0\0\1", 8);                  /* a fragment header on a whole packet (RFC 6946) */
	put_tcp(&o, 1, 2, 2);
	assert_string_equal(flow_text(&o, DLT_RAW), "tcp [2001:db8::1]:1 <-> [2001:db8::2]:2");
	assert_string_equal(field_text("ip.fragment", &o, DLT_RAW), "0");
	assert_string_equal(field_text("tcp.len", &o, DLT_RAW), "0");
	o.data[40 + 8 + 16 + 12 + 8 + 3] = 1; /* more pieces */
	assert_string_equal(flow_text(&o, DLT_RAW), "tcp 2001:db8::1 <-> 2001:db8::2");
	assert_string_equal(field_text("tcp.dport", &o, DLT_RAW), "2");
	o.data[40 + 8 + 16 + 12 + 8 + 2] = 1; /* a later one */
	assert_string_equal(flow_text(&o, DLT_RAW), "tcp 2001:db8::1 <-> 2001:db8::2");
	assert_string_equal(field_text("tcp.dport", &o, DLT_RAW), "");
}

static void
echo_and_its_reply_are_one_flow(void **state)
{
	(void)state;
	for (unsigned type = 0; type <= 8; type += 8) {
		struct test_octets o = { .len = 0 };

		put_ipv4(&o, &(struct test_ipv4){ .src = A, .dst = B, .protocol = IPPROTO_ICMP, .payload = 8 });
		put8(&o, type);
		put8(&o, 0);
		put(&o, "\0\0\x12\x34\0\1", 6);
		assert_string_equal(flow_text(&o, DLT_RAW), "icmp 10.0.0.1:4660 <-> 192.168.0.2:4660");
		assert_string_equal(field_text("icmp.type", &o, DLT_RAW), type ? "8" : "0");
		assert_string_equal(field_text("sport", &o, DLT_RAW), "");
		o.data[20] = 3; /* unreachable: the octets are no identifier */
		assert_string_equal(flow_text(&o, DLT_RAW), "icmp 10.0.0.1 <-> 192.168.0.2");
	}
}

static void
fields_have_the_values_of_the_packet(void **state)
{
	static const struct {
		const char *name, *value;
	} cases[] = {
		{ "len", "60" },
		{ "caplen", "60" },
		{ "ifindex", "" },
		{ "result", "4294967295" },
		{ "eth.type", "2048" },
		{ "ip.version", "4" },
		{ "ip.src", "10.0.0.1" },
		{ "ip.dst", "192.168.0.2" },
		{ "ip.addr", "10.0.0.1 192.168.0.2" },
		{ "ip.len", "46" },
		{ "ip.ttl", "64" },
		{ "ip.dscp", "46" },
		{ "ip.proto", "6" },
		{ "ip.fragment", "0" },
		{ "port", "1024 80" },
		{ "tcp.sport", "1024" },
		{ "tcp.dport", "80" },
		{ "tcp.port", "1024 80" },
		{ "tcp.seq", "16909060" },
		{ "tcp.ack", "84281096" },
		{ "tcp.flags", "18" },
		{ "tcp.window", "4321" },
		{ "tcp.len", "6" },
		{ "udp.dport", "" },
		{ "udp.port", "" },
		{ "sctp.sport", "" },
		{ "icmp.type", "" },
		{ "vlan.id", "" },
		{ "flow", "tcp 10.0.0.1:1024 <-> 192.168.0.2:80" },
		{ "pair", "10.0.0.1 <-> 192.168.0.2" },
	};
	struct test_octets o = { .len = 0 };

	(void)state;
	put_ether(&o, 0x0800);
	put_ipv4(&o, &(struct test_ipv4){ .src = A, .dst = B, .protocol = IPPROTO_TCP, .payload = 26 });
	put_tcp(&o, 1024, 80, 0x12);
	put(&o, "hello\n", 6);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(field_text(cases[i].name, &o, DLT_EN10MB), cases[i].value);
}

static void
directions_have_one_canonical_form_and_one_hash(void **state)
{
	struct test_octets there = tcp_packet(A, 1024, B, 80, 2), back = tcp_packet(B, 80, A, 1024, 18),
			   other = tcp_packet(A, 1025, B, 80, 2), same = tcp_packet(A, 9, A, 8, 2);
	struct ffpf_tuple t, u, v, w;
	struct ffpf_headers h = find(&there, DLT_EN10MB);

	(void)state;
	ffpf_tuple_of(&t, &h);
	h = find(&back, DLT_EN10MB);
	ffpf_tuple_of(&u, &h);
	h = find(&other, DLT_EN10MB);
	ffpf_tuple_of(&v, &h);
	h = find(&same, DLT_EN10MB);
	ffpf_tuple_of(&w, &h);
	assert_false(ffpf_tuple_canonical(&t));
	assert_true(ffpf_tuple_canonical(&u));
	assert_true(ffpf_tuple_equal(&t, &u));
	assert_true(ffpf_tuple_hash(&t, 7) == ffpf_tuple_hash(&u, 7));
	assert_true(ffpf_tuple_hash(&t, 7) != ffpf_tuple_hash(&t, 8));
	assert_true(ffpf_tuple_hash(&t, 7) != ffpf_tuple_hash(&v, 7));
	assert_true(ffpf_tuple_canonical(&w));
	assert_int_equal(w.sport, 8);
}

/* Flows that differ in one port fall evenly into 64 boxes: chi squared of 63 degrees, 1 in a million at 127. */
static void
hash_spreads_neighbours(void **state)
{
	enum { FLOWS = 16384, BOXES = 64 };
	struct ffpf_tuple t = {
		.kind = FFPF_TUPLE_IPV4, .protocol = IPPROTO_TCP, .src = { 10 }, .dst = { 10, 0, 0, 1 }
	};

	(void)state;
	for (unsigned shift = 0; shift <= 58; shift += 58) {
		uint32_t boxes[BOXES] = { 0 };
		double chi = 0;

		for (unsigned i = 0; i < FLOWS; i++) {
			t.sport = (uint16_t)(1024 + i);
			boxes[ffpf_tuple_hash(&t, 1) >> shift & (BOXES - 1)]++;
		}
		for (unsigned i = 0; i < BOXES; i++) {
			double off = (double)boxes[i] - FLOWS / BOXES;

			chi += off * off / (FLOWS / BOXES);
		}
		assert_true(chi < 127 && chi > 23);
	}
}

/* Every length of every packet of a few kinds, at the end of its own allocation: the sanitizers watch. */
static void
packets_that_end_anywhere_are_safe_and_never_gain(void **state)
{
	struct test_octets whole[3] = { { .len = 0 } };

	(void)state;
	whole[0] = tcp_packet(A, 1024, B, 80, 2);
	put_ether(&whole[1], 0x88a8);
	put32(&whole[1], 0x00058100);
	put32(&whole[1], 0x000786dd);
	put_ipv6(&whole[1], 1, 2, IPPROTO_DSTOPTS, 28);
	put(&whole[1], "\x06\0\1\4\0\0\0\0", 8);
	put_tcp(&whole[1], 1, 2, 2);
	put_ether(&whole[2], 0x0800);
	put_ipv4(&whole[2],
		 &(struct test_ipv4){ .src = A, .dst = B, .protocol = IPPROTO_UDP, .options = 40, .payload = 8 });
	put_udp(&whole[2], 5, 6, 0);
	for (unsigned i = 0; i < 3; i++) {
		unsigned before = 0;

		for (uint32_t len = 0; len <= whole[i].len; len++) {
			uint8_t *copy = malloc(len + !len);
			struct ffpf_packet pkt = packet_of(&whole[i]);
			struct ffpf_tuple keys[FFPF_FIELD_MOST_VALUES];
			const struct ffpf_field *field;
			struct ffpf_headers h;
			unsigned values = 0;

			memcpy(copy, whole[i].data, len);
			pkt.data = copy;
			pkt.cap_len = len;
			ffpf_headers_find(&h, &pkt, DLT_EN10MB);
			for (unsigned f = 0; (field = ffpf_field_at(f)); f++)
				values += ffpf_field_keys(field, &h, keys);
			assert_true(values >= before);
			before = values;
			free(copy);
		}
		assert_true(before > 20);
	}
}

static void
names_of_fields_are_listed_and_cut(void **state)
{
	char all[1024], few[16];

	(void)state;
	ffpf_field_names(all, sizeof(all), false);
	assert_true(strstr(all, "caplen") && strstr(all, "tcp.dport") && strstr(all, " pair"));
	ffpf_field_names(all, sizeof(all), true);
	assert_null(strstr(all, "ip.src"));
	ffpf_field_names(few, sizeof(few), false);
	assert_string_equal(few, "len caplen");
	assert_null(ffpf_field_find("len "));
	for (unsigned i = 0; ffpf_field_at(i); i++)
		assert_ptr_equal(ffpf_field_find(ffpf_field_at(i)->name), ffpf_field_at(i));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_link_type_leads_to_the_same_flow),
		cmocka_unit_test(other_families_and_types_are_no_ip),
		cmocka_unit_test(tag_beside_the_packet_counts_as_one_in_it),
		cmocka_unit_test(options_and_padding_are_not_the_transport),
		cmocka_unit_test(pieces_of_a_datagram_are_one_flow_without_ports),
		cmocka_unit_test(extension_headers_are_walked),
		cmocka_unit_test(echo_and_its_reply_are_one_flow),
		cmocka_unit_test(fields_have_the_values_of_the_packet),
		cmocka_unit_test(directions_have_one_canonical_form_and_one_hash),
		cmocka_unit_test(hash_spreads_neighbours),
		cmocka_unit_test(packets_that_end_anywhere_are_safe_and_never_gain),
		cmocka_unit_test(names_of_fields_are_listed_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
