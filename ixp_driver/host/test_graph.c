/* SPDX-License-Identifier: BSD-3-Clause */
/* Which nodes of a graph a board runs, and which the host: with a board that takes any microcode, and a compiler that
 * makes some of any program. */
#include "host/testing.h"

#include "graph/engine.h"
#include "graph/flow.h"

#include <sys/stat.h>

#define PACKETS 50

static const char compiler[] = "#!/bin/sh\nprintf object\n";

struct placed {
	struct fake_board *board;
	struct ffpf_engine *engine;
	char folder[32], path[FFPF_IXP_PATH_BYTES];
};

static void
begin(struct placed *p, unsigned filters_max)
{
	const struct ffpf_engine_config cfg = { 0 };
	FILE *script;

	*p = (struct placed){ .folder = "/tmp/ffpf-placed-XXXXXX" };
	assert_non_null(mkdtemp(p->folder));
	p->board = fake_start(FAKE_HONEST);
	p->board->filters_max = filters_max;
	setenv("FFPF_IXP_DIR", p->folder, 1);
	must(ffpf_ixp_path(p->path, "ixp0", &test_err));
	assert_int_equal(symlink(p->board->path, p->path), 0);
	snprintf(p->path, sizeof(p->path), "%s/fplc", p->folder);
	script = fopen(p->path, "we");
	assert_non_null(script);
	fputs(compiler, script);
	assert_int_equal(fclose(script) + chmod(p->path, 0700), 0);
	setenv("FFPF_FPLC", p->path, 1);
	must(ffpf_engine_create(&p->engine, &cfg, &test_err));
}

static void
end(struct placed *p)
{
	ffpf_engine_destroy(p->engine);
	unlink(p->path);
	must(ffpf_ixp_path(p->path, "ixp0", &test_err));
	unlink(p->path);
	rmdir(p->folder);
	unsetenv("FFPF_IXP_DIR");
	unsetenv("FFPF_FPLC");
}

static struct ffpf_graph_flow *
begin_flow(struct placed *p, const char *name, const char *text)
{
	struct ffpf_graph_error err = { 0 };
	struct ffpf_graph_flow *flow = NULL;

	if (ffpf_graph_flow_create(&flow, p->engine, name, FFPF_GRAPH_SHARE_ALL, &err.error) ||
	    ffpf_graph_flow_populate(flow, text, &err) || ffpf_graph_flow_instantiate(flow, &err) ||
	    ffpf_graph_flow_activate(flow, &err.error))
		fail_msg("%s: %s", text, err.error.text);
	return flow;
}

static struct ffpf_engine_instance
instance(struct placed *p, uint32_t index)
{
	struct ffpf_engine_instance found;

	must(ffpf_engine_instance_at(p->engine, index, &found, &test_err));
	return found;
}

static void
check(struct placed *p, uint32_t index, const char *class, unsigned level, const char *reason)
{
	const struct ffpf_engine_instance found = instance(p, index);

	assert_string_equal(found.class, class);
	assert_int_equal(found.level, level);
	if (!strstr(found.reason, reason))
		fail_msg("%s: %s", class, found.reason);
}

static void
send_all(struct placed *p)
{
	for (uint64_t i = 0; i < PACKETS; i++)
		test_send(p->board->hook, i, 60);
	ffpf_hook_close(p->board->hook);
}

static void
run_to_the_end(struct placed *p, uint64_t packets)
{
	uint64_t n = 0;

	assert_int_equal(ffpf_engine_run(p->engine, 0, 20000, &n, &test_err), FFPF_END);
	assert_int_equal(n, packets);
}

static void
test_the_first_filters_run_on_the_board_and_the_rest_on_the_host(void **state)
{
	struct placed p;

	(void)state;
	begin(&p, 0);
	begin_flow(&p, "a", "(device,ixp0) -> (FPL-2,\"RETURN 7;\") -> (BPF,\"len = 60\") -> (packetcount)");
	assert_int_equal(ffpf_engine_instance_count(p.engine), 4);
	check(&p, 0, "device", FFPF_LEVEL_NIC, "receive microengine");
	check(&p, 1, "FPL-2", FFPF_LEVEL_NIC, "microengine 2 of ");
	check(&p, 2, "BPF", FFPF_LEVEL_USERSPACE, "embedded engine");
	assert_int_equal(p.board->filters, 1); /* none that lets everything through */
	send_all(&p);
	run_to_the_end(&p, PACKETS);
	assert_int_equal(instance(&p, 1).counters.out, PACKETS);
	assert_int_equal(instance(&p, 3).counters.in, PACKETS);
	end(&p);
	fake_stop(p.board);
}

