/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles before their activation, and the activation. */
#include "live.h"
#include "refuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
keep_nonblock(struct pcap *p, int nonblock)
{
	if (ffpf_foreign_device(p->opt.device) && ffpf_foreign_keep_nonblock(p, nonblock) < 0)
		return PCAP_ERROR;
	p->opt.nonblock = nonblock;
	return 0;
}

static int
kept_nonblock(struct pcap *p)
{
	return ffpf_foreign_device(p->opt.device) ? ffpf_foreign_kept_nonblock(p) : ffpf_refuse_getnonblock(p);
}

static const char not_yet[] = "This handle hasn't been activated yet";

static const struct ffpf_handle_refusals refusals = {
	.status = PCAP_ERROR_NOT_ACTIVATED,
	.packets = not_yet,
	.filter = not_yet,
	.direction = not_yet,
	.datalink = not_yet,
	.nonblock = not_yet,
	.inject = not_yet,
	.stats = not_yet,
};

const struct ffpf_handle_ops ffpf_inactive_ops = {
	.name = "inactive",
	.dispatch = ffpf_refuse_packets,
	.loop = ffpf_refuse_packets,
	.next_ex = ffpf_refuse_next,
	.breakloop = ffpf_refuse_nothing,
	.setfilter = ffpf_refuse_filter,
	.setdirection = ffpf_refuse_direction,
	.set_datalink = ffpf_refuse_datalink,
	.getnonblock = kept_nonblock,
	.setnonblock = keep_nonblock,
	.inject = ffpf_refuse_inject,
	.stats = ffpf_refuse_stats,
	.can_set_rfmon = ffpf_live_can_set_rfmon,
	.close = ffpf_refuse_nothing,
	.refusals = &refusals,
};

pcap_t *
pcap_create(const char *device, char *errbuf)
{
	struct pcap *p = ffpf_handle_create(&ffpf_inactive_ops, errbuf);

	if (!p)
		return NULL;
	p->opt.device = strdup(device ? device : "any");
	if (!p->opt.device) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "malloc: %s", strerror(errno));
		ffpf_handle_destroy(p);
		return NULL;
	}
	return p;
}

/* Options may only be set before activation. */
static bool
too_late(struct pcap *p)
{
	if (p->activated)
		ffpf_handle_fail(p, PCAP_ERROR, "can't perform  operation on activated capture");
	return p->activated;
}

int
pcap_set_snaplen(pcap_t *p, int snaplen)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->snapshot = snaplen;
	return 0;
}

int
pcap_set_promisc(pcap_t *p, int promisc)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->opt.promisc = promisc;
	return 0;
}

int
pcap_set_rfmon(pcap_t *p, int rfmon)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->opt.rfmon = rfmon;
	return 0;
}

int
pcap_set_timeout(pcap_t *p, int timeout_ms)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->opt.timeout_ms = timeout_ms;
	return 0;
}

int
pcap_set_immediate_mode(pcap_t *p, int immediate)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->opt.immediate = immediate;
	return 0;
}

int
pcap_set_buffer_size(pcap_t *p, int buffer_size)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	if (buffer_size > 0) /* others are silently ignored */
		p->opt.buffer_bytes = buffer_size;
	return 0;
}

int
pcap_set_protocol_linux(pcap_t *p, int protocol)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->opt.protocol = protocol;
	return 0;
}

int
pcap_set_tstamp_precision(pcap_t *p, int tstamp_precision)
{
	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	if (tstamp_precision == PCAP_TSTAMP_PRECISION_MICRO ||
	    (tstamp_precision == PCAP_TSTAMP_PRECISION_NANO && !ffpf_foreign_device(p->opt.device))) {
		p->opt.tstamp_precision = tstamp_precision;
		return 0;
	}
	return PCAP_ERROR_TSTAMP_PRECISION_NOTSUP;
}

int
pcap_set_tstamp_type(pcap_t *p, int tstamp_type)
{
	int *types, count;
	bool known = false;

	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	count = pcap_list_tstamp_types(p, &types);
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++)
		known |= types[i] == tstamp_type;
	pcap_free_tstamp_types(types);
	if (!known)
		return PCAP_WARNING_TSTAMP_TYPE_NOTSUP;
	p->opt.tstamp_type = tstamp_type;
	return 0;
}

int
pcap_activate(pcap_t *p)
{
	int status;

	if (too_late(p))
		return PCAP_ERROR_ACTIVATED;
	p->errbuf[0] = '\0';
	status = ffpf_engine_activate(p);
	if (status >= 0)
		p->activated = true;
	else if (p->errbuf[0] == '\0') /* for programs that look at nothing else */
		snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "%s", pcap_statustostr(status));
	if (status == PCAP_ERROR_IFACE_NOT_UP && !p->opt.immediate)
		errno = EINVAL; /* of libpcap's attempt to give its ring back: programs print it */
	return status;
}

void
ffpf_handle_describe_failure(const struct pcap *p, const char *device, int status, char *errbuf)
{
	bool has_detail = status == PCAP_ERROR_NO_SUCH_DEVICE || status == PCAP_ERROR_PERM_DENIED ||
			  status == PCAP_ERROR_PROMISC_PERM_DENIED;
	int room;

	if (status == PCAP_ERROR) {
		room = PCAP_ERRBUF_SIZE - 6;
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: %.*s", device, room, p->errbuf);
	} else if (has_detail && p->errbuf[0]) {
		room = PCAP_ERRBUF_SIZE - 9;
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: %s (%.*s)", device, pcap_statustostr(status), room, p->errbuf);
	} else {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: %s", device, pcap_statustostr(status));
	}
}

pcap_t *
pcap_open_live(const char *device, int snaplen, int promisc, int to_ms, char *errbuf)
{
	struct pcap *p = pcap_create(device, errbuf);
	int status;

	if (!p)
		return NULL;
	p->snapshot = snaplen;
	p->opt.promisc = promisc;
	p->opt.timeout_ms = to_ms;
	status = pcap_activate(p);
	if (status < 0) {
		ffpf_handle_describe_failure(p, p->opt.device, status, errbuf);
		pcap_close(p);
		return NULL;
	}
	return p;
}
