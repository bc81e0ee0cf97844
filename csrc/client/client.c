/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/client.h"

#include "client/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The daemon answers hello at once. The first flow on a source loads the kernel's programs, a filter may be compiled.
 */
#define HELLO_MS     5000
#define REQUEST_MS   30000
#define SUCCESSOR_MS 250 /* asked for in the middle of a capture, and again when there was no answer */

#define EVENTS_AT_ONCE 64 /* of a daemon that never stops talking */

/* A request for a lane's successor that has no answer yet. Asked again with its id, the daemon answers the same. */
struct unanswered {
	uint64_t id; /* 0: there is none */
	bool lost;   /* the answer will not come: it was passed over, or the daemon has changed */
};

struct ffpf_client {
	int fd; /* -1: the daemon is gone */
	uint64_t last_id;
	uint64_t asked; /* id of the request in work */
	struct unanswered successors[FFPF_FLOW_LANES_MAX];
	uint64_t flow; /* of ffpf_client_open; UINT64_MAX: none */
	struct ffpf_client_news news;
	bool adopted; /* by another daemon, since the last request was sent */
	char request[FFPF_MESSAGE_MAX];
	struct ffpf_datagram datagram; /* the last one received: what `message` was read from */
	struct ffpf_message message;
};

/* The connection is of no use any more. */
static int
give_up(struct ffpf_client *c, struct ffpf_error *err)
{
	ffpf_datagram_close(&c->datagram);
	close(c->fd);
	c->fd = -1;
	if (err && err->code != FFPF_E_NO_SERVER) {
		err->code = FFPF_E_NO_SERVER;
		ffpf_error_append(err, " (from ffpfd)");
	}
	return -FFPF_E_NO_SERVER;
}

static enum ffpf_code
code_of(enum ffpf_refusal refusal)
{
	switch (refusal) {
	case FFPF_REFUSED_DENIED:
		return FFPF_E_PERMISSION;
	case FFPF_REFUSED_NO_SUCH_DEVICE:
		return FFPF_E_NO_SUCH_DEVICE;
	case FFPF_REFUSED_DEVICE_DOWN:
		return FFPF_E_DEVICE_DOWN;
	case FFPF_REFUSED_NOT_SUPPORTED:
		return FFPF_E_NOT_SUPPORTED;
	default:
		return FFPF_E_DENIED;
	}
}

static int
take_event(struct ffpf_client *c, struct ffpf_error *err)
{
	struct ffpf_client_news *news = &c->news;
	struct ffpf_event event;
	int rc = ffpf_message_event(&event, &c->message, err);

	if (rc)
		return rc;
	if (event.kind == FFPF_EVENT_ADOPTED) {
		c->adopted = true;
		for (uint32_t i = 0; i < FFPF_FLOW_LANES_MAX; i++)
			c->successors[i].lost = true;
	}
	if (event.kind == FFPF_EVENT_OTHER || event.kind == FFPF_EVENT_ADOPTED || event.flow != c->flow)
		return 0;
	news->revoked |= event.kind == FFPF_EVENT_REVOKED;
	news->gone |= event.kind == FFPF_EVENT_SOURCE_GONE;
	if (event.kind == FFPF_EVENT_SOURCE_DOWN || event.kind == FFPF_EVENT_SOURCE_UP)
		news->down = event.kind == FFPF_EVENT_SOURCE_DOWN;
	if (event.kind == FFPF_EVENT_REVOKED)
		snprintf(news->reason, sizeof(news->reason), "%s", event.reason);
	return 0;
}

/* The next datagram, as c->message; an event is taken. 1, 0: none in time, or -code. */
static int
receive(struct ffpf_client *c, uint64_t deadline_ns, struct ffpf_error *err)
{
	struct ffpf_datagram *d = &c->datagram;
	int rc = ffpf_channel_receive(c->fd, d, deadline_ns, err);

	if (rc <= 0)
		return rc;
	rc = ffpf_message_read(&c->message, d->octets, d->len, d->fd_count, err);
	if (!rc && c->message.kind == FFPF_MESSAGE_EVENT) {
		rc = take_event(c, err);
		ffpf_datagram_close(d);
	}
	return rc ? rc : 1;
}

