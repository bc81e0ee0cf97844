/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls that are one store into what the hook reads, or one question to control.bpf.c. */
#include "kernel/kernel_internal.h"

#include <errno.h>
#include <sys/timex.h>
#include <unistd.h>

#define NS_PER_S 1000000000ll

int
ffpf_kernel_ask(const struct ffpf_kernel *kernel, struct ffpf_kernel_request *q, struct ffpf_error *err)
{
	struct bpf_test_run_opts opts = { .sz = sizeof(opts), .ctx_in = q, .ctx_size_in = sizeof(*q) };

	if (bpf_prog_test_run_opts(kernel->fds.fd[FFPF_KERNEL_FD_PROG_CONTROL], &opts))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't run the program of the control plane");
	return 0;
}

static int
out_of_range(const char *what, uint32_t number, uint32_t limit, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_INVALID, "%s %u is not below %u", what, number, limit);
}

int
ffpf_kernel_column_set(struct ffpf_kernel *kernel, uint32_t column, uint32_t result, uint32_t generation,
		       struct ffpf_error *err)
{
	if (column >= FFPF_KERNEL_COLUMNS)
		return out_of_range("column", column, FFPF_KERNEL_COLUMNS, err);
	if (ffpf_kernel_active(kernel, column / 64) >> (column % 64) & 1)
		return ffpf_error_set(err, FFPF_E_INVALID, "column %u is active", column);
	kernel->columns[column].result = result;
	kernel->columns[column].generation = generation;
	return 0;
}

/* What came while the flow was being made is not counted as seen by it. */
static int
begin_flow(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	uint32_t bank = ffpf_kernel_bank_of(kernel, slot);
	int rc = 0;

	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		struct ffpf_kernel_request q = {
			.op = FFPF_KERNEL_OP_IBUF_BEGIN,
			.at = ffpf_kernel_ibuf_at(kernel, slot, bank, cpu),
			.cpu = cpu,
		};

		rc = ffpf_kernel_ask(kernel, &q, err);
	}
	return rc;
}

static int
begin_flows(struct ffpf_kernel *kernel, uint32_t word, uint64_t columns, struct ffpf_error *err)
{
	uint64_t before = ffpf_kernel_active(kernel, word);
	int rc = 0;

	for (uint32_t bit = 0; bit < 64 && !rc; bit += 2)
		if (columns >> bit & 3 && !(before >> bit & 3))
			rc = begin_flow(kernel, word * 32 + bit / 2, err);
	return rc;
}

int
ffpf_kernel_activate(struct ffpf_kernel *kernel, uint32_t word, uint64_t columns, struct ffpf_error *err)
{
	int rc = word < FFPF_KERNEL_WORDS ? begin_flows(kernel, word, columns, err)
					  : out_of_range("word", word, FFPF_KERNEL_WORDS, err);

	if (rc)
		return rc;
	/* Release: what was written of the columns comes before. Pairs with judge in pass.bpf.h, on whose load what is
	 * looked at of them depends. */
	atomic_store_explicit(&kernel->control->active[word], columns, memory_order_release);
	for (uint32_t bit = 0; bit < 64; bit += 2) {
		if (!(columns >> bit & 3))
			continue;
		/* release: behind active */
		atomic_fetch_and_explicit(&kernel->control->left[word], ~(3ull << bit), memory_order_release);
		atomic_store(&kernel->flows[word * 32 + bit / 2].left, 0);
	}
	return 0;
}

int
ffpf_kernel_flow_leave(struct ffpf_kernel *kernel, uint32_t slot, uint32_t column, struct ffpf_error *err)
{
	const uint32_t word = FFPF_KERNEL_WORD_OF(slot);
	const uint64_t both = FFPF_KERNEL_BOTH_COLUMNS(slot);
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (rc)
		return rc;
	if (column / 2 != slot)
		return ffpf_error_set(err, FFPF_E_INVALID, "column %u is not flow %u's", column, slot);
	ffpf_kernel_flow_keep_bank(kernel, slot);
	/* one store, so that a packet is counted once; release: `left` of the flow comes before */
	atomic_store_explicit(&kernel->control->left[word],
			      (atomic_load(&kernel->control->left[word]) & ~both) | 1ull << column % 64,
			      memory_order_release);
	/* release: behind left; pairs with judge in pass.bpf.h */
	atomic_fetch_and_explicit(&kernel->control->active[word], ~both, memory_order_release);
	return 0;
}

void
ffpf_kernel_on_step(struct ffpf_kernel *kernel, int (*step)(void *context, const char *name), void *context)
{
	kernel->on_step = step;
	kernel->on_step_context = context;
}

