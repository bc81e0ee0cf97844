/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows: reader page, event descriptor, an IBuf for each CPU; moving to others; what they counted. */
#include "kernel/kernel_internal.h"

#include "ring/region.h"

#include <string.h>

int
ffpf_kernel_check_flow(const struct ffpf_kernel *kernel, uint32_t slot, bool idle, struct ffpf_error *err)
{
	if (slot >= FFPF_KERNEL_FLOWS_MAX || !kernel->flows[slot].in_use)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no flow %u", slot);
	if (idle && ffpf_kernel_active(kernel, FFPF_KERNEL_WORD_OF(slot)) & FFPF_KERNEL_BOTH_COLUMNS(slot))
		return ffpf_error_set(err, FFPF_E_INVALID, "flow %u is active", slot);
	return 0;
}

uint32_t
ffpf_kernel_ibuf_at(const struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t cpu)
{
	return FFPF_KERNEL_IBUF_AT(bank, slot, kernel->cpus, cpu);
}

/* ---- making IBufs ---- */

struct fresh {
	uint32_t slot, bank, slots_log2;
};

static int
make_ibuf(struct ffpf_kernel *kernel, const struct fresh *f, uint32_t cpu, const struct ffpf_ibuf_page *template,
	  int *fd, struct ffpf_error *err)
{
	const struct ffpf_kernel_flow_state state = {
		.w = template->first_pos,
		.first_pos = template->first_pos,
		.r = template->first_pos,
		.sweep = template->first_pos,
		.mask = (uint32_t)((1ull << f->slots_log2) - 1),
	};

	*fd = ffpf_kernel_make_ibuf(template, err);
	if (*fd < 0)
		return *fd;
	return ffpf_kernel_put(kernel->fds.fd[FFPF_KERNEL_FD_FLOW_STATE],
			       ffpf_kernel_ibuf_at(kernel, f->slot, f->bank, cpu), &state, err);
}

/* ibuf_fds NULL: to be taken out. How many. */
static uint32_t
places_of(const struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, const int *ibuf_fds,
	  struct ffpf_kernel_place *places)
{
	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		places[cpu] = (struct ffpf_kernel_place){
			.outer = kernel->fds.fd[FFPF_KERNEL_FD_IBUFS],
			.at = ffpf_kernel_ibuf_at(kernel, slot, bank, cpu),
			.fd = ibuf_fds ? ibuf_fds[cpu] : -1,
		};
	return kernel->cpus;
}

static uint32_t
places_of_reader(const struct ffpf_kernel *kernel, uint32_t slot, int reader_fd, int wake_fd,
		 struct ffpf_kernel_place *places)
{
	places[0] = (struct ffpf_kernel_place){ kernel->fds.fd[FFPF_KERNEL_FD_READERS], slot, reader_fd };
	places[1] = (struct ffpf_kernel_place){ kernel->fds.fd[FFPF_KERNEL_FD_WAKES], slot, wake_fd };
	return 2;
}

/* Those of a flow's first time. */
static int
first_ibufs(struct ffpf_kernel *kernel, const struct fresh *f, int *ibuf_fds, struct ffpf_error *err)
{
	int rc = 0;

	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		const struct ffpf_counts *counts = &kernel->counts->counts[cpu];
		const struct ffpf_ibuf_page template = {
			.slots_log2 = f->slots_log2,
			.lane = cpu,
			.packets_before = atomic_load(&counts->packets),
			.nested_before = atomic_load(&counts->nested),
		};

		rc = make_ibuf(kernel, f, cpu, &template, &ibuf_fds[cpu], err);
	}
	return rc;
}

/* The bank that is not in use may be written over: there is nothing in it, or nothing unread. */
static int
check_read(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	uint32_t bank = ffpf_kernel_bank_of(kernel, slot);

	if (atomic_load(&kernel->flows[slot].lane_changed))
		return 0;
	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++) {
		struct ffpf_kernel_request q;
		int rc = ffpf_kernel_read_ibuf(kernel, slot, bank, cpu, &q, err);

		if (rc)
			return rc;
		if (q.r < q.first_pos)
			return ffpf_error_set(err, FFPF_E_GENERIC,
					      "flow %u: its reader has not come from the move before", slot);
	}
	return 0;
}