static void
pass_over(struct ffpf_client *c)
{
	for (uint32_t i = 0; i < FFPF_FLOW_LANES_MAX; i++)
		c->successors[i].lost |= c->successors[i].id == c->message.id;
	ffpf_datagram_close(&c->datagram);
}

/* The next message of the reply to the request in work. Replies to requests that were given up are passed over. 0: yes;
 * 1: no, as c->message says; 2: the daemon has changed, and may not know the request; -code. */
static int
receive_reply(struct ffpf_client *c, uint64_t deadline_ns, struct ffpf_error *err)
{
	for (;;) {
		const struct ffpf_message *m = &c->message;
		int rc = receive(c, deadline_ns, err);
		bool refusal = rc > 0 && m->kind == FFPF_MESSAGE_REFUSED;

		if (rc < 0)
			return give_up(c, err);
		if (c->adopted)
			return 2;
		if (rc > 0 && m->kind != FFPF_MESSAGE_EVENT && m->id == c->asked)
			return refusal;
		/* id 0: it could not read the request, or will not serve this connection */
		if (refusal && m->id == 0)
			return 1;
		/* whatever else it says, and however much of it */
		if (rc == 0 || ffpf_channel_over(deadline_ns))
			return ffpf_error_set(err, FFPF_E_GENERIC, "ffpfd does not answer");
		if (m->kind == FFPF_MESSAGE_EVENT)
			continue;
		pass_over(c);
		if (m->id > c->last_id || m->id == 0) {
			ffpf_error_set(err, FFPF_E_INVALID, "a reply to what was not asked");
			return give_up(c, err);
		}
	}
}

/* Sends c->request, of `len` octets and with id c->asked, unless that was done before, and waits for the first message
 * of the reply. As receive_reply, but never 2. */
static int
ask(struct ffpf_client *c, size_t len, bool sent, uint64_t deadline_ns, struct ffpf_error *err)
{
	int rc;

	do {
		ffpf_datagram_close(&c->datagram);
		if (c->fd == -1)
			return ffpf_error_set(err, FFPF_E_NO_SERVER, "ffpfd has closed the connection");
		c->adopted = false;
		rc = sent ? 0 : ffpf_channel_send(c->fd, c->request, len, deadline_ns, err);
		if (rc == -FFPF_E_NO_SERVER)
			return give_up(c, err);
		if (rc == 0)
			rc = receive_reply(c, deadline_ns, err);
		sent = false;
	} while (rc == 2 && !ffpf_channel_over(deadline_ns));
	return rc == 2 ? ffpf_error_set(err, FFPF_E_GENERIC, "ffpfd is replaced again and again") : rc;
}

static uint64_t
new_id(struct ffpf_client *c)
{
	c->asked = ++c->last_id;
	return c->asked;
}

/* What ask() returned 1 for, as a failure. */
static int
refused(struct ffpf_client *c, struct ffpf_error *err)
{
	const struct ffpf_message *m = &c->message;

	ffpf_datagram_close(&c->datagram);
	return ffpf_error_set(err, code_of(m->refusal), "%s", m->text[0] ? m->text : "ffpfd refused without a reason");
}

static int
hello(struct ffpf_client *c, const char *program, struct ffpf_error *err)
{
	size_t len = ffpf_message_hello(c->request, new_id(c), program);
	int rc = ask(c, len, false, ffpf_channel_deadline(HELLO_MS), err);
	uint64_t version;

	if (rc)
		return rc < 0 ? rc : refused(c, err);
	ffpf_datagram_close(&c->datagram);
	if (!ffpf_json_uint(&c->message.json, ffpf_json_member(&c->message.json, 0, "version"), FFPF_MESSAGE_ID_MAX,
			    &version) ||
	    version != FFPF_MESSAGE_VERSION)
		return ffpf_error_set(err, FFPF_E_DENIED, "ffpfd speaks another version of the control protocol");
	return 0;
}

