/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/cooked.h"
#include "source/live_dress.h"
#include "source/live_internal.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <pcap/dlt.h>
#include <string.h>

static bool
direction_passes(const struct live *l, const struct sockaddr_ll *from)
{
	if (from->sll_pkttype != PACKET_OUTGOING)
		return l->direction != FFPF_DIR_OUT;
	/* what the loopback interface and CAN send comes back to them as received: once is enough */
	if (from->sll_ifindex == l->lo_ifindex)
		return false;
	if (from->sll_hatype == ARPHRD_CAN && l->direction != FFPF_DIR_OUT)
		return false;
	return l->direction != FFPF_DIR_IN;
}

/* In live form: the octets without the tag, and what the kernel knows besides them. wire_len is without the cooked
 * header, as in the kernel. */
static uint32_t
run_filter(const struct live *l, const struct frame *f, const uint8_t *data, uint32_t cap_len)
{
	const struct ffpf_bpf_aux aux = {
		.ifindex = (uint32_t)f->from->sll_ifindex,
		.vlan_tci = f->vlan_tci,
		.vlan_tpid = has_vlan(f) ? tpid_of(f) : 0,
		.protocol = ntohs(f->from->sll_protocol),
		.hatype = f->from->sll_hatype,
		.pkt_type = f->from->sll_pkttype,
		.vlan_present = has_vlan(f),
	};

	return ffpf_bpf_run(l->prog, data, f->wire_len, cap_len, &aux);
}

static inline bool
tag_goes_in(const struct live *l, const struct frame *f)
{
	return has_vlan(f) && l->vlan_offset != -1 && f->cap_len >= (uint32_t)l->vlan_offset;
}

/* What the loops need of struct live, apart from it: to the compiler the descriptors might be any part of that. */
struct view {
	struct live_position at;
	struct tpacket_ring ring;
	const uint8_t *unit_end;
	uint32_t header; /* octets of the cooked header, 0 raw */
	uint32_t snap_len;
	uint32_t skipped;
	uint32_t turned_away;
	uint32_t result; /* of packets that are not judged here */
	bool judged;     /* here */
	bool nano;
	bool plain;           /* frames without a tag need no more than take_plain does ... */
	uint8_t refused_type; /* ... but those of this packet type */
};

#define NO_PACKET_TYPE 255

/* From a packet as captured, `data` being its first octet (the cooked header's, if there is one), to a descriptor. */
static inline void
dress(const struct live *l, const struct view *v, struct ffpf_packet *p, const struct frame *f, uint8_t *data)
{
	const size_t head_end = head_end_of(v->ring.layout);
	uint32_t cap_len = f->cap_len + v->header;
	uint32_t wire_len = f->wire_len + v->header;
	uint16_t tci = 0, tpid = 0;
	uint8_t flags = FFPF_PACKET_HEAD_READABLE;

	if (__builtin_expect(f->from->sll_hatype == ARPHRD_CAN && !l->cooked, 0))
		live_dress_can(data, f->cap_len, ntohs(f->from->sll_protocol));
	if (__builtin_expect(tag_goes_in(l, f), 0)) {
		tci = f->vlan_tci;
		tpid = tpid_of(f);
		flags |= FFPF_PACKET_VLAN;
		data = live_insert_tag(data, l->vlan_offset, tpid, tci);
		cap_len += TPACKET_VLAN_BYTES;
		wire_len += TPACKET_VLAN_BYTES;
	} else if (__builtin_expect(has_vlan(f), 0)) {
		tci = f->vlan_tci;
		tpid = tpid_of(f);
		flags |= FFPF_PACKET_VLAN_BESIDE;
	}
	/* a link header longer than Ethernet's may leave less of a gap than was reserved for */
	if ((size_t)(data - f->mem) >= head_end + TPACKET_HEAD_BYTES)
		flags |= FFPF_PACKET_HEAD_WRITABLE;
	*p = (struct ffpf_packet){
		.data = data,
		.ts_sec = f->sec,
		.ts_frac = (int32_t)(v->nano ? f->nsec : f->nsec / 1000),
		.cap_len = cap_len < v->snap_len ? cap_len : v->snap_len,
		.wire_len = wire_len,
		.skipped = v->skipped,
		.ifindex = (uint32_t)f->from->sll_ifindex,
		.result = v->result,
		.vlan_tci = tci,
		.vlan_tpid = tpid,
		.protocol = ntohs(f->from->sll_protocol),
		.pkt_type = f->from->sll_pkttype,
		.flags = flags,
	};
}

