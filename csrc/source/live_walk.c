/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/cooked.h"
#include "source/live_internal.h"

#include <arpa/inet.h>
#include <linux/can.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <pcap/dlt.h>
#include <string.h>

/* A frame's header, whichever layout wrote it. */
struct frame {
	uint8_t *mem;
	const struct sockaddr_ll *from;
	uint32_t status, sec, nsec;
	uint32_t cap_len, wire_len;
	uint32_t mac; /* offset of the first captured octet */
	uint16_t vlan_tci, vlan_tpid;
};

static inline __attribute__((always_inline)) struct frame
read_frame(uint8_t *mem, enum tpacket_layout layout)
{
	if (layout == TPACKET_BLOCKS) {
		const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)mem;

		return (struct frame){ mem,
				       (const struct sockaddr_ll *)(mem + TPACKET_ALIGN(sizeof(*h))),
				       h->tp_status,
				       h->tp_sec,
				       h->tp_nsec,
				       h->tp_snaplen,
				       h->tp_len,
				       h->tp_mac,
				       (uint16_t)h->hv1.tp_vlan_tci,
				       h->hv1.tp_vlan_tpid };
	}
	const struct tpacket2_hdr *h = (const struct tpacket2_hdr *)mem;

	return (struct frame){ mem,
			       (const struct sockaddr_ll *)(mem + TPACKET_ALIGN(sizeof(*h))),
			       h->tp_status,
			       h->tp_sec,
			       h->tp_nsec,
			       h->tp_snaplen,
			       h->tp_len,
			       h->tp_mac,
			       h->tp_vlan_tci,
			       h->tp_vlan_tpid };
}

/* Kernels before 3.0 set no flag; there a tag of 0 cannot be told from none. */
static inline bool
has_vlan(const struct frame *f)
{
	return f->vlan_tci != 0 || (f->status & TP_STATUS_VLAN_VALID);
}

/* Kernels before 3.14 do not tell the TPID. */
static inline uint16_t
tpid_of(const struct frame *f)
{
	return f->vlan_tpid || (f->status & TP_STATUS_VLAN_TPID_VALID) ? f->vlan_tpid : ETH_P_8021Q;
}

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

/* LINKTYPE_CAN_SOCKETCAN has the identifier big-endian, the kernel in host order. The flag that tells FD frames is not
 * in the frame but in its protocol. Twice is not once: see undress. */
static void
dress_can(uint8_t *data, uint32_t cap_len, uint16_t protocol)
{
	uint32_t id;

	if (cap_len < sizeof(struct can_frame) - CAN_MAX_DLEN)
		return;
	memcpy(&id, data, sizeof(id));
	id = htonl(id);
	memcpy(data, &id, sizeof(id));
	if (protocol == ETH_P_CANFD) {
		data[5] = (uint8_t)((data[5] & (CANFD_BRS | CANFD_ESI)) | CANFD_FDF);
		data[6] = data[7] = 0;
	} else {
		data[5] &= (uint8_t)~CANFD_FDF;
	}
}

static void
undress_can(uint8_t *data, uint32_t cap_len)
{
	uint32_t id;

	if (cap_len < sizeof(struct can_frame) - CAN_MAX_DLEN)
		return;
	memcpy(&id, data, sizeof(id));
	id = ntohl(id);
	memcpy(data, &id, sizeof(id));
}

static inline bool
tag_goes_in(const struct live *l, const struct frame *f)
{
	return has_vlan(f) && l->vlan_offset != -1 && f->cap_len >= (uint32_t)l->vlan_offset;
}

/* Puts the tag back before the type, in the gap that was reserved before the packet. */
static uint8_t *
insert_tag(uint8_t *data, int offset, uint16_t tpid, uint16_t tci)
{
	data -= TPACKET_VLAN_BYTES;
	memmove(data, data + TPACKET_VLAN_BYTES, (size_t)offset);
	data[offset] = (uint8_t)(tpid >> 8);
	data[offset + 1] = (uint8_t)tpid;
	data[offset + 2] = (uint8_t)(tci >> 8);
	data[offset + 3] = (uint8_t)tci;
	return data;
}