int
ffpf_client_connect(struct ffpf_client **out, const char *path, const char *program, struct ffpf_error *err)
{
	const char *named = path ? path : secure_getenv("FFPF_SOCKET");
	struct ffpf_client *c;
	int fd = ffpf_channel_connect(named && *named ? named : FFPF_CLIENT_SOCKET, HELLO_MS, err);
	int rc;

	if (fd < 0)
		return fd;
	c = malloc(sizeof(*c));
	if (!c) {
		close(fd);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a connection to ffpfd");
	}
	c->fd = fd;
	c->last_id = 0;
	memset(c->successors, 0, sizeof(c->successors));
	c->flow = UINT64_MAX;
	c->adopted = false;
	c->news = (struct ffpf_client_news){ .revoked = false };
	c->datagram.fd_count = 0;
	rc = hello(c, program, err);
	if (rc)
		ffpf_client_destroy(c);
	else
		*out = c;
	return rc;
}

void
ffpf_client_destroy(struct ffpf_client *client)
{
	if (!client)
		return;
	ffpf_datagram_close(&client->datagram);
	if (client->fd != -1)
		close(client->fd);
	free(client);
}

/* ---- open ---- */

static void
no_descriptors(struct ffpf_client_flow *flow)
{
	flow->counts_fd = flow->reader_fd = flow->wake_fd = -1;
	for (uint32_t i = 0; i < FFPF_FLOW_LANES_MAX; i++)
		flow->lanes[i] = (struct ffpf_client_lane){ -1, -1 };
}

static int *
place_of(struct ffpf_client_flow *flow, struct ffpf_descriptor_name name)
{
	switch (name.kind) {
	case FFPF_DESCRIPTOR_COUNTS:
		return &flow->counts_fd;
	case FFPF_DESCRIPTOR_READER:
		return &flow->reader_fd;
	case FFPF_DESCRIPTOR_WAKE:
		return &flow->wake_fd;
	case FFPF_DESCRIPTOR_LANE:
		return &flow->lanes[name.lane].lane_fd;
	default:
		return &flow->lanes[name.lane].ibuf_fd;
	}
}

/* Puts the descriptors of the last message where they belong; each may come once. */
static int
take_descriptors(struct ffpf_client *c, struct ffpf_client_flow *flow, struct ffpf_error *err)
{
	struct ffpf_datagram *d = &c->datagram;

	for (uint32_t i = 0; i < d->fd_count; i++) {
		struct ffpf_descriptor_name name = c->message.fds[i];
		bool numbered = name.kind == FFPF_DESCRIPTOR_LANE || name.kind == FFPF_DESCRIPTOR_IBUF;
		int *place = place_of(flow, name);

		if (*place != -1 || (numbered && name.lane >= flow->opened.lanes)) {
			memmove(d->fds, d->fds + i, (d->fd_count - i) * sizeof(d->fds[0]));
			d->fd_count -= i;
			return ffpf_error_set(err, FFPF_E_INVALID, "a descriptor that is none of this flow's");
		}
		*place = d->fds[i];
	}
	d->fd_count = 0;
	return 0;
}

static int
all_there(const struct ffpf_client_flow *flow, struct ffpf_error *err)
{
	bool there = flow->reader_fd != -1 && flow->wake_fd != -1;

	for (uint32_t i = 0; i < flow->opened.lanes; i++)
		there &= flow->lanes[i].lane_fd != -1 && flow->lanes[i].ibuf_fd != -1;
	return there ? 0 : ffpf_error_set(err, FFPF_E_INVALID, "a flow without all its memories");
}

static int
receive_flow(struct ffpf_client *c, struct ffpf_client_flow *flow, uint64_t deadline_ns, struct ffpf_error *err)
{
	int rc = ffpf_message_opened(&flow->opened, &c->message, err);

	for (;;) {
		bool more = c->message.more;

		if (!rc)
			rc = take_descriptors(c, flow, err);
		if (rc)
			return rc;
		if (!more)
			return all_there(flow, err);
		rc = receive_reply(c, deadline_ns, err);
		if (rc == 2)
			return ffpf_error_set(err, FFPF_E_GENERIC, "ffpfd was replaced in the middle of a reply");
		if (rc)
			return rc < 0 ? rc : refused(c, err);
	}
}

