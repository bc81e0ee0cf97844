/* SPDX-License-Identifier: BSD-3-Clause */
/* A source's handle: made or adopted; and the calls that are one store or one question. */
#include "kernel/kernel_internal.h"

#include "bms/bms.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

#define CELLS_LOG2_MIN 12 /* one largest record */
#define CELLS_LOG2_MAX 24 /* 1 GiB: a map's value is less than 2 */

_Static_assert((int)FFPF_KERNEL_SRP == (int)FFPF_BMS_SRP && (int)FFPF_KERNEL_FRP == (int)FFPF_BMS_FRP, "one BMS");
_Static_assert((int)FFPF_KERNEL_DROP_PBUF == (int)FFPF_DROP_PBUF && (int)FFPF_KERNEL_DROP_IBUF == (int)FFPF_DROP_IBUF &&
		   (int)FFPF_KERNEL_DROP_OVERSIZE == (int)FFPF_DROP_OVERSIZE &&
		   (int)FFPF_KERNEL_DROP_INVALID == (int)FFPF_DROP_INVALID &&
		   (int)FFPF_KERNEL_DROP_EVICTED == (int)FFPF_DROP_EVICTED &&
		   (int)FFPF_KERNEL_DROP_LEFT == (int)FFPF_DROP_LEFT,
	       "one list of causes");

static const char *const fd_names[FFPF_KERNEL_FD_COUNT] = {
	[FFPF_KERNEL_FD_SOCKET] = "socket",         [FFPF_KERNEL_FD_PROG_MAIN] = "prog_main",
	[FFPF_KERNEL_FD_PROG_STORE] = "prog_store", [FFPF_KERNEL_FD_PROG_CONTROL] = "prog_control",
	[FFPF_KERNEL_FD_PROGS] = "progs",           [FFPF_KERNEL_FD_CONTROL] = "control",
	[FFPF_KERNEL_FD_SCRATCH] = "scratch",       [FFPF_KERNEL_FD_COLUMNS] = "columns",
	[FFPF_KERNEL_FD_FLOWS] = "flows",           [FFPF_KERNEL_FD_GROUPS] = "groups",
	[FFPF_KERNEL_FD_LANES] = "lanes",           [FFPF_KERNEL_FD_IBUFS] = "ibufs",
	[FFPF_KERNEL_FD_READERS] = "readers",       [FFPF_KERNEL_FD_WAKES] = "wakes",
	[FFPF_KERNEL_FD_LANE_STATE] = "lane_state", [FFPF_KERNEL_FD_FLOW_STATE] = "flow_state",
	[FFPF_KERNEL_FD_COUNTS] = "counts",         [FFPF_KERNEL_FD_GRACE] = "grace",
	[FFPF_KERNEL_FD_LINK_IP] = "link_ip",       [FFPF_KERNEL_FD_LINK_IP6] = "link_ip6",
};

const char *
ffpf_kernel_fd_name(enum ffpf_kernel_fd which)
{
	return (unsigned)which < FFPF_KERNEL_FD_COUNT ? fd_names[which] : NULL;
}

/* ---- the socket ---- */

static int
socket_error(const struct ffpf_kernel_source *source, int error, const char *what, struct ffpf_error *err)
{
	enum ffpf_code code = FFPF_E_SYSTEM;

	if (error == EPERM || error == EACCES)
		code = FFPF_E_PERMISSION;
	else if (error == ENODEV || error == ENXIO)
		code = FFPF_E_NO_SUCH_DEVICE;
	else if (error == ENETDOWN)
		code = FFPF_E_DEVICE_DOWN;
	return ffpf_error_set_errno(err, code, error, "interface %u: %s", source->ifindex, what);
}

static int
ask_interface(int fd, unsigned long request, struct ifreq *ifr)
{
	return ioctl(fd, request, ifr) == -1 ? -errno : 0;
}

