/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("topn n=10 slots=256", r, w): the largest counters of a hash table in MBuf, as Figure 6 keeps one. */
#include "externs/octets.h"
#include "externs/table.h"

#define DEFAULT_N     10
#define DEFAULT_SLOTS 256
#define MOST_N        256
#define MOST_SLOTS    65536
#define COUNTER       4
#define ENTRY         8

struct counted {
	uint32_t slot, count;
};

struct topn {
	uint32_t n, slots;
	struct counted best[MOST_N]; /* of the call; the largest first */
};

static void
sized(struct ffpf_extern_use *use)
{
	const struct topn *self = use->state;

	use->reads = self->slots * COUNTER;
	use->writes = self->n * ENTRY;
	use->steps = self->slots * (2 + self->n);
}

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct topn *self = use->state;
	struct ffpf_arg arg;

	self->n = DEFAULT_N;
	self->slots = DEFAULT_SLOTS;
	while (ffpf_args_next(args, &arg, err)) {
		uint64_t value;
		int status;

		if (ffpf_arg_is(&arg, "n")) {
			status = ffpf_arg_uint(args, &arg, 1, MOST_N, &value, err);
			self->n = status ? 0 : (uint32_t)value;
		} else if (ffpf_arg_is(&arg, "slots")) {
			status = ffpf_arg_uint(args, &arg, 1, MOST_SLOTS, &value, err);
			self->slots = status ? 0 : (uint32_t)value;
		} else {
			status = ffpf_arg_unknown(args, &arg, use->function->arguments, err);
		}
		if (status)
			return status;
	}
	sized(use);
	return -(int)err->code;
}

/* Behind all that are not smaller, so that of equal ones the lower slot comes first. */
static void
put_in(struct topn *self, uint32_t *have, struct counted one)
{
	uint32_t at;

	if (*have == self->n) {
		if (self->best[self->n - 1].count >= one.count)
			return;
		--*have;
	}
	for (at = (*have)++; at && self->best[at - 1].count < one.count; at--)
		self->best[at] = self->best[at - 1];
	self->best[at] = one;
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	struct topn *self = use->state;
	uint32_t have = 0;

	(void)pkt, (void)cap_len;
	for (uint32_t slot = 0; slot < self->slots; slot++) {
		const struct counted one = { slot, octets_u32(mbuf + read_at + (uint64_t)slot * COUNTER) };

		if (one.count)
			put_in(self, &have, one);
	}
	for (uint32_t i = 0; i < self->n; i++) {
		const struct counted one = i < have ? self->best[i] : (struct counted){ 0, 0 };

		octets_put_u32(mbuf + write_at + (uint64_t)i * ENTRY, one.slot);
		octets_put_u32(mbuf + write_at + (uint64_t)i * ENTRY + 4, one.count);
	}
	return have;
}

const struct ffpf_extern ffpf_extern_topn = {
	.name = "topn",
	.summary = "the largest counters of a table in MBuf",
	.arguments = "[n=10] [slots=256]",
	.value = "how many were found: at most n, none of them 0",
	.reads_what = "u32 counters, as many as slots",
	.writes_what =
	    "n times u32 slot, u32 counter: the largest first, of equal ones the lower slot; zeros behind them",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = DEFAULT_SLOTS * COUNTER,
	.writes = DEFAULT_N * ENTRY,
	.steps = DEFAULT_SLOTS * (2 + DEFAULT_N),
	.state_bytes = sizeof(struct topn),
	.parse = parse,
	.call = call,
};
