/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The walk over a ring that no kernel filled: what kernels seldom or no longer write, what they must never write, and
 * that a walk which is taken back leaves no trace. Memory is exactly as large as the ring, for the address sanitizer.
 */
#include "source/cooked.h"
#include "source/live_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/can.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <pcap/dlt.h>

#define UNIT   4096
#define UNITS  5
#define KEEP   UNIT
#define FRAMES (UNITS * 16) /* more than the largest number of frames that any test looks at afterwards */

struct fake {
	struct live live; /* first */
	uint32_t fill_unit;
	uint8_t *fill_at;
	uint32_t sent;            /* frames written; each carries its number */
	uint8_t *packets[FRAMES]; /* first octet of the first of them */
};

struct spec {
	uint32_t len;
	uint32_t status;
	uint16_t tci, tpid, protocol, hatype;
	uint8_t pkt_type;
};

static struct fake *
fake_create(enum tpacket_layout layout, int dlt, bool cooked)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct tpacket_ring *ring = &f->live.ring;

	assert_non_null(f);
	ring->layout = layout;
	ring->unit_bytes = UNIT;
	ring->unit_count = UNITS;
	ring->ring_bytes = UNIT * UNITS;
	ring->mem = aligned_alloc(UNIT, UNIT * UNITS);
	ring->keep = malloc(KEEP);
	assert_non_null(ring->mem);
	assert_non_null(ring->keep);
	memset(ring->mem, 0, UNIT * UNITS);
	f->live.lo_ifindex = 99;
	f->live.batch_units = UNITS;
	f->live.known_result = UINT32_MAX;
	f->live.cooked = cooked;
	f->live.reader.info.snap_len = 2048;
	live_set_link_type(&f->live, dlt);
	return f;
}

static void
fake_destroy(struct fake *f)
{
	free(f->live.ring.mem);
	free(f->live.ring.keep);
	free(f);
}

static struct tpacket_hdr_v1 *
block_of(struct fake *f, uint32_t unit)
{
	return &((struct tpacket_block_desc *)ffpf_tpacket_unit(&f->live.ring, unit))->hdr.bh1;
}

/* Begins to fill the next unit, as the kernel would. */
static void
unit_begin(struct fake *f)
{
	uint8_t *mem = ffpf_tpacket_unit(&f->live.ring, f->fill_unit);

	memset(mem, 0, UNIT);
	f->fill_at = mem;
	if (f->live.ring.layout == TPACKET_BLOCKS) {
		block_of(f, f->fill_unit)->offset_to_first_pkt = 48;
		f->fill_at = mem + 48;
	}
}

static void
unit_end(struct fake *f)
{
	atomic_fetch_or(ffpf_tpacket_status(&f->live.ring, f->fill_unit), TP_STATUS_USER);
	f->fill_unit = ffpf_tpacket_next(&f->live.ring, f->fill_unit);
}

/* Writes one frame; the address of its header. */
static uint8_t *
put(struct fake *f, struct spec s)
{
	uint8_t *mem = f->fill_at;
	bool blocks = f->live.ring.layout == TPACKET_BLOCKS;
	uint32_t mac = f->live.cooked ? 112 : 88;
	struct sockaddr_ll from = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(s.protocol),
				    .sll_ifindex = 3,
				    .sll_hatype = s.hatype,
				    .sll_pkttype = s.pkt_type,
				    .sll_halen = 6,
				    .sll_addr = { 1, 2, 3, 4, 5, 6 } };
	uint32_t total = (mac + s.len + 15) & ~15u;

	if (blocks) {
		struct tpacket3_hdr *h = (struct tpacket3_hdr *)mem;

		*h = (struct tpacket3_hdr){ .tp_next_offset = total,
					    .tp_sec = 1000 + f->sent,
					    .tp_nsec = 999999999,
					    .tp_snaplen = s.len,
					    .tp_len = s.len,
					    .tp_status = TP_STATUS_USER | s.status,
					    .tp_mac = (uint16_t)mac };
		h->hv1.tp_vlan_tci = s.tci;
		h->hv1.tp_vlan_tpid = s.tpid;
		memcpy(mem + TPACKET_ALIGN(sizeof(*h)), &from, sizeof(from));
		block_of(f, f->fill_unit)->num_pkts++;
	} else {
		struct tpacket2_hdr *h = (struct tpacket2_hdr *)mem;

		*h = (struct tpacket2_hdr){ .tp_status = s.status,
					    .tp_len = s.len,
					    .tp_snaplen = s.len,
					    .tp_mac = (uint16_t)mac,
					    .tp_sec = 1000 + f->sent,
					    .tp_nsec = 999999999,
					    .tp_vlan_tci = s.tci,
					    .tp_vlan_tpid = s.tpid };
		memcpy(mem + TPACKET_ALIGN(sizeof(*h)), &from, sizeof(from));
	}
	for (uint32_t i = 0; i < s.len; i++)
		mem[mac + i] = (uint8_t)(f->sent + i);
	if (f->sent < FRAMES)
		f->packets[f->sent] = mem + mac;
	f->fill_at += total;
	f->sent++;
	return mem;
}