/* From a packet as captured, `data` being its first octet (the cooked header's, if there is one), to a descriptor. */
static inline __attribute__((always_inline)) void
dress(struct live *l, struct ffpf_packet *p, const struct frame *f, uint8_t *data, uint32_t header,
      enum tpacket_layout layout)
{
	const size_t head_end = layout == TPACKET_BLOCKS ? TPACKET3_HDRLEN : TPACKET2_HDRLEN;
	uint32_t cap_len = f->cap_len + header;
	uint32_t wire_len = f->wire_len + header;

	p->vlan_tci = 0;
	p->vlan_tpid = 0;
	p->flags = FFPF_PACKET_HEAD_READABLE;
	if (__builtin_expect(f->from->sll_hatype == ARPHRD_CAN && !l->cooked, 0))
		dress_can(data, f->cap_len, ntohs(f->from->sll_protocol));
	if (__builtin_expect(tag_goes_in(l, f), 0)) {
		p->vlan_tci = f->vlan_tci;
		p->vlan_tpid = tpid_of(f);
		p->flags |= FFPF_PACKET_VLAN;
		data = insert_tag(data, l->vlan_offset, p->vlan_tpid, p->vlan_tci);
		cap_len += TPACKET_VLAN_BYTES;
		wire_len += TPACKET_VLAN_BYTES;
	}
	/* a link header longer than Ethernet's may leave less of a gap than was reserved for */
	if ((size_t)(data - f->mem) >= head_end + TPACKET_HEAD_BYTES)
		p->flags |= FFPF_PACKET_HEAD_WRITABLE;
	p->data = data;
	p->ts_sec = f->sec;
	p->ts_frac = (int32_t)(l->reader.info.tick == FFPF_TICK_NS ? f->nsec : f->nsec / 1000);
	p->cap_len = cap_len < l->reader.info.snap_len ? cap_len : l->reader.info.snap_len;
	p->wire_len = wire_len;
	p->ifindex = (uint32_t)f->from->sll_ifindex;
	p->protocol = ntohs(f->from->sll_protocol);
	p->pkt_type = f->from->sll_pkttype;
}

/* Makes a frame what the kernel left there, so that another filter can judge it. */
static void
undress(const struct live *l, const struct ffpf_packet *p, const struct live_mark *mark)
{
	struct frame f = read_frame(mark->frame, l->ring.layout);

	if (p->flags & FFPF_PACKET_VLAN)
		memmove(mark->data, mark->data - TPACKET_VLAN_BYTES, (size_t)l->batch_vlan_offset);
	if (f.from->sll_hatype == ARPHRD_CAN && !l->cooked)
		undress_can(mark->data, f.cap_len);
}

/* The walk stands at a unit that is not opened: open it if it is ours. */
static inline __attribute__((always_inline)) bool
open_unit(struct live *l, enum tpacket_layout layout)
{
	uint8_t *mem = ffpf_tpacket_unit(&l->ring, l->at.unit);

	if (l->at.held == l->ring.unit_count || !ffpf_tpacket_is_ours(&l->ring, l->at.unit))
		return false;
	l->at.held++;
	l->at.frame = mem;
	l->at.left = 1;
	if (layout == TPACKET_BLOCKS) {
		const struct tpacket_hdr_v1 *block = &((const struct tpacket_block_desc *)mem)->hdr.bh1;

		l->at.frame = mem + block->offset_to_first_pkt;
		l->at.left = block->num_pkts;
	}
	return true;
}

static void
close_unit(struct live *l)
{
	l->at.unit = ffpf_tpacket_next(&l->ring, l->at.unit);
	l->at.left = 0;
}

/* Frames of one block follow each other at unequal distances. They were written long enough ago to have left the first
 * caches, so the lines of a frame further on are asked for now, at the place where equal distances would put it. */
static inline void
prefetch_ahead(const uint8_t *frame, uint32_t distance)
{
	__builtin_prefetch(frame + 4 * (size_t)distance);
	__builtin_prefetch(frame + 4 * (size_t)distance + 64);
}

