/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_JSON_H
#define FFPF_CLIENT_JSON_H
/*
 * JSON (RFC 8259) as the control protocol uses it: one small value, from a sender that is not trusted. Nothing is
 * allocated, nothing is copied until it is asked for. Values are named by the number of their token; the root is 0, and
 * FFPF_JSON_NONE is no value: every question about it has the answer "no".
 *
 *     {"a":[1,true]}      tokens:  0 object   1 "a"   2 array   3 number   4 true
 *                         next:    5          2       5         4          5
 *
 * Stricter than the RFC: no key twice in an object, at most FFPF_JSON_DEPTH_MAX levels and FFPF_JSON_TOKENS_MAX values.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FFPF_JSON_DEPTH_MAX  8
#define FFPF_JSON_TOKENS_MAX 1024
#define FFPF_JSON_NONE       UINT32_MAX

enum ffpf_json_kind {
	FFPF_JSON_NULL,
	FFPF_JSON_FALSE,
	FFPF_JSON_TRUE,
	FFPF_JSON_NUMBER,
	FFPF_JSON_STRING,
	FFPF_JSON_ARRAY,
	FFPF_JSON_OBJECT,
};

struct ffpf_json_token {
	enum ffpf_json_kind kind;
	uint32_t begin, end; /* octets of the text; a string's without its quotation marks */
	uint32_t next;       /* token behind this value and all that is in it */
};

struct ffpf_json {
	const char *text; /* the caller's */
	uint32_t count;
	struct ffpf_json_token tokens[FFPF_JSON_TOKENS_MAX];
};

/* One value and nothing behind it but white space. 0 or -FFPF_E_INVALID. */
int ffpf_json_parse(struct ffpf_json *out, const char *text, size_t len, struct ffpf_error *err);

/* The value of a key, written without escapes; FFPF_JSON_NONE when `object` is none or has no such key. */
uint32_t ffpf_json_member(const struct ffpf_json *json, uint32_t object, const char *key);
/* First value of an array, and the one behind: FFPF_JSON_NONE when there is none. */
uint32_t ffpf_json_first(const struct ffpf_json *json, uint32_t array);
uint32_t ffpf_json_after(const struct ffpf_json *json, uint32_t array, uint32_t value);

bool ffpf_json_is(const struct ffpf_json *json, uint32_t value, enum ffpf_json_kind kind);
/* A number of digits only, at most `most`. *out is untouched when it is none. */
bool ffpf_json_uint(const struct ffpf_json *json, uint32_t value, uint64_t most, uint64_t *out);
/* A string without its escapes, ended by NUL. False, and an empty text, when it is none or holds a NUL; one that is too
 * long is cut between two characters. */
bool ffpf_json_string(const struct ffpf_json *json, uint32_t value, char *out, size_t size);

#endif
