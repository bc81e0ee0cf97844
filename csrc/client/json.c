/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/json.h"

#include <string.h>

struct parser {
	struct ffpf_json *json;
	const char *text;
	uint32_t at, end;
	uint32_t depth;
};

static int
unexpected(const struct parser *p, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_INVALID, "not JSON at octet %u", p->at);
}

static void
skip_space(struct parser *p)
{
	while (p->at < p->end && memchr(" \t\n\r", p->text[p->at], 4))
		p->at++;
}

static bool
take(struct parser *p, char c)
{
	if (p->at == p->end || p->text[p->at] != c)
		return false;
	p->at++;
	return true;
}

static bool
take_digits(struct parser *p)
{
	uint32_t begin = p->at;

	while (p->at < p->end && p->text[p->at] >= '0' && p->text[p->at] <= '9')
		p->at++;
	return p->at > begin;
}

/* The number of the token, or FFPF_JSON_NONE when there are too many. */
static uint32_t
begin_token(struct parser *p, enum ffpf_json_kind kind)
{
	struct ffpf_json *json = p->json;

	if (json->count == FFPF_JSON_TOKENS_MAX)
		return FFPF_JSON_NONE;
	json->tokens[json->count] = (struct ffpf_json_token){ .kind = kind, .begin = p->at };
	return json->count++;
}

