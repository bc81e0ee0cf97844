/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_KERNEL_INTERNAL_H
#define FFPF_KERNEL_KERNEL_INTERNAL_H
/* What load.c (making a source), kernel.c (handle, small calls), maps.c (memories), group.c and flow.c share. */
#include "kernel/kernel.h"

#include <linux/../bpf/bpf.h> /* libbpf's: bpf/ is a room of ours */
#include <stdatomic.h>
#include <stddef.h>

struct ffpf_kernel {
	struct ffpf_kernel_fds fds;
	struct ffpf_kernel_control *control; /* mapped: these four are written with plain atomic stores */
	struct ffpf_kernel_column *columns;
	struct ffpf_kernel_flow *flows;
	struct ffpf_kernel_group *groups;
	const struct ffpf_counts_page *counts; /* mapped read-only */
	uint32_t cpus;
	struct ffpf_error refusal; /* of a better form of the hook, when the source was made; code 0: none */
	int (*on_step)(void *context, const char *step); /* NULL, but for tests */
	void *on_step_context;
};

/* load.c: every descriptor of *fds but the socket and the links; -1 those that could not be made. Neither refusal nor
 * err is NULL. */
int ffpf_kernel_load(struct ffpf_kernel_fds *fds, struct ffpf_kernel_source *source, uint32_t lo_ifindex,
		     struct ffpf_error *refusal, struct ffpf_error *err);
void ffpf_kernel_fds_close(struct ffpf_kernel_fds *fds);

/* netfilter.c. The links are put into *fds. */
int ffpf_kernel_attach_netfilter(struct ffpf_kernel_fds *fds, const struct ffpf_kernel_source *source,
				 struct ffpf_error *err);
int ffpf_kernel_check_netfilter(struct ffpf_kernel_source *source, struct ffpf_error *err);

/* maps.c. Each returns a descriptor or -code. */
int ffpf_kernel_make_lane(const struct ffpf_kernel *kernel, uint32_t bms, struct ffpf_error *err);
/* template: its fields of the control plane. */
int ffpf_kernel_make_ibuf(const struct ffpf_ibuf_page *template, struct ffpf_error *err);
int ffpf_kernel_make_reader(struct ffpf_error *err);
int ffpf_kernel_make_wake(struct ffpf_error *err);
int ffpf_kernel_put(int map, uint32_t at, const void *value, struct ffpf_error *err);
void ffpf_kernel_close_all(int *fds, uint32_t count);
/* Value size of lane maps of so many cells. */
uint64_t ffpf_kernel_lane_bytes(uint32_t cells_log2);

/* places.c: each map is put where it says, or, fd -1, what is there is taken out: what is not there is no error. Waits
 * for a grace period, or a few. */
struct ffpf_kernel_place {
	int outer;
	uint32_t at;
	int fd;
};
#define FFPF_KERNEL_PLACES_MAX (2 * FFPF_FLOW_LANES_MAX + 2) /* of a flow */
int ffpf_kernel_place(const struct ffpf_kernel_place *places, uint32_t count, struct ffpf_error *err);

/* kernel.c: asks control.bpf.c. q->done is 0 when the thing is not there. */
int ffpf_kernel_ask(const struct ffpf_kernel *kernel, struct ffpf_kernel_request *q, struct ffpf_error *err);

/* flow.c */
#define FFPF_KERNEL_BOTH_COLUMNS(slot) (3ull << (2 * (slot) % 64))
#define FFPF_KERNEL_WORD_OF(slot)      (2 * (slot) / 64)
static inline uint32_t
ffpf_kernel_bank_of(const struct ffpf_kernel *kernel, uint32_t slot)
{
	const struct ffpf_kernel_flow *flow = &kernel->flows[slot];
	uint32_t left = atomic_load_explicit(&flow->left, memory_order_relaxed);

	/* relaxed: our own stores */
	if (left)
		return (left - 1) & 1;
	return (atomic_load_explicit(&flow->bank, memory_order_relaxed) ^
		atomic_load_explicit(&kernel->groups[flow->group].bank, memory_order_relaxed)) &
	       1;
}

/* From now on the flow keeps its bank, whatever becomes of its group's. */
void ffpf_kernel_flow_keep_bank(struct ffpf_kernel *kernel, uint32_t slot);
/* Its columns are of the group's again. */
void ffpf_kernel_flow_join(struct ffpf_kernel *kernel, uint32_t slot);
int ffpf_kernel_check_flow(const struct ffpf_kernel *kernel, uint32_t slot, bool idle, struct ffpf_error *err);
uint32_t ffpf_kernel_ibuf_at(const struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t cpu);
/* Fresh IBufs in the bank that is not in use, that go on where the flow's are now. */
int ffpf_kernel_flow_prepare(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
			     struct ffpf_error *err);
int ffpf_kernel_flow_mark(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t state,
			  struct ffpf_error *err);
/* After the move, and a grace period: what the IBufs before counted becomes past. They stay where they are. May be done
 * again; what was forgotten was settled. */
void ffpf_kernel_flow_settle(struct ffpf_kernel *kernel, uint32_t slot);
/* The IBufs before the last move are not of lanes in use any more: what they hold need not be kept. */
void ffpf_kernel_flow_forget(struct ffpf_kernel *kernel, uint32_t slot);
/* count.c */
bool ffpf_kernel_is_left(const struct ffpf_kernel *kernel, uint32_t slot);
int ffpf_kernel_read_ibuf(struct ffpf_kernel *kernel, uint32_t slot, uint32_t bank, uint32_t cpu,
			  struct ffpf_kernel_request *q, struct ffpf_error *err);
/* change.c: tells a test that a change of many steps has come so far. Not 0: it ends here, as if the process did. */
int ffpf_kernel_step(struct ffpf_kernel *kernel, const char *step);
/* group.c: after a change of the group's flows. */
void ffpf_kernel_group_changed(struct ffpf_kernel *kernel, uint32_t group);

#endif
