/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/testing_flow.h"
#include "layout.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT "(device,hook:h) -> (packetcount,,8)"

enum call {
	POPULATE,
	INSTANTIATE,
	ACTIVATE,
	PAUSE,
	CLOSE,
	NODE,
	FIND,
	COUNTERS,
	MBUF,
	REPORT,
	READ,
	WAIT,
	CALLBACK,
	CALLS
};

static const char *const call_names[CALLS] = {
	"populate",
	"instantiate",
	"activate",
	"pause",
	"close",
	"looking at its nodes",
	"looking at its nodes",
	"reading counters",
	"looking at an MBuf",
	"reading results",
	"reading",
	"waiting",
	"a callback",
};

static bool
take_nothing(void *arg, const struct ffpf_graph_batch *batch)
{
	(void)arg;
	(void)batch;
	return true;
}

static int
make_call(struct ffpf_graph_flow *flow, enum call call, struct ffpf_error *err)
{
	struct ffpf_graph_error place = { 0 };
	struct ffpf_graph_flow_node node;
	struct ffpf_node_counters counters;
	struct ffpf_graph_batch batch;
	struct ffpf_text text = { 0 };
	enum ffpf_outcome outcome;
	size_t bytes;
	void *data;
	int status;

	switch (call) {
	case POPULATE:
	case INSTANTIATE:
		status = call == POPULATE ? ffpf_graph_flow_populate(flow, "c=" COUNT, &place)
					  : ffpf_graph_flow_instantiate(flow, &place);
		*err = place.error;
		return status;
	case ACTIVATE:
		return ffpf_graph_flow_activate(flow, err);
	case PAUSE:
		return ffpf_graph_flow_pause(flow, err);
	case CLOSE:
		return ffpf_graph_flow_close(flow, err);
	case NODE:
		return ffpf_graph_flow_node(flow, 0, &node, err);
	case FIND:
		status = ffpf_graph_flow_find(flow, "c", err);
		return status < 0 ? status : 0;
	case COUNTERS:
		return ffpf_graph_flow_counters(flow, 0, &counters, err);
	case MBUF:
		return ffpf_graph_flow_mbuf(flow, 1, &data, &bytes, err);
	case REPORT:
		status = ffpf_graph_flow_report(flow, 1, FFPF_REPORT_TEXT, &text, err);
		ffpf_text_free(&text);
		return status;
	case READ:
		outcome = ffpf_graph_getnext_pkt(flow, FFPF_GRAPH_LAST, 0, 0, &batch, err);
		return outcome == FFPF_FAILED ? -(int)err->code : 0;
	case WAIT:
		return ffpf_graph_wait_for_n_pkts(flow, 0, 1, 0, NULL, err);
	default:
		return ffpf_graph_filter_callback(flow, 0, take_nothing, NULL, 1, 0, err);
	}
}

/* The table of flow.h, a row a call: may it be made in CREATED, POPULATED, INSTANTIATED, ACTIVE, PAUSED, CLOSED; and
 * the state it leads to, when it leads to one. */
static const struct {
	const char *allowed;
	int leads_to;
} table[CALLS] = {
	[POPULATE] = { "yy----", FFPF_GRAPH_POPULATED },
	[INSTANTIATE] = { "-y----", FFPF_GRAPH_INSTANTIATED },
	[ACTIVATE] = { "--y-y-", FFPF_GRAPH_ACTIVE },
	[PAUSE] = { "---y--", FFPF_GRAPH_PAUSED },
	[CLOSE] = { "yyyyyy", FFPF_GRAPH_CLOSED },
	[NODE] = { "-yyyy-", -1 },
	[FIND] = { "-yyyy-", -1 },
	[COUNTERS] = { "--yyy-", -1 },
	[MBUF] = { "--yyy-", -1 },
	[REPORT] = { "--yyy-", -1 },
	[READ] = { "--yyy-", -1 },
	[WAIT] = { "--yyy-", -1 },
	[CALLBACK] = { "--yyy-", -1 },
};