static uint8_t *
put_alone(struct fake *f, struct spec s)
{
	uint8_t *mem;

	unit_begin(f);
	mem = put(f, s);
	unit_end(f);
	return mem;
}

static const struct spec plain = { .len = 60, .protocol = ETH_P_IP, .hatype = ARPHRD_ETHER };

static enum tpacket_layout
layout_of(void **state)
{
	return *(enum tpacket_layout *)*state;
}

static void
release_all(struct live *l)
{
	l->counters.delivered += l->count - l->released;
	l->released = l->count;
}

/* Kernels before 3.0 tell a tag by its being other than 0, those before 3.14 do not tell its TPID. */
static void
tags_of_old_kernels(void **state)
{
	static const struct {
		uint32_t status;
		uint16_t tci, tpid, shown_tpid; /* shown 0: no tag */
	} cases[] = {
		{ 0, 0, 0, 0 },
		{ 0, 100, 0, 0x8100 },
		{ TP_STATUS_VLAN_VALID, 0, 0, 0x8100 },
		{ TP_STATUS_VLAN_VALID, 100, 0, 0x8100 },
		{ TP_STATUS_VLAN_VALID, 100, 0x88a8, 0x88a8 },
		{ TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, 100, 0x9100, 0x9100 },
		{ TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, 0, 0x88a8, 0x88a8 },
		{ TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, 7, 0, 0 /* the kernel says so */ },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake *f = fake_create(layout_of(state), DLT_EN10MB, false);
		struct spec s = plain;
		const struct ffpf_packet *p = f->live.packets;
		bool tagged = cases[i].shown_tpid || (cases[i].status & TP_STATUS_VLAN_TPID_VALID);

		s.status = cases[i].status;
		s.tci = cases[i].tci;
		s.tpid = cases[i].tpid;
		put_alone(f, s);
		assert_int_equal(live_walk(&f->live), 1);
		assert_int_equal(!!(p->flags & FFPF_PACKET_VLAN), tagged);
		assert_int_equal(p->cap_len, tagged ? 64 : 60);
		assert_int_equal(p->wire_len, tagged ? 64 : 60);
		if (tagged) {
			const uint8_t tag[4] = { (uint8_t)(cases[i].shown_tpid >> 8), (uint8_t)cases[i].shown_tpid,
						 (uint8_t)(cases[i].tci >> 8), (uint8_t)cases[i].tci };

			assert_memory_equal(p->data + 12, tag, 4);
			assert_int_equal(p->data[11], 11);
			assert_int_equal(p->data[16], 12);
		}
		fake_destroy(f);
	}
}

/* LINKTYPE_CAN_SOCKETCAN: identifier big-endian; the flag of FD frames set by us, whatever was there. */
static void
can_frames(void **state)
{
	struct fake *f = fake_create(layout_of(state), DLT_CAN_SOCKETCAN, false);
	struct spec s = { .len = 16, .protocol = ETH_P_CAN, .hatype = ARPHRD_CAN };
	const struct ffpf_packet *p = f->live.packets;

	put_alone(f, s);
	s.protocol = ETH_P_CANFD;
	s.len = 72;
	put_alone(f, s);
	s.len = 7; /* cut within its header: left as it is */
	put_alone(f, s);
	s.pkt_type = PACKET_OUTGOING; /* comes back as received */
	put_alone(f, s);
	for (int attempt = 0; attempt < 3; attempt++) {
		const uint8_t swapped[4] = { 3, 2, 1, 0 };

		assert_int_equal(live_walk(&f->live), 3);
		assert_memory_equal(p[0].data, swapped, 4);
		assert_int_equal(p[0].data[5], 5 & ~CANFD_FDF);
		assert_int_equal(p[1].data[0], 4);
		assert_int_equal(p[1].data[3], 1);
		assert_true(p[1].data[5] & CANFD_FDF);
		assert_int_equal(p[1].data[6] | p[1].data[7], 0);
		assert_int_equal(p[2].data[0], 2);
		live_rewind(&f->live);
	}
	f->live.direction = FFPF_DIR_OUT;
	assert_int_equal(live_walk(&f->live), 1);
	fake_destroy(f);
}

