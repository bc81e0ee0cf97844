/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles on an IXP1200 board: see ixp_driver/host. */
#include "host/boards.h"
#include "host/ixp.h"

#include "filter.h"
#include "live.h"
#include "read.h"
#include "stats.h"

#include <net/if.h>
#include <string.h>

#define WANT 256 /* packets worth waking for, before the timeout */

static int
setdirection(struct pcap *p, pcap_direction_t direction)
{
	int status = ffpf_reader_set_direction(p, direction);

	return status ? status : ffpf_reader_serve_again(p);
}

static int
no_rfmon(struct pcap *p)
{
	(void)p;
	return 0;
}

const struct ffpf_handle_ops ffpf_board_ops = {
	.name = "board",
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
	.can_set_rfmon = no_rfmon,
	.close = ffpf_reader_nothing,
};

bool
ffpf_board_named(const char *device)
{
	return strcmp(device, "any") != 0 && !if_nametoindex(device) && ffpf_ixp_answers(device);
}

int
ffpf_board_activate(struct pcap *p)
{
	struct ffpf_error err = { .text = "" };
	struct ffpf_ixp_config cfg;
	struct ffpf_reader *reader;

	ffpf_reader_limit_snapshot(p);
	cfg = (struct ffpf_ixp_config){
		.board = p->opt.device,
		.snap_len = (uint32_t)p->snapshot,
		.tick = p->opt.tstamp_precision == PCAP_TSTAMP_PRECISION_NANO ? FFPF_TICK_NS : FFPF_TICK_US,
		.timeout_ms = ffpf_reader_timeout(p),
		.want = p->opt.immediate ? 1 : WANT,
		.nonblock = p->opt.nonblock != 0 || p->opt.timeout_ms < 0,
	};
	if (ffpf_ixp_open(&reader, &cfg, &err) < 0)
		return ffpf_handle_fail_error(p, &err);
	p->reader = reader;
	p->ops = &ffpf_board_ops;
	p->form = FFPF_FORM_DEAD;
	p->nonblock = cfg.nonblock;
	p->link_type = reader->info.link_type;
	p->fd = reader->ops->poll_fd(reader);
	p->selectable_fd = p->fd;
	p->buffer_bytes = (int)reader->info.buffer_bytes;
	ffpf_stats_attach(p);
	return 0;
}
