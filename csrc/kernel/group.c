/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups: their lanes, one for each CPU, and moving to fresh ones. */
#include "kernel/kernel_internal.h"

#include "bms/bms.h"

#include <errno.h>
#include <stdlib.h>

static int
check_group(const struct ffpf_kernel *kernel, uint32_t group, bool there, struct ffpf_error *err)
{
	if (group >= FFPF_KERNEL_GROUPS_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "group %u is not below %u", group, FFPF_KERNEL_GROUPS_MAX);
	if (there != (kernel->groups[group].bms != 0))
		return ffpf_error_set(err, FFPF_E_INVALID, "group %u is %s", group,
				      there ? "not there" : "there already");
	return 0;
}

/* lane_fds NULL: takes them out. */
static int
place_lanes(struct ffpf_kernel *kernel, uint32_t group, uint32_t bank, const int *lane_fds, struct ffpf_error *err)
{
	struct ffpf_kernel_place places[FFPF_FLOW_LANES_MAX];

	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		places[cpu] = (struct ffpf_kernel_place){
			.outer = kernel->fds.fd[FFPF_KERNEL_FD_LANES],
			.at = FFPF_KERNEL_LANE_AT(bank, group, kernel->cpus, cpu),
			.fd = lane_fds ? lane_fds[cpu] : -1,
		};
	return ffpf_kernel_place(places, kernel->cpus, err);
}

static void
erase_lanes(struct ffpf_kernel *kernel, uint32_t group, uint32_t bank)
{
	place_lanes(kernel, group, bank, NULL, NULL);
}

static int64_t
last_ns_of(const struct ffpf_kernel *kernel, uint32_t at)
{
	struct ffpf_kernel_lane_state state;

	return bpf_map_lookup_elem(kernel->fds.fd[FFPF_KERNEL_FD_LANE_STATE], &at, &state) ? 0 : state.last_ns;
}

/* Fresh lanes in a bank that is not in use. */
static int
make_lanes(struct ffpf_kernel *kernel, uint32_t group, uint32_t bank, uint32_t bms, int *lane_fds,
	   struct ffpf_error *err)
{
	const uint64_t first_w = 1ull << kernel->control->source.cells_log2;
	int rc = 0;

	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		lane_fds[cpu] = -1;
	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		struct ffpf_kernel_lane_state state = { .w = first_w, .intent = first_w, .r_star = first_w };
		uint32_t at = FFPF_KERNEL_LANE_AT(bank, group, kernel->cpus, cpu);

		state.last_ns = last_ns_of(kernel, FFPF_KERNEL_LANE_AT(bank ^ 1, group, kernel->cpus, cpu));
		/* no group's epoch is 0 while it has flows: the first packet surveys them */
		rc = ffpf_kernel_put(kernel->fds.fd[FFPF_KERNEL_FD_LANE_STATE], at, &state, err);
		if (!rc)
			lane_fds[cpu] = ffpf_kernel_make_lane(kernel, bms, err);
		if (!rc && lane_fds[cpu] < 0)
			rc = lane_fds[cpu];
	}
	if (!rc)
		rc = place_lanes(kernel, group, bank, lane_fds, err);
	if (rc) {
		erase_lanes(kernel, group, bank);
		ffpf_kernel_close_all(lane_fds, kernel->cpus);
	}
	return rc;
}

int
ffpf_kernel_group_create(struct ffpf_kernel *kernel, uint32_t group, uint32_t bms, int *lane_fds,
			 struct ffpf_error *err)
{
	struct ffpf_kernel_group *g;
	int rc = check_group(kernel, group, false, err);

	if (rc)
		return rc;
	if (!ffpf_bms_find(bms))
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no BMS %u", bms);
	g = &kernel->groups[group];
	rc = make_lanes(kernel, group, 0, bms, lane_fds, err);
	if (rc)
		return rc;
	atomic_store(&g->bank, 0);
	g->bms = bms;
	ffpf_kernel_group_changed(kernel, group);
	if (atomic_load(&kernel->control->group_count) <= group)
		atomic_store(&kernel->control->group_count, group + 1);
	return 0;
}

