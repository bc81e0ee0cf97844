/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/message.h"

#include <string.h>

static int
broken(const char *what, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_INVALID, "a message that cannot be: %s", what);
}

/* For people: whatever could move a terminal's cursor becomes a blank. */
static void
printable(char *text)
{
	for (uint8_t *c = (uint8_t *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = ' ';
		else if (c[0] == 0xc2 && c[1] < 0xa0) /* U+0080 to U+009F */
			c[0] = c[1] = ' ';
	}
}

static enum ffpf_refusal
refusal_of(const char *code)
{
	static const char *const codes[] = {
		[FFPF_REFUSED_FAILED] = "failed",
		[FFPF_REFUSED_DENIED] = "denied",
		[FFPF_REFUSED_NO_SUCH_DEVICE] = "no-such-device",
		[FFPF_REFUSED_DEVICE_DOWN] = "device-down",
		[FFPF_REFUSED_NOT_SUPPORTED] = "not-supported",
		[FFPF_REFUSED_LIMIT] = "limit",
		[FFPF_REFUSED_INVALID] = "invalid",
		[FFPF_REFUSED_VERSION] = "version",
		[FFPF_REFUSED_BUSY] = "busy",
	};

	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(code, codes[i]) == 0)
			return (enum ffpf_refusal)i;
	return FFPF_REFUSED_FAILED;
}

/* "counts", "reader", "wake", "lane:N", "ibuf:N" */
static bool
read_name(struct ffpf_descriptor_name *out, const char *name)
{
	static const struct {
		const char *name;
		enum ffpf_descriptor_kind kind;
		bool numbered;
	} known[] = {
		{ "counts", FFPF_DESCRIPTOR_COUNTS, false }, { "reader", FFPF_DESCRIPTOR_READER, false },
		{ "wake", FFPF_DESCRIPTOR_WAKE, false },     { "lane:", FFPF_DESCRIPTOR_LANE, true },
		{ "ibuf:", FFPF_DESCRIPTOR_IBUF, true },
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t len = strlen(known[i].name);
		const char *digit = name + len;
		uint32_t lane = 0;

		if (strncmp(name, known[i].name, len) != 0)
			continue;
		if (!known[i].numbered ? *digit != '\0' : *digit == '\0')
			return false;
		for (; *digit; digit++) {
			if (*digit < '0' || *digit > '9')
				return false;
			lane = lane * 10 + (uint32_t)(*digit - '0');
			if (lane >= FFPF_FLOW_LANES_MAX)
				return false;
		}
		*out = (struct ffpf_descriptor_name){ known[i].kind, lane };
		return true;
	}
	return false;
}

static int
read_names(struct ffpf_message *m, uint32_t fd_count, struct ffpf_error *err)
{
	uint32_t list = ffpf_json_member(&m->json, 0, "fds");

	if (list != FFPF_JSON_NONE && !ffpf_json_is(&m->json, list, FFPF_JSON_ARRAY))
		return broken("fds is no list", err);
	for (uint32_t at = ffpf_json_first(&m->json, list); at != FFPF_JSON_NONE;
	     at = ffpf_json_after(&m->json, list, at)) {
		char name[16];

		if (m->fd_count == FFPF_MESSAGE_FDS_MAX)
			return broken("too many descriptors", err);
		if (!ffpf_json_string(&m->json, at, name, sizeof(name)) || !read_name(&m->fds[m->fd_count], name))
			return broken("a descriptor of no known kind", err);
		m->fd_count++;
	}
	if (m->fd_count != fd_count)
		return broken("other descriptors than it names", err);
	return 0;
}

static int
read_reply(struct ffpf_message *m, struct ffpf_error *err)
{
	const struct ffpf_json *json = &m->json;
	uint32_t ok = ffpf_json_member(json, 0, "ok");
	char code[32];

	if (!ffpf_json_uint(json, ffpf_json_member(json, 0, "id"), FFPF_MESSAGE_ID_MAX, &m->id))
		return broken("neither a reply nor an event", err);
	if (ffpf_json_is(json, ok, FFPF_JSON_TRUE)) {
		m->kind = FFPF_MESSAGE_OK;
		m->more = ffpf_json_is(json, ffpf_json_member(json, 0, "more"), FFPF_JSON_TRUE);
		return 0;
	}
	if (!ffpf_json_is(json, ok, FFPF_JSON_FALSE))
		return broken("a reply without ok", err);
	m->kind = FFPF_MESSAGE_REFUSED;
	if (!ffpf_json_string(json, ffpf_json_member(json, 0, "code"), code, sizeof(code)))
		return broken("a refusal without a code", err);
	m->refusal = refusal_of(code);
	ffpf_json_string(json, ffpf_json_member(json, 0, "error"), m->text, sizeof(m->text));
	printable(m->text);
	return 0;
}

