/* SPDX-License-Identifier: BSD-3-Clause */
/* What messages are, and what they are not. */
#include "client/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ffpf_json json;
static struct ffpf_message message;

/* From a copy of its exact size, so that a sanitizer sees a step behind it. */
static int
parse(const char *text, size_t len)
{
	static char *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	return ffpf_json_parse(&json, copy, len, NULL);
}

static void
test_what_is_json(void **state)
{
	static const char *const good[] = {
		"{}",
		"[]",
		" [ 1 , 2 ] ",
		"0",
		"-0.5e+10",
		"1E5",
		"\"\"",
		"true",
		"null",
		"{\"a\":{\"b\":[[[[[1]]]]]}}",
		"\"\\u00e9\\ud83d\\ude00\\n\"",
		"\"\xc3\xa9\xf0\x9f\x98\x80\"",
	};
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[1,]",
		"{\"a\":1,}",
		"{\"a\" 1}",
		"{a:1}",
		"01",
		"-",
		"1.",
		"1e",
		"+1",
		".5",
		"tru",
		"truex",
		"[1]2",
		"\"",
		"\"\\x\"",
		"\"\\ud83d\"",
		"\"\\ude00\"",
		"\"\\ud83dx\"",
		"\"\\u12g4\"",
		"\"\n\"",
		"\"\xc0\xaf\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xc3\"",
		"\"\xff\"",
		"{\"a\":1,\"a\":2}",
		"{\"a\":[],\"b\":{},\"a\":0}",
		"[[[[[[[[[1]]]]]]]]]",
		"NaN",
		"'a'",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (parse(good[i], strlen(good[i])))
			fail_msg("refused: %s", good[i]);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!parse(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
	assert_int_not_equal(parse("\"a\0b\"", 5), 0);
}

static void
test_values(void **state)
{
	static const char text[] =
	    "{\"n\":18446744073709551615,\"m\":18446744073709551616,\"f\":1.0,\"s\":\"a\\u00e9\\\"\","
	    "\"nul\":\"\\u0000\",\"list\":[3,\"x\",[4,5],6],\"t\":true}";
	uint32_t list, at;
	uint64_t n = 7;
	char out[8];

	(void)state;
	assert_int_equal(parse(text, strlen(text)), 0);
	assert_true(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "n"), UINT64_MAX, &n));
	assert_true(n == UINT64_MAX);
	assert_false(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "n"), UINT64_MAX - 1, &n));
	assert_false(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "m"), UINT64_MAX, &n));
	assert_false(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "f"), UINT64_MAX, &n));
	assert_false(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "x"), UINT64_MAX, &n));
	assert_true(ffpf_json_string(&json, ffpf_json_member(&json, 0, "s"), out, sizeof(out)));
	assert_string_equal(out, "a\xc3\xa9\"");
	assert_true(ffpf_json_string(&json, ffpf_json_member(&json, 0, "s"), out, 3)); /* cut between characters */
	assert_string_equal(out, "a");
	assert_false(ffpf_json_string(&json, ffpf_json_member(&json, 0, "nul"), out, sizeof(out)));
	assert_false(ffpf_json_string(&json, ffpf_json_member(&json, 0, "n"), out, sizeof(out)));
	assert_string_equal(out, "");
	list = ffpf_json_member(&json, 0, "list");
	at = ffpf_json_first(&json, list);
	for (unsigned i = 0; i < 4; i++, at = ffpf_json_after(&json, list, at))
		assert_int_not_equal(at, FFPF_JSON_NONE);
	assert_int_equal(at, FFPF_JSON_NONE);
	assert_true(ffpf_json_is(&json, ffpf_json_member(&json, 0, "t"), FFPF_JSON_TRUE)); /* behind the nested list */
	assert_int_equal(ffpf_json_member(&json, list, "t"), FFPF_JSON_NONE);
}

static void
test_too_many_values(void **state)
{
	char text[2 * FFPF_JSON_TOKENS_MAX + 4] = "[1";

	(void)state;
	for (unsigned i = 2; i < FFPF_JSON_TOKENS_MAX; i++)
		strcat(text, ",1");
	strcat(text, "]");
	assert_int_equal(parse(text, strlen(text)), 0);
	text[strlen(text) - 1] = '\0';
	strcat(text, ",1]");
	assert_int_not_equal(parse(text, strlen(text)), 0);
}

static int
take(const char *text, uint32_t fds)
{
	return ffpf_message_read(&message, text, strlen(text), fds, NULL);
}

