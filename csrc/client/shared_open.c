/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/shared_internal.h"
#include "source/cooked.h"
#include "source/live_device.h"
#include "source/live_link_type.h"

#include <errno.h>
#include <pcap/dlt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SNAP_LEN_MAX 262144

/* A reader that sleeps is woken when so much of a lane is unread: half of it, in packets of a full Ethernet frame. */
#define WAKE_PACKET_BYTES 1600
#define WAKE_PACKETS_MAX  1024

/* What libpcap would say of the device. A name that no interface has may be one of the daemon's own sources. */
struct device {
	struct link_type type;
	int ifindex; /* 0: of no interface */
	bool any;
};

static int
find_device(struct device *out, const char *name, struct ffpf_error *err)
{
	int fd, rc = 0, hardware_type;

	*out = (struct device){ .type = { .dlt = -1 }, .any = strcmp(name, "any") == 0 };
	if (out->any)
		out->type = ffpf_link_type_of_any();
	if (out->any || strlen(name) >= IFNAMSIZ)
		return 0;
	/* any socket will do to ask the kernel about an interface */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "socket");
	hardware_type = ffpf_device_hardware_type(fd, name, err);
	if (hardware_type >= 0) {
		rc = ffpf_link_type_of(&out->type, name, hardware_type, err);
		if (!rc) {
			out->ifindex = ffpf_device_index(fd, name, err);
			rc = out->ifindex < 0 ? out->ifindex : 0;
		}
	} else if (hardware_type != -FFPF_E_NO_SUCH_DEVICE) {
		rc = hardware_type;
	}
	close(fd);
	return rc;
}

/* The daemon's device is ours, and its packets can be made what libpcap would give. */
static int
check_opened(struct shared *s, const struct ffpf_opened *opened, const struct device *device, struct ffpf_error *err)
{
	int dlt = device->type.dlt == -1 ? (int)opened->link_type : device->type.dlt;

	s->cooked = dlt == DLT_LINUX_SLL && opened->link_type == DLT_LINUX_SLL2;
	if (!s->cooked && dlt != (int)opened->link_type)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "ffpfd captures with link type %u, not %d",
				      opened->link_type, dlt);
	if (device->type.dlt != -1 && (uint32_t)device->ifindex != opened->ifindex)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "ffpfd's device of this name is another one");
	s->ifindex = opened->ifindex;
	s->reader.info.link_type = dlt;
	s->reader.info.link_types = device->type.choices;
	s->reader.info.link_type_count = device->type.choice_count;
	if (s->cooked && s->reader.info.snap_len < COOKED_MAX_BYTES + 1)
		s->reader.info.snap_len = COOKED_MAX_BYTES + 1;
	return 0;
}

static uint32_t
packets_worth_waking(const struct ffpf_memories *m)
{
	const struct ffpf_lane_page *lane = m->lanes[0].lane.base;
	const struct ffpf_ibuf_page *ibuf = m->lanes[0].ibuf.base;
	uint64_t pbuf = (uint64_t)FFPF_CELL_BYTES << (lane->cells_log2 & 31) >> 1;
	uint64_t slots = 1ull << (ibuf->slots_log2 & 31) >> 1;
	uint64_t packets = pbuf / WAKE_PACKET_BYTES < slots ? pbuf / WAKE_PACKET_BYTES : slots;

	if (packets > WAKE_PACKETS_MAX)
		return WAKE_PACKETS_MAX;
	return packets ? (uint32_t)packets : 1;
}

static int
succeed(void *remote, uint32_t lane, struct ffpf_lanes_part *out, struct ffpf_error *err)
{
	struct shared *s = remote;
	struct ffpf_client_lane fds;
	int rc = lane < s->memories->count ? ffpf_client_successor(s->client, &fds, lane, err)
					   : ffpf_error_set(err, FFPF_E_INVALID, "there is no lane %u", lane);

	return rc ? rc : ffpf_memories_succeed(s->memories, lane, &fds, out, err);
}

static void
retire(void *remote, uint32_t lane, const struct ffpf_lanes_part *part)
{
	struct shared *s = remote;

	ffpf_memories_retire(s->memories, lane, part);
}

static int
inject(void *remote, const void *data, size_t len, struct ffpf_error *err)
{
	struct shared *s = remote;
	int rc = shared_ops.inject(&s->reader, data, len);

	if (rc < 0)
		*err = s->reader.err;
	return rc;
}

/* The client outlives its reader of lanes: see shared_close. */
static void
nothing(void *remote)
{
	(void)remote;
}

