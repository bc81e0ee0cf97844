/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/testing.h"

#include <linux/if_packet.h>

#define ROOM 4096

static uint64_t numbers[ROOM];

/* A filter whose code is a C function of the test. */
struct probe {
	struct ffpf_bpf_prog prog; /* first */
	uint32_t result;
	uint32_t runs;
	struct ffpf_hook *nested; /* hand this hook a packet from within */
	uint8_t seen[64];
	uint32_t seen_len, seen_wire;
	struct ffpf_bpf_aux aux;
};

static uint32_t
run_probe(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	  const struct ffpf_bpf_aux *aux)
{
	struct probe *p = (struct probe *)(uintptr_t)prog;

	p->runs++;
	p->seen_len = cap_len;
	p->seen_wire = wire_len;
	p->aux = *aux;
	memcpy(p->seen, pkt, cap_len < sizeof(p->seen) ? cap_len : sizeof(p->seen));
	if (p->nested)
		assert_int_equal(test_send(p->nested, 1000, 16), 0);
	return p->result;
}

static struct probe
probe(uint32_t result)
{
	return (struct probe){ .prog = { .run = run_probe }, .result = result };
}

static void
configurations_that_are_refused(void **state)
{
	static const struct {
		enum ffpf_bms_id bms;
		int vlan_offset;
		uint32_t batch;
		const char *text;
	} cases[] = {
		{ 3, 12, 1, "there is no BMS 3" },
		{ FFPF_BMS_SRP, 29, 1, "VLAN offset: 29 is not from -1 to 28" },
		{ FFPF_BMS_SRP, -2, 1, "VLAN offset: -2 is not from -1 to 28" },
		{ FFPF_BMS_SRP, 12, 0, "batch: at least one packet" },
	};
	struct ffpf_hook *hook = NULL, *other;
	struct ffpf_flow *flow = NULL;
	struct ffpf_flow_config flow_cfg = { .ibuf_slots = 3 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_hook_config cfg = test_hook_config(cases[i].bms, 16);

		cfg.vlan_offset = cases[i].vlan_offset;
		cfg.publish_batch = cases[i].batch;
		assert_int_equal(ffpf_hook_create(&hook, &cfg, &test_err), -FFPF_E_INVALID);
		assert_string_equal(test_err.text, cases[i].text);
		assert_null(hook);
	}
	assert_int_equal(ffpf_flow_create(&flow, &flow_cfg, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "IBuf slots: 3 is not a power of two from 2 to 134217728");
	assert_null(flow);

	hook = test_hook(FFPF_BMS_SRP, 16);
	other = test_hook(FFPF_BMS_FRP, 16);
	flow = test_flow(hook, 4, NULL);
	assert_int_equal(ffpf_hook_attach(hook, flow, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "the flow is attached to this hook already");
	assert_int_equal(ffpf_hook_attach(other, flow, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "the lanes of a flow must have the same BMS and link type");
	assert_int_equal(ffpf_hook_detach(other, flow, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "the flow is not attached to this hook");
	ffpf_hook_destroy(other);
	test_close(hook, flow, NULL);
}

static void
what_nobody_wants_never_touches_pbuf(void **state)
{
	struct probe none = probe(0);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 16, &none.prog);
	const struct ffpf_lane *lane = ffpf_hook_lane(hook);
	const uint8_t zeros[16 * FFPF_CELL_BYTES] = { 0 };

	(void)state;
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(test_send(hook, i, 100), 0);
	assert_memory_equal(lane->cells, zeros, sizeof(zeros));
	assert_int_equal(atomic_load(&lane->page->intent), 16);
	assert_int_equal(atomic_load(&lane->page->w), 16);
	assert_int_equal(atomic_load(&lane->page->packets), 99);
	assert_int_equal(none.runs, 99);
	test_law(flow, NULL);
	/* nor does a packet that its flow has no room for */
	none.result = 5;
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(test_send(hook, i, 16), 1);
	assert_int_equal(test_send(hook, 16, 16), 0);
	assert_int_equal(atomic_load(&lane->page->intent), 32);
	test_close(hook, flow, NULL);
}

static void
result_and_index_are_in_the_ibuf(void **state)
{
	struct probe yes = probe(4711);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 4, &yes.prog);
	const struct ffpf_ibuf *ibuf = flow->lanes[0].ibuf;

	(void)state;
	test_send(hook, 0, 100); /* 3 cells */
	yes.result = 12;
	test_send(hook, 1, 16);
	assert_int_equal(atomic_load(&ibuf->entries[0].index), 16);
	assert_int_equal(atomic_load(&ibuf->entries[0].result), 4711);
	assert_int_equal(atomic_load(&ibuf->entries[1].index), 19);
	assert_int_equal(atomic_load(&ibuf->entries[1].result), 12);
	assert_int_equal(atomic_load(&ibuf->page->w), 2);
	assert_int_equal(atomic_load(&ibuf->page->intent), 2);
	test_close(hook, flow, NULL);
}

static void
tag_is_put_back_and_filters_see_it_beside(void **state)
{
	static const uint32_t lengths[] = { 12, 13, 14, 27, 28, 29, 60, 200 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct probe yes = probe(1);
		struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
		struct ffpf_flow *flow = test_flow(hook, 4, &yes.prog);
		struct ffpf_reader *r = test_reader(flow);
		struct ffpf_batch batch;
		uint8_t data[200];
		const struct ffpf_hook_packet pkt = {
			.data = data,
			.cap_len = lengths[i],
			.wire_len = 1000,
			.ifindex = 3,
			.vlan_tci = 0x2064,
			.vlan_tpid = 0x88a8,
			.protocol = 0x0800,
			.hatype = 1,
			.pkt_type = PACKET_OUTGOING,
			.flags = FFPF_HOOK_VLAN,
		};
		const struct ffpf_packet *p;

		test_fill(data, 9, sizeof(data));
		assert_int_equal(ffpf_hook_handle_packet(hook, &pkt), 1);
		assert_int_equal(yes.seen_len, lengths[i]);
		assert_int_equal(yes.seen_wire, 1000);
		assert_memory_equal(yes.seen, data, lengths[i] < 64 ? lengths[i] : 64);
		assert_true(yes.aux.vlan_present);
		assert_int_equal(yes.aux.vlan_tci, 0x2064);
		assert_int_equal(yes.aux.vlan_tpid, 0x88a8);
		assert_int_equal(yes.aux.pkt_type, PACKET_OUTGOING);
		assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
		p = &batch.pkts[0];
		assert_int_equal(p->cap_len, lengths[i] + 4);
		assert_int_equal(p->wire_len, 1004);
		assert_true(p->flags & FFPF_PACKET_VLAN);
		assert_int_equal(p->vlan_tci, 0x2064);
		assert_int_equal(p->vlan_tpid, 0x88a8);
		assert_int_equal(p->protocol, 0x0800);
		assert_int_equal(p->ifindex, 3);
		assert_int_equal(p->pkt_type, PACKET_OUTGOING);
		assert_memory_equal(p->data, data, 12);
		assert_memory_equal(p->data + 12, "\x88\xa8\x20\x64", 4);
		assert_memory_equal(p->data + 16, data + 12, lengths[i] - 12);
		assert_true(p->ts_sec > 1600000000);
		r->ops->release(r, 1);
		test_law(flow, r);
		test_close(hook, flow, r);
	}
}

static void
snap_length_cuts_what_is_stored(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_SRP, 16);
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;
	struct ffpf_batch batch;

	(void)state;
	cfg.snap_len = 20;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 4, NULL);
	r = test_reader(flow);
	test_send(hook, 3, 500);
	assert_int_equal(ffpf_hook_lane(hook)->w, 16 + 2);
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.pkts[0].cap_len, 20);
	assert_int_equal(batch.pkts[0].wire_len, 500);
	assert_true(test_is_whole(batch.pkts[0].data, 20));
	r->ops->release(r, 1);
	test_close(hook, flow, r);
}

