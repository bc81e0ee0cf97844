/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs one filter over the packets of a pcap file by several engines in turns, the kernel's among them.
 *
 *   fpl2 LIBPCAP ROUNDS FILE TEXT HAND OBJECT CODE...      lines "engine place round nanoseconds accepted"
 *
 * LIBPCAP: path of the system's library. FILE: little-endian, microseconds, Ethernet. TEXT: the filter as libpcap has
 * it. HAND: which of the functions below is the same filter. OBJECT: path of one in FPL-1. CODE: "name=path" of machine
 * code that fplc made. Places: `cache`, the first packets again and again; `stream`, all of them once; `kernel`, what a
 * filter costs that the kernel compiled: packets are sent into a socket whose filter turns all of them away, and so
 * much less is a filter of one instruction that does the same.
 */
#include "common/machine_code.h"
#include "fpl1/fpl1.h"
#include "graph/fplc.h"

#include "filter_run.h"

#include <linux/filter.h>
#include <sys/socket.h>

#define CODE_MAX 65536u
#define SENT_MAX 200000u /* packets of one measurement in the kernel */

/* All engines are called alike, as class_fpl2.c calls a program: facts, memory and externals at the end. */
typedef uint32_t (*run_fn)(const uint8_t *pkt, uint32_t cap_len, uint32_t wire_len, const void *facts, void *ctx,
			   const void *externals);

struct engine {
	const char *name;
	run_fn run;
	void *ctx;
	uint32_t passes; /* over the packets in cache, for one measurement */
};

#define ENGINE(name)                                                                                                   \
	static uint32_t name(const uint8_t *pkt, uint32_t cap_len, uint32_t wire_len, const void *facts, void *ctx,    \
			     const void *externals)
#define UNUSED(a) (void)(a)

ENGINE(run_stock)
{
	UNUSED(facts);
	UNUSED(externals);
	return stock_filter(ctx, pkt, wire_len, cap_len);
}

ENGINE(run_ours)
{
	const struct ffpf_bpf_prog *prog = ctx;

	UNUSED(facts);
	UNUSED(externals);
	return prog->run(prog, pkt, wire_len, cap_len, NULL);
}

/* As class_fpl1.c has it run. */
ENGINE(run_fpl1)
{
	const struct ffpf_fpl1_packet packet = {
		.data = pkt, .facts = { [FFPF_FPL1_LEN] = wire_len, [FFPF_FPL1_CAPLEN] = cap_len }
	};

	UNUSED(facts);
	UNUSED(externals);
	return ffpf_fpl1_run(ctx, &packet);
}

/* ---- what a person would write ---- */

ENGINE(hand_none)
{
	UNUSED(pkt);
	UNUSED(cap_len);
	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(ctx);
	UNUSED(externals);
	return SNAP_LEN;
}

ENGINE(hand_ip)
{
	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(ctx);
	UNUSED(externals);
	return cap_len >= 14 && half(pkt + 12) == 0x800 ? SNAP_LEN : 0;
}

ENGINE(hand_port_80)
{
	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(ctx);
	UNUSED(externals);
	return by_hand_tcp_port_80(pkt, cap_len);
}

ENGINE(hand_syn)
{
	uint32_t at;

	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(ctx);
	UNUSED(externals);
	if (cap_len < 34 || half(pkt + 12) != 0x800 || pkt[23] != 6 || (half(pkt + 20) & 0x1fff) || pkt[26] == 10)
		return 0;
	at = 14 + 4 * (pkt[14] & 15u) + 13;
	return at < cap_len && pkt[at] & 2 ? SNAP_LEN : 0;
}

ENGINE(hand_hosts)
{
	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(externals);
	return by_hand_hosts(ctx, host_in, pkt, cap_len);
}

ENGINE(hand_two_hosts)
{
	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(externals);
	return by_hand_hosts(ctx, host_of_two, pkt, cap_len);
}

static const struct {
	const char *name;
	run_fn run;
} hands[] = {
	{ "none", hand_none },           { "ip", hand_ip },       { "port_80", hand_port_80 }, { "syn", hand_syn },
	{ "two_hosts", hand_two_hosts }, { "hosts", hand_hosts },
};

static run_fn
hand_of(const char *name)
{
	for (size_t i = 0; i < sizeof(hands) / sizeof(hands[0]); i++) {
		if (strcmp(hands[i].name, name) == 0)
			return hands[i].run;
	}
	die(name, "no such function");
	return NULL;
}

/* ---- measuring ---- */

/* One measurement: ns in all; *accepted by one pass. */
static uint64_t
measure(const struct engine *engine, const struct packet *packets, size_t count, uint32_t passes, size_t *accepted)
{
	static const struct ffpf_fpl2_facts facts;
	uint64_t start = now_ns();

	for (uint32_t pass = 0; pass < passes; pass++) {
		*accepted = 0;
		for (size_t i = 0; i < count; i++)
			*accepted += engine->run(packets[i].data, packets[i].cap_len, packets[i].wire_len, &facts,
						 engine->ctx, NULL) != 0;
	}
	return now_ns() - start;
}