int
ffpf_kernel_flow_prepare(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
			 struct ffpf_error *err)
{
	uint32_t bank = ffpf_kernel_bank_of(kernel, slot);
	int rc = ffpf_size_check("IBuf slots", ibuf_slots, FFPF_IBUF_MIN_SLOTS, FFPF_IBUF_MAX_SLOTS, err);
	struct ffpf_kernel_place places[FFPF_KERNEL_PLACES_MAX];
	struct fresh f = { slot, bank ^ 1, rc ? 0 : ffpf_size_log2(ibuf_slots) };

	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		ibuf_fds[cpu] = -1;
	rc = rc ? rc : check_read(kernel, slot, err);
	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		struct ffpf_kernel_request q;
		struct ffpf_ibuf_page template = { .slots_log2 = f.slots_log2, .lane = cpu };

		rc = ffpf_kernel_read_ibuf(kernel, slot, bank, cpu, &q, err);
		/* the old one may still grow, by less than 2^32 */
		template.first_pos = (q.w | UINT32_MAX) + 1;
		template.packets_before = q.packets_before;
		template.nested_before = q.nested_before;
		if (!rc)
			rc = make_ibuf(kernel, &f, cpu, &template, &ibuf_fds[cpu], err);
	}
	if (!rc)
		rc = ffpf_kernel_place(places, places_of(kernel, slot, f.bank, ibuf_fds, places), err);
	if (rc)
		ffpf_kernel_close_all(ibuf_fds, kernel->cpus);
	return rc;
}

/* ---- moving ---- */

int
ffpf_kernel_flow_mark(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t state, struct ffpf_error *err)
{
	int rc = 0;

	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		struct ffpf_kernel_request q = {
			.op = FFPF_KERNEL_OP_IBUF_STATE,
			.at = ffpf_kernel_ibuf_at(kernel, slot, bank, cpu),
			.value = state,
		};

		rc = ffpf_kernel_ask(kernel, &q, err);
	}
	return rc;
}

/* false: the IBuf is not there. */
static bool
add_ibuf(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t cpu, struct ffpf_kernel_past *sum)
{
	struct ffpf_kernel_request q;

	if (ffpf_kernel_read_ibuf(kernel, slot, bank, cpu, &q, NULL))
		return false;
	sum->records += q.w - q.first_pos;
	for (unsigned cause = 0; cause < FFPF_COUNTED_DROPS_MAX; cause++)
		sum->dropped[cause] += q.dropped[cause];
	return true;
}

void
ffpf_kernel_flow_settle(struct ffpf_kernel *kernel, uint32_t slot)
{
	struct ffpf_kernel_flow *flow = &kernel->flows[slot];
	uint32_t bank = ffpf_kernel_bank_of(kernel, slot);
	struct ffpf_kernel_past sum = flow->past[bank ^ 1];

	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		if (!add_ibuf(kernel, slot, bank ^ 1, cpu, &sum))
			return;
	flow->past[bank] = sum;
}

void
ffpf_kernel_flow_forget(struct ffpf_kernel *kernel, uint32_t slot)
{
	struct ffpf_kernel_place places[FFPF_KERNEL_PLACES_MAX];
	uint32_t bank = ffpf_kernel_bank_of(kernel, slot) ^ 1;

	ffpf_kernel_place(places, places_of(kernel, slot, bank, NULL, places), NULL);
}

/* First where the hook looks for what it must keep, then where it writes. */
static void
set_bank(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank)
{
	atomic_store(&kernel->flows[slot].bank, bank);
	atomic_store(&kernel->columns[2 * slot].bank, bank);
	atomic_store(&kernel->columns[2 * slot + 1].bank, bank);
}

void
ffpf_kernel_flow_join(struct ffpf_kernel *kernel, uint32_t slot)
{
	struct ffpf_kernel_group *group = &kernel->groups[kernel->flows[slot].group];

	atomic_fetch_or(&group->columns[FFPF_KERNEL_WORD_OF(slot)], FFPF_KERNEL_BOTH_COLUMNS(slot));
}

void
ffpf_kernel_flow_keep_bank(struct ffpf_kernel *kernel, uint32_t slot)
{
	struct ffpf_kernel_flow *flow = &kernel->flows[slot];

	if (!atomic_load(&flow->left))
		atomic_store(&flow->left, 1 + ffpf_kernel_bank_of(kernel, slot));
}