/* ARPHRD_* of the source's interface, and the number of the loopback one. */
static int
describe_interface(int fd, struct ffpf_kernel_source *source, uint32_t *lo_ifindex, struct ffpf_error *err)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int rc;

	*lo_ifindex = ask_interface(fd, SIOCGIFINDEX, &ifr) == 0 ? (uint32_t)ifr.ifr_ifindex : 0;
	source->hatype = 0;
	if (!source->ifindex)
		return 0;
	ifr = (struct ifreq){ .ifr_ifindex = (int)source->ifindex };
	rc = ask_interface(fd, SIOCGIFNAME, &ifr);
	rc = rc ? rc : ask_interface(fd, SIOCGIFHWADDR, &ifr);
	if (rc)
		return socket_error(source, -rc, "can't ask for its type", err);
	source->hatype = ifr.ifr_hwaddr.sa_family;
	return 0;
}

/* The programs come first: no packet is queued. */
static int
attach_and_bind(int fd, int prog, const struct ffpf_kernel_source *source, struct ffpf_error *err)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)source->ifindex,
	};
	const struct packet_mreq promisc = { .mr_ifindex = (int)source->ifindex, .mr_type = PACKET_MR_PROMISC };
	const int on = 1;
	int error = 0;
	socklen_t len = sizeof(error);

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog)) == -1)
		return socket_error(source, errno, "can't attach the hook", err);
	if (setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) == -1)
		return socket_error(source, errno, "SO_LOCK_FILTER", err);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1)
		return socket_error(source, errno, "bind", err);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		return socket_error(source, error, "bind", err);
	if (source->promisc && source->ifindex &&
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) == -1)
		return socket_error(source, errno, "can't make it promiscuous", err);
	return 0;
}

/* ---- the handle ---- */

static void *
map_array(int fd, size_t bytes, int protection)
{
	void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void
unmap(const void *at, size_t bytes)
{
	if (at)
		munmap((void *)(uintptr_t)at, bytes);
}

/* Of an array map: entries lie 8 octets apart or a multiple, as all of ours do. */
#define ARRAY_BYTES(object, count)                                                                                     \
	((sizeof(object) * (count) + FFPF_PAGE_BYTES - 1) / FFPF_PAGE_BYTES * FFPF_PAGE_BYTES)

static void
unmap_all(struct ffpf_kernel *k)
{
	unmap(k->control, ARRAY_BYTES(*k->control, 1));
	unmap(k->columns, ARRAY_BYTES(*k->columns, FFPF_KERNEL_COLUMNS));
	unmap(k->flows, ARRAY_BYTES(*k->flows, FFPF_KERNEL_FLOWS_MAX));
	unmap(k->groups, ARRAY_BYTES(*k->groups, FFPF_KERNEL_GROUPS_MAX));
	unmap(k->counts, sizeof(*k->counts));
}

static int
map_all(struct ffpf_kernel *k, struct ffpf_error *err)
{
	const int *fd = k->fds.fd;
	const int rw = PROT_READ | PROT_WRITE;

	k->control = map_array(fd[FFPF_KERNEL_FD_CONTROL], ARRAY_BYTES(*k->control, 1), rw);
	k->columns = map_array(fd[FFPF_KERNEL_FD_COLUMNS], ARRAY_BYTES(*k->columns, FFPF_KERNEL_COLUMNS), rw);
	k->flows = map_array(fd[FFPF_KERNEL_FD_FLOWS], ARRAY_BYTES(*k->flows, FFPF_KERNEL_FLOWS_MAX), rw);
	k->groups = map_array(fd[FFPF_KERNEL_FD_GROUPS], ARRAY_BYTES(*k->groups, FFPF_KERNEL_GROUPS_MAX), rw);
	k->counts = map_array(fd[FFPF_KERNEL_FD_COUNTS], sizeof(*k->counts), PROT_READ);
	if (k->control && k->columns && k->flows && k->groups && k->counts)
		return 0;
	return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map what a source keeps");
}

/* A source may have been made by another version of this code. */
static int
check_layout(const struct ffpf_kernel_fds *fds, struct ffpf_error *err)
{
	static const struct {
		enum ffpf_kernel_fd which;
		uint32_t bytes;
	} wanted[] = {
		{ FFPF_KERNEL_FD_CONTROL, sizeof(struct ffpf_kernel_control) },
		{ FFPF_KERNEL_FD_SCRATCH, sizeof(struct ffpf_scratch) },
		{ FFPF_KERNEL_FD_COLUMNS, sizeof(struct ffpf_kernel_column) },
		{ FFPF_KERNEL_FD_FLOWS, sizeof(struct ffpf_kernel_flow) },
		{ FFPF_KERNEL_FD_GROUPS, sizeof(struct ffpf_kernel_group) },
		{ FFPF_KERNEL_FD_LANE_STATE, sizeof(struct ffpf_kernel_lane_state) },
		{ FFPF_KERNEL_FD_FLOW_STATE, sizeof(struct ffpf_kernel_flow_state) },
		{ FFPF_KERNEL_FD_COUNTS, sizeof(struct ffpf_counts_page) },
	};

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);

		if (bpf_obj_get_info_by_fd(fds->fd[wanted[i].which], &info, &len))
			return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't ask what a map is");
		if (info.value_size != wanted[i].bytes)
			return ffpf_error_set(err, FFPF_E_INVALID,
					      "it was made by a version that keeps its \"%s\" otherwise",
					      fd_names[wanted[i].which]);
	}
	return 0;
}