static void
test_replies(void **state)
{
	struct ffpf_opened opened;
	struct ffpf_placed placed;

	(void)state;
	assert_int_equal(
	    take("{\"id\":2,\"ok\":true,\"flow\":17,\"ifindex\":3,\"link_type\":1,\"lanes\":2,\"generation\":1,"
		 "\"fds\":[\"counts\",\"reader\",\"wake\",\"lane:0\",\"ibuf:255\"],\"more\":true,\"x\":{}}",
		 5),
	    0);
	assert_int_equal(message.kind, FFPF_MESSAGE_OK);
	assert_true(message.more);
	assert_int_equal(message.fds[4].kind, FFPF_DESCRIPTOR_IBUF);
	assert_int_equal(message.fds[4].lane, 255);
	assert_int_equal(ffpf_message_opened(&opened, &message, NULL), 0);
	assert_int_equal(opened.flow, 17);
	assert_int_equal(opened.ifindex, 3);
	assert_int_equal(opened.lanes, 2);
	assert_int_equal(opened.wake, FFPF_LANES_EVENT_RINGBUF);

	assert_int_equal(take("{\"id\":3,\"ok\":false,\"code\":\"denied\",\"error\":\"no\\u001b[2J \\u009b\"}", 0), 0);
	assert_int_equal(message.kind, FFPF_MESSAGE_REFUSED);
	assert_int_equal(message.refusal, FFPF_REFUSED_DENIED);
	assert_string_equal(message.text, "no [2J   "); /* nothing that a terminal obeys */
	assert_int_equal(take("{\"id\":3,\"ok\":false,\"code\":\"of a later version\"}", 0), 0);
	assert_int_equal(message.refusal, FFPF_REFUSED_FAILED);

	assert_int_equal(
	    take("{\"id\":4,\"ok\":true,\"generation\":2,\"level\":\"userspace\",\"reason\":\"too long\"}", 0), 0);
	assert_int_equal(ffpf_message_placed(&placed, &message, NULL), 0);
	assert_int_equal(placed.level, FFPF_LEVEL_USERSPACE);
	assert_string_equal(placed.reason, "too long");
}

static void
test_broken_replies(void **state)
{
	static const struct {
		const char *text;
		uint32_t fds;
	} bad[] = {
		{ "[]", 0 },
		{ "{}", 0 },
		{ "{\"id\":1}", 0 },
		{ "{\"id\":1,\"ok\":1}", 0 },
		{ "{\"id\":-1,\"ok\":true}", 0 },
		{ "{\"id\":9007199254740992,\"ok\":true}", 0 },
		{ "{\"id\":1,\"ok\":false}", 0 },
		{ "{\"id\":1,\"ok\":true}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"wake\"]}", 0 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"wake\"]}", 2 },
		{ "{\"id\":1,\"ok\":true,\"fds\":{}}", 0 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[1]}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"lane:\"]}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"lane:256\"]}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"lane:4294967296\"]}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"lane:-1\"]}", 1 },
		{ "{\"id\":1,\"ok\":true,\"fds\":[\"wakes\"]}", 1 },
	};
	static const char *const not_opened[] = {
		"{\"id\":2,\"ok\":true}",
		"{\"id\":2,\"ok\":true,\"flow\":1,\"ifindex\":3,\"link_type\":1,\"lanes\":0,\"generation\":1}",
		"{\"id\":2,\"ok\":true,\"flow\":1,\"ifindex\":3,\"link_type\":1,\"lanes\":257,\"generation\":1}",
		"{\"id\":2,\"ok\":true,\"flow\":1,\"ifindex\":2147483648,\"link_type\":1,\"lanes\":1,\"generation\":1}",
		"{\"id\":2,\"ok\":true,\"flow\":1,\"ifindex\":3,\"link_type\":65536,\"lanes\":1,\"generation\":1}",
		"{\"id\":2,\"ok\":true,\"flow\":1,\"ifindex\":3,\"link_type\":1,\"lanes\":1,\"generation\":1,\"wake_"
		"kind\":\"bell\"}",
	};
	struct ffpf_opened opened;
	struct ffpf_placed placed;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (take(bad[i].text, bad[i].fds) == 0)
			fail_msg("taken: %s with %u descriptors", bad[i].text, bad[i].fds);
	for (unsigned i = 0; i < sizeof(not_opened) / sizeof(not_opened[0]); i++) {
		assert_int_equal(take(not_opened[i], 0), 0);
		if (ffpf_message_opened(&opened, &message, NULL) == 0)
			fail_msg("taken: %s", not_opened[i]);
	}
	assert_int_equal(take("{\"id\":2,\"ok\":true,\"generation\":1,\"level\":\"nic\"}", 0), 0);
	assert_int_not_equal(ffpf_message_placed(&placed, &message, NULL), 0);
}

