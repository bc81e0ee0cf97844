/* SPDX-License-Identifier: BSD-3-Clause */
#include "handle.h"

#include "stats.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct pcap *ffpf_current __attribute__((tls_model("initial-exec")));

struct pcap *
ffpf_handle_create(const struct ffpf_handle_ops *ops, char *errbuf)
{
	struct pcap *p = calloc(1, sizeof(*p));

	if (!p) {
		if (errbuf)
			snprintf(errbuf, PCAP_ERRBUF_SIZE, "malloc: %s", strerror(errno));
		return NULL;
	}
	p->ops = ops;
	p->fd = -1;
	p->selectable_fd = -1;
	p->opt.tstamp_type = -1;
	p->opt.tstamp_precision = PCAP_TSTAMP_PRECISION_MICRO;
	return p;
}

void
ffpf_handle_destroy(struct pcap *p)
{
	ffpf_handle_finish(p);
	if (ffpf_current == p)
		ffpf_current = NULL;
	ffpf_stats_detach(p);
	p->ops->close(p);
	if (p->reader)
		p->reader->ops->close(p->reader);
	ffpf_bpf_prog_destroy(p->filter);
	free(p->sampling);
	free(p->link_types);
	free(p->opt.device);
	free(p);
}

int
ffpf_handle_fail(struct pcap *p, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->errbuf, PCAP_ERRBUF_SIZE, fmt, ap);
	va_end(ap);
	return status;
}

int
ffpf_handle_fail_errno(struct pcap *p, int status, int err, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	va_start(ap, fmt);
	vsnprintf(p->errbuf, PCAP_ERRBUF_SIZE, fmt, ap);
	va_end(ap);
	used = strlen(p->errbuf);
	snprintf(p->errbuf + used, PCAP_ERRBUF_SIZE - used, ": %s", strerror(err));
	return status;
}

int
ffpf_handle_fail_error(struct pcap *p, const struct ffpf_error *err)
{
	snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "%s", err->text);
	return ffpf_pcap_status(err->code);
}

int
ffpf_pcap_status(enum ffpf_code code)
{
	switch (code) {
	case FFPF_E_NO_SUCH_DEVICE:
		return PCAP_ERROR_NO_SUCH_DEVICE;
	case FFPF_E_PERMISSION:
		return PCAP_ERROR_PERM_DENIED;
	case FFPF_E_PROMISC_PERMISSION:
		return PCAP_ERROR_PROMISC_PERM_DENIED;
	case FFPF_E_DEVICE_DOWN:
		return PCAP_ERROR_IFACE_NOT_UP;
	case FFPF_E_RFMON_NOT_SUPPORTED:
		return PCAP_ERROR_RFMON_NOTSUP;
	case FFPF_E_TSTAMP_TYPE:
		return PCAP_ERROR_CANTSET_TSTAMP_TYPE;
	case FFPF_E_TSTAMP_PRECISION:
		return PCAP_ERROR_TSTAMP_PRECISION_NOTSUP;
	default:
		return PCAP_ERROR;
	}
}

void
ffpf_handle_settle(struct pcap *p)
{
	if (p->next > p->released) {
		uint32_t done = p->next - p->released;

		p->released = p->next;
		p->reader->ops->release(p->reader, done);
	}
}

void
ffpf_handle_forget_batch(struct pcap *p)
{
	ffpf_handle_settle(p);
	p->batch.count = p->next = p->released = 0;
}

void
pcap_close(pcap_t *p)
{
	if (p)
		ffpf_handle_destroy(p);
}