static void
oversize_and_senseless_packets_are_counted(void **state)
{
	struct probe yes = probe(1), no = probe(0);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 8192);
	struct ffpf_flow *flow = test_flow(hook, 4, &yes.prog), *other = test_flow(hook, 4, &no.prog);
	struct ffpf_reader *r = test_reader(flow);
	const struct ffpf_hook_packet senseless = { .cap_len = 0x80000000u };

	(void)state;
	assert_int_equal(test_send(hook, 1, FFPF_PACKET_MAX_BYTES), 1);
	assert_int_equal(test_drain(r, numbers, ROOM), 0 + 1);
	assert_int_equal(test_send(hook, 2, FFPF_PACKET_MAX_BYTES + 1), 0);
	assert_int_equal(test_dropped(flow, FFPF_DROP_OVERSIZE), 1);
	assert_int_equal(test_dropped(other, FFPF_DROP_OVERSIZE), 0);
	test_law(flow, r);
	test_law(other, NULL);
	assert_int_equal(ffpf_hook_handle_packet(hook, &senseless), 0);
	assert_int_equal(test_dropped(flow, FFPF_DROP_INVALID), 1);
	assert_int_equal(test_dropped(other, FFPF_DROP_INVALID), 1);
	test_law(flow, r);
	test_law(other, NULL);
	must(ffpf_hook_detach(hook, other, &test_err));
	ffpf_flow_destroy(other);
	test_close(hook, flow, r);
}