static inline __attribute__((always_inline)) void
step(struct live *l, enum tpacket_layout layout)
{
	if (layout == TPACKET_BLOCKS) {
		uint32_t distance = ((const struct tpacket3_hdr *)l->at.frame)->tp_next_offset;

		l->at.frame += distance;
		prefetch_ahead(l->at.frame, distance);
	}
	if (--l->at.left == 0)
		close_unit(l);
}

/* The filter's verdict and direction's. Counts what it turns away. */
static inline __attribute__((always_inline)) uint32_t
judge(struct live *l, const struct frame *f, const uint8_t *data, uint32_t header)
{
	uint32_t result = l->kernel_result ? l->kernel_result : UINT32_MAX;

	if (!direction_passes(l, f->from))
		return 0;
	if (l->prog && (l->refilter != REFILTER_NONE || !l->kernel_result)) {
		result = run_filter(l, f, data, f->cap_len + header);
		/* the kernel knows more than we do (marks, queues): its verdict stands where it is the last word */
		if (!result && l->refilter == REFILTER_NONE)
			result = UINT32_MAX;
	}
	return result;
}

static inline __attribute__((always_inline)) uint32_t
walk(struct live *l, enum tpacket_layout layout)
{
	uint32_t header = l->cooked ? ffpf_cooked_bytes(l->reader.info.link_type) : 0;
	uint32_t n = 0;

	while (n < LIVE_BATCH) {
		if (l->at.left == 0) {
			if (!open_unit(l, layout))
				break;
			if (l->at.left == 0) { /* a block that holds nothing */
				close_unit(l);
				continue;
			}
		}
		struct frame f = read_frame(l->at.frame, layout);
		const uint8_t *unit_end = ffpf_tpacket_unit(&l->ring, l->at.unit) + l->ring.unit_bytes;
		uint8_t *data = f.mem + f.mac - header;
		uint32_t result;

		if (__builtin_expect(f.mac > l->ring.unit_bytes || f.cap_len > (size_t)(unit_end - f.mem) ||
					 f.mac + f.cap_len > (size_t)(unit_end - f.mem),
				     0)) {
			l->at.invalid++;
			step(l, layout);
			continue;
		}
		if (header)
			ffpf_cooked_write(data, l->reader.info.link_type, f.from);
		result = judge(l, &f, data, header);
		if (!result) {
			l->counters.filtered++;
			l->skipped++;
			step(l, layout);
			continue;
		}
		/* the kernel cuts a packet at what its filter returns; so do we when the filter ran here */
		if (f.cap_len > result)
			f.cap_len = result;
		dress(l, &l->packets[n], &f, data, header, layout);
		l->packets[n].result = result;
		l->packets[n].skipped = l->skipped;
		l->skipped = 0;
		step(l, layout);
		l->marks[n] = (struct live_mark){ l->at, f.mem, data };
		n++;
	}
	return n;
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
	p->data = l->ring.keep;
	p->flags |= FFPF_PACKET_HEAD_WRITABLE;
}

uint32_t
live_walk(struct live *l)
{
	l->batch_start = l->at;
	l->carried = l->skipped;
	l->batch_vlan_offset = l->vlan_offset;
	l->released = 0;
	l->count = l->ring.layout == TPACKET_BLOCKS ? walk(l, TPACKET_BLOCKS) : walk(l, TPACKET_FRAMES);
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

void
live_rewind(struct live *l)
{
	uint32_t again = l->skipped; /* packets turned away that will be judged once more */

	for (uint32_t i = l->released; i < l->count; i++) {
		undress(l, &l->packets[i], &l->marks[i]);
		again += l->packets[i].skipped;
	}
	l->skipped = l->released ? 0 : l->carried;
	l->counters.filtered -= again - l->skipped;
	l->at = l->released ? l->marks[l->released - 1].after : l->batch_start;
	l->count = l->released;
}

void
live_set_link_type(struct live *l, int dlt)
{
	l->reader.info.link_type = dlt;
	l->vlan_offset = ffpf_link_type_vlan_offset(dlt);
}
