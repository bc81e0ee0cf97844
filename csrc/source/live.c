/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live.h"

#include "source/cooked.h"
#include "source/live_device.h"
#include "source/live_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <pcap/dlt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIVE_DEFAULT_BUFFER ((size_t)2 * 1024 * 1024)

/* ---- reading ---- */

static void
start_clock(struct timespec *deadline, int timeout_ms)
{
	clock_gettime(CLOCK_MONOTONIC, deadline);
	deadline->tv_sec += timeout_ms / 1000;
	deadline->tv_nsec += timeout_ms % 1000 * 1000000L;
	if (deadline->tv_nsec >= 1000000000L) {
		deadline->tv_sec++;
		deadline->tv_nsec -= 1000000000L;
	}
}

static enum ffpf_outcome
live_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct live *l = (struct live *)r;
	struct timespec deadline;
	const struct timespec *limit = NULL;

	live_give_back(l);
	for (;;) {
		enum ffpf_outcome outcome;

		/* acquire: pairs with the store in live_wake. The descriptor is drained by the next wait. */
		if (atomic_load_explicit(&l->woken, memory_order_relaxed) && atomic_exchange(&l->woken, false))
			return FFPF_INTERRUPTED;
		if (l->refilter == REFILTER_ALL)
			live_filter_settle(l);
		if (live_walk(l)) {
			*batch = (struct ffpf_batch){ l->packets, l->count, l->ring.mem, l->ring.mem_end };
			return FFPF_BATCH;
		}
		live_give_back(l);
		if (!limit && !l->nonblock && l->pace_until_ns) {
			deadline.tv_sec = (time_t)(l->pace_until_ns / 1000000000);
			deadline.tv_nsec = (long)(l->pace_until_ns % 1000000000);
			limit = &deadline;
		} else if (!limit && l->timeout_ms > 0 && !l->nonblock) {
			start_clock(&deadline, l->timeout_ms);
			limit = &deadline;
		}
		outcome = live_wait(l, limit);
		if (outcome != FFPF_BATCH)
			return outcome;
	}
}

static void
live_release(struct ffpf_reader *r, uint32_t n)
{
	struct live *l = (struct live *)r;

	l->released += n;
	l->counters.delivered += n;
}

static void
live_settle(struct ffpf_reader *r)
{
	struct live *l = (struct live *)r;

	if (l->count && l->released == l->count && !live_more_ready(l))
		live_give_back(l);
}

/* Async-signal-safe. */
static void
live_wake(struct ffpf_reader *r)
{
	struct live *l = (struct live *)r;
	const uint64_t one = 1;
	int saved_errno = errno;
	ssize_t rc;

	atomic_store(&l->woken, true); /* pairs with the exchange in live_next */
	rc = write(l->wake_fd, &one, sizeof(one));
	(void)rc; /* a full counter is readable too */
	errno = saved_errno;
}

static int
live_poll_fd(const struct ffpf_reader *r)
{
	return ((const struct live *)r)->fd;
}

/* ---- changes while reading ---- */

/* The kernel wakes for a block; how much of one it fills was settled when the ring was made. */
static void
live_pace(struct ffpf_reader *r, uint32_t want, uint64_t until_ns)
{
	(void)want;
	((struct live *)r)->pace_until_ns = until_ns;
}

static int
live_set_link_type_op(struct ffpf_reader *r, int dlt)
{
	bool known = dlt == r->info.link_type;

	for (uint32_t i = 0; i < r->info.link_type_count; i++)
		known |= r->info.link_types[i] == dlt;
	if (!known)
		return ffpf_error_set(&r->err, FFPF_E_INVALID, "link type %d is none of this device's", dlt);
	live_set_link_type((struct live *)r, dlt);
	return 0;
}

static int
live_set_direction(struct ffpf_reader *r, enum ffpf_direction dir)
{
	((struct live *)r)->direction = dir;
	return 0;
}

/* The socket's own mode matters to inject only. */
static int
live_set_nonblock(struct ffpf_reader *r, bool on)
{
	struct live *l = (struct live *)r;
	int flags;

	if (l->nonblock == on)
		return 0;
	flags = fcntl(l->fd, F_GETFL, 0);
	if (flags == -1)
		return ffpf_error_set_errno(&r->err, FFPF_E_SYSTEM, errno, "F_GETFL");
	if (fcntl(l->fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == -1)
		return ffpf_error_set_errno(&r->err, FFPF_E_SYSTEM, errno, "F_SETFL");
	l->nonblock = on;
	return 0;
}

static int
live_inject(struct ffpf_reader *r, const void *data, size_t len)
{
	struct live *l = (struct live *)r;
	ssize_t sent;

	if (l->ifindex == 0)
		return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED,
				      "Sending packets isn't supported on the \"any\" device");
	if (l->cooked)
		return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED, "Sending packets isn't supported in cooked mode");
	sent = send(l->fd, data, len, 0);
	if (sent == -1)
		return ffpf_error_set_errno(&r->err, FFPF_E_SYSTEM, errno, "send");
	return (int)sent;
}

