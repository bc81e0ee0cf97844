/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From what a reader delivers to what a hook takes.
 *
 *     reader   | addresses | tag | type, payload |     the tag that the kernel took out was put back
 *     hook     | addresses | type, payload |  tag      filters see it beside; the hook puts it back into the record
 */
#include "feed/feed_internal.h"
#include "source/cooked.h"
#include "source/packet_time.h"

#include <stdlib.h>
#include <string.h>

#define TAG_BYTES 4

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* A cooked header says what else the kernel knew. */
static void
read_cooked(const struct ffpf_packet *from, struct ffpf_hook_packet *out)
{
	const uint8_t *header = from->data;

	if (from->cap_len < COOKED_V2_BYTES)
		return;
	out->protocol = get16(header);
	out->ifindex = (uint32_t)get16(header + 4) << 16 | get16(header + 6);
	out->hatype = get16(header + 8);
	out->pkt_type = header[10];
}

/* Takes the tag out of a copy. */
static int
take_tag_out(struct ffpf_feed *feed, struct ffpf_hook_packet *out)
{
	const uint32_t at = (uint32_t)feed->vlan_offset;
	const uint32_t behind = out->cap_len > at + TAG_BYTES ? out->cap_len - at - TAG_BYTES : 0;
	const uint32_t before = out->cap_len < at ? out->cap_len : at;

	if (feed->untagged_bytes < (size_t)before + behind) {
		uint8_t *grown = realloc(feed->untagged, out->cap_len);

		if (!grown)
			return ffpf_error_set(&feed->err, FFPF_E_NO_MEMORY, "no memory for a packet of %u octets",
					      out->cap_len);
		feed->untagged = grown;
		feed->untagged_bytes = out->cap_len;
	}
	memcpy(feed->untagged, out->data, before);
	memcpy(feed->untagged + before, out->data + at + TAG_BYTES, behind);
	out->data = feed->untagged;
	out->cap_len = before + behind;
	out->wire_len -= TAG_BYTES;
	return 0;
}

int
feed_packet(struct ffpf_feed *feed, const struct ffpf_packet *from, struct ffpf_hook_packet *out)
{
	*out = (struct ffpf_hook_packet){
		.data = from->data,
		.time_ns = ffpf_packet_time_ns(feed->reader, from),
		.cap_len = from->cap_len,
		.wire_len = from->wire_len,
		.ifindex = from->ifindex,
		.protocol = from->protocol,
		.hatype = feed->cfg.hatype,
		.result = from->result,
		.pkt_type = from->pkt_type,
		.flags = FFPF_HOOK_JUDGED | (feed->cfg.times == FFPF_FEED_TIMES_GIVEN ? FFPF_HOOK_TIME_GIVEN : 0),
	};
	if (feed->cooked)
		read_cooked(from, out);
	if (!(from->flags & (FFPF_PACKET_VLAN | FFPF_PACKET_VLAN_BESIDE)))
		return 0;
	out->flags |= FFPF_HOOK_VLAN;
	out->vlan_tci = from->vlan_tci;
	out->vlan_tpid = from->vlan_tpid;
	return from->flags & FFPF_PACKET_VLAN ? take_tag_out(feed, out) : 0;
}
