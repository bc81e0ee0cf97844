/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("payload n=64", 0, w): what TCP or UDP carries, copied into MBuf. */
#include "externs/octets.h"
#include "externs/table.h"

#include <string.h>

#define DEFAULT_OCTETS 64
#define MOST_OCTETS    65536
#define LEN_BYTES      4

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct ffpf_arg arg;

	while (ffpf_args_next(args, &arg, err)) {
		uint64_t n;
		int status = ffpf_arg_is(&arg, "n") ? ffpf_arg_bytes(args, &arg, 1, MOST_OCTETS, &n, err)
						    : ffpf_arg_unknown(args, &arg, use->function->arguments, err);

		if (status)
			return status;
		use->writes = LEN_BYTES + (uint32_t)n;
		use->steps = (uint32_t)n;
	}
	return -(int)err->code;
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	const struct octets payload = octets_payload(use->set->in);
	const uint32_t room = use->writes - LEN_BYTES, n = payload.len < room ? payload.len : room;

	(void)pkt, (void)cap_len, (void)read_at;
	octets_put_u32(mbuf + write_at, n);
	memcpy(mbuf + write_at + LEN_BYTES, payload.data, n);
	return payload.len;
}

const struct ffpf_extern ffpf_extern_payload = {
	.name = "payload",
	.summary = "copies what TCP or UDP carries into MBuf",
	.arguments = "[n=64]",
	.value = "how many octets of it were captured, copied or not",
	.reads_what = "",
	.writes_what = "u32 octets that were copied, at most n; those; what lies behind them stays",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = LEN_BYTES + DEFAULT_OCTETS,
	.steps = DEFAULT_OCTETS,
	.parse = parse,
	.call = call,
};