/* Sockets whose filter is the program with every result made 0. */
static void
kernel_open(int fds[2], const struct bytecode *code)
{
	struct sock_filter *insns = calloc(code->len, sizeof(*insns));
	struct sock_fprog program = { .len = (unsigned short)code->len, .filter = insns };

	if (!insns)
		die("kernel", "no memory");
	memcpy(insns, code->insns, code->len * sizeof(*insns));
	for (unsigned i = 0; i < code->len; i++) {
		if (BPF_CLASS(insns[i].code) == BPF_RET)
			insns[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    setsockopt(fds[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		die("kernel", "no filter on a socket");
	free(insns);
}

static struct ffpf_bpf_prog *
ours(const struct bytecode *code)
{
	struct ffpf_error error;
	struct ffpf_bpf_prog *prog;

	if (ffpf_bpf_prog_create(&prog, code->insns, code->len, FFPF_BPF_JIT, &error) < 0)
		die("prog_create", error.text);
	return prog;
}

static size_t
file_read(const char *path, uint8_t *octets, size_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, octets, most);

	if (n <= 0)
		die(path, "cannot be read");
	close(fd);
	return (size_t)n;
}

static struct ffpf_fpl1 *
fpl1_of(const char *path)
{
	static const struct ffpf_fpl1_policy policy;
	static uint8_t octets[CODE_MAX];
	size_t len = file_read(path, octets, sizeof(octets));
	struct ffpf_fpl1 *program;
	struct ffpf_error err;

	if (ffpf_fpl1_load(&program, octets, len, &policy, 0, &err) < 0)
		die(path, err.text);
	ffpf_fpl1_attach(program, calloc(1, ffpf_fpl1_memory_bytes(program)));
	return program;
}

/* "name=path" of machine code. */
static struct engine
fpl2_of(char *word_of)
{
	static uint64_t memory[128];
	static uint8_t octets[CODE_MAX];
	char *path = strchr(word_of, '=');
	struct ffpf_machine_code code;
	struct ffpf_error err;
	struct engine engine = { .name = word_of, .ctx = memory, .passes = 1 };
	size_t len;

	if (!path)
		die(word_of, "is not name=path");
	*path++ = '\0';
	len = file_read(path, octets, sizeof(octets));
	if (ffpf_machine_code_map(&code, octets, len, &err) < 0)
		die(path, err.text);
	memcpy(&engine.run, &code.mem, sizeof(code.mem));
	return engine;
}

static void
run_userspace(int round, struct engine *engines, size_t n, const struct packet *packets, size_t count)
{
	size_t accepted, cached = count < CACHE_PACKETS ? count : CACHE_PACKETS;

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

static void
run_kernel(int round, int filtered, int empty, const struct packet *packets, size_t count)
{
	size_t sent = count < SENT_MAX ? count : SENT_MAX;
	double without = (double)packets_send(empty, packets, sent) / (double)sent;
	double with = (double)packets_send(filtered, packets, sent) / (double)sent;

	printf("kernel kernel %d %.4f 0\n", round, with - without);
}

int
main(int argc, char **argv)
{
	static struct ffpf_bpf_insn nothing = { .code = BPF_RET | BPF_K };
	struct engine engines[MAX_ENGINES];
	static struct hosts hosts;
	struct bytecode code;
	struct packet *packets;
	size_t count, n = 0, accepted;
	int filtered[2], empty[2];

	if (argc < 7 || argc - 7 > 4)
		die("usage", "see the head of fpl2.c");
	code = stock_compile(argv[1], argv[4]);
	packets = packets_read(argv[3], &count);
	hosts_fill(&hosts, argv[4]);
	engines[n++] = (struct engine){ "libpcap", run_stock, code.insns, 1 };
	engines[n++] = (struct engine){ "jit", run_ours, ours(&code), 1 };
	engines[n++] = (struct engine){ "hand", hand_of(argv[5]), &hosts, 1 };
	engines[n++] = (struct engine){ "fpl1", run_fpl1, fpl1_of(argv[6]), 1 };
	for (int i = 7; i < argc; i++)
		engines[n++] = fpl2_of(argv[i]);
	kernel_open(filtered, &code);
	kernel_open(empty, &(struct bytecode){ 1, &nothing });
	for (size_t i = 0; i < n; i++) {
		const size_t cached = count < CACHE_PACKETS ? count : CACHE_PACKETS;
		uint64_t ns;

		measure(&engines[i], packets, cached, 1, &accepted);
		ns = measure(&engines[i], packets, cached, 1, &accepted);
		engines[i].passes = 1 + CACHE_NS / (uint32_t)(ns + 1);
	}
	for (int round = 0; round < atoi(argv[2]); round++) {
		run_userspace(round, engines, n, packets, count);
		run_kernel(round, filtered[0], empty[0], packets, count);
	}
	free(packets);
	return 0;
}
