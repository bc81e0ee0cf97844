/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles that ffpfd serves: see csrc/client. */
#include "client/shared.h"

#include "filter.h"
#include "live.h"
#include "read.h"
#include "stats.h"

#include <errno.h>
#include <stdlib.h>

/* The reader serves again what it has prepared by itself. */
static int
setdirection(struct pcap *p, pcap_direction_t direction)
{
	int status = ffpf_reader_set_direction(p, direction);

	if (!status)
		ffpf_handle_forget_batch(p);
	return status;
}

const struct ffpf_handle_ops ffpf_shared_ops = {
	.name = "shared",
	.dispatch = ffpf_live_dispatch,
	.loop = ffpf_live_loop,
	.next_ex = ffpf_live_next_ex,
	.breakloop = ffpf_reader_breakloop,
	.setfilter = ffpf_reader_setfilter,
	.setdirection = setdirection,
	.set_datalink = ffpf_reader_set_datalink,
	.getnonblock = ffpf_reader_getnonblock,
	.setnonblock = ffpf_reader_setnonblock,
	.inject = ffpf_reader_inject,
	.stats = ffpf_reader_flow_stats,
	.can_set_rfmon = ffpf_live_can_set_rfmon,
	.close = ffpf_reader_nothing,
};

int
ffpf_shared_activate(struct pcap *p, struct ffpf_error *err)
{
	const char *group = secure_getenv("FFPF_GROUP");
	const int snapshot = p->snapshot;
	struct ffpf_shared_config cfg;
	struct ffpf_reader *reader;
	int result;

	ffpf_reader_limit_snapshot(p);
	cfg = (struct ffpf_shared_config){
		.device = p->opt.device,
		.group = group && *group ? group : NULL,
		.program = program_invocation_short_name,
		.snap_len = (uint32_t)p->snapshot,
		.timeout_ms = ffpf_reader_timeout(p),
		.promisc = p->opt.promisc != 0,
		.immediate = p->opt.immediate != 0,
		.nonblock = p->opt.nonblock != 0 || p->opt.timeout_ms < 0,
		.tick = p->opt.tstamp_precision == PCAP_TSTAMP_PRECISION_NANO ? FFPF_TICK_NS : FFPF_TICK_US,
	};
	result = ffpf_shared_open(&reader, &cfg, err);
	if (result < 0) {
		p->snapshot = snapshot;
		return ffpf_pcap_status(err->code);
	}
	if (ffpf_reader_copy_link_types(p, &reader->info) < 0) {
		reader->ops->close(reader);
		ffpf_error_set(err, FFPF_E_NO_MEMORY, "%s", p->errbuf);
		return PCAP_ERROR;
	}
	p->reader = reader;
	p->ops = &ffpf_shared_ops;
	p->form = FFPF_FORM_LIVE;
	p->nonblock = cfg.nonblock;
	p->snapshot = (int)reader->info.snap_len; /* cooked devices need room for their header */
	p->link_type = reader->info.link_type;
	p->fd = reader->ops->poll_fd(reader);
	p->selectable_fd = p->fd;
	p->buffer_bytes = FFPF_MAX_SNAP_LEN;
	ffpf_reader_warn_of_any(p);
	ffpf_stats_attach(p);
	return 0;
}
