/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles that never see a packet: programs compile filters and write savefiles with them. */
#include "refuse.h"

static int
no_rfmon(struct pcap *p)
{
	return ffpf_handle_fail(p, PCAP_ERROR, "Rfmon mode doesn't apply on a pcap_open_dead pcap_t");
}

static const struct ffpf_handle_refusals refusals = {
	.status = PCAP_ERROR,
	.packets = "Packets aren't available from a pcap_open_dead pcap_t",
	.filter = "A filter cannot be set on a pcap_open_dead pcap_t",
	.direction = "The packet direction cannot be set on a pcap_open_dead pcap_t",
	.datalink = "The link-layer header type cannot be set on a pcap_open_dead pcap_t",
	.nonblock = "A pcap_open_dead pcap_t does not have a non-blocking mode setting",
	.inject = "Packets can't be sent on a pcap_open_dead pcap_t",
	.stats = "Statistics aren't available from a pcap_open_dead pcap_t",
};

const struct ffpf_handle_ops ffpf_dead_ops = {
	.name = "dead",
	.dispatch = ffpf_refuse_packets,
	.loop = ffpf_refuse_packets,
	.next_ex = ffpf_refuse_next,
	.breakloop = ffpf_refuse_nothing,
	.setfilter = ffpf_refuse_filter,
	.setdirection = ffpf_refuse_direction,
	.set_datalink = ffpf_refuse_datalink,
	.getnonblock = ffpf_refuse_getnonblock,
	.setnonblock = ffpf_refuse_setnonblock,
	.inject = ffpf_refuse_inject,
	.stats = ffpf_refuse_stats,
	.can_set_rfmon = no_rfmon,
	.close = ffpf_refuse_nothing,
	.refusals = &refusals,
};

pcap_t *
pcap_open_dead_with_tstamp_precision(int linktype, int snaplen, u_int precision)
{
	struct pcap *p = ffpf_handle_create(&ffpf_dead_ops, NULL);

	if (!p)
		return NULL;
	p->activated = true;
	p->form = FFPF_FORM_DEAD;
	p->link_type = linktype;
	p->snapshot = snaplen;
	if (precision == PCAP_TSTAMP_PRECISION_NANO)
		p->opt.tstamp_precision = PCAP_TSTAMP_PRECISION_NANO;
	/* libpcap leaves these at 0, and programs may have come to see it */
	p->fd = p->selectable_fd = 0;
	return p;
}

pcap_t *
pcap_open_dead(int linktype, int snaplen)
{
	return pcap_open_dead_with_tstamp_precision(linktype, snaplen, PCAP_TSTAMP_PRECISION_MICRO);
}