int
ffpf_kernel_group_remove(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	uint32_t count = FFPF_KERNEL_GROUPS_MAX;
	int rc = check_group(kernel, group, true, err);

	if (rc)
		return rc;
	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX; slot++)
		if (kernel->flows[slot].in_use && kernel->flows[slot].group == group)
			return ffpf_error_set(err, FFPF_E_INVALID, "group %u has flows", group);
	for (unsigned word = 0; word < FFPF_KERNEL_WORDS; word++)
		atomic_store(&kernel->groups[group].columns[word], 0);
	kernel->groups[group].bms = 0;
	while (count > 0 && !kernel->groups[count - 1].bms)
		count--;
	atomic_store(&kernel->control->group_count, count);
	for (uint32_t bank = 0; bank < FFPF_KERNEL_BANKS; bank++)
		erase_lanes(kernel, group, bank);
	return 0;
}

void
ffpf_kernel_group_changed(struct ffpf_kernel *kernel, uint32_t group)
{
	struct ffpf_kernel_group *g = &kernel->groups[group];
	uint32_t least = UINT32_MAX, most = 0;

	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX; slot++) {
		uint32_t snap_len = atomic_load_explicit(&kernel->flows[slot].snap_len, memory_order_relaxed);
		uint64_t both = FFPF_KERNEL_BOTH_COLUMNS(slot);

		if (!(atomic_load_explicit(&g->columns[FFPF_KERNEL_WORD_OF(slot)], memory_order_relaxed) & both))
			continue;
		least = snap_len < least ? snap_len : least;
		most = snap_len > most ? snap_len : most;
	}
	atomic_store(&g->snap_min, least);
	atomic_store(&g->snap_max, most);
	/* after the columns: who sees the old one surveys again. Pairs with srp_grant in grant.bpf.h */
	atomic_fetch_add(&g->epoch, 1);
}

/* ---- moving ---- */

static bool
is_named(uint32_t slot, const uint32_t *slots, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (slots[i] == slot)
			return true;
	return false;
}

/* Those of the group's flows that are not named: they must be idle, and stay where they are when the bank changes. */
static int
leave_behind(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count, bool only_check,
	     struct ffpf_error *err)
{
	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX; slot++) {
		struct ffpf_kernel_flow *flow = &kernel->flows[slot];
		uint32_t word = FFPF_KERNEL_WORD_OF(slot);

		if (!flow->in_use || flow->group != group || is_named(slot, slots, count))
			continue;
		if (ffpf_kernel_active(kernel, word) & FFPF_KERNEL_BOTH_COLUMNS(slot))
			return ffpf_error_set(err, FFPF_E_INVALID, "flow %u is active: it cannot be left behind", slot);
		if (only_check)
			continue;
		ffpf_kernel_flow_keep_bank(kernel, slot);
		atomic_fetch_and(&kernel->groups[group].columns[word], ~FFPF_KERNEL_BOTH_COLUMNS(slot));
		atomic_store(&flow->lane_changed, 1);
	}
	return 0;
}

static int
check_move(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count, struct ffpf_error *err)
{
	int rc = check_group(kernel, group, true, err);

	for (uint32_t i = 0; i < count && !rc; i++) {
		rc = ffpf_kernel_check_flow(kernel, slots[i], false, err);
		if (!rc && kernel->flows[slots[i]].group != group)
			rc = ffpf_error_set(err, FFPF_E_INVALID, "flow %u is of another group", slots[i]);
	}
	return rc ? rc : leave_behind(kernel, group, slots, count, true, err);
}

/* Of every flow of the group. */
static int
mark_moved(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	int rc = 0;

	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX && !rc; slot++)
		if (kernel->flows[slot].in_use && kernel->flows[slot].group == group)
			rc = ffpf_kernel_flow_mark(kernel, slot, ffpf_kernel_bank_of(kernel, slot), FFPF_IBUF_MOVED,
						   err);
	return rc;
}

