/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handles that the system's libpcap serves. Every call goes through to its own handle, p->foreign; what it answers, and
 * the text of its errors, comes back as it is. Packets lie in its memory, so nothing of them is gathered when written.
 */
#include "handle.h"
#include "stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The thread is prepared for calls into the system's library by each fetch of a function: see syspcap.h. */
#define SYSTEM(name) FFPF_SYSPCAP(name, NULL)

static int
outcome_of(struct pcap *p, pcap_t *theirs, int result)
{
	if (result < 0)
		snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "%s", SYSTEM(pcap_geterr)(theirs));
	return result;
}

static int
outcome(struct pcap *p, int result)
{
	return outcome_of(p, p->foreign, result);
}

struct consumer {
	struct pcap *p;
	pcap_handler callback;
	u_char *user;
};

static void
hand_over(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	const struct consumer *consumer = (const struct consumer *)(void *)user;

	consumer->p->foreign_delivered++;
	consumer->callback(consumer->user, header, data);
}

/* dispatch and loop. The callback may be one of another handle's: that one's batch is finished first. */
static int
read_packets(struct pcap *p, __typeof__(&pcap_dispatch) read, int count, pcap_handler callback, u_char *user)
{
	struct consumer consumer = { p, callback, user };
	struct pcap *outer = ffpf_current;
	int result;

	if (outer)
		ffpf_handle_finish(outer);
	ffpf_current = NULL;
	result = read(p->foreign, count, hand_over, (u_char *)&consumer);
	ffpf_current = outer;
	return outcome(p, result);
}

static int
dispatch(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, SYSTEM(pcap_dispatch), count, callback, user);
}

static int
loop(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, SYSTEM(pcap_loop), count, callback, user);
}

static int
next_ex(struct pcap *p, struct pcap_pkthdr **header, const u_char **data)
{
	int result = SYSTEM(pcap_next_ex)(p->foreign, header, data);

	if (result == 1)
		p->foreign_delivered++;
	return outcome(p, result);
}

/* Kept apart, since a signal handler must not search for it; the library stays loaded. Set before any handle is active.
 */
static _Atomic(__typeof__(&pcap_breakloop)) system_breakloop;

static void
breakloop(struct pcap *p)
{
	system_breakloop(p->foreign);
}

static int
setfilter(struct pcap *p, const struct bpf_program *program)
{
	return outcome(p, SYSTEM(pcap_setfilter)(p->foreign, (struct bpf_program *)(uintptr_t)program));
}

static int
setdirection(struct pcap *p, pcap_direction_t direction)
{
	return outcome(p, SYSTEM(pcap_setdirection)(p->foreign, direction));
}

static int
set_datalink(struct pcap *p, int dlt)
{
	return outcome(p, SYSTEM(pcap_set_datalink)(p->foreign, dlt));
}

static int
getnonblock(struct pcap *p)
{
	char text[PCAP_ERRBUF_SIZE] = "";

	return outcome(p, SYSTEM(pcap_getnonblock)(p->foreign, text));
}

static int
setnonblock(struct pcap *p, int nonblock)
{
	char text[PCAP_ERRBUF_SIZE] = "";

	return outcome(p, SYSTEM(pcap_setnonblock)(p->foreign, nonblock, text));
}

static int
inject(struct pcap *p, const void *data, int size)
{
	return outcome(p, SYSTEM(pcap_inject)(p->foreign, data, (size_t)size));
}

static int
stats(struct pcap *p, struct pcap_stat *stat)
{
	return outcome(p, SYSTEM(pcap_stats)(p->foreign, stat));
}

static int
can_set_rfmon(struct pcap *p)
{
	return outcome(p, SYSTEM(pcap_can_set_rfmon)(p->foreign));
}

static void
close_foreign(struct pcap *p)
{
	SYSTEM(pcap_close)(p->foreign);
	p->foreign = NULL;
}

const struct ffpf_handle_ops ffpf_foreign_ops = {
	.name = "foreign",
	.dispatch = dispatch,
	.loop = loop,
	.next_ex = next_ex,
	.breakloop = breakloop,
	.setfilter = setfilter,
	.setdirection = setdirection,
	.set_datalink = set_datalink,
	.getnonblock = getnonblock,
	.setnonblock = setnonblock,
	.inject = inject,
	.stats = stats,
	.can_set_rfmon = can_set_rfmon,
	.close = close_foreign,
};

/* A name that ends in `prefix` and a number, perhaps behind slashes. */
static bool
is_numbered(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);
	char *end;
	long number;

	if (strncmp(name, prefix, len) != 0)
		return false;
	number = strtol(name + len, &end, 10);
	return end != name + len && *end == '\0' && number >= 0;
}

/* The prefix alone, or with a colon and what the device is to be told. */
static bool
is_one_of_many(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && (name[len] == ':' || name[len] == '\0');
}