/* The hook finds the flow's IBufs in this bank, whose group is where it is. */
static void
enter_bank(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank)
{
	struct ffpf_kernel_flow *flow = &kernel->flows[slot];

	set_bank(kernel, slot, bank ^ (atomic_load(&kernel->groups[flow->group].bank) & 1));
	if (atomic_load(&flow->left))
		atomic_store(&flow->left, 1 + bank);
}

int
ffpf_kernel_flow_fresh(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
		       struct ffpf_error *err)
{
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	return rc ? rc : ffpf_kernel_flow_prepare(kernel, slot, ibuf_slots, ibuf_fds, err);
}

int
ffpf_kernel_flow_enter(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	uint32_t bank;
	bool left;
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (rc)
		return rc;
	bank = ffpf_kernel_bank_of(kernel, slot);
	left = ffpf_kernel_is_left(kernel, slot);
	rc = ffpf_kernel_flow_mark(kernel, slot, bank, FFPF_IBUF_MOVED, err);
	if (rc)
		return rc;
	atomic_store(&kernel->flows[slot].lane_changed, left);
	enter_bank(kernel, slot, bank ^ 1);
	rc = ffpf_kernel_step(kernel, "entered");
	return rc ? rc : ffpf_kernel_flow_finish(kernel, slot, err);
}

int
ffpf_kernel_flow_finish(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (rc)
		return rc;
	ffpf_kernel_flow_join(kernel, slot);
	ffpf_kernel_group_changed(kernel, kernel->flows[slot].group);
	rc = ffpf_kernel_synchronize(kernel, err);
	if (rc)
		return rc;
	ffpf_kernel_flow_settle(kernel, slot);
	if (atomic_load(&kernel->flows[slot].lane_changed))
		ffpf_kernel_flow_forget(kernel, slot);
	return ffpf_kernel_flow_wake(kernel, slot, err);
}

int
ffpf_kernel_flow_grow(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
		      struct ffpf_error *err)
{
	int rc = ffpf_kernel_flow_fresh(kernel, slot, ibuf_slots, ibuf_fds, err);

	if (rc)
		return rc;
	rc = ffpf_kernel_flow_enter(kernel, slot, err);
	if (rc)
		ffpf_kernel_close_all(ibuf_fds, kernel->cpus);
	return rc;
}

/* ---- create and remove ---- */

static int
check_config(const struct ffpf_kernel *kernel, const struct ffpf_kernel_flow_config *cfg, struct ffpf_error *err)
{
	uint64_t active;

	if (cfg->slot >= FFPF_KERNEL_FLOWS_MAX || kernel->flows[cfg->slot].in_use)
		return ffpf_error_set(err, FFPF_E_INVALID, "slot %u is not free", cfg->slot);
	if (cfg->group >= FFPF_KERNEL_GROUPS_MAX || !kernel->groups[cfg->group].bms)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no group %u", cfg->group);
	if (cfg->snap_len == 0)
		return ffpf_error_set(err, FFPF_E_INVALID, "snap length 0");
	active = ffpf_kernel_active(kernel, FFPF_KERNEL_WORD_OF(cfg->slot));
	if (active & FFPF_KERNEL_BOTH_COLUMNS(cfg->slot))
		return ffpf_error_set(err, FFPF_E_INVALID, "a column of slot %u is active", cfg->slot);
	return ffpf_size_check("IBuf slots", cfg->ibuf_slots, FFPF_IBUF_MIN_SLOTS, FFPF_IBUF_MAX_SLOTS, err);
}

static uint32_t
limited(const struct ffpf_kernel *kernel, uint32_t snap_len)
{
	uint32_t most = kernel->control->source.snap_len;

	return snap_len < most ? snap_len : most;
}

/* The grace period of the last call lies between what the counts said before the flow, and its first packet. */
static int
make_memories(struct ffpf_kernel *kernel, const struct ffpf_kernel_flow_config *cfg, int *reader_fd, int *wake_fd,
	      int *ibuf_fds, struct ffpf_error *err)
{
	const struct fresh f = { cfg->slot, 0, ffpf_size_log2(cfg->ibuf_slots) };
	struct ffpf_kernel_place places[FFPF_KERNEL_PLACES_MAX];
	int rc = *reader_fd = ffpf_kernel_make_reader(err);
	uint32_t count;

	if (rc >= 0)
		rc = *wake_fd = ffpf_kernel_make_wake(err);
	if (rc >= 0)
		rc = first_ibufs(kernel, &f, ibuf_fds, err);
	if (rc < 0)
		return rc;
	count = places_of_reader(kernel, cfg->slot, *reader_fd, *wake_fd, places);
	count += places_of(kernel, cfg->slot, 0, ibuf_fds, places + count);
	return ffpf_kernel_place(places, count, err);
}