int
ffpf_kernel_group_fresh(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, const uint32_t *ibuf_slots,
			uint32_t count, int *lane_fds, int *ibuf_fds, struct ffpf_error *err)
{
	struct ffpf_kernel_group *g;
	uint32_t prepared = 0, bank;
	int rc = check_move(kernel, group, slots, count, err);

	if (rc)
		return rc;
	g = &kernel->groups[group];
	bank = atomic_load(&g->bank) & 1;
	rc = make_lanes(kernel, group, bank ^ 1, g->bms, lane_fds, err);
	if (rc)
		return rc;
	rc = ffpf_kernel_step(kernel, "lanes made");
	for (; prepared < count && !rc; prepared++)
		rc = ffpf_kernel_flow_prepare(kernel, slots[prepared], ibuf_slots[prepared],
					      ibuf_fds + prepared * kernel->cpus, err);
	if (rc) {
		/* what was prepared lies in a bank that nobody looks at; the next move writes over it */
		ffpf_kernel_close_all(lane_fds, kernel->cpus);
		ffpf_kernel_close_all(ibuf_fds, (prepared ? prepared - 1 : 0) * kernel->cpus);
	}
	return rc;
}

static int
wake_all(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	int rc = 0;

	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX && !rc; slot++)
		if (kernel->flows[slot].in_use && kernel->flows[slot].group == group)
			rc = ffpf_kernel_flow_wake(kernel, slot, err);
	return rc;
}

int
ffpf_kernel_group_settle(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count,
			 struct ffpf_error *err)
{
	int rc = check_move(kernel, group, slots, count, err);

	if (rc)
		return rc;
	ffpf_kernel_group_changed(kernel, group);
	rc = ffpf_kernel_synchronize(kernel, err);
	rc = rc ? rc : ffpf_kernel_step(kernel, "nobody is in the old ones");
	for (uint32_t i = 0; i < count && !rc; i++) {
		ffpf_kernel_flow_settle(kernel, slots[i]);
		rc = ffpf_kernel_step(kernel, "a flow's counts are settled");
		if (!rc)
			ffpf_kernel_flow_forget(kernel, slots[i]);
	}
	rc = rc ? rc : ffpf_kernel_step(kernel, "old IBufs are forgotten");
	rc = rc ? rc : wake_all(kernel, group, err);
	return rc ? rc : ffpf_kernel_group_tidy(kernel, group, err);
}

int
ffpf_kernel_group_enter(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count,
			struct ffpf_error *err)
{
	int rc = check_move(kernel, group, slots, count, err);

	rc = rc ? rc : ffpf_kernel_step(kernel, "made");
	/* before the move: a reader that finds an IBuf empty and not moved may go on with other lanes */
	rc = rc ? rc : mark_moved(kernel, group, err);
	rc = rc ? rc : ffpf_kernel_step(kernel, "marked");
	rc = rc ? rc : leave_behind(kernel, group, slots, count, false, err);
	rc = rc ? rc : ffpf_kernel_step(kernel, "left");
	if (rc)
		return rc;
	for (uint32_t i = 0; i < count; i++)
		atomic_store(&kernel->flows[slots[i]].lane_changed, 1);
	atomic_fetch_xor(&kernel->groups[group].bank, 1);
	rc = ffpf_kernel_step(kernel, "moved");
	return rc ? rc : ffpf_kernel_group_settle(kernel, group, slots, count, err);
}

int
ffpf_kernel_group_tidy(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	int rc = check_group(kernel, group, true, err);

	if (!rc)
		erase_lanes(kernel, group, (atomic_load(&kernel->groups[group].bank) & 1) ^ 1);
	return rc;
}

int
ffpf_kernel_group_move(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, const uint32_t *ibuf_slots,
		       uint32_t count, int *lane_fds, int *ibuf_fds, struct ffpf_error *err)
{
	int rc = ffpf_kernel_group_fresh(kernel, group, slots, ibuf_slots, count, lane_fds, ibuf_fds, err);

	if (rc)
		return rc;
	rc = ffpf_kernel_group_enter(kernel, group, slots, count, err);
	if (rc) {
		ffpf_kernel_close_all(lane_fds, kernel->cpus);
		ffpf_kernel_close_all(ibuf_fds, count * kernel->cpus);
	}
	return rc;
}
