/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("ahocorasick file=words", 0, w): which of many patterns a packet has. Without file= they are in
 * MBuf, and read when their version is another one than at the last call. */
#include "externs/aho_corasick.h"
#include "externs/named_file.h"
#include "externs/octets.h"
#include "externs/table.h"

#include <stdlib.h>
#include <string.h>

#define STEPS         3000
#define DEFAULT_MBUF  4096
#define MOST_MBUF     (8u << 20)
#define HEAD_BYTES    8
#define LEN_BYTES     2
#define WRITTEN_BYTES 8

struct search {
	enum octets_of of;
	char *file;
	struct aho_corasick ac;
	uint32_t version; /* of what was read from MBuf */
	uint8_t *copy;    /* of that */
};

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	static const char *const places[] = { "packet", "payload" };
	struct search *self = use->state;
	struct ffpf_arg arg;
	size_t choice = 0;

	while (ffpf_args_next(args, &arg, err)) {
		uint64_t bytes;
		int status = 0;

		if (ffpf_arg_is(&arg, "file")) {
			free(self->file);
			self->file = ffpf_arg_copy(&arg);
			status = self->file ? named_file_check(self->file, args, &arg, err)
					    : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
		} else if (ffpf_arg_is(&arg, "mbuf")) {
			status = ffpf_arg_bytes(args, &arg, HEAD_BYTES, MOST_MBUF, &bytes, err);
			use->reads = status ? 0 : (uint32_t)bytes;
		} else if (ffpf_arg_is(&arg, "of")) {
			status = ffpf_arg_choice(args, &arg, places, 2, &choice, err);
		} else {
			status = ffpf_arg_unknown(args, &arg, use->function->arguments, err);
		}
		if (status)
			return status;
	}
	self->of = choice ? OCTETS_PAYLOAD : OCTETS_PACKET;
	if (self->file)
		use->reads = 0;
	return -(int)err->code;
}

static int
open_search(struct ffpf_extern_use *use, struct ffpf_error *err)
{
	struct search *self = use->state;
	struct pattern_set set = { 0 };
	int status;

	if (!self->file) {
		self->copy = malloc(use->reads);
		return self->copy ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	}
	status = pattern_set_read(&set, self->file, true, err);
	if (!status)
		status = ac_build(&self->ac, &set, err);
	pattern_set_free(&set);
	return status;
}

static void
close_search(struct ffpf_extern_use *use)
{
	struct search *self = use->state;

	ac_free(&self->ac);
	free(self->file);
	free(self->copy);
}

/* {u32 version, u32 patterns, then {u16 octets, those} for each}. What does not fit ends the set. */
static void
take(struct search *self, uint32_t bytes)
{
	struct pattern_set set = { 0 };
	uint32_t count = octets_u32(self->copy + 4), at = HEAD_BYTES;

	for (uint32_t i = 0; i < count && bytes - at >= LEN_BYTES; i++) {
		uint16_t len;

		memcpy(&len, self->copy + at, LEN_BYTES);
		at += LEN_BYTES;
		if (!len || len > bytes - at || pattern_set_add(&set, self->copy + at, len, NULL))
			break;
		at += len;
	}
	ac_free(&self->ac);
	ac_build(&self->ac, &set, NULL); /* on failure there are no patterns */
	pattern_set_free(&set);
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	struct search *self = use->state;
	struct ac_match match;
	struct octets octets;

	if (!self->file && octets_u32(mbuf + read_at) != self->version) {
		memcpy(self->copy, mbuf + read_at, use->reads);
		self->version = octets_u32(self->copy);
		take(self, use->reads);
	}
	octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);
	if (!ac_find(&self->ac, octets.data, octets.len, &match))
		return 0;
	octets_put_u32(mbuf + write_at, octets.at + match.at);
	octets_put_u32(mbuf + write_at + 4, match.len);
	return (uint64_t)match.pattern + 1;
}

const struct ffpf_extern ffpf_extern_ahocorasick = {
	.name = "ahocorasick",
	.summary = "which of many patterns stands in a packet, by Aho and Corasick",
	.arguments = "[file=NAME] [mbuf=4k] [of=packet|payload]",
	.value = "1 + the number of the pattern that ends first, of those the longest; 0: none",
	.reads_what =
	    "without file=: u32 version, u32 patterns, each u16 octets, those; read when version is another one",
	.writes_what = "u32 octet of the packet where it begins, u32 octets; nothing when there is none",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = DEFAULT_MBUF,
	.writes = WRITTEN_BYTES,
	.steps = STEPS,
	.state_bytes = sizeof(struct search),
	.parse = parse,
	.open = open_search,
	.call = call,
	.close = close_search,
};