/* The walk stands at a unit that is not opened: open it if it is ours. */
static inline bool
open_unit(struct view *v)
{
	uint8_t *mem = ffpf_tpacket_unit(&v->ring, v->at.unit);

	if (v->at.held == v->ring.unit_count || !ffpf_tpacket_is_ours(&v->ring, v->at.unit))
		return false;
	v->at.held++;
	v->at.frame = mem;
	v->at.left = 1;
	v->unit_end = mem + v->ring.unit_bytes;
	if (v->ring.layout == TPACKET_BLOCKS) {
		const struct tpacket_hdr_v1 *block = &((const struct tpacket_block_desc *)mem)->hdr.bh1;

		v->at.frame = mem + block->offset_to_first_pkt;
		v->at.left = block->num_pkts;
	}
	return true;
}

static inline void
close_unit(struct view *v)
{
	v->at.unit = ffpf_tpacket_next(&v->ring, v->at.unit);
	v->at.left = 0;
}

/* The next unit that holds a packet, or false. */
static inline bool
open_next(struct view *v)
{
	while (open_unit(v)) {
		if (v->at.left)
			return true;
		close_unit(v);
	}
	return false;
}

/* The processor follows small frames by itself. Of large ones, each a miss that only the frame before tells the place
 * of, those further on are asked for where equal distances would put them. */
#define PREFETCH_FROM   512
#define PREFETCH_FRAMES 6

static inline void
prefetch_ahead(const uint8_t *next, uint32_t distance)
{
	if (distance >= PREFETCH_FROM) {
		const uint8_t *ahead = next + PREFETCH_FRAMES * (size_t)distance;

		__builtin_prefetch(ahead);
		__builtin_prefetch(ahead + 64);
	}
}

static inline void
step(struct view *v)
{
	if (v->ring.layout == TPACKET_BLOCKS) {
		uint32_t distance = ((const struct tpacket3_hdr *)v->at.frame)->tp_next_offset;

		v->at.frame += distance;
		prefetch_ahead(v->at.frame, distance);
	}
	if (--v->at.left == 0)
		close_unit(v);
}

static inline bool
makes_sense(const struct view *v, const struct frame *f)
{
	return (size_t)f->mac + f->cap_len <= (size_t)(v->unit_end - f->mem) &&
	       f->mac >= head_end_of(v->ring.layout) + v->header;
}

/* The filter's verdict, here; the packet's result is left in the view. */
static bool
passes(const struct live *l, struct view *v, const struct frame *f, const uint8_t *data)
{
	v->result = run_filter(l, f, data, f->cap_len + v->header);
	/* the kernel knows more than we do (marks, queues): its verdict stands where it is the last word */
	if (!v->result && l->refilter == REFILTER_NONE)
		v->result = UINT32_MAX;
	return v->result != 0;
}

/* One frame of any kind. Returns the number of descriptors it made: 0 or 1. */
__attribute__((noinline)) static uint32_t
take_frame(struct live *l, struct view *v, struct ffpf_packet *p)
{
	enum tpacket_layout layout = v->ring.layout;
	struct frame f = read_frame(v->at.frame, layout);
	uint8_t *data = f.mem + f.mac - v->header;

	if (!makes_sense(v, &f)) {
		v->at.invalid++;
		return 0;
	}
	if (v->header)
		ffpf_cooked_write(data, l->reader.info.link_type, f.from);
	if (!direction_passes(l, f.from) || (v->judged && !passes(l, v, &f, data))) {
		v->turned_away++;
		v->skipped++;
		return 0;
	}
	/* the kernel cuts a packet at what its filter returns; so do we when the filter ran here */
	if (f.cap_len > v->result)
		f.cap_len = v->result;
	dress(l, v, p, &f, data);
	v->skipped = 0;
	return 1;
}

