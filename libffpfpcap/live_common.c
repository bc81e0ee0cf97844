/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of handles that capture by a reader of ours do alike. */
#include "filter.h"
#include "live.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A negative timeout is invalid, but libpcap takes it to mean non-blocking, with the kernel's own block timeout. */
#define SHORT_TIMEOUT_MS 8

void
ffpf_reader_breakloop(struct pcap *p)
{
	p->reader->ops->wake(p->reader);
}

int
ffpf_reader_set_datalink(struct pcap *p, int dlt)
{
	struct ffpf_reader *r = p->reader;

	ffpf_handle_settle(p);
	if (r->ops->set_link_type && r->ops->set_link_type(r, dlt) < 0) {
		ffpf_handle_fail_error(p, &r->err);
		return PCAP_ERROR;
	}
	return ffpf_reader_serve_again(p);
}

int
ffpf_reader_getnonblock(struct pcap *p)
{
	return p->nonblock;
}

int
ffpf_reader_setnonblock(struct pcap *p, int nonblock)
{
	struct ffpf_reader *r = p->reader;

	if (r->ops->set_nonblock(r, nonblock != 0) < 0) {
		ffpf_handle_fail_error(p, &r->err);
		return PCAP_ERROR;
	}
	p->nonblock = nonblock != 0;
	return 0;
}

int
ffpf_reader_inject(struct pcap *p, const void *data, int size)
{
	struct ffpf_reader *r = p->reader;
	int sent = r->ops->inject(r, data, (size_t)size);

	if (sent < 0) {
		ffpf_handle_fail_error(p, &r->err);
		return PCAP_ERROR;
	}
	return sent;
}

int
ffpf_reader_set_direction(struct pcap *p, pcap_direction_t direction)
{
	struct ffpf_reader *r = p->reader;

	if (!r->ops->set_direction)
		return ffpf_handle_fail(p, PCAP_ERROR, "Setting direction is not supported on this device");
	ffpf_handle_settle(p);
	if (r->ops->set_direction(r, (enum ffpf_direction)direction) < 0) {
		ffpf_handle_fail_error(p, &r->err);
		return PCAP_ERROR;
	}
	return 0;
}

int
ffpf_reader_stats(struct pcap *p, struct ffpf_counters *counters, struct pcap_stat *stat)
{
	struct ffpf_reader *r = p->reader;

	ffpf_handle_settle(p);
	if (r->ops->counters(r, counters) < 0) {
		ffpf_handle_fail_error(p, &r->err);
		return PCAP_ERROR;
	}
	/* 32 bits that wrap, by the ABI */
	stat->ps_drop = (u_int)ffpf_counters_dropped(counters);
	stat->ps_ifdrop = (u_int)counters->iface_drops;
	return 0;
}

int
ffpf_reader_flow_stats(struct pcap *p, struct pcap_stat *stat)
{
	struct ffpf_counters c;
	int status = ffpf_reader_stats(p, &c, stat);

	if (!status)
		stat->ps_recv = (u_int)(c.seen - c.filtered + c.misdirected + c.waiting);
	return status;
}

void
ffpf_reader_nothing(struct pcap *p)
{
	(void)p;
}

/* A wireless device of the kernel's mac80211 is taken to have a monitor mode: there is no asking without changing it.
 */
int
ffpf_live_can_set_rfmon(struct pcap *p)
{
	char path[PATH_MAX], target[PATH_MAX];

	if (strcmp(p->opt.device, "any") == 0 || ffpf_foreign_device(p->opt.device))
		return 0;
	if (snprintf(path, sizeof(path), "/sys/class/net/%s/phy80211", p->opt.device) >= (int)sizeof(path))
		return 0;
	if (readlink(path, target, sizeof(target)) >= 0)
		return 1;
	if (errno == ENOENT || errno == EINVAL)
		return 0;
	return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "%s: Can't readlink %s", p->opt.device, path);
}

int
ffpf_reader_copy_link_types(struct pcap *p, const struct ffpf_reader_info *info)
{
	if (info->link_type_count == 0)
		return 0;
	p->link_types = malloc(info->link_type_count * sizeof(*p->link_types));
	if (!p->link_types)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "malloc");
	memcpy(p->link_types, info->link_types, info->link_type_count * sizeof(*p->link_types));
	p->link_type_count = (int)info->link_type_count;
	return 0;
}

void
ffpf_reader_limit_snapshot(struct pcap *p)
{
	if (p->snapshot <= 0 || p->snapshot > FFPF_MAX_SNAP_LEN)
		p->snapshot = FFPF_MAX_SNAP_LEN;
}

int
ffpf_reader_timeout(const struct pcap *p)
{
	return p->opt.timeout_ms < 0 ? SHORT_TIMEOUT_MS : p->opt.timeout_ms;
}

void
ffpf_reader_warn_of_any(struct pcap *p)
{
	if (p->opt.promisc && strcmp(p->opt.device, "any") == 0) {
		/* libpcap 1.10 has the text of a warning for this, but not its status */
		p->opt.promisc = 0;
		snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "Promiscuous mode not supported on the \"any\" device");
	}
}