static void
live_close(struct ffpf_reader *r)
{
	struct live *l = (struct live *)r;

	if (!l)
		return;
	if (l->ring.mem)
		ffpf_tpacket_ring_destroy(&l->ring, l->fd);
	if (l->fd != -1)
		close(l->fd);
	if (l->wake_fd != -1)
		close(l->wake_fd);
	free(l);
}

static const struct ffpf_reader_ops live_ops = {
	.name = "tpacket",
	.next = live_next,
	.release = live_release,
	.settle = live_settle,
	.set_filter = live_set_filter,
	.set_link_type = live_set_link_type_op,
	.set_direction = live_set_direction,
	.set_nonblock = live_set_nonblock,
	.pace = live_pace,
	.inject = live_inject,
	.counters = live_counters,
	.poll_fd = live_poll_fd,
	.wake = live_wake,
	.close = live_close,
};

/* ---- opening ---- */

static int
open_socket(struct live *l, bool cooked, struct ffpf_error *err)
{
	/* protocol 0: nothing is received before the ring is there and the socket is bound */
	l->fd = socket(AF_PACKET, (cooked ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC, 0);
	if (l->fd == -1)
		return ffpf_error_set_errno(err, errno == EPERM || errno == EACCES ? FFPF_E_PERMISSION : FFPF_E_SYSTEM,
					    errno, "socket");
	l->cooked = cooked;
	return 0;
}

/* Finds the link type, and with it the kind of socket. */
static int
open_device(struct live *l, struct ffpf_error *err)
{
	struct link_type type = ffpf_link_type_of_any();
	bool any = strcmp(l->device, "any") == 0;
	int rc = open_socket(l, any, err);

	if (rc)
		return rc;
	l->lo_ifindex = ffpf_device_index(l->fd, "lo", NULL);
	if (!any) {
		int hardware_type = ffpf_device_hardware_type(l->fd, l->device, err);

		if (hardware_type < 0)
			return hardware_type;
		rc = ffpf_link_type_of(&type, l->device, hardware_type, err);
		if (rc)
			return rc;
		if (type.cooked) {
			close(l->fd);
			rc = open_socket(l, true, err);
			if (rc)
				return rc;
		}
		l->ifindex = ffpf_device_index(l->fd, l->device, err);
		if (l->ifindex < 0)
			return l->ifindex;
		rc = ffpf_device_bind(l->fd, l->ifindex, 0, err);
		if (rc)
			return rc;
	}
	live_set_link_type(l, type.dlt);
	l->reader.info.link_types = type.choices;
	l->reader.info.link_type_count = type.choice_count;
	return 0;
}

/* "any" has no interface that could be made promiscuous. */
static int
set_promisc(struct live *l, struct ffpf_error *err)
{
	struct packet_mreq mreq = { .mr_ifindex = l->ifindex, .mr_type = PACKET_MR_PROMISC };

	if (setsockopt(l->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "setsockopt (PACKET_ADD_MEMBERSHIP)");
	l->promisc = true;
	l->iface_lost_seen = ffpf_device_lost(l->device);
	return 0;
}

/* Frames, other than blocks, are cut by the kernel at their size, and large ones make a ring of few. */
static int
largest_packet(const struct live *l, struct ffpf_error *err)
{
	uint32_t snap_len = l->reader.info.snap_len;
	int largest;

	if (!l->immediate)
		return LIVE_MAX_SNAP_LEN;
	if (l->reader.info.link_type != DLT_EN10MB)
		return (int)snap_len;
	largest = ffpf_device_largest_frame(l->fd, l->device, err);
	return largest > 0 && (uint32_t)largest > snap_len ? (int)snap_len : largest;
}

static int
open_ring(struct live *l, const struct ffpf_live_config *cfg, struct ffpf_error *err)
{
	struct tpacket_wanted wanted = {
		.layout = l->immediate ? TPACKET_FRAMES : TPACKET_BLOCKS,
		.buffer_bytes = cfg->buffer_bytes ? cfg->buffer_bytes : LIVE_DEFAULT_BUFFER,
		.header_bytes = l->cooked ? COOKED_MAX_BYTES : 0,
		.link_header_known = l->reader.info.link_type == DLT_EN10MB,
		.retire_ms = cfg->timeout_ms ? (unsigned int)cfg->timeout_ms : UINT_MAX,
	};
	int largest = largest_packet(l, err);
	int rc;

	if (largest < 0)
		return largest;
	wanted.packet_bytes = (uint32_t)largest;
	rc = ffpf_tpacket_ring_create(&l->ring, l->fd, &wanted, err);
	l->batch_units = l->ring.unit_count > LIVE_SHARE ? l->ring.unit_count / LIVE_SHARE : 1;
	l->reader.info.buffer_bytes = l->ring.ring_bytes;
	return rc;
}

/* Stamps are taken when the packet enters the stack, not when it enters the ring, once any socket asks for that. */
static int
set_precision(struct live *l, bool stamp_in_ring, struct ffpf_error *err)
{
	int on = 1;

	if (l->reader.info.tick == FFPF_TICK_NS && !stamp_in_ring &&
	    setsockopt(l->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return ffpf_error_set(err, FFPF_E_TSTAMP_PRECISION, "setsockopt: unable to set SO_TIMESTAMPNS");
	return 0;
}

/* The order is libpcap's: what fails first decides the error. */
static int
open_all(struct live *l, const struct ffpf_live_config *cfg, enum ffpf_live_warning *warning, struct ffpf_error *err)
{
	int rc = open_device(l, err);

	if (rc)
		return rc;
	if (cfg->promisc && l->ifindex && (rc = set_promisc(l, err)))
		return rc;
	if (l->cooked && l->reader.info.snap_len < COOKED_MAX_BYTES + 1)
		l->reader.info.snap_len = COOKED_MAX_BYTES + 1;
	if ((rc = set_precision(l, cfg->stamp_in_ring, err)))
		return rc;
	rc = ffpf_timestamp_enable(l->fd, l->device, cfg->tstamp_type, err);
	if (rc < 0)
		return rc;
	if (warning)
		*warning = (enum ffpf_live_warning)rc;
	if ((rc = open_ring(l, cfg, err)) || (rc = live_attach_accept(l, err)))
		return rc;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "could not open eventfd");
	rc = live_set_nonblock(&l->reader, cfg->nonblock);
	if (rc)
		return rc;
	return ffpf_device_bind(l->fd, l->ifindex, cfg->protocol ? (uint16_t)cfg->protocol : ETH_P_ALL, err);
}

int
ffpf_live_open(struct ffpf_reader **out, const struct ffpf_live_config *cfg, enum ffpf_live_warning *warning,
	       struct ffpf_error *err)
{
	struct live *l;
	int rc;

	if (strlen(cfg->device) >= IFNAMSIZ)
		return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "%s", "");
	if (cfg->snap_len < 1 || cfg->snap_len > LIVE_MAX_SNAP_LEN || cfg->timeout_ms < 0)
		return ffpf_error_set(err, FFPF_E_INVALID, "snapshot length %u or timeout %d out of range",
				      cfg->snap_len, cfg->timeout_ms);
	l = calloc(1, sizeof(*l));
	if (!l)
		return ffpf_error_set_errno(err, FFPF_E_NO_MEMORY, errno, "malloc");
	l->reader.ops = &live_ops;
	l->reader.info.snap_len = cfg->snap_len;
	l->reader.info.tick = cfg->tick;
	l->fd = l->wake_fd = -1;
	l->known_result = UINT32_MAX;
	l->immediate = cfg->immediate;
	l->timeout_ms = cfg->timeout_ms;
	snprintf(l->device, sizeof(l->device), "%s", cfg->device);
	rc = open_all(l, cfg, warning, err);
	if (rc)
		live_close(&l->reader);
	else
		*out = &l->reader;
	return rc;
}

/* ---- what the pcap layer asks besides ---- */

int
ffpf_live_socket(const struct ffpf_reader *r)
{
	return ((const struct live *)r)->fd;
}

size_t
ffpf_live_unit_bytes(const struct ffpf_reader *r)
{
	return ((const struct live *)r)->ring.unit_bytes;
}

const char *
ffpf_live_filter_warning(const struct ffpf_reader *r)
{
	return ((const struct live *)r)->filter_warning;
}

bool
ffpf_live_needs_polling(const struct ffpf_reader *r)
{
	return ((const struct live *)r)->netdown;
}