static void
end_token(struct parser *p, uint32_t token)
{
	p->json->tokens[token].end = p->at;
	p->json->tokens[token].next = p->json->count;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hexadecimal digits at `at`, or -1. */
static int32_t
hex4(const char *at, const char *end)
{
	int32_t value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(at[i]);

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/*
 * One character of a string: its code point and, in *len, the octets that it takes; -1 when it is none. RFC 3629: no
 * overlong forms, no surrogates, nothing beyond U+10FFFF. Escaped surrogates come in pairs.
 */
static int32_t
escaped(const char *at, const char *end, uint32_t *len)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *known;
	int32_t high, low;

	if (end - at < 2)
		return -1;
	known = at[1] ? strchr(names, at[1]) : NULL;
	*len = 2;
	if (known)
		return values[known - names];
	high = at[1] == 'u' ? hex4(at + 2, end) : -1;
	*len = 6;
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u')
		return -1;
	low = hex4(at + 8, end);
	*len = 12;
	return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static int32_t
character(const char *at, const char *end, uint32_t *len)
{
	static const int32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	uint8_t first = (uint8_t)*at;
	int32_t point;
	uint32_t more;

	if (first == '\\')
		return escaped(at, end, len);
	*len = 1;
	if (first < 0x80)
		return first < 0x20 ? -1 : first;
	more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
	if (first < 0xc2 || first > 0xf4 || end - at <= (ptrdiff_t)more)
		return -1;
	point = first & (0x3f >> more);
	for (uint32_t i = 1; i <= more; i++) {
		if (((uint8_t)at[i] & 0xc0) != 0x80)
			return -1;
		point = point << 6 | (at[i] & 0x3f);
	}
	*len = more + 1;
	if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return -1;
	return point;
}

static int
parse_string(struct parser *p, struct ffpf_error *err)
{
	uint32_t token;

	if (!take(p, '"'))
		return unexpected(p, err);
	token = begin_token(p, FFPF_JSON_STRING);
	if (token == FFPF_JSON_NONE)
		return unexpected(p, err);
	while (p->at < p->end && p->text[p->at] != '"') {
		uint32_t len;

		if (character(p->text + p->at, p->text + p->end, &len) < 0)
			return unexpected(p, err);
		p->at += len;
	}
	end_token(p, token);
	return take(p, '"') ? 0 : unexpected(p, err);
}

static int
parse_number(struct parser *p, struct ffpf_error *err)
{
	uint32_t token = begin_token(p, FFPF_JSON_NUMBER);

	if (token == FFPF_JSON_NONE)
		return unexpected(p, err);
	take(p, '-');
	if (!take(p, '0') && !take_digits(p))
		return unexpected(p, err);
	if (take(p, '.') && !take_digits(p))
		return unexpected(p, err);
	if (take(p, 'e') || take(p, 'E')) {
		if (!take(p, '+'))
			take(p, '-');
		if (!take_digits(p))
			return unexpected(p, err);
	}
	end_token(p, token);
	return 0;
}

static int
parse_word(struct parser *p, enum ffpf_json_kind kind, const char *word, struct ffpf_error *err)
{
	size_t len = strlen(word);
	uint32_t token = begin_token(p, kind);

	if (token == FFPF_JSON_NONE || p->end - p->at < len || memcmp(p->text + p->at, word, len) != 0)
		return unexpected(p, err);
	p->at += (uint32_t)len;
	end_token(p, token);
	return 0;
}

static bool
same_text(const struct ffpf_json *json, uint32_t one, uint32_t other)
{
	const struct ffpf_json_token *a = &json->tokens[one], *b = &json->tokens[other];

	return a->end - a->begin == b->end - b->begin &&
	       memcmp(json->text + a->begin, json->text + b->begin, a->end - a->begin) == 0;
}

static int parse_value(struct parser *p, struct ffpf_error *err);

/* A key, as yet unknown in its object, and the colon. */
static int
parse_key(struct parser *p, uint32_t object, struct ffpf_error *err)
{
	struct ffpf_json *json = p->json;
	uint32_t key = json->count;
	int rc;

	skip_space(p);
	rc = parse_string(p, err);
	if (rc)
		return rc;
	for (uint32_t known = object + 1; known < key; known = json->tokens[known + 1].next)
		if (same_text(json, known, key))
			return unexpected(p, err);
	skip_space(p);
	return take(p, ':') ? 0 : unexpected(p, err);
}

static int
parse_container(struct parser *p, enum ffpf_json_kind kind, struct ffpf_error *err)
{
	const char close = kind == FFPF_JSON_OBJECT ? '}' : ']';
	uint32_t token = begin_token(p, kind);

	p->at++;
	if (token == FFPF_JSON_NONE || ++p->depth > FFPF_JSON_DEPTH_MAX)
		return unexpected(p, err);
	skip_space(p);
	if (!take(p, close)) {
		do {
			int rc = kind == FFPF_JSON_OBJECT ? parse_key(p, token, err) : 0;

			if (!rc)
				rc = parse_value(p, err);
			if (rc)
				return rc;
			skip_space(p);
		} while (take(p, ','));
		if (!take(p, close))
			return unexpected(p, err);
	}
	p->depth--;
	end_token(p, token);
	return 0;
}

static int
parse_value(struct parser *p, struct ffpf_error *err)
{
	skip_space(p);
	switch (p->at < p->end ? p->text[p->at] : '\0') {
	case '{':
		return parse_container(p, FFPF_JSON_OBJECT, err);
	case '[':
		return parse_container(p, FFPF_JSON_ARRAY, err);
	case '"':
		return parse_string(p, err);
	case 't':
		return parse_word(p, FFPF_JSON_TRUE, "true", err);
	case 'f':
		return parse_word(p, FFPF_JSON_FALSE, "false", err);
	case 'n':
		return parse_word(p, FFPF_JSON_NULL, "null", err);
	default:
		return parse_number(p, err);
	}
}

int
ffpf_json_parse(struct ffpf_json *out, const char *text, size_t len, struct ffpf_error *err)
{
	struct parser p = { .json = out, .text = text, .end = (uint32_t)len };
	int rc;

	out->text = text;
	out->count = 0;
	if (len > INT32_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "%zu octets are too many", len);
	rc = parse_value(&p, err);
	if (rc)
		return rc;
	skip_space(&p);
	return p.at == p.end ? 0 : unexpected(&p, err);
}

bool
ffpf_json_is(const struct ffpf_json *json, uint32_t value, enum ffpf_json_kind kind)
{
	return value < json->count && json->tokens[value].kind == kind;
}

uint32_t
ffpf_json_member(const struct ffpf_json *json, uint32_t object, const char *key)
{
	size_t len = strlen(key);

	if (!ffpf_json_is(json, object, FFPF_JSON_OBJECT))
		return FFPF_JSON_NONE;
	for (uint32_t at = object + 1; at < json->tokens[object].next; at = json->tokens[at + 1].next) {
		const struct ffpf_json_token *known = &json->tokens[at];

		if (known->end - known->begin == len && memcmp(json->text + known->begin, key, len) == 0)
			return at + 1;
	}
	return FFPF_JSON_NONE;
}

uint32_t
ffpf_json_first(const struct ffpf_json *json, uint32_t array)
{
	if (!ffpf_json_is(json, array, FFPF_JSON_ARRAY) || json->tokens[array].next == array + 1)
		return FFPF_JSON_NONE;
	return array + 1;
}

uint32_t
ffpf_json_after(const struct ffpf_json *json, uint32_t array, uint32_t value)
{
	uint32_t next = json->tokens[value].next;

	return next < json->tokens[array].next ? next : FFPF_JSON_NONE;
}

bool
ffpf_json_uint(const struct ffpf_json *json, uint32_t value, uint64_t most, uint64_t *out)
{
	const struct ffpf_json_token *token;
	uint64_t n = 0;

	if (!ffpf_json_is(json, value, FFPF_JSON_NUMBER))
		return false;
	token = &json->tokens[value];
	for (uint32_t i = token->begin; i < token->end; i++) {
		uint64_t digit = (uint64_t)(json->text[i] - '0');

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (n > most)
		return false;
	*out = n;
	return true;
}

static uint32_t
encode(uint32_t point, char out[4])
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

bool
ffpf_json_string(const struct ffpf_json *json, uint32_t value, char *out, size_t size)
{
	const char *at, *end;
	size_t used = 0;

	out[0] = '\0';
	if (!ffpf_json_is(json, value, FFPF_JSON_STRING))
		return false;
	at = json->text + json->tokens[value].begin;
	end = json->text + json->tokens[value].end;
	while (at < end) {
		char octets[4];
		uint32_t len, n;
		int32_t point = character(at, end, &len);

		if (point <= 0) {
			out[0] = '\0';
			return false;
		}
		n = encode((uint32_t)point, octets);
		if (used + n >= size)
			break;
		memcpy(out + used, octets, n);
		used += n;
		at += len;
	}
	out[used] = '\0';
	return true;
}