/* A packet that comes while one is being handled, as in a signal handler, is a counted drop of every flow. */
static void
nested_packet_is_a_counted_drop(void **state)
{
	struct probe yes = probe(1);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 16);
	struct ffpf_flow *flow = test_flow(hook, 16, &yes.prog), *late;
	struct ffpf_reader *r = test_reader(flow);

	(void)state;
	yes.nested = hook;
	assert_int_equal(test_send(hook, 1, 16), 1);
	late = test_flow(hook, 16, NULL);
	yes.nested = NULL;
	assert_int_equal(test_send(hook, 2, 16), 2);
	assert_int_equal(test_dropped(flow, FFPF_DROP_NESTED), 1);
	assert_int_equal(test_dropped(late, FFPF_DROP_NESTED), 0);
	test_law(flow, r);
	assert_int_equal(test_drain(r, numbers, ROOM), 2);
	test_law(flow, r);
	test_law(late, NULL);
	must(ffpf_hook_detach(hook, late, &test_err));
	ffpf_flow_destroy(late);
	test_close(hook, flow, r);
}

static void
shared_filter_runs_once(void **state)
{
	struct probe yes = probe(1), no = probe(0);
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flows[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		flows[i] = test_flow(hook, 16, i % 2 ? &yes.prog : i == 4 ? NULL : &no.prog);
	assert_int_equal(test_send(hook, 1, 16), 4);
	assert_int_equal(yes.runs, 1);
	assert_int_equal(no.runs, 1);
	for (unsigned i = 0; i < 6; i++) {
		test_law(flows[i], NULL);
		must(ffpf_hook_detach(hook, flows[i], &test_err));
		assert_int_equal(test_send(hook, i, 16), i < 1 ? 4 : i < 2 ? 3 : i < 3 ? 3 : i < 4 ? 2 : i < 5 ? 1 : 0);
	}
	for (unsigned i = 0; i < 6; i++)
		ffpf_flow_destroy(flows[i]);
	ffpf_hook_destroy(hook);
}

static void
batch_is_published_when_full_or_flushed(void **state)
{
	struct ffpf_hook_config cfg = test_hook_config(FFPF_BMS_SRP, 16);
	struct ffpf_hook *hook = NULL;
	struct ffpf_flow *flow;
	struct ffpf_reader *r;

	(void)state;
	cfg.publish_batch = 4;
	must(ffpf_hook_create(&hook, &cfg, &test_err));
	flow = test_flow(hook, 64, NULL);
	r = test_reader(flow);
	for (uint64_t i = 0; i < 6; i++)
		test_send(hook, i, 16);
	assert_int_equal(test_drain(r, numbers, ROOM), 4);
	ffpf_hook_flush(hook);
	assert_int_equal(test_drain(r, numbers, ROOM), 2);
	test_law(flow, r);
	/* a full buffer publishes what the reader must see in order to free it */
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(test_send(hook, i, 16 + 3 * FFPF_CELL_BYTES), 1);
	assert_int_equal(test_send(hook, 3, 16 + 7 * FFPF_CELL_BYTES), 0);
	assert_int_equal(test_drain(r, numbers, ROOM), 3);
	test_law(flow, r);
	/* so does detaching */
	test_send(hook, 9, 16);
	r->ops->close(r);
	must(ffpf_hook_detach(hook, flow, &test_err));
	assert_int_equal(atomic_load(&flow->lanes[0].ibuf->page->w), 10);
	test_law(flow, NULL);
	ffpf_flow_destroy(flow);
	ffpf_hook_destroy(hook);
}

static void
sleeper_is_woken_when_its_packets_or_its_time_are_due(void **state)
{
	struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_hook *hook = test_hook(FFPF_BMS_SRP, 64);
	struct ffpf_flow *flow = test_flow(hook, 64, NULL);
	struct ffpf_reader *r = NULL;
	struct ffpf_batch batch;
	const uint64_t second = 1000000000u;
	uint64_t now;

	(void)state;
	cfg.want = 3;
	cfg.timeout_ms = 100000;
	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	now = 1000 * second;
	assert_false(test_is_readable(r));
	assert_int_equal(ffpf_hook_tick(hook, now), UINT64_MAX);
	test_send(hook, 1, 16);
	test_send(hook, 2, 16);
	assert_false(test_is_readable(r));
	test_send(hook, 3, 16);
	assert_true(test_is_readable(r));
	assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
	assert_int_equal(batch.count, 3);
	r->ops->release(r, 3);
	/* awake: nobody rings */
	for (uint64_t i = 4; i < 8; i++)
		test_send(hook, i, 16);
	assert_false(test_is_readable(r));
	assert_int_equal(test_drain(r, numbers, ROOM), 4);
	/* settled: it sleeps, and keeps the last packet */
	r->ops->settle(r);
	assert_false(test_is_readable(r));
	test_send(hook, 8, 16);
	test_send(hook, 9, 16);
	assert_false(test_is_readable(r));
	test_send(hook, 10, 16);
	assert_true(test_is_readable(r));
	assert_int_equal(test_drain(r, numbers, ROOM), 3);
	r->ops->settle(r);
	/* time: the first packet starts it, a tick ends it */
	test_send(hook, 11, 16);
	now = ffpf_hook_tick(hook, 1);
	assert_true(now > 100 * second && now != UINT64_MAX);
	assert_int_equal(ffpf_hook_tick(hook, now - 1), now);
	assert_false(test_is_readable(r));
	assert_int_equal(ffpf_hook_tick(hook, now), UINT64_MAX);
	assert_true(test_is_readable(r));
	assert_int_equal(test_drain(r, numbers, ROOM), 1);
	test_law(flow, r);
	test_close(hook, flow, r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations_that_are_refused),
		cmocka_unit_test(what_nobody_wants_never_touches_pbuf),
		cmocka_unit_test(result_and_index_are_in_the_ibuf),
		cmocka_unit_test(tag_is_put_back_and_filters_see_it_beside),
		cmocka_unit_test(snap_length_cuts_what_is_stored),
		cmocka_unit_test(oversize_and_senseless_packets_are_counted),
		cmocka_unit_test(nested_packet_is_a_counted_drop),
		cmocka_unit_test(shared_filter_runs_once),
		cmocka_unit_test(batch_is_published_when_full_or_flushed),
		cmocka_unit_test(sleeper_is_woken_when_its_packets_or_its_time_are_due),
	};

	return cmocka_run_group_tests_name("hook", tests, NULL, NULL);
}