/* Lengths that point out of their unit are counted and passed over. */
static void
frames_that_make_no_sense(void **state)
{
	static const struct {
		uint32_t mac, snap;
	} wrong[] = { { 65535, 60 },      { UNIT, 1 },   { 88, UNIT },
		      { 88, UINT32_MAX }, { 4000, 200 }, { 88, UINT32_MAX - 80 } };

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct fake *f = fake_create(layout_of(state), DLT_EN10MB, false);
		uint8_t *mem;

		put_alone(f, plain);
		mem = put_alone(f, plain);
		if (layout_of(state) == TPACKET_BLOCKS) {
			((struct tpacket3_hdr *)mem)->tp_mac = (uint16_t)wrong[i].mac;
			((struct tpacket3_hdr *)mem)->tp_snaplen = wrong[i].snap;
		} else {
			((struct tpacket2_hdr *)mem)->tp_mac = (uint16_t)wrong[i].mac;
			((struct tpacket2_hdr *)mem)->tp_snaplen = wrong[i].snap;
		}
		put_alone(f, plain);
		for (int attempt = 0; attempt < 2; attempt++) {
			assert_int_equal(live_walk(&f->live), 2);
			assert_int_equal(f->live.at.invalid, 1);
			assert_int_equal(f->live.packets[1].ts_sec, 1002);
			live_rewind(&f->live);
			assert_int_equal(f->live.at.invalid, 0);
		}
		fake_destroy(f);
	}
}

/* A block may be handed over with nothing in it. */
static void
empty_blocks(void **state)
{
	struct fake *f = fake_create(TPACKET_BLOCKS, DLT_EN10MB, false);

	(void)state;
	for (int i = 0; i < 3; i++) {
		unit_begin(f);
		unit_end(f);
	}
	assert_int_equal(live_walk(&f->live), 0);
	assert_int_equal(f->live.at.held, 3);
	live_give_back(&f->live);
	assert_int_equal(f->live.tail, 3);
	put_alone(f, plain);
	unit_begin(f);
	unit_end(f);
	assert_int_equal(live_walk(&f->live), 1);
	fake_destroy(f);
}

static uint32_t
ours(struct fake *f)
{
	uint32_t n = 0;

	for (uint32_t unit = 0; unit < UNITS; unit++)
		n += ffpf_tpacket_is_ours(&f->live.ring, unit);
	return n;
}

/* A program that is slow with each packet must not keep the kernel from filling what it has consumed: of a ring of few
 * units a batch of many packets was all of it. */
static void
a_batch_leaves_the_kernel_its_share(void **state)
{
	struct fake *f = fake_create(layout_of(state), DLT_EN10MB, false);
	const uint32_t each = f->live.ring.layout == TPACKET_BLOCKS ? 3 : 1;

	f->live.batch_units = 2;
	for (uint32_t unit = 0; unit < UNITS; unit++) {
		unit_begin(f);
		for (uint32_t i = 0; i < each; i++)
			put(f, plain);
		unit_end(f);
	}
	for (uint32_t left = UNITS; left > 0; left -= left < 2 ? 1 : 2) {
		assert_int_equal(live_walk(&f->live), left < 2 ? each : 2 * each);
		assert_int_equal(f->live.at.held, left < 2 ? 1 : 2);
		assert_int_equal(live_more_ready(&f->live), left > 2);
		release_all(&f->live);
		live_give_back(&f->live);
		assert_int_equal(ours(f), left < 2 ? 0 : left - 2);
	}
	fake_destroy(f);
}

/* Every unit held: the walk must not run into units that the batch still points to. */
static void
a_ring_that_is_ours_altogether(void **state)
{
	struct fake *f = fake_create(layout_of(state), DLT_EN10MB, false);

	for (uint32_t lap = 0; lap < 3 * UNITS; lap++) {
		for (uint32_t unit = 0; unit < UNITS; unit++)
			put_alone(f, plain);
		assert_int_equal(live_walk(&f->live), UNITS);
		assert_int_equal(f->live.at.held, UNITS);
		assert_false(live_more_ready(&f->live));
		assert_ptr_equal(f->live.packets[UNITS - 1].data, f->live.ring.keep);
		live_rewind(&f->live);
		assert_int_equal(f->live.at.held, 0);
		assert_int_equal(live_walk(&f->live), UNITS);
		release_all(&f->live);
		assert_int_equal(ours(f), UNITS);
		live_give_back(&f->live);
		assert_int_equal(ours(f), 0);
		/* shift the start of the next lap by one unit */
		put_alone(f, plain);
		assert_int_equal(live_walk(&f->live), 1);
		release_all(&f->live);
		live_give_back(&f->live);
	}
	fake_destroy(f);
}

