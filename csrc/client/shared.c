/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/shared_internal.h"
#include "source/live_device.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

int
shared_failed(struct shared *s, int rc)
{
	if (rc < 0)
		s->reader.err = s->lanes->err;
	return rc;
}

/* ---- reading ---- */

/* The daemon says why a flow ended; the memories only say that. */
static enum ffpf_outcome
failed(struct shared *s)
{
	const struct ffpf_client_news *news = ffpf_client_events(s->client);

	s->reader.err = s->lanes->err;
	if (s->reader.err.code == FFPF_E_DENIED && news->revoked)
		ffpf_error_set(&s->reader.err, FFPF_E_DENIED, "ffpfd has ended the capture: %s",
			       news->reason[0] ? news->reason : "no reason was given");
	return FFPF_FAILED;
}

static enum ffpf_outcome
interface_gone(struct shared *s)
{
	ffpf_error_set(&s->reader.err, FFPF_E_DEVICE_GONE, "The interface disappeared");
	return FFPF_FAILED;
}

enum ffpf_outcome
shared_lanes_next(struct shared *s, struct ffpf_batch *batch)
{
	enum ffpf_outcome outcome;

	ffpf_memories_forget(s->memories);
	do
		outcome = s->lanes->ops->next(s->lanes, batch);
	/* libpcap waits on when an interface goes down */
	while (outcome == FFPF_FAILED && s->lanes->err.code == FFPF_E_DEVICE_DOWN);
	switch (outcome) {
	case FFPF_BATCH:
		if (!batch->mem_lo && ffpf_memories_in_range(s->memories)) {
			batch->mem_lo = s->memories->range;
			batch->mem_hi = s->memories->range + s->memories->range_bytes;
		}
		return outcome;
	case FFPF_FAILED:
		return s->lanes->err.code == FFPF_E_DEVICE_GONE ? interface_gone(s) : failed(s);
	case FFPF_END:
		/* a savefile has an end; an interface only goes */
		return s->ifindex || ffpf_client_events(s->client)->gone ? interface_gone(s) : outcome;
	default:
		return outcome;
	}
}

static enum ffpf_outcome
shared_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct shared *s = (struct shared *)r;

	return s->cooked ? shared_cooked_next(s, batch) : shared_lanes_next(s, batch);
}

static void
shared_release(struct ffpf_reader *r, uint32_t n)
{
	struct shared *s = (struct shared *)r;

	if (s->cooked)
		shared_cooked_release(s, n);
	else
		s->lanes->ops->release(s->lanes, n);
}

static void
shared_settle(struct ffpf_reader *r)
{
	struct shared *s = (struct shared *)r;

	if (s->cooked)
		shared_cooked_pass(s);
	s->lanes->ops->settle(s->lanes);
}

static void
shared_pace(struct ffpf_reader *r, uint32_t want, uint64_t until_ns)
{
	struct shared *s = (struct shared *)r;

	s->lanes->ops->pace(s->lanes, want, until_ns);
}

static int
shared_poll_fd(const struct ffpf_reader *r)
{
	const struct shared *s = (const struct shared *)r;

	return s->lanes->ops->poll_fd(s->lanes);
}

/* Async-signal-safe. */
static void
shared_wake(struct ffpf_reader *r)
{
	struct shared *s = (struct shared *)r;

	s->lanes->ops->wake(s->lanes);
}

static int
shared_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	struct shared *s = (struct shared *)r;
	int rc = s->lanes->ops->counters(s->lanes, out);

	if (rc)
		return shared_failed(s, rc);
	out->filtered += s->turned_away;
	out->delivered -= s->turned_away;
	if (s->promisc) {
		uint64_t lost = ffpf_device_lost(s->device);

		s->iface_lost += lost - s->iface_lost_seen;
		s->iface_lost_seen = lost;
	}
	out->iface_drops = s->iface_lost;
	return 0;
}

/* ---- packets in place ---- */

/* Cooked packets are made from copies. */
static bool
shared_set_in_place(struct ffpf_reader *r, bool on)
{
	struct shared *s = (struct shared *)r;

	return !s->cooked && s->lanes->ops->set_in_place(s->lanes, on);
}

static uint32_t
shared_overwritten(struct ffpf_reader *r, uint32_t first, uint32_t n, uint8_t *marks)
{
	struct shared *s = (struct shared *)r;

	return s->lanes->ops->overwritten(s->lanes, first, n, marks);
}

/* ---- changes while reading ---- */

static int
shared_set_direction(struct ffpf_reader *r, enum ffpf_direction dir)
{
	struct shared *s = (struct shared *)r;
	int rc = s->lanes->ops->set_direction(s->lanes, dir);

	if (!rc)
		shared_cooked_forget(s);
	return shared_failed(s, rc);
}

/* What lies in the batch is made anew when the filter, compiled for the new link type or not, is set again. */
static int
shared_set_link_type(struct ffpf_reader *r, int dlt)
{
	bool known = dlt == r->info.link_type;

	for (uint32_t i = 0; i < r->info.link_type_count; i++)
		known |= r->info.link_types[i] == dlt;
	if (!known)
		return ffpf_error_set(&r->err, FFPF_E_INVALID, "link type %d is none of this device's", dlt);
	r->info.link_type = dlt;
	return 0;
}

static int
shared_set_nonblock(struct ffpf_reader *r, bool on)
{
	struct shared *s = (struct shared *)r;
	int rc = s->lanes->ops->set_nonblock(s->lanes, on);

	if (!rc)
		s->nonblock = on;
	return shared_failed(s, rc);
}

static int
open_inject(struct shared *s)
{
	/* protocol 0: it receives nothing */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int rc;

	if (fd == -1)
		return ffpf_error_set_errno(&s->reader.err, FFPF_E_SYSTEM, errno, "socket");
	rc = ffpf_device_bind(fd, (int)s->ifindex, 0, &s->reader.err);
	if (rc) {
		close(fd);
		return rc;
	}
	s->inject_fd = fd;
	return 0;
}

static int
shared_inject(struct ffpf_reader *r, const void *data, size_t len)
{
	struct shared *s = (struct shared *)r;
	ssize_t sent;

	if (s->ifindex == 0)
		return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED,
				      "Sending packets isn't supported on the \"%s\" device", s->opened_as);
	if (s->cooked)
		return ffpf_error_set(&r->err, FFPF_E_NOT_SUPPORTED, "Sending packets isn't supported in cooked mode");
	if (s->inject_fd == -1) {
		int rc = open_inject(s);

		if (rc)
			return rc;
	}
	sent = send(s->inject_fd, data, len, s->nonblock ? MSG_DONTWAIT : 0);
	if (sent == -1)
		return ffpf_error_set_errno(&r->err, FFPF_E_SYSTEM, errno, "send");
	return (int)sent;
}

const struct ffpf_reader_ops shared_ops = {
	.name = "shared",
	.next = shared_next,
	.release = shared_release,
	.settle = shared_settle,
	.set_filter = shared_set_filter,
	.set_in_place = shared_set_in_place,
	.overwritten = shared_overwritten,
	.set_link_type = shared_set_link_type,
	.set_direction = shared_set_direction,
	.set_nonblock = shared_set_nonblock,
	.pace = shared_pace,
	.inject = shared_inject,
	.counters = shared_counters,
	.poll_fd = shared_poll_fd,
	.wake = shared_wake,
	.close = shared_close,
};
