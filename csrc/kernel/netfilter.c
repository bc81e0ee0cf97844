/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A source at one of netfilter's places: a BPF link for each family. The packets are those of the caller's network
 * namespace, and come while somebody holds the links.
 *
 * Where several programs stand at a place the order is that of their priorities. What comes in is seen as it came,
 * before all others; at the other places packets are seen as all others have let them through.
 */
#include "kernel/kernel_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The outermost priority is refused (defragmentation and connection tracking rely on theirs), and of two BPF programs
 * of one priority the second: another one is tried then. */
#define PRIORITY_FIRST   (INT_MIN + 1)
#define PRIORITY_LAST    (INT_MAX - 1)
#define PRIORITIES_TRIED 64

#define ATTACH_TYPE_NETFILTER 45

/* union bpf_attr for BPF_LINK_CREATE: include/uapi/linux/bpf.h, Linux 6.4. */
struct link_attr {
	uint32_t prog_fd, target_fd, attach_type, flags;
	struct {
		uint32_t pf, hooknum;
		int32_t priority;
		uint32_t flags;
	} netfilter;
	uint64_t rest[4];
};

static int
make_link(int prog, uint32_t pf, uint32_t place)
{
	const bool early = place == NF_INET_PRE_ROUTING;
	struct link_attr attr = {
		.prog_fd = (uint32_t)prog,
		.attach_type = ATTACH_TYPE_NETFILTER,
		.netfilter = { .pf = pf, .hooknum = place },
	};
	int fd = -1;

	for (int i = 0; i < PRIORITIES_TRIED; i++) {
		attr.netfilter.priority = early ? PRIORITY_FIRST + i : PRIORITY_LAST - i;
		fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
		if (fd >= 0 || errno != EBUSY)
			break;
	}
	return fd;
}

int
ffpf_kernel_attach_netfilter(struct ffpf_kernel_fds *fds, const struct ffpf_kernel_source *source,
			     struct ffpf_error *err)
{
	static const struct {
		uint32_t family, pf;
		enum ffpf_kernel_fd which;
		const char *name;
	} rows[] = {
		{ FFPF_KERNEL_IPV4, NFPROTO_IPV4, FFPF_KERNEL_FD_LINK_IP, "IPv4" },
		{ FFPF_KERNEL_IPV6, NFPROTO_IPV6, FFPF_KERNEL_FD_LINK_IP6, "IPv6" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd;

		if (!(source->families & rows[i].family))
			continue;
		fd = make_link(fds->fd[FFPF_KERNEL_FD_PROG_MAIN], rows[i].pf, source->place);
		if (fd < 0)
			return ffpf_error_set_errno(err, errno == EPERM ? FFPF_E_PERMISSION : FFPF_E_SYSTEM, errno,
						    "can't attach the hook to netfilter for %s", rows[i].name);
		fds->fd[rows[i].which] = fd;
	}
	return 0;
}

int
ffpf_kernel_check_netfilter(struct ffpf_kernel_source *source, struct ffpf_error *err)
{
	if (source->place >= NF_INET_NUMHOOKS)
		return ffpf_error_set(err, FFPF_E_INVALID, "netfilter has no place %u", source->place);
	if (!source->families || (source->families & ~(FFPF_KERNEL_IPV4 | FFPF_KERNEL_IPV6)))
		return ffpf_error_set(err, FFPF_E_INVALID, "families %u are not of IPv4 and IPv6", source->families);
	if (source->ifindex || source->cooked || source->promisc || source->first_form)
		return ffpf_error_set(err, FFPF_E_INVALID, "a netfilter source is of no interface");
	if (source->cpus % FFPF_KERNEL_CONTEXTS)
		return ffpf_error_set(err, FFPF_E_INVALID, "%u lanes are not %u for each CPU", source->cpus,
				      FFPF_KERNEL_CONTEXTS);
	return 0;
}