static struct ffpf_graph_flow *
flow_in(struct test_engine *t, enum ffpf_graph_state state)
{
	struct ffpf_graph_flow *flow = NULL;
	struct ffpf_error err = { 0 };

	if (state == FFPF_GRAPH_CREATED) {
		assert_int_equal(ffpf_graph_flow_create(&flow, t->engine, "f", FFPF_GRAPH_SHARE_ALL, &err), 0);
		return flow;
	}
	flow = test_flow(t, "f", "(device,hook:h) -> c=(packetcount,,8)",
			 state == FFPF_GRAPH_PAUSED || state == FFPF_GRAPH_CLOSED ? FFPF_GRAPH_ACTIVE : state);
	if (state == FFPF_GRAPH_PAUSED)
		assert_int_equal(ffpf_graph_flow_pause(flow, &err), 0);
	if (state == FFPF_GRAPH_CLOSED)
		assert_int_equal(ffpf_graph_flow_close(flow, &err), 0);
	return flow;
}

static void
the_state_table_holds(void **state)
{
	(void)state;
	for (int from = 0; from < FFPF_GRAPH_STATES; from++) {
		for (int call = 0; call < CALLS; call++) {
			bool allowed = table[call].allowed[from] == 'y';
			int then = allowed && table[call].leads_to >= 0 ? table[call].leads_to : from;
			struct ffpf_error err = { 0 };
			struct ffpf_graph_flow *flow;
			struct test_engine t;
			char text[128];

			test_engine_begin(&t, NULL);
			flow = flow_in(&t, (enum ffpf_graph_state)from);
			assert_int_equal(ffpf_graph_flow_state(flow), from);
			if (call == POPULATE && allowed) {
				struct ffpf_graph_error place;

				assert_int_equal(ffpf_graph_flow_populate(flow, COUNT, &place), 0);
			} else {
				assert_int_equal(make_call(flow, (enum call)call, &err), allowed ? 0 : -FFPF_E_INVALID);
			}
			if (!allowed) {
				snprintf(text, sizeof(text), "flow \"f\" is %s: %s is not possible now",
					 ffpf_graph_state_name((enum ffpf_graph_state)from), call_names[call]);
				assert_string_equal(err.text, text);
			}
			assert_int_equal(ffpf_graph_flow_state(flow), then);
			ffpf_graph_flow_destroy(flow); /* at every state, and after every call */
			assert_int_equal(ffpf_engine_instance_count(t.engine), 0);
			test_engine_end(&t);
		}
	}
}

static void
instantiating_fails_at_a_place_and_leaves_nothing(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "(device,hook:h) -> (packetcount) -> (FPL-9,\"...\")",
		  "1:38: there is no class \"FPL-9\"; there are: BPF, " },
		{ "(device,hook:h) -> (device,hook:h)", "1:21: a device takes no packets: it begins a flow" },
		{ "(packetcount)", "1:2: a flow begins with a device, or a name" },
		{ "(device,hook:none)", "1:9: the application has opened no hook \"none\"" },
		{ "(device,given:none)", "1:9: the application has given no reader \"none\", or it is read already" },
		{ "(device,\"netfilter:forward\")",
		  "1:10: netfilter hooks are captured by ffpfd, not in this process" },
		{ "(device)", "1:8: which device? Arguments: " },
		{ "(device,/none/none.pcap)", "1:9: /none/none.pcap: No such file or directory" },
		{ "(device,live:none0)", "1:9: there is no interface or file \"none0\"" },
		{ "(device,hook:h,8)", "1:9: a device has no MBuf" },
		{ "(device,hook:h) -> (packetcount,fast)", "1:33: this class has no arguments" },
		{ "(device,hook:h) -> (packetcount,,4)", "1:33: an MBuf of 4 octets; packetcount needs 8" },
		{ "(device,hook:h) -> (BPF,\"tcp or or\")", "1:26: can't parse filter expression: syntax error" },
		{ "other -> (packetcount)", "1:1: no flow that is instantiated, and shares, has a node \"other\"" },
		{ "f.x -> (packetcount)", "1:1: no flow that is instantiated, and shares, has a node \"f.x\"" },
	};
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ffpf_graph_flow *flow = test_flow(&t, "f", cases[i].text, FFPF_GRAPH_POPULATED);
		struct ffpf_graph_error err;

		assert_true(ffpf_graph_flow_instantiate(flow, &err) < 0);
		if (strncmp(err.error.text, cases[i].shown, strlen(cases[i].shown)) != 0)
			assert_string_equal(err.error.text, cases[i].shown);
		assert_int_equal(ffpf_graph_flow_state(flow), FFPF_GRAPH_POPULATED);
		assert_int_equal(ffpf_engine_instance_count(t.engine), 0);
		ffpf_graph_flow_destroy(flow);
	}
	test_engine_end(&t);
}