static uint32_t
run_by_number(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	      const struct ffpf_bpf_aux *aux)
{
	const uint8_t *number = pkt + (cap_len == 76 ? 16 : cap_len == 80 ? 20 : 0);

	assert_int_equal(wire_len, 60); /* untagged, uncooked: what the kernel would see */
	assert_true(cap_len == 60 || cap_len == 76 || cap_len == 80);
	assert_int_equal(aux->ifindex, 3);
	return *number % prog->insn_count ? 0 : UINT32_MAX;
}

/* Packets are what the kernel wrote; the gap before them, where headers may have been, is not looked at. */
static void
assert_pristine(const struct fake *f, uint32_t from)
{
	for (uint32_t number = from; number < f->sent; number++)
		for (uint32_t i = 0; i < plain.len; i++)
			assert_int_equal(f->packets[number][i], (uint8_t)(number + i));
}

/* Any walk, any release, any filter, any number of times: the same packets as in one go. */
static void
walks_taken_back_leave_no_trace(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	static const struct {
		int dlt;
		bool cooked;
	} kinds[] = { { DLT_EN10MB, false }, { DLT_LINUX_SLL, true }, { DLT_LINUX_SLL2, true } };

	print_message("seed=%u\n", seed);
	srand(seed);
	for (int round = 0; round < 200; round++) {
		unsigned kind = (unsigned)rand() % 3;
		struct fake *f = fake_create(layout_of(state), kinds[kind].dlt, kinds[kind].cooked);
		struct live *l = &f->live;
		struct ffpf_bpf_prog prog = { .run = run_by_number };
		uint32_t next = 0, header = l->cooked ? ffpf_cooked_bytes(kinds[kind].dlt) : 0;

		l->prog = &prog;
		l->refilter = REFILTER_ALL;
		for (uint32_t unit = 0; unit < UNITS - 1; unit++) {
			uint32_t n = layout_of(state) == TPACKET_BLOCKS ? (uint32_t)rand() % 16 : 1;

			unit_begin(f);
			while (n--) {
				struct spec s = plain;

				s.status = rand() % 2 ? TP_STATUS_VLAN_VALID : 0;
				s.tci = s.status ? (uint16_t)rand() : 0;
				s.pkt_type = rand() % 4 ? PACKET_HOST : PACKET_OUTGOING;
				put(f, s);
			}
			unit_end(f);
		}
		for (int turn = 0; turn < 8; turn++) {
			uint32_t count, take;

			prog.insn_count = 1 + (uint32_t)rand() % 3;
			live_rewind(l);
			assert_pristine(f, next);
			count = live_walk(l);
			take = count ? (uint32_t)rand() % (count + 1) : 0;
			for (uint32_t i = 0; i < take; i++) {
				const struct ffpf_packet *p = &l->packets[i];
				uint32_t tag = p->flags & FFPF_PACKET_VLAN ? 4 : 0;
				uint32_t number = (uint32_t)p->ts_sec - 1000;

				assert_int_equal(p->cap_len, 60 + header + tag);
				assert_int_equal(p->ts_frac, 999999);
				assert_int_equal(number % 256 % prog.insn_count, 0);
				assert_true(number >= next);
				assert_int_equal(p->skipped, number - next);
				next = number + 1;
				if (header)
					assert_int_equal(p->data[header + tag], number & 0xff);
				else
					assert_int_equal(p->data[0], number & 0xff);
			}
			l->released += take;
			l->counters.delivered += take;
			if (take == count)
				break;
		}
		live_rewind(l);
		assert_int_equal(l->counters.filtered + l->counters.delivered, next);
		assert_pristine(f, next);
		fake_destroy(f);
	}
}

int
main(void)
{
	static enum tpacket_layout blocks = TPACKET_BLOCKS, frames = TPACKET_FRAMES;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(tags_of_old_kernels, &blocks),
		cmocka_unit_test_prestate(tags_of_old_kernels, &frames),
		cmocka_unit_test_prestate(can_frames, &blocks),
		cmocka_unit_test_prestate(can_frames, &frames),
		cmocka_unit_test_prestate(frames_that_make_no_sense, &blocks),
		cmocka_unit_test_prestate(frames_that_make_no_sense, &frames),
		cmocka_unit_test(empty_blocks),
		cmocka_unit_test_prestate(a_batch_leaves_the_kernel_its_share, &blocks),
		cmocka_unit_test_prestate(a_batch_leaves_the_kernel_its_share, &frames),
		cmocka_unit_test_prestate(a_ring_that_is_ours_altogether, &blocks),
		cmocka_unit_test_prestate(a_ring_that_is_ours_altogether, &frames),
		cmocka_unit_test_prestate(walks_taken_back_leave_no_trace, &blocks),
		cmocka_unit_test_prestate(walks_taken_back_leave_no_trace, &frames),
	};

	return cmocka_run_group_tests_name("live walk", tests, NULL, NULL);
}
