/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/testing.h"

static uint32_t
word_at(const struct test_use *t, uint32_t at)
{
	uint32_t word;

	memcpy(&word, t->mbuf + at, 4);
	return word;
}

static void
all_ports_of_a_transport_header(void **state)
{
	const struct test_octets both = tcp_text(554, 1, "Transport: RTP/AVP;client_port=10-11;server_port=90-80\r\n"),
				 none = tcp_text(554, 1, "PLAY\r\n");
	struct test_use t;

	(void)state;
	use_open(&t, "rtsp_ports", 16);
	assert_int_equal(use_call_octets(&t, &both), 1);
	assert_int_equal(word_at(&t, 0), 10);
	assert_int_equal(word_at(&t, 4), 11);
	assert_int_equal(word_at(&t, 8), 90);
	assert_int_equal(word_at(&t, 12), 90);
	assert_int_equal(use_call_octets(&t, &none), 0);
	assert_int_equal(word_at(&t, 0), 10);
	use_close(&t);
}

static void
media_of_sip_and_what_is_none(void **state)
{
	static const struct {
		const char *text;
		uint32_t count, ports[8];
	} cases[] = {
		{ "INVITE sip:b@c SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=a 1 1 IN IP4 1.2.3.4\r\n"
		  "m=audio 49170 RTP/AVP 0\r\nm=video 51372/2 RTP/AVP 31\r\nm=audio 0 RTP/AVP 0\r\n",
		  3,
		  { 49170, 51372, 51374 } },
		{ "v=0\nm=application 65535/9 udp", 1, { 65535 } },
		{ "v=0\nm=a 2/40000 x", 8, { 2, 4, 6, 8, 10, 12, 14, 16 } },
		{ "v=0\nm=a 7/x y", 0, { 0 } },
		{ "v=0\r\nm=audio\r\nm= \r\nm=\r\nm\r\nM=audio 5 x", 0, { 0 } },
		{ "m=audio 49170 RTP/AVP 0\r\n", 0, { 0 } },
		{ "v=0\nm=audio 655360 x\nm=audio -1 x\nm=audio 4917", 1, { 4917 } },
		{ "", 0, { 0 } },
	};
	struct test_use t;

	(void)state;
	use_open(&t, "sip_ports", 36);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct test_octets o = tcp_text(5060, 5060, cases[i].text);

		memset(t.mbuf, 0, 36);
		assert_int_equal(use_call_octets(&t, &o), cases[i].ports[0]);
		assert_int_equal(word_at(&t, 0), cases[i].count);
		assert_memory_equal(t.mbuf + 4, cases[i].ports, sizeof(cases[i].ports));
	}
	use_close(&t);
}

static void
data_connections_of_ftp(void **state)
{
	static const uint8_t four[16] = { 10, 0, 0, 1 }, six[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, none[16];
	static const struct {
		const char *text;
		uint32_t port, family;
		const uint8_t *address;
	} cases[] = {
		{ "PORT 10,0,0,1,4,1\r\n", 1025, 4, four },
		{ "port  10,0,0,1,255,255", 65535, 4, four },
		{ "227 Entering Passive Mode (10,0,0,1,4,1).\r\n", 1025, 4, four },
		{ "227 at 6 =10,0,0,1,4,1", 1025, 4, four },
		{ "EPRT |1|10.0.0.1|6446|\r\n", 6446, 4, four },
		{ "USER x\r\nEPRT |2|2001:db8::1|5282|\r\n", 5282, 6, six },
		{ "EPRT !2!2001:db8::1!5282!", 5282, 6, six },
		{ "229 Entering Extended Passive Mode (|||6446|)\r\n", 6446, 0, none },
		{ "229 (a) (|||1|)", 1, 0, none },
		{ "PORT 10,0,0,256,4,1\r\n", 0, 0, none },
		{ "PORT 10,0,0,1,0,0\r\n", 0, 0, none },
		{ "PORT 10,0,0,1,4", 0, 0, none },
		{ "EPRT |3|10.0.0.1|6446|", 0, 0, none },
		{ "EPRT |2|10.0.0.1|6446|", 0, 0, none },
		{ "EPRT |1|10.0.0.1|6446", 0, 0, none },
		{ "EPRT |1|10.0.0.1|66000|", 0, 0, none },
		{ "EPRT |1|1111111111111111111111111111111111111111111111111111111|6446|", 0, 0, none },
		{ "EPRT ", 0, 0, none },
		{ "229 (||6446|)", 0, 0, none },
		{ "229 (", 0, 0, none },
		{ "XPORT 10,0,0,1,4,1", 0, 0, none },
	};
	struct test_use t;

	(void)state;
	use_open(&t, "ftp_port", 24);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct test_octets o = tcp_text(21, 21, cases[i].text);

		memset(t.mbuf, 0, 24);
		if (use_call_octets(&t, &o) != cases[i].port)
			fail_msg("%s", cases[i].text);
		assert_int_equal(word_at(&t, 0), cases[i].port);
		assert_int_equal(word_at(&t, 4), cases[i].family);
		assert_memory_equal(t.mbuf + 8, cases[i].address, 16);
	}
	use_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_ports_of_a_transport_header),
		cmocka_unit_test(media_of_sip_and_what_is_none),
		cmocka_unit_test(data_connections_of_ftp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