int
ffpf_client_open(struct ffpf_client *client, struct ffpf_client_flow *out, const struct ffpf_wanted *wanted,
		 struct ffpf_error *err)
{
	uint64_t deadline = ffpf_channel_deadline(REQUEST_MS);
	struct ffpf_client_flow flow;
	size_t len = ffpf_message_open(client->request, new_id(client), wanted);
	int rc = ask(client, len, false, deadline, err);

	if (rc)
		return rc < 0 ? rc : refused(client, err);
	no_descriptors(&flow);
	rc = receive_flow(client, &flow, deadline, err);
	if (rc) {
		ffpf_client_flow_close(&flow);
		return rc == -FFPF_E_INVALID ? give_up(client, err) : rc;
	}
	client->flow = flow.opened.flow;
	*out = flow;
	return 0;
}

static void
close_one(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

void
ffpf_client_flow_close(struct ffpf_client_flow *flow)
{
	close_one(&flow->counts_fd);
	close_one(&flow->reader_fd);
	close_one(&flow->wake_fd);
	for (uint32_t i = 0; i < FFPF_FLOW_LANES_MAX; i++) {
		close_one(&flow->lanes[i].lane_fd);
		close_one(&flow->lanes[i].ibuf_fd);
	}
}

/* ---- while it captures ---- */

int
ffpf_client_filter(struct ffpf_client *client, struct ffpf_placed *out, const struct ffpf_bpf_insn *insns,
		   uint32_t count, struct ffpf_error *err)
{
	size_t len = ffpf_message_filter(client->request, new_id(client), client->flow, insns, count);
	int rc = ask(client, len, false, ffpf_channel_deadline(REQUEST_MS), err);

	if (rc)
		return rc < 0 ? rc : refused(client, err);
	rc = ffpf_message_placed(out, &client->message, err);
	return rc ? give_up(client, err) : 0;
}

int
ffpf_client_successor(struct ffpf_client *client, struct ffpf_client_lane *out, uint32_t lane, struct ffpf_error *err)
{
	struct unanswered *before = &client->successors[lane];
	const struct ffpf_message *m = &client->message;
	struct ffpf_datagram *d = &client->datagram;
	bool sent = before->id && !before->lost;
	int rc;

	if (!before->id)
		before->id = new_id(client);
	client->asked = before->id;
	before->lost = false;
	rc = ask(client, ffpf_message_successor(client->request, before->id, client->flow, lane), sent,
		 ffpf_channel_deadline(SUCCESSOR_MS), err);
	if (rc == -FFPF_E_GENERIC)
		return 1;
	before->id = 0;
	if (rc == 1 && m->refusal == FFPF_REFUSED_BUSY)
		return 1;
	if (rc)
		return rc < 0 ? rc : refused(client, err);
	if (m->more || m->fd_count != 2 || m->fds[0].kind != FFPF_DESCRIPTOR_LANE ||
	    m->fds[1].kind != FFPF_DESCRIPTOR_IBUF || m->fds[0].lane != lane || m->fds[1].lane != lane) {
		ffpf_error_set(err, FFPF_E_INVALID, "a successor that is no lane");
		return give_up(client, err);
	}
	*out = (struct ffpf_client_lane){ d->fds[0], d->fds[1] };
	d->fd_count = 0;
	return 0;
}

const struct ffpf_client_news *
ffpf_client_events(struct ffpf_client *client)
{
	for (unsigned i = 0; client->fd != -1 && i < EVENTS_AT_ONCE; i++) {
		int rc = receive(client, FFPF_CHANNEL_NOW, NULL);

		ffpf_datagram_close(&client->datagram);
		if (rc == 0)
			break;
		if (rc < 0)
			give_up(client, NULL);
	}
	return &client->news;
}