int
ffpf_message_read(struct ffpf_message *out, const char *octets, size_t len, uint32_t fd_count, struct ffpf_error *err)
{
	int rc;

	if (len > FFPF_MESSAGE_MAX)
		return broken("too long", err);
	out->kind = FFPF_MESSAGE_EVENT;
	out->id = 0;
	out->more = false;
	out->refusal = FFPF_REFUSED_FAILED;
	out->text[0] = '\0';
	out->fd_count = 0;
	rc = ffpf_json_parse(&out->json, octets, len, err);
	if (rc)
		return rc;
	if (!ffpf_json_is(&out->json, 0, FFPF_JSON_OBJECT))
		return broken("no object", err);
	if (ffpf_json_member(&out->json, 0, "event") == FFPF_JSON_NONE) {
		rc = read_reply(out, err);
		if (rc)
			return rc;
	}
	return read_names(out, fd_count, err);
}

/* A member that must be there. */
static bool
number(const struct ffpf_message *m, const char *key, uint64_t most, uint64_t *out)
{
	return ffpf_json_uint(&m->json, ffpf_json_member(&m->json, 0, key), most, out);
}

static bool
read_wake_kind(enum ffpf_lanes_event *out, const char *name)
{
	static const char *const names[] = {
		[FFPF_LANES_EVENT_EVENTFD] = "eventfd",
		[FFPF_LANES_EVENT_RINGBUF] = "ringbuf",
		[FFPF_LANES_EVENT_TIMERFD] = "timerfd",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum ffpf_lanes_event)i;
			return true;
		}
	}
	return false;
}

int
ffpf_message_opened(struct ffpf_opened *out, const struct ffpf_message *message, struct ffpf_error *err)
{
	const struct ffpf_json *json = &message->json;
	uint64_t ifindex, link_type, lanes;
	char wake[16];

	*out = (struct ffpf_opened){ .wake = FFPF_LANES_EVENT_RINGBUF };
	if (!number(message, "flow", FFPF_MESSAGE_ID_MAX, &out->flow) ||
	    !number(message, "ifindex", INT32_MAX, &ifindex) || !number(message, "link_type", UINT16_MAX, &link_type) ||
	    !number(message, "lanes", FFPF_FLOW_LANES_MAX, &lanes) || lanes == 0 ||
	    !number(message, "generation", FFPF_MESSAGE_ID_MAX, &out->generation))
		return broken("what was opened", err);
	out->ifindex = (uint32_t)ifindex;
	out->link_type = (uint32_t)link_type;
	out->lanes = (uint32_t)lanes;
	if (ffpf_json_string(json, ffpf_json_member(json, 0, "wake_kind"), wake, sizeof(wake)) &&
	    !read_wake_kind(&out->wake, wake))
		return broken("wake_kind", err);
	return 0;
}

int
ffpf_message_placed(struct ffpf_placed *out, const struct ffpf_message *message, struct ffpf_error *err)
{
	const struct ffpf_json *json = &message->json;
	char level[16];

	*out = (struct ffpf_placed){ .level = FFPF_LEVEL_KERNEL };
	if (!number(message, "generation", FFPF_MESSAGE_ID_MAX, &out->generation) ||
	    !ffpf_json_string(json, ffpf_json_member(json, 0, "level"), level, sizeof(level)))
		return broken("where the filter is", err);
	if (strcmp(level, "userspace") == 0)
		out->level = FFPF_LEVEL_USERSPACE;
	else if (strcmp(level, "kernel") != 0)
		return broken("a level that there is not", err);
	ffpf_json_string(json, ffpf_json_member(json, 0, "reason"), out->reason, sizeof(out->reason));
	printable(out->reason);
	return 0;
}

int
ffpf_message_event(struct ffpf_event *out, const struct ffpf_message *message, struct ffpf_error *err)
{
	static const struct {
		const char *event, *state; /* state NULL: of no matter */
		enum ffpf_event_kind kind;
	} known[] = {
		{ "moved", NULL, FFPF_EVENT_MOVED },          { "revoked", NULL, FFPF_EVENT_REVOKED },
		{ "source", "down", FFPF_EVENT_SOURCE_DOWN }, { "source", "up", FFPF_EVENT_SOURCE_UP },
		{ "source", "gone", FFPF_EVENT_SOURCE_GONE }, { "adopted", NULL, FFPF_EVENT_ADOPTED },
	};
	const struct ffpf_json *json = &message->json;
	char name[16], state[16];

	*out = (struct ffpf_event){ .kind = FFPF_EVENT_OTHER };
	if (!ffpf_json_string(json, ffpf_json_member(json, 0, "event"), name, sizeof(name)))
		return broken("an event without a name", err);
	ffpf_json_string(json, ffpf_json_member(json, 0, "state"), state, sizeof(state));
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].event) == 0 && (!known[i].state || strcmp(state, known[i].state) == 0))
			out->kind = known[i].kind;
	if (out->kind != FFPF_EVENT_OTHER && out->kind != FFPF_EVENT_ADOPTED &&
	    !number(message, "flow", FFPF_MESSAGE_ID_MAX, &out->flow))
		return broken("an event of no flow", err);
	ffpf_json_string(json, ffpf_json_member(json, 0, "reason"), out->reason, sizeof(out->reason));
	printable(out->reason);
	return 0;
}
