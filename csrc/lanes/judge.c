/* SPDX-License-Identifier: BSD-3-Clause */
#include "lanes/lanes_internal.h"

#include <linux/if_packet.h>
#include <string.h>

#define TAG_BYTES    4
#define COOKED_BYTES 20
#define NS_PER_S     1000000000

/* The hook judged this packet by the filter that is in force: nothing is left to do. */
static bool
judged_by_hook(const struct lanes *l, const struct item *item)
{
	const struct ffpf_ibuf_page *page = l->lanes[item->lane].view.ibuf;

	/* Acquire: pairs with adopt in hook.c. If a later generation_pos is seen than that of this generation, more is
	 * judged here than must be. */
	if (!l->generation || atomic_load_explicit(&page->generation, memory_order_acquire) != l->generation)
		return false;
	return item->fetched->pos >= atomic_load_explicit(&page->generation_pos, memory_order_relaxed);
}

/* Filters see the octets without the tag or a cooked header, and what these say beside them, as in the kernel. */
static uint32_t
run(struct lanes *l, const struct item *item)
{
	const struct ffpf_record *rec = &item->fetched->rec;
	const bool tagged = rec->flags & FFPF_RECORD_VLAN;
	const bool cooked = rec->flags & FFPF_RECORD_COOKED;
	const struct ffpf_bpf_aux aux = {
		.ifindex = rec->ifindex,
		.vlan_tci = rec->vlan_tci,
		.vlan_tpid = rec->vlan_tpid,
		.protocol = rec->protocol,
		.hatype = rec->hatype,
		.pkt_type = rec->pkt_type,
		.vlan_present = tagged || rec->flags & FFPF_RECORD_VLAN_BESIDE,
	};
	const uint8_t *data = item->fetched->data;
	uint32_t at = rec->vlan_offset;

	if (cooked)
		return ffpf_bpf_run(l->prog, data + COOKED_BYTES, rec->wire_len - COOKED_BYTES,
				    rec->cap_len < COOKED_BYTES ? 0 : rec->cap_len - COOKED_BYTES, &aux);
	if (!tagged)
		return ffpf_bpf_run(l->prog, data, rec->wire_len, rec->cap_len, &aux);
	if (rec->cap_len < at + TAG_BYTES) /* cut inside the tag */
		return ffpf_bpf_run(l->prog, data, rec->wire_len - TAG_BYTES, rec->cap_len < at ? rec->cap_len : at,
				    &aux);
	memcpy(l->untagged, data, at);
	memcpy(l->untagged + at, data + at + TAG_BYTES, rec->cap_len - at - TAG_BYTES);
	return ffpf_bpf_run(l->prog, l->untagged, rec->wire_len - TAG_BYTES, rec->cap_len - TAG_BYTES, &aux);
}

static bool
direction_passes(const struct lanes *l, uint8_t pkt_type)
{
	if (l->direction == FFPF_DIR_INOUT)
		return true;
	return (l->direction == FFPF_DIR_OUT) == (pkt_type == PACKET_OUTGOING);
}

static uint32_t
judge(struct lanes *l, struct item *item)
{
	uint32_t result = UINT32_MAX;

	item->lapped = false;
	if (l->prog && !judged_by_hook(l, item)) {
		result = run(l, item);
		item->lapped = !lanes_item_is_whole(l, item);
	} else if (l->prog || l->cfg.hooks_results) {
		result = item->fetched->result;
	}
	if (item->lapped)
		result = 0; /* whatever the filter may have seen */
	item->misdirected = result && !direction_passes(l, item->fetched->rec.pkt_type);
	return item->misdirected ? 0 : result;
}

/* What the filter wants of the packet, which it saw without its tag, and without a cooked header. Cut before the tag's
 * place, the packet has none. */
static void
cut(struct ffpf_packet *p, const struct ffpf_record *rec, uint32_t result)
{
	uint64_t limit = result;

	if (rec->flags & FFPF_RECORD_COOKED)
		limit += COOKED_BYTES;
	if (rec->flags & FFPF_RECORD_VLAN) {
		if (result >= rec->vlan_offset) {
			limit += TAG_BYTES;
		} else {
			p->wire_len -= TAG_BYTES;
			p->flags = (uint8_t)((p->flags & ~FFPF_PACKET_VLAN) | FFPF_PACKET_VLAN_BESIDE);
		}
	}
	if (p->cap_len > limit)
		p->cap_len = (uint32_t)limit;
}

/* Nanoseconds behind l->second, which is made to be the packet's: mostly it is already. */
static uint32_t
ns_of(struct lanes *l, int64_t time_ns)
{
	uint64_t ns = (uint64_t)time_ns - (uint64_t)l->second_ns;

	if (ns >= NS_PER_S) {
		l->second = time_ns / NS_PER_S - (time_ns % NS_PER_S < 0);
		l->second_ns = (int64_t)((uint64_t)l->second * NS_PER_S); /* may lie before the first that there is */
		ns = (uint64_t)time_ns - (uint64_t)l->second_ns;
	}
	return (uint32_t)ns;
}

static void
describe(struct lanes *l, struct ffpf_packet *p, const struct item *item, uint32_t result)
{
	const struct ffpf_record *rec = &item->fetched->rec;
	uint32_t ns = ns_of(l, rec->time_ns);

	*p = (struct ffpf_packet){
		.data = item->fetched->data,
		.ts_sec = l->second,
		.ts_frac = (int32_t)(l->reader.info.tick == FFPF_TICK_NS ? ns : ns / 1000),
		.cap_len = rec->cap_len < l->reader.info.snap_len ? rec->cap_len : l->reader.info.snap_len,
		.wire_len = rec->wire_len,
		.ifindex = rec->ifindex,
		.result = result,
		.protocol = rec->protocol,
		.pkt_type = rec->pkt_type,
	};
	if (rec->flags & (FFPF_RECORD_VLAN | FFPF_RECORD_VLAN_BESIDE)) {
		p->vlan_tci = rec->vlan_tci;
		p->vlan_tpid = rec->vlan_tpid;
		p->flags |= rec->flags & FFPF_RECORD_VLAN ? FFPF_PACKET_VLAN : FFPF_PACKET_VLAN_BESIDE;
	}
	if (l->cfg.cut && result != UINT32_MAX)
		cut(p, rec, result);
	/* before a copy lies its free head, before a packet in PBuf the end of its record header */
	p->flags |= FFPF_PACKET_HEAD_READABLE;
	if (l->bms->readers_race && !item->fetched->in_place)
		p->flags |= FFPF_PACKET_HEAD_WRITABLE;
}

uint32_t
lanes_judge(struct lanes *l)
{
	uint32_t skipped = l->carried;
	uint32_t n = 0;

	for (uint32_t i = l->open; i < l->count; i++) {
		struct item *item = &l->items[i];
		uint32_t result = judge(l, item);

		item->passes = result != 0;
		if (!result) {
			skipped++;
			continue;
		}
		describe(l, &l->packets[n], item, result);
		l->described[n] = (uint8_t)i;
		l->packets[n++].skipped = skipped;
		skipped = 0;
	}
	return n;
}

void
lanes_use_filter(struct lanes *l, const struct ffpf_bpf_prog *prog)
{
	l->prog = prog;
	if (!prog)
		l->reader.info.filter_kind = FFPF_FILTER_NONE;
	else
		l->reader.info.filter_kind = prog->native ? FFPF_FILTER_JIT : FFPF_FILTER_INTERPRETER;
}