int
ffpf_kernel_step(struct ffpf_kernel *kernel, const char *step)
{
	return kernel->on_step ? kernel->on_step(kernel->on_step_context, step) : 0;
}

uint64_t
ffpf_kernel_active(const struct ffpf_kernel *kernel, uint32_t word)
{
	/* relaxed: our own store */
	return word < FFPF_KERNEL_WORDS ? atomic_load_explicit(&kernel->control->active[word], memory_order_relaxed)
					: 0;
}

int
ffpf_kernel_prog_set(struct ffpf_kernel *kernel, uint32_t slot, int prog_fd, struct ffpf_error *err)
{
	int progs = kernel->fds.fd[FFPF_KERNEL_FD_PROGS];

	if (slot >= FFPF_KERNEL_PROGS)
		return out_of_range("program", slot, FFPF_KERNEL_PROGS, err);
	if (prog_fd >= 0)
		return ffpf_kernel_put(progs, slot, &prog_fd, err);
	if (bpf_map_delete_elem(progs, &slot) && errno != ENOENT)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't take program %u away", slot);
	return 0;
}

int
ffpf_kernel_set_fetch_len(struct ffpf_kernel *kernel, uint32_t octets, struct ffpf_error *err)
{
	if (octets > FFPF_SCRATCH_DATA_BYTES)
		return out_of_range("octets to fetch", octets, FFPF_SCRATCH_DATA_BYTES + 1, err);
	atomic_store(&kernel->control->fetch_len, octets);
	return 0;
}

int
ffpf_kernel_set_words(struct ffpf_kernel *kernel, uint32_t words, struct ffpf_error *err)
{
	if (words > FFPF_KERNEL_WORDS)
		return out_of_range("words", words, FFPF_KERNEL_WORDS + 1, err);
	atomic_store(&kernel->control->words, words);
	return 0;
}

int
ffpf_kernel_synchronize(struct ffpf_kernel *kernel, struct ffpf_error *err)
{
	const uint32_t first = 0;
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ffpf_dummy", 4, 4, 1, NULL);
	int rc = 0;

	if (inner < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make a BPF map");
	/* kernel/bpf/syscall.c, maybe_wait_bpf_programs: synchronize_rcu() after an update of an array of maps (4.20)
	 */
	if (bpf_map_update_elem(kernel->fds.fd[FFPF_KERNEL_FD_GRACE], &first, &inner, BPF_ANY))
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't wait for the hook");
	close(inner);
	return rc;
}

int
ffpf_kernel_update_tai(struct ffpf_kernel *kernel, struct ffpf_error *err)
{
	struct timex now = { .modes = 0 };

	if (adjtimex(&now) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "adjtimex");
	atomic_store(&kernel->control->tai_offset_ns, now.tai * NS_PER_S);
	return 0;
}

int
ffpf_kernel_flow_wake(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err)
{
	struct ffpf_kernel_request q = { .op = FFPF_KERNEL_OP_WAKE, .slot = slot };

	return ffpf_kernel_ask(kernel, &q, err);
}

static int
wake_flows(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	int rc = 0;

	for (uint32_t slot = 0; slot < FFPF_KERNEL_FLOWS_MAX && !rc; slot++)
		if (kernel->flows[slot].in_use &&
		    (group == FFPF_KERNEL_GROUPS_MAX || kernel->flows[slot].group == group))
			rc = ffpf_kernel_flow_wake(kernel, slot, err);
	return rc;
}

int
ffpf_kernel_set_state(struct ffpf_kernel *kernel, uint32_t state, struct ffpf_error *err)
{
	struct ffpf_kernel_request q = { .op = FFPF_KERNEL_OP_SOURCE_STATE, .value = state };
	int rc = ffpf_kernel_ask(kernel, &q, err);

	return rc ? rc : wake_flows(kernel, FFPF_KERNEL_GROUPS_MAX, err);
}

int
ffpf_kernel_group_end(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err)
{
	int rc = 0;

	if (group >= FFPF_KERNEL_GROUPS_MAX || !kernel->groups[group].bms)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no group %u", group);
	for (uint32_t cpu = 0; cpu < kernel->cpus && !rc; cpu++) {
		struct ffpf_kernel_request q = {
			.op = FFPF_KERNEL_OP_LANE_STATE,
			.at = FFPF_KERNEL_LANE_AT(kernel->groups[group].bank, group, kernel->cpus, cpu),
			.value = FFPF_LANE_CLOSED,
		};

		rc = ffpf_kernel_ask(kernel, &q, err);
	}
	return rc ? rc : wake_flows(kernel, group, err);
}