/* The common case, as far as it goes: frames of the open block that need nothing but a descriptor. Returns how many. */
static uint32_t
take_plain(struct view *v, struct ffpf_packet *p, uint32_t most)
{
	const uint32_t snap_len = v->snap_len, result = v->result, divisor = v->nano ? 1 : 1000;
	const uint8_t refused = v->refused_type;
	uint8_t *mem = v->at.frame;
	uint32_t n = 0;

	most = most < v->at.left ? most : v->at.left;
	for (; n < most; n++, p++) {
		const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)mem;
		const struct sockaddr_ll *from = (const struct sockaddr_ll *)(mem + TPACKET_ALIGN(sizeof(*h)));
		uint32_t mac = h->tp_mac, cap_len = h->tp_snaplen, distance = h->tp_next_offset;

		if (__builtin_expect((h->tp_status & TP_STATUS_VLAN_VALID) || h->hv1.tp_vlan_tci ||
					 from->sll_pkttype == refused || mac < TPACKET3_HDRLEN + TPACKET_HEAD_BYTES ||
					 (size_t)mac + cap_len > (size_t)(v->unit_end - mem),
				     0))
			break;
		p->data = mem + mac;
		p->ts_sec = h->tp_sec;
		p->ts_frac = (int32_t)(divisor == 1 ? h->tp_nsec : h->tp_nsec / 1000);
		p->cap_len = cap_len < snap_len ? cap_len : snap_len;
		p->wire_len = h->tp_len;
		p->skipped = v->skipped;
		p->ifindex = (uint32_t)from->sll_ifindex;
		p->result = result;
		p->vlan_tci = 0;
		p->vlan_tpid = 0;
		p->protocol = ntohs(from->sll_protocol);
		p->pkt_type = from->sll_pkttype;
		p->flags = FFPF_PACKET_HEAD_READABLE | FFPF_PACKET_HEAD_WRITABLE;
		v->skipped = 0;
		mem += distance;
		prefetch_ahead(mem, distance);
	}
	v->at.frame = mem;
	v->at.left -= n;
	if (n && v->at.left == 0)
		close_unit(v);
	return n;
}

static uint32_t
walk(struct live *l, struct view *v)
{
	uint32_t n = 0;

	while (n < LIVE_BATCH && (v->at.left || ((n == 0 || v->at.held < l->batch_units) && open_next(v)))) {
		if (v->plain) {
			n += take_plain(v, &l->packets[n], LIVE_BATCH - n);
			if (n == LIVE_BATCH || v->at.left == 0)
				continue;
		}
		n += take_frame(l, v, &l->packets[n]);
		step(v);
	}
	return n;
}

static struct view
view_of(const struct live *l)
{
	struct view v = {
		.at = l->at,
		.ring = l->ring,
		.unit_end = ffpf_tpacket_unit(&l->ring, l->at.unit) + l->ring.unit_bytes,
		.header = l->cooked ? ffpf_cooked_bytes(l->reader.info.link_type) : 0,
		.snap_len = l->reader.info.snap_len,
		.skipped = l->skipped,
		.result = l->known_result,
		.judged = l->prog && (l->refilter != REFILTER_NONE || !l->known_result),
		.nano = l->reader.info.tick == FFPF_TICK_NS,
	};

	v.plain = v.ring.layout == TPACKET_BLOCKS && !l->cooked && !v.judged && l->direction != FFPF_DIR_OUT &&
		  l->reader.info.link_type != DLT_CAN_SOCKETCAN;
	v.refused_type = l->direction == FFPF_DIR_IN || l->ifindex == l->lo_ifindex ? PACKET_OUTGOING : NO_PACKET_TYPE;
	return v;
}

