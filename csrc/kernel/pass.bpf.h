/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_PASS_BPF_H
#define FFPF_KERNEL_PASS_BPF_H
/*
 * One packet's pass through one group, and walks over the flows that want it, or over all of the group.
 *
 * A walk is a bpf_loop: verified once, and as long as there are flows to visit, and words of the verdict.
 */
#include "kernel/maps.bpf.h"

const volatile struct ffpf_kernel_constants constants SEC(".rodata.constants") = { 1, 12, 0, 1, 0, 0 };

#define CELLS (1ull << (constants.cells_log2 & 31))

static __always_inline struct ffpf_scratch *
scratch_of(__u32 lane)
{
	return bpf_map_lookup_elem(&scratch, &lane);
}

static __always_inline struct ffpf_kernel_control *
the_control(void)
{
	const __u32 first = 0;

	return bpf_map_lookup_elem(&control, &first);
}

struct pass {
	struct __sk_buff *skb;
	struct ffpf_scratch *scratch;
	struct ffpf_kernel_control *control;
	struct ffpf_kernel_group *group;
	struct ffpf_kernel_lane_state *ls;
	struct ffpf_lane_page *lane;
	__s64 stamp_ns; /* of the packet; 0: it has none */
	__u64 position; /* of its record */
	__u32 bank;
	__u32 cpu; /* number of the lane: the CPU's, where a CPU has one */
	__u32 words;
	__u32 srp;
	__u32 cause; /* refuse: enum ffpf_drop */
};

#define WALK_STEPS (FFPF_KERNEL_COLUMNS + FFPF_KERNEL_WORDS + 1)
#define NOTHING    0xffffffffu /* the walk is at no column in this step ... */
#define THE_END    0xfffffffeu /* ... and will not be again */

static __always_inline void
walk_from_start(struct pass *p)
{
	p->ls->bits = 0;
	p->ls->word = 0;
}

/* Number of the lowest bit of a word that is not 0: multiplied by a de Bruijn sequence, each bit has its own 6 on top.
 */
static const __u8 bit_numbers[64] = {
	0,  1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,  62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,  63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,  6,
};

static __always_inline __u32
lowest_bit(__u64 bits)
{
	return bit_numbers[((bits & -bits) * 0x03f79d71b4cb0a89ull) >> 58];
}

/*
 * The verdict becomes that of columns in force. `active` is looked at once for each packet: a flow that is left behind
 * just now either wants it or has lost it, and `left` is set before active goes.
 */
static __always_inline bool
judge(struct pass *p)
{
	__u64 any = 0;

	for (__u32 word = 0; word < FFPF_KERNEL_WORDS; word++) {
		__u64 accepts, active, left;

		if (word >= p->words)
			break;
		accepts = p->scratch->verdict[word];
		/* pairs with the release store in change.c: what it says of columns was written before */
		active = once(p->control->active[word]);
		left = accepts & ~active & once(p->control->left[word]);
		p->scratch->verdict[word] = accepts & active;
		p->scratch->left[word] = left;
		any |= left;
	}
	return any != 0;
}

/* Columns of this word: of the flows that want the packet; or one for each flow of the group. After judge(). */
static __always_inline __u64
wanted_columns(const struct pass *p, __u32 word)
{
	word &= FFPF_KERNEL_WORDS - 1;
	return p->scratch->verdict[word] & once(p->group->columns[word]);
}

static __always_inline __u64
member_columns(const struct pass *p, __u32 word)
{
	word &= FFPF_KERNEL_WORDS - 1;
	return once(p->group->columns[word]) & 0x5555555555555555ull;
}

/* The next column of the walk, NOTHING or THE_END. */
static __always_inline __u32
next_column(struct pass *p, bool members)
{
	__u64 bits = p->ls->bits;

	if (!bits) {
		__u32 word = p->ls->word;

		if (word >= p->words)
			return THE_END;
		bits = members ? member_columns(p, word) : wanted_columns(p, word);
		p->ls->word = word + 1;
		if (!bits) {
			p->ls->bits = 0;
			return NOTHING;
		}
	}
	p->ls->bits = bits & (bits - 1);
	return (((p->ls->word - 1) << 6) | lowest_bit(bits)) & (FFPF_KERNEL_COLUMNS - 1);
}

static __always_inline __u32
ibuf_at(const struct pass *p, __u32 slot, __u32 bank)
{
	return FFPF_KERNEL_IBUF_AT(bank & 1, slot, constants.cpus, p->cpu);
}

/* Where the IBuf of this lane stands of the flow whose column it is. */
static __always_inline __u32
ibuf_at_column(const struct pass *p, __u32 number, const struct ffpf_kernel_column *column)
{
	return ibuf_at(p, number >> 1, once(column->bank) ^ p->bank);
}

static __always_inline struct ffpf_kernel_flow_state *
state_of(__u32 at)
{
	return bpf_map_lookup_elem(&flow_state, &at);
}

/* What a walk over wanted columns is at. */
struct visit {
	struct ffpf_kernel_column *filter;
	struct ffpf_kernel_flow_state *fs;
	__u32 at; /* of its IBuf, and of fs */
};

/* Of a column: false when there is nothing to be done for it. */
static __always_inline bool
visit(const struct pass *p, __u32 column, struct visit *v)
{
	v->filter = bpf_map_lookup_elem(&columns, &column);
	if (!v->filter)
		return false;
	v->at = ibuf_at_column(p, column, v->filter);
	v->fs = state_of(v->at);
	return v->fs != NULL;
}

static __always_inline void
count_drop(__u32 at, __u32 cause)
{
	void *ibuf = bpf_map_lookup_elem(&ibufs, &at);
	struct ffpf_ibuf_page *page = ibuf ? ibuf_page(ibuf) : NULL;

	if (page && cause < FFPF_COUNTED_DROPS_MAX)
		page->dropped[cause]++;
}

#endif