static void
equal_prefixes_run_once(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *a, *b;
	struct ffpf_engine_instance instance;
	struct ffpf_error err = { 0 };
	uint64_t *count;
	size_t bytes;

	(void)state;
	test_engine_begin(&t, NULL);
	a = test_flow(&t, "a", "(device,hook:h) -> (sampler,2,4) -> (BPF,len > 64) -> (bytecount,,8)",
		      FFPF_GRAPH_ACTIVE);
	b = test_flow(&t, "b", "(device, \"hook:h\") -> (sampler,\"2\",4) -> (BPF,\"len <= 64\") -> (packetcount,,8)",
		      FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 6); /* of 8 nodes */
	test_send(&t, 100, 7);
	assert_int_equal(test_counters(a, 1).in, 100); /* not 200 */
	assert_int_equal(test_counters(b, 1).out, 50);
	assert_int_equal(ffpf_graph_flow_mbuf(b, 3, (void **)&count, &bytes, &err), 0);
	assert_int_equal(bytes, 8);
	assert_int_equal(*count, test_counters(b, 3).in);
	assert_int_equal(test_counters(a, 2).out + test_counters(b, 2).out, 50);
	assert_int_equal(ffpf_engine_instance_at(t.engine, 1, &instance, &err), 0);
	assert_string_equal(instance.class, "sampler");
	assert_int_equal(instance.flows, 2);
	assert_int_equal(ffpf_graph_flow_close(a, &err), 0);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 4);
	test_send(&t, 10, 1);
	assert_int_equal(test_counters(b, 1).in, 110); /* its memory goes on */
	test_engine_end(&t);
}

static void
who_does_not_share_runs_alone(void **state)
{
	struct ffpf_graph_error place;
	struct ffpf_graph_flow *a, *b;
	struct ffpf_error err = { 0 };
	struct test_engine t;

	(void)state;
	test_engine_begin(&t, NULL);
	a = test_flow(&t, "a", COUNT, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_flow_create(&b, t.engine, "b", FFPF_GRAPH_SHARE_NONE, &err), 0);
	assert_int_equal(ffpf_graph_flow_populate(b, COUNT, &place), 0);
	assert_int_equal(ffpf_graph_flow_instantiate(b, &place), 0);
	assert_int_equal(ffpf_graph_flow_activate(b, &err), 0);
	assert_int_equal(ffpf_engine_instance_count(t.engine), 4);
	test_send(&t, 10, 10);
	assert_int_equal(test_counters(a, 1).in, 10);
	assert_int_equal(test_counters(b, 1).in, 10);
	test_engine_end(&t);
}

static void
a_packet_comes_once_to_a_join(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *f;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f",
		      "(device,hook:h) -> (BPF,len > 62) | (BPF,len > 64) | (sampler,1000) -> (packetcount,,8)",
		      FFPF_GRAPH_ACTIVE);
	test_send(&t, 100, 100);
	assert_int_equal(test_counters(f, 1).out, 70);
	assert_int_equal(test_counters(f, 2).out, 50);
	assert_int_equal(test_counters(f, 4).in, 70);
	test_engine_end(&t);
}

static void
a_late_flow_continues_from_a_name(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *a, *b;
	struct ffpf_error err = { 0 };

	(void)state;
	test_engine_begin(&t, NULL);
	a = test_flow(&t, "a", "(device,hook:h) -> half=(sampler,2) -> (packetcount,,8)", FFPF_GRAPH_ACTIVE);
	test_send(&t, 10, 10);
	b = test_flow(&t, "b", "half -> (bytecount,,8)", FFPF_GRAPH_ACTIVE);
	test_send(&t, 10, 10);
	assert_int_equal(test_counters(a, 2).in, 10);
	assert_int_equal(test_counters(b, 1).in, 5);
	assert_int_equal(ffpf_graph_flow_close(a, &err), 0); /* what feeds b stays */
	test_send(&t, 10, 10);
	assert_int_equal(test_counters(b, 1).in, 10);
	test_flow(&t, "c", "b.none | (device,hook:h)", FFPF_GRAPH_POPULATED);
	test_engine_end(&t);
}

