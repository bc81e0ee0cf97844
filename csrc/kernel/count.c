/* SPDX-License-Identifier: BSD-3-Clause */
/* What IBufs say, asked through control.bpf.c, and what flows counted in all that they have had. */
#include "kernel/kernel_internal.h"

#include <string.h>

/* It was left behind when its group moved: its IBufs are of lanes that are not used any more. */
bool
ffpf_kernel_is_left(const struct ffpf_kernel *kernel, uint32_t slot)
{
	const struct ffpf_kernel_group *group = &kernel->groups[kernel->flows[slot].group];

	return !(atomic_load(&group->columns[FFPF_KERNEL_WORD_OF(slot)]) & FFPF_KERNEL_BOTH_COLUMNS(slot));
}

int
ffpf_kernel_read_ibuf(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t cpu,
		      struct ffpf_kernel_request *q, struct ffpf_error *err)
{
	const struct ffpf_kernel_flow *flow = &kernel->flows[slot];
	uint32_t lane_bank = atomic_load(&kernel->groups[flow->group].bank) & 1;
	int rc;

	*q = (struct ffpf_kernel_request){
		.op = FFPF_KERNEL_OP_IBUF_READ,
		.at = ffpf_kernel_ibuf_at(kernel, slot, bank, cpu),
		.slot = slot,
		.cpu = cpu,
		.lane_at = FFPF_KERNEL_LANE_AT(lane_bank, flow->group, kernel->cpus, cpu),
		.before_at = ffpf_kernel_ibuf_at(kernel, slot, bank ^ 1, cpu),
	};
	if (ffpf_kernel_is_left(kernel, slot))
		q->lane_at = FFPF_KERNEL_NOWHERE;
	if (atomic_load(&flow->lane_changed))
		q->before_at = FFPF_KERNEL_NOWHERE;
	rc = ffpf_kernel_ask(kernel, q, err);
	if (!rc && !q->done)
		return ffpf_error_set(err, FFPF_E_INVALID, "flow %u has no IBuf for CPU %u", slot, cpu);
	return rc;
}

int
ffpf_kernel_ibuf_status(struct ffpf_kernel *kernel, uint32_t slot, uint32_t cpu, struct ffpf_kernel_ibuf_status *out,
			struct ffpf_error *err)
{
	struct ffpf_kernel_request q;
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (!rc && cpu >= kernel->cpus)
		rc = ffpf_error_set(err, FFPF_E_INVALID, "CPU %u is not below %u", cpu, kernel->cpus);
	rc = rc ? rc : ffpf_kernel_read_ibuf(kernel, slot, ffpf_kernel_bank_of(kernel, slot), cpu, &q, err);
	if (rc)
		return rc;
	*out = (struct ffpf_kernel_ibuf_status){
		.state = q.state,
		.slots = 1u << (q.slots_log2 & 31),
		.first_pos = q.first_pos,
		.w = q.w,
		.r = q.r,
		.behind = q.behind,
		.generation = q.generation,
		.generation_pos = q.generation_pos,
		.packets = q.packets - q.packets_before,
		.nested = q.nested - q.nested_before,
	};
	memcpy(out->dropped, q.dropped, sizeof(out->dropped));
	return 0;
}

int
ffpf_kernel_flow_counters(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_counters *out, struct ffpf_error *err)
{
	struct ffpf_counters sum = { 0 };
	const struct ffpf_kernel_past *past;
	uint64_t taken;
	int rc = ffpf_kernel_check_flow(kernel, slot, false, err);

	if (rc)
		return rc;
	past = &kernel->flows[slot].past[ffpf_kernel_bank_of(kernel, slot)];
	sum.delivered = past->records;
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
		sum.dropped[cause] = past->dropped[cause];
	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++) {
		struct ffpf_kernel_ibuf_status one;

		rc = ffpf_kernel_ibuf_status(kernel, slot, cpu, &one, err);
		if (rc)
			return rc;
		sum.seen += one.packets + one.nested;
		sum.delivered += one.w - one.first_pos;
		for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
			sum.dropped[cause] += one.dropped[cause];
		sum.dropped[FFPF_DROP_NESTED] += one.nested;
	}
	/* a packet that was being handled when the flow was activated may be its first: not seen, but taken */
	taken = sum.delivered + ffpf_counters_dropped(&sum);
	if (sum.seen < taken)
		sum.seen = taken;
	sum.filtered = sum.seen - taken;
	*out = sum;
	return 0;
}

int
ffpf_kernel_flow_positions(struct ffpf_kernel *kernel, uint32_t slot, uint32_t generation, uint64_t *positions,
			   struct ffpf_error *err)
{
	for (uint32_t cpu = 0; cpu < kernel->cpus; cpu++) {
		struct ffpf_kernel_ibuf_status one;
		int rc = ffpf_kernel_ibuf_status(kernel, slot, cpu, &one, err);

		if (rc)
			return rc;
		/* none yet: the next one will be the first */
		positions[cpu] = one.generation == generation ? one.generation_pos : one.w;
	}
	return 0;
}
