/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN(crc32c, r, 0) and EXTERN(xxhash64, r, 0): sums of octets. */
#include "externs/hashing.h"
#include "externs/octets.h"
#include "externs/table.h"

#define STEPS 2000

struct hash {
	enum octets_of of;
	uint64_t seed;
};

static int
parse_words(struct ffpf_extern_use *use, struct ffpf_class_args *args, bool seeded, struct ffpf_error *err)
{
	struct hash *self = use->state;
	struct ffpf_arg arg;

	while (ffpf_args_next(args, &arg, err)) {
		int status;

		if (ffpf_arg_is(&arg, "of"))
			status = octets_parse(&self->of, use, args, &arg, err);
		else if (seeded && ffpf_arg_is(&arg, "seed"))
			status = ffpf_arg_uint(args, &arg, 0, UINT64_MAX, &self->seed, err);
		else
			status = ffpf_arg_unknown(args, &arg, use->function->arguments, err);
		if (status)
			return status;
	}
	return -(int)err->code;
}

static int
parse_crc(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	return parse_words(use, args, false, err);
}

static int
parse_xxhash(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	return parse_words(use, args, true, err);
}

static uint64_t
call_crc(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
	 uint64_t write_at)
{
	const struct hash *self = use->state;
	const struct octets octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);

	(void)write_at;
	return crc32c(octets.data, octets.len);
}

static uint64_t
call_xxhash(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
	    uint64_t write_at)
{
	const struct hash *self = use->state;
	const struct octets octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);

	(void)write_at;
	return xxhash64(octets.data, octets.len, self->seed);
}

const struct ffpf_extern ffpf_extern_crc32c = {
	.name = "crc32c",
	.summary = "CRC-32C (Castagnoli) of octets",
	.arguments = "[of=range|packet|payload|mbuf:N]",
	.value = "the sum, 32 bits",
	.reads_what = "of=range: u32 offset, u32 octets; of=mbuf:N: N octets",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = 8,
	.steps = STEPS,
	.state_bytes = sizeof(struct hash),
	.parse = parse_crc,
	.call = call_crc,
};

const struct ffpf_extern ffpf_extern_xxhash64 = {
	.name = "xxhash64",
	.summary = "xxHash, 64 bits, of octets",
	.arguments = "[of=range|packet|payload|mbuf:N] [seed=S]",
	.value = "the hash, 64 bits",
	.reads_what = "of=range: u32 offset, u32 octets; of=mbuf:N: N octets",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = 8,
	.steps = STEPS,
	.state_bytes = sizeof(struct hash),
	.parse = parse_xxhash,
	.call = call_xxhash,
};
