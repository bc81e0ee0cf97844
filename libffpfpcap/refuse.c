/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations that a kind of handle refuses, each with the text that the kind has for it. */
#include "refuse.h"

static int
refuse(struct pcap *p, const char *text)
{
	return ffpf_handle_fail(p, p->ops->refusals->status, "%s", text);
}

int
ffpf_refuse_packets(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	(void)count, (void)callback, (void)user;
	return refuse(p, p->ops->refusals->packets);
}

int
ffpf_refuse_next(struct pcap *p, struct pcap_pkthdr **header, const u_char **data)
{
	(void)data;
	*header = &p->header;
	return refuse(p, p->ops->refusals->packets);
}

int
ffpf_refuse_filter(struct pcap *p, const struct bpf_program *program)
{
	(void)program;
	return refuse(p, p->ops->refusals->filter);
}

int
ffpf_refuse_direction(struct pcap *p, pcap_direction_t direction)
{
	(void)direction;
	return refuse(p, p->ops->refusals->direction);
}

int
ffpf_refuse_datalink(struct pcap *p, int dlt)
{
	(void)dlt;
	return refuse(p, p->ops->refusals->datalink);
}

int
ffpf_refuse_getnonblock(struct pcap *p)
{
	return refuse(p, p->ops->refusals->nonblock);
}

int
ffpf_refuse_setnonblock(struct pcap *p, int nonblock)
{
	(void)nonblock;
	return refuse(p, p->ops->refusals->nonblock);
}

int
ffpf_refuse_inject(struct pcap *p, const void *data, int size)
{
	(void)data, (void)size;
	return refuse(p, p->ops->refusals->inject);
}

int
ffpf_refuse_stats(struct pcap *p, struct pcap_stat *stat)
{
	(void)stat;
	return refuse(p, p->ops->refusals->stats);
}

void
ffpf_refuse_nothing(struct pcap *p)
{
	(void)p;
}
