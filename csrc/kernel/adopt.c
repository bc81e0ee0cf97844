/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is in a source whose control plane was killed, perhaps in the middle of a call: for who adopts it. */
#include "kernel/kernel_internal.h"

#include <errno.h>

bool
ffpf_kernel_group_in_use(const struct ffpf_kernel *kernel, uint32_t group)
{
	return group < FFPF_KERNEL_GROUPS_MAX && kernel->groups[group].bms;
}

bool
ffpf_kernel_flow_in_use(const struct ffpf_kernel *kernel, uint32_t slot)
{
	return slot < FFPF_KERNEL_FLOWS_MAX && kernel->flows[slot].in_use;
}

bool
ffpf_kernel_flow_is_whole(const struct ffpf_kernel *kernel, uint32_t slot, uint32_t group)
{
	uint64_t both = FFPF_KERNEL_BOTH_COLUMNS(slot), joined;

	if (!ffpf_kernel_flow_in_use(kernel, slot) || kernel->flows[slot].group != group ||
	    !ffpf_kernel_group_in_use(kernel, group))
		return false;
	/* relaxed: whoever stored it is dead */
	joined = atomic_load_explicit(&kernel->groups[group].columns[FFPF_KERNEL_WORD_OF(slot)], memory_order_relaxed);
	return (joined & both) == both || atomic_load_explicit(&kernel->flows[slot].left, memory_order_relaxed) != 0;
}

/* The kernel's number of the map that stands in an array of maps; 0: none does. */
static int
id_at(int outer, uint32_t at, uint32_t *id, struct ffpf_error *err)
{
	*id = 0;
	if (bpf_map_lookup_elem(outer, &at, id) && errno != ENOENT)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't look a map up");
	return 0;
}

static int
id_of(int fd, uint32_t *id, struct ffpf_error *err)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't ask which map it is");
	*id = info.id;
	return 0;
}

static int
compare(int outer, uint32_t first, const int *fds, uint32_t count, bool *same, struct ffpf_error *err)
{
	bool all = true;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t there, ours = 0;
		int rc = id_at(outer, first + i, &there, err);

		rc = rc ? rc : id_of(fds[i], &ours, err);
		if (rc)
			return rc;
		all = all && there == ours;
	}
	*same = all;
	return 0;
}

int
ffpf_kernel_group_holds(const struct ffpf_kernel *kernel, uint32_t group, const int *lane_fds, bool *same,
			struct ffpf_error *err)
{
	uint32_t bank;

	if (!ffpf_kernel_group_in_use(kernel, group))
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no group %u", group);
	bank = atomic_load_explicit(&kernel->groups[group].bank, memory_order_relaxed) & 1;
	return compare(kernel->fds.fd[FFPF_KERNEL_FD_LANES], FFPF_KERNEL_LANE_AT(bank, group, kernel->cpus, 0),
		       lane_fds, kernel->cpus, same, err);
}

int
ffpf_kernel_flow_holds(const struct ffpf_kernel *kernel, uint32_t slot, const int *ibuf_fds, bool *same,
		       struct ffpf_error *err)
{
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	return rc ? rc
		  : compare(kernel->fds.fd[FFPF_KERNEL_FD_IBUFS],
			    FFPF_KERNEL_IBUF_AT(ffpf_kernel_bank_of(kernel, slot), slot, kernel->cpus, 0), ibuf_fds,
			    kernel->cpus, same, err);
}
