/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live.h"

#include "filter.h"
#include "live.h"
#include "read.h"
#include "stats.h"

#include <string.h>

static int
setfilter(struct pcap *p, const struct bpf_program *program)
{
	int status = ffpf_reader_setfilter(p, program);
	const char *warning = status < 0 ? NULL : ffpf_live_filter_warning(p->reader);

	if (warning) /* the library itself says it: programs are told nothing by the ABI */
		fprintf(stderr, "%s\n", warning);
	return status;
}

static int
setdirection(struct pcap *p, pcap_direction_t direction)
{
	int status = ffpf_reader_set_direction(p, direction);

	return status ? status : ffpf_reader_serve_again(p);
}

static int
stats(struct pcap *p, struct pcap_stat *stat)
{
	struct ffpf_counters c;
	int status = ffpf_reader_stats(p, &c, stat);

	if (!status)
		stat->ps_recv = (u_int)(c.seen + c.waiting);
	return status;
}

const struct ffpf_handle_ops ffpf_live_ops = {
	.name = "live",
	.dispatch = ffpf_live_dispatch,
	.loop = ffpf_live_loop,
	.next_ex = ffpf_live_next_ex,
	.breakloop = ffpf_reader_breakloop,
	.setfilter = setfilter,
	.setdirection = setdirection,
	.set_datalink = ffpf_reader_set_datalink,
	.getnonblock = ffpf_reader_getnonblock,
	.setnonblock = ffpf_reader_setnonblock,
	.inject = ffpf_reader_inject,
	.stats = stats,
	.can_set_rfmon = ffpf_live_can_set_rfmon,
	.close = ffpf_reader_nothing,
};

static int
warning_status(enum ffpf_live_warning warning)
{
	switch (warning) {
	case FFPF_LIVE_OK:
		return 0;
	case FFPF_LIVE_PROMISC_NOT_SUPPORTED:
		return PCAP_WARNING_PROMISC_NOTSUP;
	case FFPF_LIVE_TSTAMP_TYPE_NOT_SUPPORTED:
		return PCAP_WARNING_TSTAMP_TYPE_NOTSUP;
	default:
		return PCAP_WARNING;
	}
}

int
ffpf_live_activate(struct pcap *p)
{
	enum ffpf_live_warning warning = FFPF_LIVE_OK;
	struct ffpf_live_config cfg;
	struct ffpf_reader *reader;
	struct ffpf_error err = { .text = "" };
	int result;

	ffpf_reader_limit_snapshot(p);
	cfg = (struct ffpf_live_config){
		.device = p->opt.device,
		.snap_len = (uint32_t)p->snapshot,
		.timeout_ms = ffpf_reader_timeout(p),
		.buffer_bytes = (size_t)p->opt.buffer_bytes,
		.promisc = p->opt.promisc != 0,
		.immediate = p->opt.immediate != 0,
		.nonblock = p->opt.nonblock != 0 || p->opt.timeout_ms < 0,
		.protocol = p->opt.protocol,
		.tstamp_type = (enum ffpf_tstamp_type)p->opt.tstamp_type,
		.tick = p->opt.tstamp_precision == PCAP_TSTAMP_PRECISION_NANO ? FFPF_TICK_NS : FFPF_TICK_US,
	};
	result = ffpf_live_open(&reader, &cfg, &warning, &err);
	if (result == -FFPF_E_NOT_SUPPORTED)
		return ffpf_foreign_activate(p);
	if (result < 0)
		return ffpf_handle_fail_error(p, &err);
	if (ffpf_reader_copy_link_types(p, &reader->info) < 0) {
		reader->ops->close(reader);
		return PCAP_ERROR;
	}
	if (warning != FFPF_LIVE_OK)
		snprintf(p->errbuf, PCAP_ERRBUF_SIZE, "%s", reader->err.text);
	p->reader = reader;
	p->ops = &ffpf_live_ops;
	p->form = FFPF_FORM_LIVE;
	p->nonblock = cfg.nonblock;
	p->snapshot = (int)reader->info.snap_len; /* cooked devices need room for their header */
	p->link_type = reader->info.link_type;
	p->fd = ffpf_live_socket(reader);
	p->selectable_fd = reader->ops->poll_fd(reader);
	p->buffer_bytes = (int)ffpf_live_unit_bytes(reader);
	ffpf_reader_warn_of_any(p);
	ffpf_stats_attach(p);
	return warning_status(warning);
}