bool
live_more_ready(const struct live *l)
{
	return l->at.left > 0 || (l->at.held < l->ring.unit_count && ffpf_tpacket_is_ours(&l->ring, l->at.unit));
}

/* The consumer may hold the last packet's memory until the next next(), but its unit must go back before, or else
 * poll() calls the socket readable with nothing to read. */
static void
keep_last(struct live *l)
{
	struct ffpf_packet *p = &l->packets[l->count - 1];

	memcpy(l->ring.keep, p->data, p->cap_len);
	l->kept_from = p->data;
	p->data = l->ring.keep;
	p->flags |= FFPF_PACKET_HEAD_WRITABLE;
}

uint32_t
live_walk(struct live *l)
{
	struct view v = view_of(l);

	l->batch_start = l->at;
	l->carried = l->skipped;
	l->batch_vlan_offset = l->vlan_offset;
	l->batch_header = v.header;
	l->released = 0;
	l->count = walk(l, &v);
	l->at = v.at;
	l->skipped = v.skipped;
	l->counters.filtered += v.turned_away;
	if (l->count && !live_more_ready(l))
		keep_last(l);
	return l->count;
}

void
live_give_back(struct live *l)
{
	uint32_t busy = l->at.left > 0; /* the unit that the walk is in the middle of */

	for (; l->at.held > busy; l->at.held--) {
		ffpf_tpacket_give_back(&l->ring, l->tail);
		l->tail = ffpf_tpacket_next(&l->ring, l->tail);
		if (l->refilter == REFILTER_COUNTED && --l->refilter_units == 0)
			l->refilter = REFILTER_NONE;
	}
	l->batch_start = l->at;
	l->carried = l->skipped;
	l->count = l->released = 0;
}

/* Where the kernel put what a descriptor points to, from the cooked header on; before a tag was put in, and before the
 * packet was kept. */
static uint8_t *
undressed_data(const struct live *l, const struct ffpf_packet *p)
{
	const uint8_t *data = p->data == l->ring.keep ? l->kept_from : p->data;

	return (uint8_t *)(uintptr_t)data + (p->flags & FFPF_PACKET_VLAN ? TPACKET_VLAN_BYTES : 0);
}

/* Goes through the frames of the batch once more, from its start, up to and with the last one released; and makes those
 * behind it what the kernel left there, so that another filter can judge them. */
static void
retrace(struct live *l)
{
	struct view v = view_of(l);

	v.at = l->batch_start;
	v.header = l->batch_header;
	v.unit_end = ffpf_tpacket_unit(&v.ring, v.at.unit) + v.ring.unit_bytes;
	for (uint32_t i = 0; i < l->count; i++) {
		uint8_t *data = undressed_data(l, &l->packets[i]);
		struct frame f;

		do {
			if (!v.at.left)
				open_next(&v);
			f = read_frame(v.at.frame, v.ring.layout);
			v.at.invalid += !makes_sense(&v, &f);
			step(&v);
		} while (f.mem + f.mac - v.header != data);
		if (i + 1 == l->released)
			l->at = v.at;
		if (i >= l->released)
			live_undress(l, &l->packets[i], &f, data);
	}
	if (!l->released)
		l->at = l->batch_start;
}

void
live_rewind(struct live *l)
{
	uint32_t again = l->skipped; /* packets turned away that will be judged once more */

	for (uint32_t i = l->released; i < l->count; i++)
		again += l->packets[i].skipped;
	l->skipped = l->released ? 0 : l->carried;
	l->counters.filtered -= again - l->skipped;
	retrace(l);
	l->count = l->released;
}

void
live_set_link_type(struct live *l, int dlt)
{
	l->reader.info.link_type = dlt;
	l->vlan_offset = ffpf_link_type_vlan_offset(dlt);
}