/* As libpcap 1.10.3 tells its kinds of devices apart: by their names alone. */
bool
ffpf_foreign_device(const char *device)
{
	const char *slash = strrchr(device, '/');
	const char *name = slash ? slash : device; /* the slash belongs to it: no such name is theirs */

	return is_numbered(name, "bluetooth") || strcmp(name, "bluetooth-monitor") == 0 ||
	       is_numbered(name, "usbmon") || is_one_of_many(name, "nflog") || is_one_of_many(name, "nfqueue") ||
	       strcmp(device, "dbus-system") == 0 || strcmp(device, "dbus-session") == 0 ||
	       strncmp(device, "dbus://", 7) == 0;
}

/* What was set on p, set on its counterpart. The functions refuse nothing that ours did not refuse before, but for time
 * stamps of devices that have them only there: what these refuse is left at its default, as it is by a program. */
static void
set_options(const struct pcap *p, pcap_t *theirs)
{
	const struct ffpf_handle_options *opt = &p->opt;
	char text[PCAP_ERRBUF_SIZE];

	SYSTEM(pcap_set_snaplen)(theirs, p->snapshot);
	SYSTEM(pcap_set_promisc)(theirs, opt->promisc);
	SYSTEM(pcap_set_rfmon)(theirs, opt->rfmon);
	SYSTEM(pcap_set_timeout)(theirs, opt->timeout_ms);
	SYSTEM(pcap_set_immediate_mode)(theirs, opt->immediate);
	SYSTEM(pcap_set_buffer_size)(theirs, opt->buffer_bytes);
	SYSTEM(pcap_set_protocol_linux)(theirs, opt->protocol);
	if (opt->tstamp_type >= 0)
		SYSTEM(pcap_set_tstamp_type)(theirs, opt->tstamp_type);
	SYSTEM(pcap_set_tstamp_precision)(theirs, opt->tstamp_precision);
	if (opt->nonblock)
		SYSTEM(pcap_setnonblock)(theirs, 1, text);
}

static int
copy_link_types(struct pcap *p, pcap_t *theirs)
{
	int *list, *copy;
	int count = SYSTEM(pcap_list_datalinks)(theirs, &list);

	if (count < 0)
		return ffpf_handle_fail(p, PCAP_ERROR, "%s", SYSTEM(pcap_geterr)(theirs));
	copy = malloc((size_t)count * sizeof(*copy));
	if (copy)
		memcpy(copy, list, (size_t)count * sizeof(*copy));
	SYSTEM(pcap_free_datalinks)(list);
	if (!copy)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "malloc");
	p->link_types = copy;
	p->link_type_count = count;
	return 0;
}

static void
copy_facts(struct pcap *p, pcap_t *theirs)
{
	p->form = FFPF_FORM_LIVE;
	p->snapshot = SYSTEM(pcap_snapshot)(theirs);
	p->link_type = SYSTEM(pcap_datalink)(theirs);
	p->link_type_ext = SYSTEM(pcap_datalink_ext)(theirs);
	p->fd = SYSTEM(pcap_fileno)(theirs);
	p->selectable_fd = SYSTEM(pcap_get_selectable_fd)(theirs);
	p->buffer_bytes = SYSTEM(pcap_bufsize)(theirs);
	p->opt.tstamp_precision = SYSTEM(pcap_get_tstamp_precision)(theirs);
}

/* p's counterpart, not activated; NULL with the text in p->errbuf. */
static pcap_t *
create_theirs(struct pcap *p)
{
	struct ffpf_error err;
	pcap_t *theirs;

	if (!FFPF_SYSPCAP(pcap_create, &err) || !FFPF_SYSPCAP(pcap_activate, &err)) {
		ffpf_handle_fail(p, PCAP_ERROR, "%s", err.text);
		return NULL;
	}
	theirs = SYSTEM(pcap_create)(p->opt.device, p->errbuf);
	return theirs;
}

int
ffpf_foreign_keep_nonblock(struct pcap *p, int nonblock)
{
	pcap_t *theirs = create_theirs(p);
	int result;

	if (!theirs)
		return PCAP_ERROR;
	result = SYSTEM(pcap_setnonblock)(theirs, nonblock, p->errbuf);
	SYSTEM(pcap_close)(theirs);
	return result;
}

int
ffpf_foreign_kept_nonblock(struct pcap *p)
{
	pcap_t *theirs = create_theirs(p);
	int result;

	if (!theirs)
		return PCAP_ERROR;
	result = outcome_of(p, theirs, SYSTEM(pcap_getnonblock)(theirs, p->errbuf));
	SYSTEM(pcap_close)(theirs);
	return result;
}

int
ffpf_foreign_activate(struct pcap *p)
{
	pcap_t *theirs = create_theirs(p);
	int status;

	if (!theirs)
		return PCAP_ERROR;
	set_options(p, theirs);
	status = SYSTEM(pcap_activate)(theirs);
	snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "%s", SYSTEM(pcap_geterr)(theirs));
	if (status >= 0 && copy_link_types(p, theirs) < 0)
		status = PCAP_ERROR;
	if (status < 0) {
		SYSTEM(pcap_close)(theirs);
		return status;
	}
	copy_facts(p, theirs);
	system_breakloop = SYSTEM(pcap_breakloop);
	p->foreign = theirs;
	p->ops = &ffpf_foreign_ops;
	ffpf_stats_attach(p);
	return status;
}