static void
test_events(void **state)
{
	struct ffpf_event event;

	(void)state;
	assert_int_equal(take("{\"event\":\"source\",\"flow\":4,\"state\":\"gone\",\"name\":\"eth0\"}", 0), 0);
	assert_int_equal(message.kind, FFPF_MESSAGE_EVENT);
	assert_int_equal(ffpf_message_event(&event, &message, NULL), 0);
	assert_int_equal(event.kind, FFPF_EVENT_SOURCE_GONE);
	assert_int_equal(event.flow, 4);
	assert_int_equal(take("{\"event\":\"revoked\",\"flow\":4,\"reason\":\"enough\"}", 0), 0);
	assert_int_equal(ffpf_message_event(&event, &message, NULL), 0);
	assert_string_equal(event.reason, "enough");
	assert_int_equal(take("{\"event\":\"adopted\"}", 0), 0);
	assert_int_equal(ffpf_message_event(&event, &message, NULL), 0);
	assert_int_equal(event.kind, FFPF_EVENT_ADOPTED);
	assert_int_equal(take("{\"event\":\"of a later version\"}", 0), 0);
	assert_int_equal(ffpf_message_event(&event, &message, NULL), 0);
	assert_int_equal(event.kind, FFPF_EVENT_OTHER);
	assert_int_equal(take("{\"event\":\"moved\"}", 0), 0);
	assert_int_not_equal(ffpf_message_event(&event, &message, NULL), 0);
	assert_int_equal(take("{\"event\":[]}", 0), 0);
	assert_int_not_equal(ffpf_message_event(&event, &message, NULL), 0);
}

/* What a request says, read by our own reader: names cannot break out of their quotation marks. */
static void
test_requests(void **state)
{
	static const char *const names[] = { "eth0",     "a\"b\\c",       "\n\x7f", "\xff\xc0\xafok",
					     "\xc3\xa9", "\xed\xa0\x80x", "" };
	static const char *const as_read[] = { "eth0", "a\"b\\c", "??", "ok", "\xc3\xa9", "x", "" };
	static char out[FFPF_MESSAGE_MAX];
	char text[300], longest[600];
	uint64_t n;

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct ffpf_wanted wanted = { .source = names[i], .snap_len = 96, .promisc = true };

		assert_int_equal(parse(out, ffpf_message_open(out, 5, &wanted)), 0);
		assert_true(ffpf_json_string(&json, ffpf_json_member(&json, 0, "source"), text, sizeof(text)));
		assert_string_equal(text, as_read[i]);
		assert_true(ffpf_json_is(&json, ffpf_json_member(&json, 0, "group"), FFPF_JSON_NULL));
		assert_true(ffpf_json_is(&json, ffpf_json_member(&json, 0, "promisc"), FFPF_JSON_TRUE));
		assert_true(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "snap_len"), 96, &n));
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(parse(out, ffpf_message_hello(out, 1, longest)), 0);
	assert_true(ffpf_json_string(&json, ffpf_json_member(&json, 0, "program"), text, sizeof(text)));
	assert_in_range(strlen(text), 200, 255);
	assert_int_equal(parse(out, ffpf_message_successor(out, 6, 17, 3)), 0);
	assert_true(ffpf_json_uint(&json, ffpf_json_member(&json, 0, "lane"), 3, &n));
}

static void
test_filters_in_base64(void **state)
{
	static const struct ffpf_bpf_insn insns[] = {
		{ 0x28, 0, 0, 12 }, { 0x15, 0, 1, 0x800 }, { 0x06, 0, 0, 0x40000 }, { 0x06, 0, 0, 0 }
	};
	static struct ffpf_bpf_insn most[FFPF_BPF_KERNEL_MAX_INSNS];
	static char out[FFPF_MESSAGE_MAX];
	char text[100];

	(void)state;
	assert_int_equal(parse(out, ffpf_message_filter(out, 3, 17, insns, 4)), 0);
	assert_true(ffpf_json_string(&json, ffpf_json_member(&json, 0, "insns"), text, sizeof(text)));
	assert_string_equal(text, "KAAAAAwAAAAVAAABAAgAAAYAAAAAAAQABgAAAAAAAAA="); /* docs/protocol.md */
	assert_int_equal(parse(out, ffpf_message_filter(out, 3, 17, NULL, 0)), 0);
	assert_true(ffpf_json_is(&json, ffpf_json_member(&json, 0, "insns"), FFPF_JSON_NULL));
	assert_int_equal(parse(out, ffpf_message_filter(out, FFPF_MESSAGE_ID_MAX, FFPF_MESSAGE_ID_MAX, most,
							FFPF_BPF_KERNEL_MAX_INSNS)),
			 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_json),    cmocka_unit_test(test_values),
		cmocka_unit_test(test_too_many_values), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_broken_replies),  cmocka_unit_test(test_events),
		cmocka_unit_test(test_requests),        cmocka_unit_test(test_filters_in_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
