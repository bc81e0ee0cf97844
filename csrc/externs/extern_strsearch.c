/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("strsearch pattern='GET /'", 0, 0): where octets stand in a packet, by Boyer and Moore. Without pattern= it is
 * in MBuf, and prepared anew when it changed. */
#include "externs/boyer_moore.h"
#include "externs/octets.h"
#include "externs/pattern.h"
#include "externs/table.h"

#include <stdlib.h>
#include <string.h>

#define STEPS       3000
#define MBUF_OCTETS 60
#define LEN_BYTES   4

struct strsearch {
	enum octets_of of;
	struct boyer_moore bm; /* len 0: nothing was prepared yet */
	bool constant;
};

static int
parse_pattern(struct strsearch *self, struct ffpf_class_args *args, const struct ffpf_arg *arg, struct ffpf_error *err)
{
	uint8_t octets[4 * BM_PATTERN_MAX];
	long n = arg->value_len <= sizeof(octets) ? pattern_read(octets, arg->value, arg->value_len) : 0;

	if (n < 0)
		return ffpf_args_fail(args, arg->at, err,
				      "an escape that is none: \\xHH, \\n, \\r, \\t, \\0 or two backslashes");
	if (n == 0 || n > BM_PATTERN_MAX)
		return ffpf_args_fail(args, arg->at, err, "a pattern has 1 to %u octets", BM_PATTERN_MAX);
	bm_prepare(&self->bm, octets, (uint32_t)n);
	self->constant = true;
	return 0;
}

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	static const char *const places[] = { "packet", "payload" };
	struct strsearch *self = use->state;
	struct ffpf_arg arg;
	size_t choice = 0;

	while (ffpf_args_next(args, &arg, err)) {
		int status;

		if (ffpf_arg_is(&arg, "pattern"))
			status = parse_pattern(self, args, &arg, err);
		else if (ffpf_arg_is(&arg, "of"))
			status = ffpf_arg_choice(args, &arg, places, 2, &choice, err);
		else
			status = ffpf_arg_unknown(args, &arg, use->function->arguments, err);
		if (status)
			return status;
	}
	self->of = choice ? OCTETS_PAYLOAD : OCTETS_PACKET;
	if (self->constant)
		use->reads = 0;
	return -(int)err->code;
}

/* The pattern in MBuf, copied before it is looked at. False: none, or a longer one than there is room for. */
static bool
take_pattern(struct strsearch *self, const uint8_t *at)
{
	uint8_t copy[LEN_BYTES + MBUF_OCTETS];
	uint32_t len;

	memcpy(copy, at, sizeof(copy));
	len = octets_u32(copy);
	if (!len || len > MBUF_OCTETS)
		return false;
	if (self->bm.len != len || memcmp(self->bm.pattern, copy + LEN_BYTES, len) != 0)
		bm_prepare(&self->bm, copy + LEN_BYTES, len);
	return true;
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	struct strsearch *self = use->state;
	struct octets octets;
	uint32_t at;

	(void)write_at;
	if (!self->constant && !take_pattern(self, mbuf + read_at))
		return 0;
	octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);
	at = bm_find(&self->bm, octets.data, octets.len);
	return at == octets.len ? 0 : (uint64_t)octets.at + at + 1;
}

const struct ffpf_extern ffpf_extern_strsearch = {
	.name = "strsearch",
	.summary = "where octets stand in a packet, by Boyer and Moore",
	.arguments = "[pattern='GET \\x2f'] [of=packet|payload]",
	.value = "1 + the octet of the packet where they stand first; 0: nowhere",
	.reads_what = "without pattern=: u32 octets, 1 to 60; those",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = LEN_BYTES + MBUF_OCTETS,
	.steps = STEPS,
	.state_bytes = sizeof(struct strsearch),
	.parse = parse,
	.call = call,
};
