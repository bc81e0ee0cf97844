/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_CLIENT_MESSAGE_H
#define FFPF_CLIENT_MESSAGE_H
/*
 * Messages of the control protocol, version 1 (docs/protocol.md): requests are written, replies and events are read.
 * Whoever wrote them is not trusted: what is read here has its range, and as many descriptors as it says.
 */
#include "bpf/bpf.h"
#include "client/json.h"
#include "lanes/lanes.h"
#include "layout.h"

#define FFPF_MESSAGE_VERSION 1
#define FFPF_MESSAGE_MAX     65536 /* octets */
#define FFPF_MESSAGE_FDS_MAX 100
#define FFPF_MESSAGE_ID_MAX  ((1ull << 53) - 1)

/* "code" of a reply that says no. */
enum ffpf_refusal {
	FFPF_REFUSED_FAILED, /* also a code that this version does not know */
	FFPF_REFUSED_DENIED,
	FFPF_REFUSED_NO_SUCH_DEVICE,
	FFPF_REFUSED_DEVICE_DOWN,
	FFPF_REFUSED_NOT_SUPPORTED,
	FFPF_REFUSED_LIMIT,
	FFPF_REFUSED_INVALID,
	FFPF_REFUSED_VERSION,
	FFPF_REFUSED_BUSY,
};

enum ffpf_message_kind { FFPF_MESSAGE_OK, FFPF_MESSAGE_REFUSED, FFPF_MESSAGE_EVENT };

/* What a descriptor is: an element of "fds". */
enum ffpf_descriptor_kind {
	FFPF_DESCRIPTOR_COUNTS,
	FFPF_DESCRIPTOR_READER,
	FFPF_DESCRIPTOR_WAKE,
	FFPF_DESCRIPTOR_LANE,
	FFPF_DESCRIPTOR_IBUF,
};

struct ffpf_descriptor_name {
	enum ffpf_descriptor_kind kind;
	uint32_t lane; /* of LANE and IBUF, below FFPF_FLOW_LANES_MAX */
};

struct ffpf_message {
	enum ffpf_message_kind kind;
	uint64_t id;               /* of a reply */
	bool more;                 /* another message of this reply follows */
	enum ffpf_refusal refusal; /* of a reply that says no, with its text */
	char text[200];            /* printable, perhaps empty */
	struct ffpf_descriptor_name fds[FFPF_MESSAGE_FDS_MAX];
	uint32_t fd_count;
	struct ffpf_json json; /* all of it: valid as long as the octets it was read from */
};

/* 0 or -FFPF_E_INVALID. fd_count: descriptors that came with the message. */
int ffpf_message_read(struct ffpf_message *out, const char *octets, size_t len, uint32_t fd_count,
		      struct ffpf_error *err);

struct ffpf_opened {
	uint64_t flow;
	uint32_t ifindex; /* 0: of no interface */
	uint32_t link_type;
	uint32_t lanes; /* 1 to FFPF_FLOW_LANES_MAX */
	uint64_t generation;
	enum ffpf_lanes_event wake;
};

enum ffpf_filter_level { FFPF_LEVEL_KERNEL, FFPF_LEVEL_USERSPACE };

struct ffpf_placed {
	uint64_t generation;
	enum ffpf_filter_level level;
	char reason[200];
};

/* The rest of a reply that says yes. 0 or -FFPF_E_INVALID. */
int ffpf_message_opened(struct ffpf_opened *out, const struct ffpf_message *message, struct ffpf_error *err);
int ffpf_message_placed(struct ffpf_placed *out, const struct ffpf_message *message, struct ffpf_error *err);

enum ffpf_event_kind {
	FFPF_EVENT_OTHER, /* of a later version: to be passed over */
	FFPF_EVENT_MOVED,
	FFPF_EVENT_REVOKED,
	FFPF_EVENT_SOURCE_DOWN,
	FFPF_EVENT_SOURCE_UP,
	FFPF_EVENT_SOURCE_GONE,
	FFPF_EVENT_ADOPTED, /* of the connection: a request not answered yet may be lost */
};

struct ffpf_event {
	enum ffpf_event_kind kind;
	uint64_t flow;
	char reason[200];
};

int ffpf_message_event(struct ffpf_event *out, const struct ffpf_message *message, struct ffpf_error *err);

/* Requests. `out` holds FFPF_MESSAGE_MAX octets; each returns the length. Texts that are no UTF-8 lose the octets that
 * are not. */
size_t ffpf_message_hello(char *out, uint64_t id, const char *program);
struct ffpf_wanted {
	const char *source;
	const char *group; /* NULL: the caller's own */
	uint32_t snap_len;
	bool promisc;
};
size_t ffpf_message_open(char *out, uint64_t id, const struct ffpf_wanted *wanted);
/* insns NULL: no filter. count is at most FFPF_BPF_KERNEL_MAX_INSNS. */
size_t ffpf_message_filter(char *out, uint64_t id, uint64_t flow, const struct ffpf_bpf_insn *insns, uint32_t count);
size_t ffpf_message_successor(char *out, uint64_t id, uint64_t flow, uint32_t lane);

#endif
