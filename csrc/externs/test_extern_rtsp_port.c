/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/testing.h"

static void
ports_are_found_as_rfc_2326_writes_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t port;
	} cases[] = {
		{ "SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 302\r\nTransport: RTP/AVP;unicast;client_port=4588-4589\r\n\r\n",
		  4588 },
		{ "RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;\r\n client_port=1\r\n"
		  "transport : RTP/AVP/TCP;CLIENT_PORT=3056;server_port=5000-5001\r\n",
		  3056 },
		{ "Transport: RTP/AVP;server_port=6256-6257", 6256 },
		{ "Transport:;client_port=;client_port=70000;client_port=0;client_port=12", 12 },
		{ "Transports: client_port=1\nX-Transport: client_port=2\nTransport client_port=3", 0 },
		{ "Transport: RTP/AVP;multicast;ttl=127;mode=PLAY\r\n", 0 },
		{ "Transport: client_port=99999999999999999999999999", 0 },
		{ "Transport: client_port", 0 },
		{ "\r\n\n\r", 0 },
		{ "", 0 },
	};
	struct test_use t;

	(void)state;
	use_open(&t, "getdyntcpdportfromrtsp", 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct test_octets o = tcp_text(1024, 554, cases[i].text);

		if (use_call_octets(&t, &o) != cases[i].port)
			fail_msg("case %zu", i);
	}
	use_close(&t);
}

static void
no_part_of_a_message_makes_trouble(void **state)
{
	struct test_octets o =
	    tcp_text(1024, 554, "SETUP x\r\nTransport: RTP/AVP;client_port=4588-4589;server_port=6256\r\n");
	struct test_use t;

	(void)state;
	use_open(&t, "GetDynTCPDPortFromRTSP", 0);
	for (uint32_t len = 0; len <= o.len; len++) {
		uint64_t port = use_call(&t, o.data, len, 0, 0);

		assert_true(port == 0 || port == 4 || port == 45 || port == 458 || port == 4588);
	}
	use_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_found_as_rfc_2326_writes_them),
		cmocka_unit_test(no_part_of_a_message_makes_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
