/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN(md5, r, w) and EXTERN(sha256, r, w): the digest goes to MBuf, as it is printed. */
#include "externs/crypto.h"
#include "externs/octets.h"
#include "externs/table.h"

#define STEPS  20000
#define MD5    16
#define SHA256 32

struct digest {
	enum octets_of of;
	struct crypto_digest *digest;
};

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct digest *self = use->state;
	struct ffpf_arg arg;

	while (ffpf_args_next(args, &arg, err)) {
		int status = ffpf_arg_is(&arg, "of") ? octets_parse(&self->of, use, args, &arg, err)
						     : ffpf_arg_unknown(args, &arg, use->function->arguments, err);

		if (status)
			return status;
	}
	return -(int)err->code;
}

static int
open_digest(struct ffpf_extern_use *use, struct ffpf_error *err)
{
	struct digest *self = use->state;

	return crypto_digest_open(&self->digest, use->writes == MD5 ? "MD5" : "SHA2-256", err);
}

static void
close_digest(struct ffpf_extern_use *use)
{
	struct digest *self = use->state;

	crypto_digest_close(self->digest);
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	const struct digest *self = use->state;
	const struct octets octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);

	return crypto_digest_of(self->digest, octets.data, octets.len, mbuf + write_at);
}

#define DIGEST(NAME, BITS, BYTES)                                                                                      \
	{                                                                                                              \
		.name = NAME, .summary = NAME " of octets", .arguments = "[of=range|packet|payload|mbuf:N]",           \
		.value = "1; 0: the library failed, and nothing was written",                                          \
		.reads_what = "of=range: u32 offset, u32 octets; of=mbuf:N: N octets",                                 \
		.writes_what = "the digest, " BITS, .levels = FFPF_LEVEL_USERSPACE, .reads = 8, .writes = (BYTES),     \
		.steps = STEPS, .state_bytes = sizeof(struct digest), .parse = parse, .open = open_digest,             \
		.call = call, .close = close_digest,                                                                   \
	}

const struct ffpf_extern ffpf_extern_md5 = DIGEST("md5", "16 octets", MD5);
const struct ffpf_extern ffpf_extern_sha256 = DIGEST("sha256", "32 octets", SHA256);
