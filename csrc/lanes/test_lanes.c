/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/testing.h"

#include <linux/if_packet.h>

#define ROOM 4096

static uint64_t numbers[ROOM];

/* Passes packets whose first octet is `k`. */
static struct ffpf_bpf_prog *
first_octet_is(uint32_t k)
{
	const struct ffpf_bpf_insn insns[] = {
		{ .code = 0x30, .k = 0 },
		{ .code = 0x15, .jf = 1, .k = k },
		{ .code = 0x06, .k = 1000 + k },
		{ .code = 0x06, .k = 0 },
	};
	struct ffpf_bpf_prog *prog = NULL;

	must(ffpf_bpf_prog_create(&prog, insns, 4, FFPF_BPF_INTERPRETER, &test_err));
	return prog;
}

static void
configurations_that_are_refused(void **state)
{
	static const struct {
		uint32_t snap_len, want;
		int timeout_ms;
	} cases[] = { { 0, 1, 0 }, { 1, 0, 0 }, { 1, 1, -1 } };
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *nowhere = test_flow(NULL, 4, NULL), *flow = test_flow(hook, 4, NULL);
	struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_lanes_part part = { flow->lanes[0].lane, flow->lanes[0].ibuf->region };
	struct ffpf_lanes_parts parts = { .lanes = &part, .count = 1, .reader = flow->reader };
	struct ffpf_reader *r = NULL;

	(void)state;
	assert_int_equal(ffpf_lanes_open_flow(&r, nowhere, &cfg, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "a reader has 1 to 256 lanes, not 0");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cfg.snap_len = cases[i].snap_len;
		cfg.want = cases[i].want;
		cfg.timeout_ms = cases[i].timeout_ms;
		assert_int_equal(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err), -FFPF_E_INVALID);
	}
	cfg = test_reader_config();
	part.ibuf = part.lane;
	assert_int_equal(ffpf_lanes_open(&r, &parts, &cfg, &test_err), -FFPF_E_INVALID);
	part.ibuf = flow->lanes[0].ibuf->region;
	flow->lanes[0].ibuf->page->slots_log2 = 10;
	assert_int_equal(ffpf_lanes_open(&r, &parts, &cfg, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "ffpf-ibuf: its sizes contradict each other");
	flow->lanes[0].ibuf->page->slots_log2 = 2;
	ffpf_hook_lane(hook)->page->cells_log2 = 20;
	assert_int_equal(ffpf_lanes_open(&r, &parts, &cfg, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "ffpf-lane: its sizes contradict each other");
	ffpf_hook_lane(hook)->page->cells_log2 = 4;
	atomic_store(&flow->page->r[0], 1);
	assert_int_equal(ffpf_lanes_open(&r, &parts, &cfg, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "ffpf-reader: R is beyond W");
	assert_null(r);
	must(ffpf_hook_detach(hook, flow, &test_err));
	ffpf_flow_destroy(flow);
	ffpf_flow_destroy(nowhere);
	ffpf_hook_destroy(hook);
}

static void
descriptors_say_what_the_record_says(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *hook = test_hook(bms, 64);
		struct ffpf_flow *flow = test_flow(hook, 16, NULL);
		struct ffpf_lanes_config cfg = test_reader_config();
		struct ffpf_reader *r = NULL;
		struct ffpf_batch batch;
		uint8_t data[100];
		struct ffpf_hook_packet pkt = { .data = data,
						.time_ns = -1500,
						.cap_len = 100,
						.wire_len = 120,
						.ifindex = 9,
						.protocol = 0x86dd,
						.flags = FFPF_HOOK_TIME_GIVEN };

		cfg.snap_len = 64;
		cfg.tick = FFPF_TICK_US;
		must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
		assert_string_equal(r->ops->name, "lanes");
		assert_int_equal(r->info.link_type, TEST_DLT_EN10MB);
		assert_int_equal(r->info.snap_len, 64);
		assert_int_equal(r->info.buffer_bytes, 4096);
		assert_int_equal(r->info.filter_kind, FFPF_FILTER_NONE);
		test_fill(data, 5, 100);
		assert_int_equal(ffpf_hook_handle_packet(hook, &pkt), 1);
		pkt.time_ns = 1234567890123456789;
		assert_int_equal(ffpf_hook_handle_packet(hook, &pkt), 1);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 2);
		assert_int_equal(batch.pkts[0].ts_sec, -1);
		assert_int_equal(batch.pkts[0].ts_frac, 999998);
		assert_int_equal(batch.pkts[1].ts_sec, 1234567890);
		assert_int_equal(batch.pkts[1].ts_frac, 123456);
		for (unsigned i = 0; i < 2; i++) {
			const struct ffpf_packet *p = &batch.pkts[i];

			assert_int_equal(p->cap_len, 64);
			assert_int_equal(p->wire_len, 120);
			assert_int_equal(p->ifindex, 9);
			assert_int_equal(p->protocol, 0x86dd);
			assert_int_equal(p->result, UINT32_MAX);
			assert_int_equal(p->skipped, 0);
			assert_true(p->data - 16 >= batch.mem_lo && p->data + 64 <= batch.mem_hi);
			assert_true(p->flags & FFPF_PACKET_HEAD_READABLE);
			assert_int_equal(!!(p->flags & FFPF_PACKET_HEAD_WRITABLE), bms == FFPF_BMS_FRP);
			assert_true(test_is_whole(p->data, 64));
		}
		/* zero copy, or none of PBuf */
		assert_int_equal(batch.pkts[0].data == ffpf_hook_lane(hook)->cells + FFPF_RECORD_DATA,
				 bms == FFPF_BMS_SRP);
		r->ops->release(r, 2);
		test_close(hook, flow, r);
	}
}

