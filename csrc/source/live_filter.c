/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the filter runs. The kernel runs it when it can: what fails it is never copied. Packets that the ring holds
 * already, or that another CPU is just storing, were judged by the filter before; they are judged again here, so that
 * no packet that fails the new filter is delivered and none that passes both is lost.
 *
 *     attach (replaces the old filter in one step)
 *       |  REFILTER_ALL: for SETTLE_S, longer than a CPU can be inside the old filter and the copy behind it
 *       |  REFILTER_COUNTED: the units that are ours at that time, and the one that the kernel is filling
 *       v  REFILTER_NONE
 */
#include "source/cooked.h"
#include "source/live_internal.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SETTLE_S 1

static int
attach(int fd, const struct ffpf_bpf_insn *insns, uint32_t count)
{
	struct sock_fprog program = { .len = (unsigned short)count, .filter = (struct sock_filter *)(uintptr_t)insns };

	_Static_assert(sizeof(struct ffpf_bpf_insn) == sizeof(struct sock_filter), "one layout for instructions");
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0 : errno;
}

/* Without a filter the kernel copies whole packets, of which the reader may want fewer octets; but a tag is put back,
 * and counted, only where the octets before it were captured. What wants all is spared the call of a filter. */
int
live_attach_accept(struct live *l, struct ffpf_error *err)
{
	uint32_t cut = l->reader.info.snap_len < COOKED_MAX_BYTES ? COOKED_MAX_BYTES : l->reader.info.snap_len;
	struct ffpf_bpf_insn accept = { .code = BPF_RET | BPF_K, .k = cut };
	int error, unused = 0;

	if (cut < LIVE_MAX_SNAP_LEN)
		error = attach(l->fd, &accept, 1);
	else
		error = setsockopt(l->fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) ? errno : 0;
	if (error && error != ENOENT) /* there was none */
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "can't remove kernel filter");
	return 0;
}

/* A copy of prog for the kernel, or NULL when it has to run here; *memory_short when only memory was missing. */
static struct ffpf_bpf_insn *
kernel_copy(const struct live *l, const struct ffpf_bpf_prog *prog, bool *memory_short)
{
	struct ffpf_bpf_insn *copy;

	*memory_short = false;
	if (prog->insn_count > UINT16_MAX)
		return NULL;
	copy = malloc(prog->insn_count * sizeof(*copy));
	if (!copy) {
		*memory_short = true;
		return NULL;
	}
	memcpy(copy, prog->insns, prog->insn_count * sizeof(*copy));
	for (uint32_t i = 0; l->cooked && i < prog->insn_count; i++) {
		uint16_t class = BPF_CLASS(copy[i].code);
		uint16_t mode = BPF_MODE(copy[i].code);
		bool from_packet =
		    (class == BPF_LD || class == BPF_LDX) && (mode == BPF_ABS || mode == BPF_IND || mode == BPF_MSH);

		if (from_packet && !ffpf_cooked_fix_load(&copy[i], l->reader.info.link_type)) {
			free(copy);
			return NULL;
		}
	}
	return copy;
}

/* What the program returns for packets that it lets pass, when that is always the same; 0 when it is not. */
static uint32_t
constant_result(const struct ffpf_bpf_prog *prog)
{
	uint32_t result = 0;

	for (uint32_t i = 0; i < prog->insn_count; i++) {
		const struct ffpf_bpf_insn *insn = &prog->insns[i];

		if (BPF_CLASS(insn->code) != BPF_RET)
			continue;
		if (BPF_RVAL(insn->code) != BPF_K)
			return 0;
		if (insn->k == 0 || insn->k == result)
			continue;
		if (result)
			return 0;
		result = insn->k;
	}
	return result;
}

static void
warn(struct live *l, const struct ffpf_bpf_prog *prog, int error)
{
	l->filter_warning = NULL;
	if (prog->insn_count > UINT16_MAX) {
		l->filter_warning = "Warning: Filter too complex for kernel";
	} else if (error == ENOMEM) {
		l->filter_warning = "Warning: Couldn't allocate kernel memory for filter: try increasing "
				    "net.core.optmem_max with sysctl";
	} else if (error && error != ENOPROTOOPT && error != EOPNOTSUPP) {
		snprintf(l->filter_warning_text, sizeof(l->filter_warning_text), "Warning: Kernel filter failed: %s",
			 strerror(error));
		l->filter_warning = l->filter_warning_text;
	}
}

/* Attaches prog when the kernel can run it; else the filter that lets everything pass. */
static int
place(struct live *l, const struct ffpf_bpf_prog *prog, bool *in_kernel, struct ffpf_error *err)
{
	bool memory_short;
	struct ffpf_bpf_insn *copy = kernel_copy(l, prog, &memory_short);
	int error = 0;

	*in_kernel = false;
	if (memory_short)
		return ffpf_error_set_errno(err, FFPF_E_NO_MEMORY, ENOMEM, "malloc");
	if (copy) {
		error = attach(l->fd, copy, prog->insn_count);
		*in_kernel = !error;
		free(copy);
	}
	warn(l, prog, error);
	return *in_kernel ? 0 : live_attach_accept(l, err);
}

/* What tcpdump sets without an expression: it is no filter, wherever a packet comes from. */
static bool
accepts_all(const struct live *l, const struct ffpf_bpf_prog *prog)
{
	return prog->insns[0].code == (BPF_RET | BPF_K) && prog->insns[0].k >= l->reader.info.snap_len;
}

/* prog NULL: every packet passes, with this result. */
static void
take_over(struct live *l, const struct ffpf_bpf_prog *prog, bool in_kernel, uint32_t result)
{
	l->prog = prog;
	l->kernel_filters = in_kernel;
	l->known_result = result;
	l->refilter = prog ? REFILTER_ALL : REFILTER_NONE;
	if (in_kernel) {
		clock_gettime(CLOCK_MONOTONIC, &l->refilter_until);
		l->refilter_until.tv_sec += SETTLE_S;
		l->reader.info.filter_kind = FFPF_FILTER_KERNEL;
	} else if (prog) {
		l->reader.info.filter_kind = prog->native ? FFPF_FILTER_JIT : FFPF_FILTER_INTERPRETER;
	} else {
		l->reader.info.filter_kind = FFPF_FILTER_NONE;
	}
}

int
live_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct live *l = (struct live *)r;
	bool all = !prog || accepts_all(l, prog), in_kernel = false;
	int rc;

	l->filter_warning = NULL;
	rc = all ? live_attach_accept(l, &r->err) : place(l, prog, &in_kernel, &r->err);
	if (rc)
		return rc;
	live_rewind(l);
	if (all)
		take_over(l, NULL, false, prog ? prog->insns[0].k : UINT32_MAX);
	else
		take_over(l, prog, in_kernel, in_kernel ? constant_result(prog) : 0);
	return 0;
}

void
live_filter_settle(struct live *l)
{
	struct timespec now;
	uint32_t unit = l->at.unit, units = 0;

	if (!l->kernel_filters || l->refilter != REFILTER_ALL)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < l->refilter_until.tv_sec ||
	    (now.tv_sec == l->refilter_until.tv_sec && now.tv_nsec < l->refilter_until.tv_nsec))
		return;
	while (units < l->ring.unit_count && ffpf_tpacket_is_ours(&l->ring, unit)) {
		unit = ffpf_tpacket_next(&l->ring, unit);
		units++;
	}
	/* 1: the unit that the kernel is filling */
	l->refilter_units = units + 1;
	l->refilter = REFILTER_COUNTED;
}