static void
erase_all(struct ffpf_kernel *kernel, uint32_t slot)
{
	struct ffpf_kernel_place places[FFPF_KERNEL_PLACES_MAX];
	uint32_t count = places_of_reader(kernel, slot, -1, -1, places);

	for (uint32_t bank = 0; bank < FFPF_KERNEL_BANKS; bank++)
		count += places_of(kernel, slot, bank, NULL, places + count);
	ffpf_kernel_place(places, count, NULL);
}

int
ffpf_kernel_flow_create(struct ffpf_kernel *kernel, const struct ffpf_kernel_flow_config *cfg, int *reader_fd,
			int *wake_fd, int *ibuf_fds, struct ffpf_error *err)
{
	struct ffpf_kernel_flow *flow;
	int rc = check_config(kernel, cfg, err);

	if (rc)
		return rc;
	*reader_fd = *wake_fd = -1;
	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++)
		ibuf_fds[cpu] = -1;
	rc = make_memories(kernel, cfg, reader_fd, wake_fd, ibuf_fds, err);
	if (rc) {
		erase_all(kernel, cfg->slot);
		ffpf_kernel_close_all(ibuf_fds, kernel->cpus);
		ffpf_kernel_close_all(reader_fd, 1);
		ffpf_kernel_close_all(wake_fd, 1);
		return rc;
	}
	flow = &kernel->flows[cfg->slot];
	flow->group = cfg->group;
	memset(flow->past, 0, sizeof(flow->past));
	atomic_store(&flow->left, 0);
	/* so that its IBufs are those of bank 0 */
	set_bank(kernel, cfg->slot, atomic_load(&kernel->groups[cfg->group].bank) & 1);
	atomic_store(&flow->lane_changed, 1);
	atomic_store(&flow->snap_len, limited(kernel, cfg->snap_len));
	flow->in_use = 1;
	ffpf_kernel_flow_join(kernel, cfg->slot);
	ffpf_kernel_group_changed(kernel, cfg->group);
	return 0;
}

int
ffpf_kernel_flow_remove(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	uint32_t group, bank;
	int rc = ffpf_kernel_check_flow(kernel, slot, true, err);

	if (rc)
		return rc;
	group = kernel->flows[slot].group;
	bank = ffpf_kernel_bank_of(kernel, slot);
	/* the first that goes: whoever finds the flow after us sees that it is not whole */
	atomic_store(&kernel->flows[slot].left, 0);
	atomic_fetch_and(&kernel->control->left[FFPF_KERNEL_WORD_OF(slot)], ~FFPF_KERNEL_BOTH_COLUMNS(slot));
	atomic_fetch_and(&kernel->groups[group].columns[FFPF_KERNEL_WORD_OF(slot)], ~FFPF_KERNEL_BOTH_COLUMNS(slot));
	ffpf_kernel_group_changed(kernel, group);
	rc = ffpf_kernel_synchronize(kernel, err);
	rc = rc ? rc : ffpf_kernel_flow_mark(kernel, slot, bank, FFPF_IBUF_DETACHED, err);
	rc = rc ? rc : ffpf_kernel_flow_wake(kernel, slot, err);
	if (rc)
		return rc;
	erase_all(kernel, slot);
	kernel->flows[slot].in_use = 0;
	return 0;
}

int
ffpf_kernel_flow_snap(struct ffpf_kernel *kernel, uint32_t slot, uint32_t snap_len, struct ffpf_error *err)
{
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (!rc && snap_len == 0)
		rc = ffpf_error_set(err, FFPF_E_INVALID, "snap length 0");
	if (rc)
		return rc;
	atomic_store(&kernel->flows[slot].snap_len, limited(kernel, snap_len));
	ffpf_kernel_group_changed(kernel, kernel->flows[slot].group);
	return 0;
}