static void
law_holds_after_every_operation(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *hook = test_hook(bms, 16);
		struct ffpf_bpf_prog *odd = first_octet_is(1);
		struct ffpf_flow *flow = test_flow(hook, 8, odd);
		struct ffpf_reader *r = test_reader(flow);
		struct ffpf_batch batch;

		for (uint64_t i = 0; i < 60; i++) {
			test_send(hook, i % 7 ? 1 : 0, 8 + (uint32_t)i * 2);
			test_law(flow, r);
			if (i % 11)
				continue;
			while (r->ops->next(r, &batch) == FFPF_BATCH) {
				test_law(flow, r);
				for (uint32_t n = 0; n < batch.count; n++) {
					r->ops->release(r, 1);
					test_law(flow, r);
				}
				r->ops->settle(r);
				test_law(flow, r);
			}
		}
		test_close(hook, flow, r);
		ffpf_bpf_prog_destroy(odd);
	}
}

/* What the IBuf holds already is judged by the new filter; from the swap on the hook does it. Unreleased packets come
 * again, those turned away behind the last released one too. */
static void
set_filter_takes_hold_behind_the_last_released_packet(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *hook = test_hook(bms, 256);
		struct ffpf_bpf_prog *one = first_octet_is(1), *two = first_octet_is(2);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_reader *r = test_reader(flow);
		struct ffpf_counters c;
		struct ffpf_batch batch;

		for (uint64_t i = 0; i < 12; i++)
			test_send(hook, i % 3, 16); /* 0 1 2 0 1 2 ... */
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 12);
		r->ops->release(r, 2);
		must(r->ops->set_filter(r, one));
		assert_int_equal(r->info.filter_kind, FFPF_FILTER_INTERPRETER);
		test_law(flow, r);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(test_number(batch.pkts[i].data), 1);
			assert_int_equal(batch.pkts[i].result, 1001);
			assert_int_equal(batch.pkts[i].skipped, 2);
		}
		r->ops->release(r, 1);
		test_law(flow, r);
		must(r->ops->set_filter(r, two));
		for (uint64_t i = 0; i < 6; i++)
			test_send(hook, i % 3, 16);
		test_law(flow, r);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 3); /* 2 (01) 2 (01) 2, and the rest comes from the hook: */
		assert_int_equal(batch.pkts[0].skipped, 0);
		assert_int_equal(batch.pkts[1].skipped, 2);
		r->ops->release(r, 3);
		test_law(flow, r);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		assert_int_equal(batch.count, 2);
		assert_int_equal(batch.pkts[0].result, 1002);
		r->ops->release(r, 2);
		must(r->ops->set_filter(r, NULL));
		test_send(hook, 0, 16);
		assert_int_equal(test_drain(r, numbers, ROOM), 1);
		test_law(flow, r);
		r->ops->counters(r, &c);
		assert_int_equal(c.seen, 19);
		assert_int_equal(c.delivered, 2 + 1 + 3 + 2 + 1);
		test_close(hook, flow, r);
		ffpf_bpf_prog_destroy(one);
		ffpf_bpf_prog_destroy(two);
	}
}

