/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("sampling n=100", 0, w): 1 for one call in n. What it remembers is in MBuf, where the application sees it. */
#include "externs/octets.h"
#include "externs/table.h"
#include "graph/tuple.h"

#include <string.h>

#define DEFAULT_N 100
#define GOLDEN    0x9e3779b97f4a7c15u

enum by { BY_COUNT, BY_CHANCE, BY_FLOW };

struct sampling {
	uint64_t n, seed;
	size_t by;
};

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	static const char *const ways[] = { "count", "random", "hash" };
	struct sampling *self = use->state;
	struct ffpf_arg arg;

	*self = (struct sampling){ .n = DEFAULT_N, .seed = 1 };
	while (ffpf_args_next(args, &arg, err)) {
		int status;

		if (ffpf_arg_is(&arg, "n"))
			status = ffpf_arg_uint(args, &arg, 1, UINT32_MAX, &self->n, err);
		else if (ffpf_arg_is(&arg, "seed"))
			status = ffpf_arg_uint(args, &arg, 0, UINT64_MAX, &self->seed, err);
		else if (ffpf_arg_is(&arg, "by"))
			status = ffpf_arg_choice(args, &arg, ways, sizeof(ways) / sizeof(ways[0]), &self->by, err);
		else
			status = ffpf_arg_unknown(args, &arg, use->function->arguments, err);
		if (status)
			return status;
	}
	if (self->by == BY_FLOW)
		use->writes = 0;
	return -(int)err->code;
}

/* SplitMix64's output function, for a state that went on by `GOLDEN`. */
static uint64_t
scrambled(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t
flow_hash(const struct sampling *self, const struct ffpf_node_pkt *in)
{
	struct ffpf_headers h;
	struct ffpf_flow_key flow;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	return ffpf_flow_of(&flow, &h, self->seed);
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	const struct sampling *self = use->state;
	const uint64_t most = UINT64_MAX / self->n;
	uint64_t calls;

	(void)pkt, (void)cap_len, (void)read_at;
	if (self->by == BY_FLOW)
		return flow_hash(self, use->set->in) <= most;
	memcpy(&calls, mbuf + write_at, sizeof(calls));
	calls++;
	memcpy(mbuf + write_at, &calls, sizeof(calls));
	return self->by == BY_COUNT ? calls % self->n == 0 : scrambled(self->seed + calls * GOLDEN) <= most;
}

const struct ffpf_extern ffpf_extern_sampling = {
	.name = "sampling",
	.summary = "chooses one call in n",
	.arguments = "[n=100] [by=count|random|hash] [seed=S]",
	.value = "1: this packet is of the sample; else 0. by=hash chooses whole flows",
	.reads_what = "",
	.writes_what = "u64 calls so far; by=hash: nothing",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = 8,
	.steps = 50,
	.state_bytes = sizeof(struct sampling),
	.parse = parse,
	.call = call,
};
