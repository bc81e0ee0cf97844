/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles that never see a packet: programs compile filters and write savefiles with them. */
#include "handle.h"

static int
no_packets(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	(void)count, (void)callback, (void)user;
	return ffpf_handle_fail(p, PCAP_ERROR, "Packets aren't available from a pcap_open_dead pcap_t");
}

static int
no_next(struct pcap *p, struct pcap_pkthdr **header, const u_char **data)
{
	(void)data;
	*header = &p->header;
	return no_packets(p, 1, NULL, NULL);
}

static void
nothing(struct pcap *p)
{
	(void)p;
}

static int
no_filter(struct pcap *p, const struct bpf_program *program)
{
	(void)program;
	return ffpf_handle_fail(p, PCAP_ERROR, "A filter cannot be set on a pcap_open_dead pcap_t");
}

static int
no_direction(struct pcap *p, pcap_direction_t direction)
{
	(void)direction;
	return ffpf_handle_fail(p, PCAP_ERROR, "The packet direction cannot be set on a pcap_open_dead pcap_t");
}

static int
no_datalink(struct pcap *p, int dlt)
{
	(void)dlt;
	return ffpf_handle_fail(p, PCAP_ERROR, "The link-layer header type cannot be set on a pcap_open_dead pcap_t");
}

static int
no_getnonblock(struct pcap *p)
{
	return ffpf_handle_fail(p, PCAP_ERROR, "A pcap_open_dead pcap_t does not have a non-blocking mode setting");
}

static int
no_setnonblock(struct pcap *p, int nonblock)
{
	(void)nonblock;
	return no_getnonblock(p);
}

static int
no_inject(struct pcap *p, const void *data, int size)
{
	(void)data, (void)size;
	return ffpf_handle_fail(p, PCAP_ERROR, "Packets can't be sent on a pcap_open_dead pcap_t");
}

static int
no_stats(struct pcap *p, struct pcap_stat *stat)
{
	(void)stat;
	return ffpf_handle_fail(p, PCAP_ERROR, "Statistics aren't available from a pcap_open_dead pcap_t");
}

static int
no_rfmon(struct pcap *p)
{
	return ffpf_handle_fail(p, PCAP_ERROR, "Rfmon mode doesn't apply on a pcap_open_dead pcap_t");
}

const struct ffpf_handle_ops ffpf_dead_ops = {
	.name = "dead",
	.dispatch = no_packets,
	.loop = no_packets,
	.next_ex = no_next,
	.breakloop = nothing,
	.setfilter = no_filter,
	.setdirection = no_direction,
	.set_datalink = no_datalink,
	.getnonblock = no_getnonblock,
	.setnonblock = no_setnonblock,
	.inject = no_inject,
	.stats = no_stats,
	.can_set_rfmon = no_rfmon,
	.close = nothing,
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