static void
hook_judges_from_an_exact_entry_on(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 256);
	struct ffpf_bpf_prog *one = first_octet_is(1);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	const struct ffpf_ibuf_page *page = flow->lanes[0].ibuf->page;

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		test_send(hook, 2, 16);
	assert_int_equal(atomic_load(&page->generation), 1);
	ffpf_flow_set_filter(flow, one);
	assert_int_equal(flow->generation, 2);
	test_send(hook, 2, 16);
	assert_int_equal(atomic_load(&page->generation), 2);
	assert_int_equal(atomic_load(&page->generation_pos), 5);
	assert_int_equal(atomic_load(&page->w), 5);
	must(ffpf_hook_detach(hook, flow, &test_err));
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(hook);
	ffpf_bpf_prog_destroy(one);
}

/* A filter that the reader runs sees the octets without the tag, as the hook's do. */
static void
tagged_packet_is_judged_without_its_tag(void **state)
{
	const struct ffpf_bpf_insn tag_beside[] = {
		{ .code = 0x28, .k = 12 },               /* ldh [12] */
		{ .code = 0x15, .jf = 3, .k = 0x0800 },  /* jeq */
		{ .code = 0x20, .k = 0xfffff000u + 44 }, /* vlan_tci */
		{ .code = 0x15, .jf = 1, .k = 5 },
		{ .code = 0x06, .k = 1 },
		{ .code = 0x06, .k = 0 },
	};
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flow = test_flow(hook, 16, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_bpf_prog *prog = NULL;
	struct ffpf_batch batch;
	uint8_t data[60] = { [12] = 8 };
	struct ffpf_hook_packet pkt = {
		.data = data, .cap_len = 60, .wire_len = 60, .vlan_tci = 5, .vlan_tpid = 0x8100, .flags = FFPF_HOOK_VLAN
	};

	(void)state;
	must(ffpf_bpf_prog_create(&prog, tag_beside, 6, FFPF_BPF_INTERPRETER, &test_err));
	ffpf_hook_handle_packet(hook, &pkt);
	pkt.vlan_tci = 6;
	ffpf_hook_handle_packet(hook, &pkt);
	must(r->ops->set_filter(r, prog));
	pkt.vlan_tci = 5;
	ffpf_hook_handle_packet(hook, &pkt);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		for (uint32_t n = 0; n < batch.count; n++) {
			assert_int_equal(batch.pkts[n].vlan_tci, 5);
			assert_int_equal(batch.pkts[n].cap_len, 64);
			assert_memory_equal(batch.pkts[n].data + 12, "\x81\x00\x00\x05\x08\x00", 6);
		}
		r->ops->release(r, batch.count);
		i += batch.count - 1;
	}
	assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
	test_law(flow, r);
	test_close(hook, flow, r);
	ffpf_bpf_prog_destroy(prog);
}

