/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 255 /* of a text in a request */

/* Requests are far shorter than FFPF_MESSAGE_MAX: the longest filter takes two thirds of it. */
struct writer {
	char *out;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void
add(struct writer *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->out + w->used, FFPF_MESSAGE_MAX - w->used, fmt, ap);
	va_end(ap);
	w->used += (size_t)n;
}

/* Octets of the character at `text`, 0 when it is none: RFC 3629. */
static unsigned
character_len(const char *text)
{
	const uint8_t *c = (const uint8_t *)text;
	unsigned len = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : 0;

	for (unsigned i = 1; i < len; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	if (len == 3 && ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] >= 0xa0)))
		return 0;
	return len;
}

static void
add_text(struct writer *w, const char *text)
{
	size_t begin = w->used;

	add(w, "\"");
	while (*text && w->used - begin < NAME_MAX_BYTES) {
		unsigned len = character_len(text);

		if (len == 1 && (*text == '"' || *text == '\\'))
			add(w, "\\%c", *text);
		else if (len == 1 && ((uint8_t)*text < 0x20 || *text == 0x7f))
			add(w, "?");
		else
			add(w, "%.*s", (int)len, text);
		text += len ? len : 1;
	}
	add(w, "\"");
}

static void
add_base64(struct writer *w, const uint8_t *octets, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = w->out + w->used;

	for (size_t i = 0; i < len; i += 3) {
		size_t have = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)octets[i] << 16;

		if (have > 1)
			bits |= (uint32_t)octets[i + 1] << 8;
		if (have > 2)
			bits |= octets[i + 2];
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = have > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = have > 2 ? digits[bits & 63] : '=';
	}
	w->used = (size_t)(out - w->out);
}

size_t
ffpf_message_hello(char *out, uint64_t id, const char *program)
{
	struct writer w = { out, 0 };

	add(&w, "{\"id\":%" PRIu64 ",\"op\":\"hello\",\"version\":%d,\"program\":", id, FFPF_MESSAGE_VERSION);
	add_text(&w, *program ? program : "?");
	add(&w, "}");
	return w.used;
}

size_t
ffpf_message_open(char *out, uint64_t id, const struct ffpf_wanted *wanted)
{
	struct writer w = { out, 0 };

	add(&w, "{\"id\":%" PRIu64 ",\"op\":\"open\",\"source\":", id);
	add_text(&w, wanted->source);
	add(&w, ",\"snap_len\":%" PRIu32 ",\"promisc\":%s,\"group\":", wanted->snap_len,
	    wanted->promisc ? "true" : "false");
	if (wanted->group)
		add_text(&w, wanted->group);
	else
		add(&w, "null");
	add(&w, "}");
	return w.used;
}

size_t
ffpf_message_filter(char *out, uint64_t id, uint64_t flow, const struct ffpf_bpf_insn *insns, uint32_t count)
{
	struct writer w = { out, 0 };

	add(&w, "{\"id\":%" PRIu64 ",\"op\":\"filter\",\"flow\":%" PRIu64 ",\"insns\":", id, flow);
	if (!insns) {
		add(&w, "null}");
		return w.used;
	}
	add(&w, "\"");
	for (uint32_t i = 0; i < count; i += 3) { /* 24 octets at a time: no padding within */
		uint32_t n = count - i < 3 ? count - i : 3;
		uint8_t octets[24];

		for (uint32_t j = 0; j < n; j++) {
			const struct ffpf_bpf_insn *insn = &insns[i + j];
			uint8_t *at = octets + 8 * j;

			at[0] = (uint8_t)insn->code;
			at[1] = (uint8_t)(insn->code >> 8);
			at[2] = insn->jt;
			at[3] = insn->jf;
			for (unsigned b = 0; b < 4; b++)
				at[4 + b] = (uint8_t)(insn->k >> 8 * b);
		}
		add_base64(&w, octets, 8 * (size_t)n);
	}
	add(&w, "\"}");
	return w.used;
}

size_t
ffpf_message_successor(char *out, uint64_t id, uint64_t flow, uint32_t lane)
{
	struct writer w = { out, 0 };

	add(&w, "{\"id\":%" PRIu64 ",\"op\":\"successor\",\"flow\":%" PRIu64 ",\"lane\":%" PRIu32 "}", id, flow, lane);
	return w.used;
}