static void
test_one_filter_lets_through_what_the_host_needs(void **state)
{
	struct placed p;

	(void)state;
	begin(&p, 0);
	begin_flow(&p, "a", "(device,ixp0) -> (BPF,\"len = 60\") -> (packetcount)");
	check(&p, 1, "BPF", FFPF_LEVEL_USERSPACE, "on the host: ");
	begin_flow(&p, "b", "(device,ixp0)");
	begin_flow(&p, "c", "(device,ixp0) -> (packetcount)");
	assert_int_equal(p.board->filters, 1);
	send_all(&p);
	run_to_the_end(&p, PACKETS);
	assert_int_equal(instance(&p, 2).counters.in, PACKETS);
	assert_int_equal(instance(&p, 3).counters.in, PACKETS);
	end(&p);
	fake_stop(p.board);
}

static void
test_two_filters_of_a_board_are_read_apart(void **state)
{
	struct ffpf_graph_batch batch;
	struct ffpf_graph_flow *flow;
	struct placed p;

	(void)state;
	begin(&p, 0);
	flow = begin_flow(&p, "a", "(device,ixp0) -> x=(FPL-2,\"RETURN 7;\") | y=(FPL-2,\"RETURN 6;\")");
	check(&p, 1, "FPL-2", FFPF_LEVEL_NIC, "microengine");
	check(&p, 2, "FPL-2", FFPF_LEVEL_NIC, "microengine");
	assert_int_equal(ffpf_graph_getnext_pkt(flow, FFPF_GRAPH_LAST, 10, 0, &batch, &test_err), FFPF_FAILED);
	assert_non_null(strstr(test_err.text, "two filters of the board ixp0 would meet here"));
	send_all(&p);
	assert_int_equal(ffpf_graph_getnext_pkt(flow, 1, 10, 20000, &batch, &test_err), FFPF_BATCH);
	assert_int_equal(test_number(batch.pkts[0].data), 0);
	ffpf_graph_release(flow, 1, &test_err);
	end(&p);
	fake_stop(p.board);
}

static void
test_a_board_that_dies_ends_its_flows_alone(void **state)
{
	struct ffpf_engine_hook *hook = NULL;
	struct ffpf_graph_flow *other;
	struct ffpf_node_counters counters;
	const struct ffpf_packet pkt = { .data = (const uint8_t *)"packet", .cap_len = 6, .wire_len = 6 };
	struct placed p;
	uint64_t n;

	(void)state;
	begin(&p, 0);
	must(ffpf_engine_hook_open(&hook, p.engine, "h", TEST_DLT_EN10MB, &test_err));
	begin_flow(&p, "a", "(device,ixp0) -> (packetcount)");
	other = begin_flow(&p, "b", "(device,hook:h) -> (packetcount)");
	for (uint64_t i = 0; i < PACKETS; i++)
		test_send(p.board->hook, i, 60);
	fake_die(p.board);
	assert_int_equal(ffpf_engine_run(p.engine, 0, 200, &n, &test_err), FFPF_TIMEOUT);
	assert_int_equal(instance(&p, 1).counters.in, PACKETS); /* what it had published */
	must(ffpf_engine_hook_handle_packets(hook, &pkt, 1, &test_err));
	must(ffpf_graph_flow_counters(other, 1, &counters, &test_err));
	assert_int_equal(counters.in, 1);
	ffpf_engine_hook_close(hook);
	assert_int_equal(ffpf_engine_run(p.engine, 0, 20000, &n, &test_err), FFPF_FAILED);
	assert_non_null(strstr(test_err.text, "the board is gone"));
	end(&p);
	fake_bury(p.board);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_filters_run_on_the_board_and_the_rest_on_the_host),
		cmocka_unit_test(test_one_filter_lets_through_what_the_host_needs),
		cmocka_unit_test(test_two_filters_of_a_board_are_read_apart),
		cmocka_unit_test(test_a_board_that_dies_ends_its_flows_alone),
	};

	return cmocka_run_group_tests_name("host graph", tests, NULL, NULL);
}