int
ffpf_kernel_adopt(struct ffpf_kernel **out, const struct ffpf_kernel_fds *fds, struct ffpf_error *err)
{
	struct ffpf_kernel *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a source");
	k->fds = *fds;
	rc = check_layout(fds, err);
	rc = rc ? rc : map_all(k, err);
	if (rc) {
		unmap_all(k);
		free(k);
		return rc;
	}
	k->cpus = k->control->source.cpus;
	*out = k;
	return 0;
}

/* The first page of counts, before anybody sees it. */
static int
write_counts(int fd, uint32_t cpus, struct ffpf_error *err)
{
	struct ffpf_counts_page *page = map_array(fd, sizeof(*page), PROT_READ | PROT_WRITE);

	if (!page)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map the counts");
	page->head = (struct ffpf_head){ FFPF_LAYOUT_MAGIC, FFPF_LAYOUT_VERSION, FFPF_KIND_COUNTS,
					 sizeof(struct ffpf_counts_page) };
	page->lane_count = cpus;
	munmap(page, sizeof(*page));
	if (bpf_map_freeze(fd))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't freeze the counts");
	return 0;
}

static int
check_source(struct ffpf_kernel_source *source, struct ffpf_error *err)
{
	const bool netfilter = source->kind == FFPF_KERNEL_NETFILTER;
	long possible = sysconf(_SC_NPROCESSORS_CONF) * (netfilter ? FFPF_KERNEL_CONTEXTS : 1);

	if (!netfilter && source->kind != FFPF_KERNEL_SOCKET)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no kind %u of sources", source->kind);
	if (source->cpus == 0)
		source->cpus =
		    possible > 0 && possible < FFPF_FLOW_LANES_MAX ? (uint32_t)possible : FFPF_FLOW_LANES_MAX;
	if (source->cpus > FFPF_FLOW_LANES_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a source has at most %u lanes, not %u", FFPF_FLOW_LANES_MAX,
				      source->cpus);
	if (source->cells_log2 < CELLS_LOG2_MIN || source->cells_log2 > CELLS_LOG2_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "a lane in the kernel has 2^%u to 2^%u cells, not 2^%u",
				      CELLS_LOG2_MIN, CELLS_LOG2_MAX, source->cells_log2);
	if (source->first_form > FFPF_KERNEL_FORM_PLAIN)
		return ffpf_error_set(err, FFPF_E_INVALID, "the hook has no form %u", source->first_form);
	if (source->snap_len == 0 || source->snap_len > FFPF_PACKET_MAX_BYTES)
		source->snap_len = FFPF_PACKET_MAX_BYTES;
	return netfilter ? ffpf_kernel_check_netfilter(source, err) : 0;
}

