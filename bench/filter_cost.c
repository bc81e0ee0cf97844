/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs one filter over the packets of a pcap file by several engines in turns.
 *
 *   filter_cost LIBPCAP dump TEXT                           the bytecode, a line "code jt jf k" an instruction
 *   filter_cost LIBPCAP run ROUNDS FILE TEXT SO HAND        lines "engine place round nanoseconds accepted"
 *
 * LIBPCAP: path of the system's library. SO: an object with the bytecode as C, `filter`. HAND: tcp_port_80, hosts or -.
 * FILE: little-endian, microseconds, Ethernet. Places: `cache`, the first packets again and again; `stream`, all of
 * them once.
 */
#include "filter_run.h"

typedef uint32_t (*run_fn)(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux);

struct engine {
	const char *name;
	run_fn run;
	const void *ctx;
	uint32_t passes; /* over the packets in cache, for one measurement */
};

static uint32_t
run_stock(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	(void)aux;
	return stock_filter(ctx, pkt, wire_len, cap_len);
}

static uint32_t
hand_tcp_port_80(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	(void)ctx;
	(void)wire_len;
	(void)aux;
	return by_hand_tcp_port_80(pkt, cap_len);
}

static uint32_t
hand_hosts(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	(void)wire_len;
	(void)aux;
	return by_hand_hosts(ctx, host_in, pkt, cap_len);
}

/* One measurement: ns in all; *accepted by one pass. */
static uint64_t
measure(const struct engine *engine, const struct packet *packets, size_t count, uint32_t passes, size_t *accepted)
{
	uint64_t start = now_ns();

	for (uint32_t pass = 0; pass < passes; pass++) {
		*accepted = 0;
		for (size_t i = 0; i < count; i++)
			*accepted += engine->run(engine->ctx, packets[i].data, packets[i].wire_len, packets[i].cap_len,
						 NULL) != 0;
	}
	return now_ns() - start;
}

static struct ffpf_bpf_prog *
ours(const struct bytecode *code, enum ffpf_bpf_engine engine)
{
	struct ffpf_error error;
	struct ffpf_bpf_prog *prog;

	if (ffpf_bpf_prog_create(&prog, code->insns, code->len, engine, &error) < 0)
		die("prog_create", error.text);
	return prog;
}

static size_t
engines_make(struct engine *engines, const struct bytecode *code, const char *text, const char *object,
	     const char *hand)
{
	static struct hosts hosts;
	struct ffpf_bpf_prog *interpreted = ours(code, FFPF_BPF_INTERPRETER), *native = ours(code, FFPF_BPF_JIT);
	size_t n = 0;

	engines[n++] = (struct engine){ "libpcap", run_stock, code->insns, 1 };
	engines[n++] = (struct engine){ "interpreter", (run_fn)interpreted->run, interpreted, 1 };
	engines[n] = (struct engine){ "c", NULL, NULL, 1 };
	symbol(dlopen(object, RTLD_NOW), "filter", &engines[n++].run);
	engines[n++] = (struct engine){ "jit", (run_fn)native->run, native, 1 };
	if (strcmp(hand, "tcp_port_80") == 0)
		engines[n++] = (struct engine){ "hand", hand_tcp_port_80, NULL, 1 };
	if (strcmp(hand, "hosts") == 0) {
		hosts_fill(&hosts, text);
		engines[n++] = (struct engine){ "hand", hand_hosts, &hosts, 1 };
	}
	return n;
}

static void
run(int rounds, const char *file, struct engine *engines, size_t n)
{
	size_t count, accepted, cached;
	struct packet *packets = packets_read(file, &count);

	cached = count < CACHE_PACKETS ? count : CACHE_PACKETS;
	for (size_t i = 0; i < n; i++) {
		uint64_t ns = 0;

		measure(&engines[i], packets, cached, 1, &accepted);
		ns = measure(&engines[i], packets, cached, 1, &accepted);
		engines[i].passes = 1 + CACHE_NS / (uint32_t)(ns + 1);
	}
	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < n; i++) {
			uint64_t ns = measure(&engines[i], packets, cached, engines[i].passes, &accepted);

			printf("%s cache %d %.4f %zu\n", engines[i].name, round,
			       (double)ns / ((double)cached * engines[i].passes), accepted);
		}
		for (size_t i = 0; i < n; i++) {
			uint64_t ns = measure(&engines[i], packets, count, 1, &accepted);

			printf("%s stream %d %.4f %zu\n", engines[i].name, round, (double)ns / (double)count, accepted);
		}
	}
	free(packets);
}

int
main(int argc, char **argv)
{
	struct engine engines[MAX_ENGINES];
	struct bytecode code;

	if (argc < 4)
		die("usage", "see the head of filter_cost.c");
	if (strcmp(argv[2], "dump") == 0) {
		code = stock_compile(argv[1], argv[3]);
		for (unsigned i = 0; i < code.len; i++)
			printf("%u %u %u %u\n", code.insns[i].code, code.insns[i].jt, code.insns[i].jf,
			       code.insns[i].k);
		return 0;
	}
	if (argc != 8)
		die("usage", "see the head of filter_cost.c");
	code = stock_compile(argv[1], argv[5]);
	run(atoi(argv[3]), argv[4], engines, engines_make(engines, &code, argv[5], argv[6], argv[7]));
	return 0;
}