static int
open_lanes(struct shared *s, const struct ffpf_opened *opened, const struct ffpf_shared_config *cfg,
	   struct ffpf_error *err)
{
	const uint32_t snap_len = s->reader.info.snap_len + (s->cooked ? COOKED_V2_BYTES - COOKED_V1_BYTES : 0);
	const struct ffpf_lanes_config lanes = {
		.snap_len = snap_len,
		.tick = cfg->tick,
		.timeout_ms = cfg->timeout_ms,
		.want = cfg->immediate || cfg->nonblock ? 1 : packets_worth_waking(s->memories),
		.nonblock = cfg->nonblock,
		.cut = !s->cooked,
		.wait = FFPF_LANES_WAIT_FD,
	};
	struct ffpf_lanes_parts parts = {
		.lanes = s->memories->lanes,
		.count = s->memories->count,
		.reader = s->memories->reader,
		.counts = s->memories->counts,
		.event_fd = s->wake_fd,
		.event = opened->wake,
		.ops = &s->remote,
		.remote = s,
	};

	s->remote = (struct ffpf_lanes_remote_ops){
		.set_filter = shared_place,
		.succeed = succeed,
		.retire = retire,
		.inject = inject,
		.close = nothing,
	};
	s->hooks_open = true;
	return ffpf_lanes_open(&s->lanes, &parts, &lanes, err);
}

static int
open_flow(struct shared *s, const struct ffpf_shared_config *cfg, const struct device *device, struct ffpf_error *err)
{
	const struct ffpf_wanted wanted = {
		.source = cfg->device,
		.group = cfg->group,
		/* the hook's header is longer than the one that is wanted */
		.snap_len = device->type.cooked && cfg->snap_len < SNAP_LEN_MAX - COOKED_V2_BYTES
				? cfg->snap_len + COOKED_V2_BYTES
				: cfg->snap_len,
		.promisc = cfg->promisc && device->ifindex,
	};
	struct ffpf_client_flow *flow = malloc(sizeof(*flow));
	int rc = flow ? ffpf_client_open(s->client, flow, &wanted, err)
		      : ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a flow");

	if (!rc) {
		s->wake_fd = flow->wake_fd;
		rc = ffpf_memories_map(&s->memories, flow, err);
	}
	if (!rc)
		rc = check_opened(s, &flow->opened, device, err);
	if (!rc)
		rc = open_lanes(s, &flow->opened, cfg, err);
	free(flow);
	if (!rc && s->cooked) {
		s->arena = malloc(SHARED_ARENA_BYTES);
		if (!s->arena)
			rc = ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for packets");
	}
	return rc;
}

int
ffpf_shared_open(struct ffpf_reader **out, const struct ffpf_shared_config *cfg, struct ffpf_error *err)
{
	struct ffpf_client *client;
	struct device device;
	struct shared *s;
	int rc = ffpf_client_connect(&client, NULL, cfg->program, err);

	if (rc)
		return rc;
	rc = find_device(&device, cfg->device, err);
	s = rc ? NULL : calloc(1, sizeof(*s));
	if (!s) {
		ffpf_client_destroy(client);
		return rc ? rc : ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a reader");
	}
	s->reader.ops = &shared_ops;
	s->reader.info.snap_len = cfg->snap_len;
	s->reader.info.tick = cfg->tick;
	s->client = client;
	s->wake_fd = s->inject_fd = -1;
	s->nonblock = cfg->nonblock;
	s->timeout_ms = cfg->timeout_ms;
	snprintf(s->opened_as, sizeof(s->opened_as), "%s", cfg->device);
	if (device.ifindex)
		snprintf(s->device, sizeof(s->device), "%s", cfg->device);
	rc = open_flow(s, cfg, &device, err);
	if (rc) {
		shared_close(&s->reader);
		return rc;
	}
	s->reader.info.version_major = s->lanes->info.version_major;
	s->reader.info.version_minor = s->lanes->info.version_minor;
	s->reader.info.buffer_bytes = s->lanes->info.buffer_bytes;
	s->promisc = cfg->promisc && s->device[0];
	if (s->promisc)
		s->iface_lost_seen = ffpf_device_lost(s->device);
	*out = &s->reader;
	return 0;
}

void
shared_close(struct ffpf_reader *r)
{
	struct shared *s = (struct shared *)r;

	if (!s)
		return;
	if (s->lanes)
		s->lanes->ops->close(s->lanes);
	ffpf_memories_close(s->memories);
	ffpf_client_destroy(s->client);
	if (s->wake_fd != -1)
		close(s->wake_fd);
	if (s->inject_fd != -1)
		close(s->inject_fd);
	free(s->arena);
	free(s);
}
