/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/args.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 40 /* octets of a word that an error repeats */

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int
ffpf_args_fail(struct ffpf_class_args *args, size_t at, struct ffpf_error *err, const char *fmt, ...)
{
	char text[FFPF_ERROR_TEXT_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	args->error_at = at;
	return ffpf_error_set(err, FFPF_E_INVALID, "%s", text);
}

static int
shown(const struct ffpf_arg *arg)
{
	return arg->value_len < SHOWN_MAX ? (int)arg->value_len : SHOWN_MAX;
}

static size_t
offset_of(const struct ffpf_class_args *args, const char *octet)
{
	return (size_t)(octet - args->text);
}

bool
ffpf_args_next(struct ffpf_class_args *args, struct ffpf_arg *out, struct ffpf_error *err)
{
	const char *p = args->text + args->next_at, *begin, *end;

	while (blank(*p))
		p++;
	if (!*p) {
		args->next_at = offset_of(args, p);
		return false;
	}
	*out = (struct ffpf_arg){ .at = offset_of(args, p), .key = p };
	for (begin = p; *p && !blank(*p) && *p != '=' && *p != '\''; p++)
		;
	if (*p == '=') {
		out->key_len = (size_t)(p - begin);
		begin = ++p;
	}
	if (p == begin && *p == '\'') {
		end = strchr(++p, '\'');
		if (!end) {
			ffpf_args_fail(args, offset_of(args, p - 1), err, "the quote is not closed");
			return false;
		}
		out->value = p;
		out->value_len = (size_t)(end - p);
		args->next_at = offset_of(args, end + 1);
		return true;
	}
	for (end = p; *end && !blank(*end); end++)
		;
	out->value = begin;
	out->value_len = (size_t)(end - begin);
	args->next_at = offset_of(args, end);
	return true;
}

bool
ffpf_arg_is(const struct ffpf_arg *arg, const char *key)
{
	return strlen(key) == arg->key_len && memcmp(key, arg->key, arg->key_len) == 0;
}

char *
ffpf_arg_copy(const struct ffpf_arg *arg)
{
	return strndup(arg->value, arg->value_len);
}

/* Digits at the begin of the value; how many octets they are, 0 when there are none or the number is too large. */
static size_t
digits(const struct ffpf_arg *arg, uint64_t *out)
{
	uint64_t number = 0;
	size_t n = 0;

	for (; n < arg->value_len && arg->value[n] >= '0' && arg->value[n] <= '9'; n++) {
		uint64_t digit = (uint64_t)(arg->value[n] - '0');

		if (number > (UINT64_MAX - digit) / 10)
			return 0;
		number = number * 10 + digit;
	}
	*out = number;
	return n;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number and, perhaps, one of the units; false when it is none, or does not fit. */
static bool
measured(const struct ffpf_arg *arg, const struct unit *units, size_t count, uint64_t *out)
{
	uint64_t number;
	size_t n = digits(arg, &number);

	if (!n)
		return false;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(units[i].name);

		if (len == arg->value_len - n && memcmp(units[i].name, arg->value + n, len) == 0)
			return !__builtin_mul_overflow(number, units[i].factor, out);
	}
	return false;
}

static int
measured_between(struct ffpf_class_args *args, const struct ffpf_arg *arg, const struct unit *units, size_t count,
		 uint64_t least, uint64_t most, uint64_t *out, struct ffpf_error *err)
{
	uint64_t value;

	if (!measured(arg, units, count, &value) || value < least || value > most)
		return ffpf_args_fail(args, offset_of(args, arg->value), err,
				      "\"%.*s\" is no number from %" PRIu64 " to %" PRIu64, shown(arg), arg->value,
				      least, most);
	*out = value;
	return 0;
}

int
ffpf_arg_uint(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t least, uint64_t most, uint64_t *out,
	      struct ffpf_error *err)
{
	static const struct unit units[] = { { "", 1 } };

	return measured_between(args, arg, units, 1, least, most, out, err);
}

int
ffpf_arg_bytes(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t least, uint64_t most, uint64_t *out,
	       struct ffpf_error *err)
{
	static const struct unit units[] = { { "", 1 }, { "k", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 } };

	return measured_between(args, arg, units, sizeof(units) / sizeof(units[0]), least, most, out, err);
}

int
ffpf_arg_duration(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t *out_ns, struct ffpf_error *err)
{
	static const struct unit units[] = {
		{ "", 1000000000 },  { "ns", 1 },          { "us", 1000 },         { "ms", 1000000 },
		{ "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
	};
	uint64_t value;

	if (!measured(arg, units, sizeof(units) / sizeof(units[0]), &value) || !value)
		return ffpf_args_fail(args, offset_of(args, arg->value), err,
				      "\"%.*s\" is no time: a number and ns, us, ms, s, m or h", shown(arg),
				      arg->value);
	*out_ns = value;
	return 0;
}

int
ffpf_arg_choice(struct ffpf_class_args *args, const struct ffpf_arg *arg, const char *const *names, size_t count,
		size_t *out, struct ffpf_error *err)
{
	struct ffpf_text choices = { 0 };
	int status;

	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i]) == arg->value_len && memcmp(names[i], arg->value, arg->value_len) == 0) {
			*out = i;
			ffpf_text_free(&choices);
			return 0;
		}
		ffpf_text_add(&choices, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", names[i]);
	}
	status = ffpf_args_fail(args, offset_of(args, arg->value), err, "\"%.*s\" is not %s", shown(arg), arg->value,
				ffpf_text_get(&choices));
	ffpf_text_free(&choices);
	return status;
}

int
ffpf_arg_unknown(struct ffpf_class_args *args, const struct ffpf_arg *arg, const char *usage, struct ffpf_error *err)
{
	const char *word = arg->key_len ? arg->key : arg->value;
	size_t len = arg->key_len ? arg->key_len : arg->value_len;

	return ffpf_args_fail(args, arg->at, err, "what is \"%.*s\"? Arguments: %s",
			      (int)(len < SHOWN_MAX ? len : SHOWN_MAX), word, usage);
}

int
ffpf_args_none(struct ffpf_class_args *args, struct ffpf_error *err)
{
	size_t at = strspn(args->text, " \t\r\n");

	if (!args->text[at])
		return 0;
	return ffpf_args_fail(args, at, err, "this class has no arguments");
}
