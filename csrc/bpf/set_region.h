/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_BPF_SET_REGION_H
#define FFPF_BPF_SET_REGION_H
/* A region (see set.h) between being found, in set_region.c, and being replaced, in set_lower.c. Internal to this room.
 */
#include "bpf/set.h"

#define FFPF_REGION_GROUPS 256 /* different key lists in one region */

struct ffpf_term {
	uint32_t nodes[FFPF_SET_KEYS], node_count;
	uint32_t target, next;
	uint32_t group;
	bool range;
	uint32_t low, high; /* of a range, host order */
};

struct ffpf_group { /* terms of one region with the same keys */
	struct ffpf_set_key keys[FFPF_SET_KEYS];
	uint32_t key_count;
	uint32_t term_count, range_count;
	uint32_t first_term;
};

struct ffpf_region {
	struct ffpf_term *terms;
	uint32_t term_count, term_space;
	struct ffpf_group groups[FFPF_REGION_GROUPS];
	uint32_t group_count;
	uint32_t target, next; /* next: where the last term leads when it does not hold */
	bool by_target;        /* terms of one key that lead to different targets */
	bool mixed; /* terms of one group are apart, or checks stand between: asking in another order needs all checks
		       first */
};

/* A group that gains by becoming a set. */
bool ffpf_group_pays(const struct ffpf_cfg *cfg, const struct ffpf_group *group);
/* A group whose set is a bitmap: ranges, octets, many ports. */
bool ffpf_group_is_bitmap(const struct ffpf_cfg *cfg, const struct ffpf_group *group);
/* Replaces a region by sets and what is left of its tests. The region's first node keeps its number, since others lead
 * to it, and becomes the way there. 0 or -FFPF_E_NO_MEMORY. */
int ffpf_region_lower(struct ffpf_cfg *cfg, struct ffpf_region *region);

#endif
