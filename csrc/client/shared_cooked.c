/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cooked packets. The hook stores LINUX_SLL2 headers; a handle of LINUX_SLL gets a copy with that one's header, with
 * the VLAN tag in it, as libpcap has it. See source/cooked.h for both.
 */
#include "client/shared_internal.h"
#include "common/clock.h"
#include "source/cooked.h"

#include <linux/if_packet.h>
#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>

#define TAG_BYTES 4

/* What has been looked at in the lanes' batch up to `end` is done with. */
static void
take(struct shared *s, uint32_t end)
{
	if (end > s->taken)
		s->lanes->ops->release(s->lanes, end - s->taken);
	s->taken = end;
}

/* A descriptor of the lanes is released with those before it that were turned away. */
void
shared_cooked_release(struct shared *s, uint32_t n)
{
	uint32_t last;

	if (n == 0)
		return;
	last = s->from[s->released + n - 1];
	s->turned_away += last + 1 - s->taken - n;
	take(s, last + 1);
	s->released += n;
	s->carried = 0;
}

void
shared_cooked_pass(struct shared *s)
{
	if (s->released != s->count || s->taken == s->at)
		return;
	s->turned_away += s->at - s->taken;
	s->carried = s->skipped;
	take(s, s->at);
}

void
shared_cooked_forget(struct shared *s)
{
	s->batch.count = s->taken = s->at = 0;
	s->count = s->released = 0;
	s->skipped = s->carried;
}

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void
put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* The packet with a LINUX_SLL header, without a tag: in the arena, of which `room` octets are left. NULL: too few. */
static uint8_t *
make_sll(struct shared *s, const struct ffpf_packet *p, uint32_t cap_len)
{
	/* a tag may have to go in */
	size_t need = SHARED_HEAD_BYTES + TAG_BYTES + COOKED_V1_BYTES + (size_t)cap_len;
	const uint8_t *v2 = p->data;
	uint8_t *v1;

	need = (need + 15) / 16 * 16;
	if (SHARED_ARENA_BYTES - s->arena_used < need)
		return NULL;
	v1 = s->arena + s->arena_used + SHARED_HEAD_BYTES + TAG_BYTES;
	s->arena_used += need;
	put16(v1, v2[10]);
	put16(v1 + 2, get16(v2 + 8));
	put16(v1 + 4, v2[11]);
	memcpy(v1 + 6, v2 + 12, 8);
	memcpy(v1 + 14, v2, 2);
	memcpy(v1 + COOKED_V1_BYTES, v2 + COOKED_V2_BYTES, cap_len);
	return v1;
}

/* As the program would see it in a capture of its own: without the tag, the length without the header. */
static uint32_t
judge(const struct shared *s, const struct ffpf_packet *p, const uint8_t *data, uint32_t cap_len, uint32_t wire_len)
{
	const struct ffpf_bpf_aux aux = {
		.ifindex = p->ifindex,
		.vlan_tci = p->vlan_tci,
		.vlan_tpid = p->vlan_tpid,
		.protocol = p->protocol,
		.hatype = get16(p->data + 8),
		.pkt_type = p->pkt_type,
		.vlan_present = p->vlan_tpid != 0,
	};

	return s->prog ? ffpf_bpf_run(s->prog, data, wire_len, cap_len, &aux) : UINT32_MAX;
}

enum made { MADE, TURNED_AWAY, NO_ROOM };

static enum made
make(struct shared *s, struct ffpf_packet *out, const struct ffpf_packet *p)
{
	const bool v1 = s->reader.info.link_type == DLT_LINUX_SLL;
	const uint32_t header = v1 ? COOKED_V1_BYTES : COOKED_V2_BYTES, snap_len = s->reader.info.snap_len;
	uint32_t cap_len, wire_len, result;
	const uint8_t *data = p->data;

	if (p->cap_len < COOKED_V2_BYTES || p->wire_len < COOKED_V2_BYTES)
		return TURNED_AWAY; /* no cooked packet */
	cap_len = p->cap_len - COOKED_V2_BYTES;
	wire_len = p->wire_len - COOKED_V2_BYTES;
	if (v1) {
		data = make_sll(s, p, cap_len);
		if (!data)
			return NO_ROOM;
	}
	result = judge(s, p, data, cap_len + header, wire_len);
	if (!result)
		return TURNED_AWAY;
	if (cap_len > result) /* the kernel cuts what it captures at what the filter returns */
		cap_len = result;
	*out = *p;
	out->result = result;
	out->cap_len = cap_len + header;
	out->wire_len = wire_len + header;
	out->data = data;
	out->flags &= (uint8_t)~FFPF_PACKET_VLAN;
	if (v1)
		out->flags |= FFPF_PACKET_HEAD_READABLE | FFPF_PACKET_HEAD_WRITABLE;
	if (v1 && p->vlan_tpid) {
		uint8_t *tagged = (uint8_t *)(uintptr_t)data - TAG_BYTES;

		memmove(tagged, data, COOKED_V1_BYTES - 2);
		put16(tagged + COOKED_V1_BYTES - 2, p->vlan_tpid);
		put16(tagged + COOKED_V1_BYTES, p->vlan_tci);
		out->data = tagged;
		out->cap_len += TAG_BYTES;
		out->wire_len += TAG_BYTES;
		out->flags |= FFPF_PACKET_VLAN;
	}
	if (out->cap_len > snap_len)
		out->cap_len = snap_len;
	return MADE;
}

/* Makes descriptors of what is left of the lanes' batch, as far as the arena goes. */
static void
make_all(struct shared *s)
{
	s->count = s->released = 0;
	s->arena_used = 0;
	while (s->at < s->batch.count) {
		const struct ffpf_packet *p = &s->batch.pkts[s->at];
		enum made made = make(s, &s->packets[s->count], p);

		if (made == NO_ROOM)
			break;
		s->at++;
		s->skipped += p->skipped;
		if (made == TURNED_AWAY) {
			s->skipped++;
			continue;
		}
		s->packets[s->count].skipped = s->skipped;
		s->skipped = 0;
		s->from[s->count++] = s->at - 1;
	}
}

enum ffpf_outcome
shared_cooked_next(struct shared *s, struct ffpf_batch *batch)
{
	uint64_t begin_ns = ffpf_clock_ns(CLOCK_MONOTONIC);

	for (;;) {
		shared_cooked_pass(s);
		if (s->at == s->batch.count) {
			enum ffpf_outcome outcome;

			s->batch.count = s->taken = s->at = 0;
			outcome = shared_lanes_next(s, &s->batch);
			if (outcome != FFPF_BATCH) {
				s->batch.count = 0;
				return outcome;
			}
		}
		make_all(s);
		if (s->count)
			break;
		if (s->timeout_ms && !s->nonblock &&
		    ffpf_clock_ns(CLOCK_MONOTONIC) - begin_ns >= (uint64_t)s->timeout_ms * 1000000u)
			return FFPF_TIMEOUT;
	}
	*batch = (struct ffpf_batch){ s->packets, s->count, s->batch.mem_lo, s->batch.mem_hi };
	if (s->reader.info.link_type == DLT_LINUX_SLL) {
		batch->mem_lo = s->arena;
		batch->mem_hi = s->arena + SHARED_ARENA_BYTES;
	}
	return FFPF_BATCH;
}
