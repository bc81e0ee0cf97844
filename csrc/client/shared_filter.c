/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a filter runs. The daemon is sent it in the form that a packet socket would be given (SO_ATTACH_FILTER), and
 * says who runs it. Of raw packets the lanes' reader judges what the hooks have not judged by it; of cooked ones all
 * that the hooks let through are judged here, as the program sees them.
 */
#include "client/shared_internal.h"
#include "source/cooked.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

/* What tcpdump sets without an expression: it is no filter, wherever a packet comes from. */
static bool
accepts_all(const struct shared *s, const struct ffpf_bpf_prog *prog)
{
	return prog->insns[0].code == (BPF_RET | BPF_K) && prog->insns[0].k >= s->reader.info.snap_len;
}

/* A cooked packet begins with its network header in the kernel. False: a load that has no counterpart there. */
static bool
fix_loads(struct ffpf_bpf_insn *insns, uint32_t count, int link_type)
{
	for (uint32_t i = 0; i < count; i++) {
		uint16_t class = BPF_CLASS(insns[i].code), mode = BPF_MODE(insns[i].code);
		bool from_packet =
		    (class == BPF_LD || class == BPF_LDX) && (mode == BPF_ABS || mode == BPF_IND || mode == BPF_MSH);

		if (from_packet && !ffpf_cooked_fix_load(&insns[i], link_type))
			return false;
	}
	return true;
}

/* A copy of prog for the kernel, or NULL when it has to run here. */
static struct ffpf_bpf_insn *
kernel_copy(const struct shared *s, const struct ffpf_bpf_prog *prog)
{
	size_t bytes = prog->insn_count * sizeof(*prog->insns);
	struct ffpf_bpf_insn *copy;

	if (prog->insn_count > FFPF_BPF_KERNEL_MAX_INSNS)
		return NULL;
	copy = malloc(bytes);
	if (!copy)
		return NULL;
	memcpy(copy, prog->insns, bytes);
	if ((s->cooked && !fix_loads(copy, prog->insn_count, s->reader.info.link_type)) ||
	    ffpf_bpf_validate(copy, prog->insn_count, FFPF_BPF_RULES_KERNEL, NULL) < 0) {
		free(copy);
		return NULL;
	}
	return copy;
}

/* struct ffpf_lanes_remote_ops.set_filter, called by shared_set_filter through the lanes' reader. */
int
shared_place(void *remote, const struct ffpf_bpf_prog *prog, uint64_t *generation, struct ffpf_error *err)
{
	struct shared *s = remote;
	const struct ffpf_bpf_prog *wanted = s->cooked ? s->prog : prog;
	struct ffpf_bpf_insn *copy = wanted ? kernel_copy(s, wanted) : NULL;
	struct ffpf_placed placed;
	int rc = ffpf_client_filter(s->client, &placed, copy, copy ? wanted->insn_count : 0, err);

	if (rc == 0) {
		s->hooks_open = !copy || placed.level == FFPF_LEVEL_USERSPACE;
		s->generation = s->hooks_open ? 0 : placed.generation;
	} else if (s->hooks_open) {
		/* All packets come, so they can be judged here. An answer that comes too late puts this filter in
		 * force; what it turns away would be turned away here too, until there is another one. */
		s->hooks_open = rc != -FFPF_E_GENERIC || !copy;
		s->generation = 0;
		rc = 0;
	}
	free(copy);
	if (rc == 0)
		*generation = s->generation;
	return rc;
}

int
shared_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct shared *s = (struct shared *)r;
	const struct ffpf_bpf_prog *before = s->prog;
	int rc;

	s->prog = prog && !accepts_all(s, prog) ? prog : NULL;
	rc = s->lanes->ops->set_filter(s->lanes, s->cooked ? NULL : s->prog);
	if (rc) {
		s->prog = before;
		return shared_failed(s, rc);
	}
	shared_cooked_forget(s);
	if (!s->prog)
		r->info.filter_kind = FFPF_FILTER_NONE;
	else if (s->generation)
		r->info.filter_kind = FFPF_FILTER_KERNEL;
	else
		r->info.filter_kind = s->prog->native ? FFPF_FILTER_JIT : FFPF_FILTER_INTERPRETER;
	return 0;
}