static void
direction_turns_away_and_counts(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flow = test_flow(hook, 16, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_counters c;
	uint8_t data[8] = { 0 };
	struct ffpf_hook_packet pkt = { .data = data, .cap_len = 8, .wire_len = 8 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		pkt.pkt_type = i % 3 ? PACKET_HOST : PACKET_OUTGOING;
		ffpf_hook_handle_packet(hook, &pkt);
	}
	must(r->ops->set_direction(r, FFPF_DIR_OUT));
	assert_int_equal(test_drain(r, numbers, ROOM), 2);
	r->ops->counters(r, &c);
	assert_int_equal(c.filtered, 4);
	test_law(flow, r);
	test_close(hook, flow, r);
}

static void
evicted_and_detached_readers_are_told(void **state)
{
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = test_reader(flow);
	struct ffpf_counters c;
	struct ffpf_batch batch;

	(void)state;
	for (uint64_t i = 0; i < 16; i++)
		test_send(hook, i, 16);
	atomic_store(&flow->page->r[0], 99);
	test_send(hook, 16, 16);
	assert_int_equal(r->ops->next(r, &batch), FFPF_FAILED);
	assert_int_equal(r->err.code, FFPF_E_DENIED);
	assert_string_equal(r->err.text, "evicted: R was not between the last R and W");
	r->ops->counters(r, &c);
	assert_int_equal(c.dropped[FFPF_DROP_EVICTED], 17);
	test_law(flow, r);
	test_close(hook, flow, r);

	hook = test_hook(FFPF_BMS_SRP, 16);
	flow = test_flow(hook, 64, NULL);
	r = test_reader(flow);
	test_send(hook, 1, 16);
	must(ffpf_hook_detach(hook, flow, &test_err));
	test_send(hook, 2, 16);
	assert_int_equal(r->ops->next(r, &batch), FFPF_FAILED);
	assert_string_equal(r->err.text, "the flow was detached");
	test_law(flow, r);
	r->ops->close(r);
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(hook);
}

/* The record is destroyed behind the index's back: nothing else may be delivered in its place. */
static void
broken_record_is_a_counted_drop(void **state)
{
	(void)state;
	for (enum ffpf_bms_id bms = FFPF_BMS_SRP; bms <= FFPF_BMS_FRP; bms++) {
		struct ffpf_hook *hook = test_hook(bms, 64);
		struct ffpf_flow *flow = test_flow(hook, 64, NULL);
		struct ffpf_reader *r = test_reader(flow);
		uint8_t *cells = ffpf_hook_lane(hook)->cells;
		const uint32_t huge = FFPF_PACKET_MAX_BYTES + 1;
		struct ffpf_counters c;

		for (uint64_t i = 0; i < 4; i++)
			test_send(hook, i, 16);
		cells[1 * FFPF_CELL_BYTES] ^= 1; /* stamp */
		memcpy(cells + 2 * FFPF_CELL_BYTES + 16, &huge, sizeof(huge));
		assert_int_equal(test_drain(r, numbers, ROOM), 2);
		assert_int_equal(numbers[1], 3);
		r->ops->counters(r, &c);
		assert_int_equal(c.dropped[FFPF_DROP_INVALID], 2);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations_that_are_refused),
		cmocka_unit_test(descriptors_say_what_the_record_says),
		cmocka_unit_test(law_holds_after_every_operation),
		cmocka_unit_test(set_filter_takes_hold_behind_the_last_released_packet),
		cmocka_unit_test(hook_judges_from_an_exact_entry_on),
		cmocka_unit_test(tagged_packet_is_judged_without_its_tag),
		cmocka_unit_test(direction_turns_away_and_counts),
		cmocka_unit_test(evicted_and_detached_readers_are_told),
		cmocka_unit_test(broken_record_is_a_counted_drop),
	};

	return cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