static void
pausing_stops_packets_and_keeps_memory(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *f;
	struct ffpf_error err = { 0 };
	uint64_t *count;
	size_t bytes;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f", COUNT, FFPF_GRAPH_INSTANTIATED);
	assert_int_equal(ffpf_graph_flow_mbuf(f, 1, (void **)&count, &bytes, &err), 0);
	*count = 1000; /* filled before it starts */
	test_send(&t, 5, 5);
	assert_int_equal(ffpf_graph_flow_activate(f, &err), 0);
	test_send(&t, 5, 5);
	assert_int_equal(ffpf_graph_flow_pause(f, &err), 0);
	test_send(&t, 5, 5);
	assert_int_equal(ffpf_graph_flow_activate(f, &err), 0);
	test_send(&t, 5, 5);
	assert_int_equal(*count, 1010);
	assert_int_equal(test_counters(f, 0).in, 10);
	test_engine_end(&t);
}

static void
a_node_that_is_shown_can_be_read_and_not_written_by_others(void **state)
{
	const struct ffpf_engine_config cfg = { .shown = true };
	const struct ffpf_mbuf_page *page;
	struct test_engine t;
	struct ffpf_graph_flow *f;
	struct ffpf_error err = { 0 };
	uint64_t at, bytes, *count;
	size_t mbuf_bytes;
	int fd;

	(void)state;
	test_engine_begin(&t, &cfg);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	test_send(&t, 20, 10);
	assert_int_equal(ffpf_graph_flow_memory(f, 2, &fd, &at, &bytes, &err), 0);
	assert_int_equal(bytes, 8);
	assert_ptr_equal(mmap(NULL, at + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	page = mmap(NULL, at + bytes, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(page->came, 10);
	assert_int_equal(page->out, 10);
	test_send(&t, 4, 4);
	assert_int_equal(page->came, 12);
	assert_int_equal(*(const uint64_t *)((const uint8_t *)page + at), 12);
	assert_int_equal(ffpf_graph_flow_mbuf(f, 2, (void **)&count, &mbuf_bytes, &err), 0);
	*count = 7; /* the engine's own */
	assert_int_equal(*(const uint64_t *)((const uint8_t *)page + at), 7);
	assert_int_equal(ffpf_graph_flow_memory(f, 0, &fd, &at, &bytes, &err),
			 0); /* a device has none, and no counters */
	assert_int_equal(bytes, 0);
	munmap((void *)page, 4096 + 8);
	test_engine_end(&t);
}

static void
a_node_that_is_not_shown_has_no_descriptor(void **state)
{
	struct test_engine t;
	struct ffpf_graph_flow *f;
	struct ffpf_error err = { 0 };
	uint64_t at, bytes;
	int fd;

	(void)state;
	test_engine_begin(&t, NULL);
	f = test_flow(&t, "f", FEED, FFPF_GRAPH_ACTIVE);
	assert_int_equal(ffpf_graph_flow_memory(f, 2, &fd, &at, &bytes, &err), -FFPF_E_NOT_SUPPORTED);
	test_engine_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_state_table_holds),
		cmocka_unit_test(instantiating_fails_at_a_place_and_leaves_nothing),
		cmocka_unit_test(equal_prefixes_run_once),
		cmocka_unit_test(who_does_not_share_runs_alone),
		cmocka_unit_test(a_packet_comes_once_to_a_join),
		cmocka_unit_test(a_late_flow_continues_from_a_name),
		cmocka_unit_test(pausing_stops_packets_and_keeps_memory),
		cmocka_unit_test(a_node_that_is_shown_can_be_read_and_not_written_by_others),
		cmocka_unit_test(a_node_that_is_not_shown_has_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