static int
attach(struct ffpf_kernel *k, const struct ffpf_kernel_source *source, struct ffpf_error *err)
{
	if (source->kind == FFPF_KERNEL_NETFILTER)
		return ffpf_kernel_attach_netfilter(&k->fds, source, err);
	return attach_and_bind(k->fds.fd[FFPF_KERNEL_FD_SOCKET], k->fds.fd[FFPF_KERNEL_FD_PROG_MAIN], source, err);
}

static int
start(struct ffpf_kernel_fds *fds, struct ffpf_kernel **out, struct ffpf_kernel_source *source, struct ffpf_error *err)
{
	struct ffpf_error refusal = { 0 };
	uint32_t lo_ifindex = 0;
	int rc = 0;

	if (source->kind == FFPF_KERNEL_SOCKET)
		rc = describe_interface(fds->fd[FFPF_KERNEL_FD_SOCKET], source, &lo_ifindex, err);
	rc = rc ? rc : ffpf_kernel_load(fds, source, lo_ifindex, &refusal, err);
	rc = rc ? rc : write_counts(fds->fd[FFPF_KERNEL_FD_COUNTS], source->cpus, err);
	rc = rc ? rc : ffpf_kernel_adopt(out, fds, err);
	if (rc)
		return rc;
	(*out)->control->source = *source;
	(*out)->cpus = source->cpus;
	(*out)->refusal = refusal;
	atomic_store(&(*out)->control->words, 1);
	rc = ffpf_kernel_update_tai(*out, err);
	return rc ? rc : attach(*out, source, err);
}

int
ffpf_kernel_create(struct ffpf_kernel **out, const struct ffpf_kernel_source *wanted, struct ffpf_error *err)
{
	struct ffpf_kernel_source source = *wanted;
	struct ffpf_kernel *made = NULL;
	struct ffpf_kernel_fds fds;
	struct ffpf_error story = { 0 };
	int rc = check_source(&source, err);

	if (rc)
		return rc;
	err = err ? err : &story;
	for (unsigned i = 0; i < FFPF_KERNEL_FD_COUNT; i++)
		fds.fd[i] = -1;
	if (source.kind == FFPF_KERNEL_SOCKET) {
		const int type = source.cooked ? SOCK_DGRAM : SOCK_RAW;

		fds.fd[FFPF_KERNEL_FD_SOCKET] = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);
		if (fds.fd[FFPF_KERNEL_FD_SOCKET] == -1)
			return socket_error(&source, errno, "can't open a packet socket", err);
	}
	rc = start(&fds, &made, &source, err);
	if (!rc) {
		*out = made;
		return 0;
	}
	if (made)
		ffpf_kernel_close(made);
	else
		ffpf_kernel_fds_close(&fds);
	return rc;
}

void
ffpf_kernel_close(struct ffpf_kernel *kernel)
{
	if (!kernel)
		return;
	unmap_all(kernel);
	ffpf_kernel_fds_close(&kernel->fds);
	free(kernel);
}

const struct ffpf_kernel_fds *
ffpf_kernel_fds(const struct ffpf_kernel *kernel)
{
	return &kernel->fds;
}

const struct ffpf_kernel_source *
ffpf_kernel_source(const struct ffpf_kernel *kernel)
{
	return &kernel->control->source;
}

const char *
ffpf_kernel_refusal(const struct ffpf_kernel *kernel)
{
	return kernel->refusal.code ? kernel->refusal.text : "";
}
