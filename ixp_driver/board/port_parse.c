/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports as text: KIND:WHAT[,name=value...]. A comma ends WHAT. */
#include "board/generator.h"
#include "board/port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIZE 64

static int
parse_number(const char *name, const char *text, uint64_t lo, uint64_t hi, uint64_t *out, struct ffpf_error *err)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || *out < lo || *out > hi)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s=%.40s: a whole number from %llu to %llu", name, text,
				      (unsigned long long)lo, (unsigned long long)hi);
	return 0;
}

/* recorded, full, or a number of packets (pps) or bits (bps) a second. */
static int
parse_pace(struct board_port_config *out, const char *text, struct ffpf_error *err)
{
	char digits[32];
	size_t n = strspn(text, "0123456789");

	if (strcmp(text, "recorded") == 0 && out->source.kind == BOARD_SOURCE_FILE) {
		out->pace = BOARD_PACE_RECORDED;
		return 0;
	}
	if (strcmp(text, "full") == 0) {
		out->pace = BOARD_PACE_FULL;
		return 0;
	}
	if (n && n < sizeof(digits) && (strcmp(text + n, "pps") == 0 || strcmp(text + n, "bps") == 0)) {
		snprintf(digits, sizeof(digits), "%.*s", (int)n, text);
		out->pace = text[n] == 'p' ? BOARD_PACE_PPS : BOARD_PACE_BITS;
		return parse_number("pace", digits, 1, 100000000000u, &out->rate, err);
	}
	return ffpf_error_set(err, FFPF_E_INVALID, "pace=%.40s: recorded (of a file), full, NUMBERpps or NUMBERbps",
			      text);
}

static int
parse_option(struct board_port_config *out, char *text, struct ffpf_error *err)
{
	char *value = strchr(text, '=');
	uint64_t n = 0;
	int rc;

	if (!value)
		return ffpf_error_set(err, FFPF_E_INVALID, "%.40s: a port's options are name=value", text);
	*value++ = '\0';
	if (strcmp(text, "hold") == 0) {
		rc = parse_number(text, value, 0, 5, &n, err);
		out->hold = (uint32_t)n;
		return rc;
	}
	if (strcmp(text, "pace") == 0 && out->source.kind != BOARD_SOURCE_LIVE)
		return parse_pace(out, value, err);
	if (strcmp(text, "loops") == 0 && out->source.kind == BOARD_SOURCE_FILE) {
		rc = parse_number(text, value, 1, UINT32_MAX, &n, err);
		out->loops = (uint32_t)n;
		return rc;
	}
	if (out->source.kind == BOARD_SOURCE_GENERATOR && strcmp(text, "size") == 0) {
		rc = parse_number(text, value, GENERATOR_SIZE_MIN, GENERATOR_SIZE_MAX, &n, err);
		out->source.size = (uint32_t)n;
		return rc;
	}
	if (out->source.kind == BOARD_SOURCE_GENERATOR && strcmp(text, "flows") == 0) {
		rc = parse_number(text, value, 1, 65536, &n, err);
		out->source.flows = (uint32_t)n;
		return rc;
	}
	if (out->source.kind == BOARD_SOURCE_GENERATOR && strcmp(text, "count") == 0)
		return parse_number(text, value, 0, UINT64_MAX, &out->source.count, err);
	return ffpf_error_set(err, FFPF_E_INVALID, "%.40s: no option of this kind of port", text);
}

static int
parse_kind(struct board_port_config *out, const char *kind, const char *what, struct ffpf_error *err)
{
	if (strcmp(kind, "pcap") == 0) {
		out->source.kind = BOARD_SOURCE_FILE;
		out->pace = BOARD_PACE_FULL;
	} else if (strcmp(kind, "if") == 0) {
		out->source.kind = BOARD_SOURCE_LIVE;
		out->pace = BOARD_PACE_LIVE;
	} else if (strcmp(kind, "generator") == 0) {
		out->source.kind = BOARD_SOURCE_GENERATOR;
		return parse_pace(out, what, err);
	} else {
		return ffpf_error_set(err, FFPF_E_INVALID, "%.40s: a port is pcap:FILE, if:INTERFACE or generator:PACE",
				      kind);
	}
	if (!*what || strlen(what) >= sizeof(out->source.name))
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: the name is empty, or too long", kind);
	snprintf(out->source.name, sizeof(out->source.name), "%s", what);
	return 0;
}

int
board_port_parse(struct board_port_config *out, const char *text, struct ffpf_error *err)
{
	struct board_port_config made = {
		.hold = 1,
		.loops = 1,
		.source = { .size = DEFAULT_SIZE, .flows = 1, .gap_ns = 1000 },
	};
	char copy[BOARD_SOURCE_NAME + 256];
	char *what, *option, *rest;
	int rc;

	if (strlen(text) >= sizeof(copy) || !strchr(text, ':'))
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "%.40s: a port is pcap:FILE, if:INTERFACE or generator:PACE, and its options",
				      text);
	snprintf(copy, sizeof(copy), "%s", text);
	what = strchr(copy, ':');
	*what++ = '\0';
	rest = strchr(what, ',');
	if (rest)
		*rest++ = '\0';
	rc = parse_kind(&made, copy, what, err);
	while (!rc && (option = strsep(&rest, ",")))
		rc = parse_option(&made, option, err);
	if (rc)
		return rc;
	if (made.source.kind == BOARD_SOURCE_GENERATOR && made.pace == BOARD_PACE_PPS)
		made.source.gap_ns = 1000000000u / made.rate;
	snprintf(made.text, sizeof(made.text), "%.*s", (int)sizeof(made.text) - 1, text);
	*out = made;
	return 0;
}
