/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live_device.h"
#include "source/live_internal.h"

int
live_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	struct live *l = (struct live *)r;
	struct ffpf_counters *c = &l->counters;
	uint32_t packets, drops;
	int rc = ffpf_tpacket_statistics(l->fd, &packets, &drops, &r->err);

	if (rc)
		return rc;
	l->kernel_packets += packets;
	c->dropped[FFPF_DROP_KERNEL] += drops;
	if (l->promisc) {
		uint64_t lost = ffpf_device_lost(l->device);

		c->iface_drops += lost - l->iface_lost_seen;
		l->iface_lost_seen = lost;
	}
	c->dropped[FFPF_DROP_INVALID] = l->at.invalid;
	c->seen = c->filtered + c->delivered + ffpf_counters_dropped(c);
	c->waiting = l->kernel_packets > c->seen ? l->kernel_packets - c->seen : 0;
	*out = *c;
	return 0;
}
