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
#include "bpf/bpf.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define CACHE_PACKETS 1024
#define CACHE_NS      4000000 /* of one measurement in cache, at least */
#define MAX_ENGINES   8
#define SNAP_LEN      262144
#define NETMASK       0xffffffffu

struct packet {
	const uint8_t *data;
	uint32_t cap_len, wire_len;
};

typedef uint32_t (*run_fn)(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux);

struct engine {
	const char *name;
	run_fn run;
	const void *ctx;
	uint32_t passes; /* over the packets in cache, for one measurement */
};

struct bytecode {
	unsigned len;
	struct ffpf_bpf_insn *insns;
};

/* What is used of the system's libpcap. */
struct stock {
	void *(*open_dead)(int link_type, int snap_len);
	int (*compile)(void *handle, struct bytecode *out, const char *text, int optimize, uint32_t netmask);
	char *(*geterr)(void *handle);
	unsigned (*filter)(const void *insns, const uint8_t *pkt, unsigned wire_len, unsigned cap_len);
};

static unsigned (*stock_filter)(const void *insns, const uint8_t *pkt, unsigned wire_len, unsigned cap_len);

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "filter_cost: %s: %s\n", what, why);
	exit(1);
}

static void *
symbol(void *library, const char *name)
{
	void *found = library ? dlsym(library, name) : NULL;

	if (!found)
		die(name, dlerror());
	return found;
}

static void
stock_open(struct stock *stock, const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *found;

	found = symbol(library, "pcap_open_dead");
	memcpy(&stock->open_dead, &found, sizeof(found));
	found = symbol(library, "pcap_compile");
	memcpy(&stock->compile, &found, sizeof(found));
	found = symbol(library, "pcap_geterr");
	memcpy(&stock->geterr, &found, sizeof(found));
	found = symbol(library, "bpf_filter");
	memcpy(&stock->filter, &found, sizeof(found));
	stock_filter = stock->filter;
}

static struct bytecode
stock_compile(const struct stock *stock, const char *text)
{
	void *handle = stock->open_dead(1, SNAP_LEN);
	struct bytecode code;

	if (stock->compile(handle, &code, text, 1, NETMASK) != 0)
		die(text, stock->geterr(handle));
	return code;
}

static uint32_t
run_stock(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	(void)aux;
	return stock_filter(ctx, pkt, wire_len, cap_len);
}

static uint16_t
half(const uint8_t *at)
{
	uint16_t octets;

	memcpy(&octets, at, sizeof(octets));
	return ntohs(octets);
}

static uint32_t
word(const uint8_t *at)
{
	uint32_t octets;

	memcpy(&octets, at, sizeof(octets));
	return octets;
}

/* What a person would write for `tcp port 80`. */
static uint32_t
hand_tcp_port_80(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	uint32_t at;

	(void)ctx;
	(void)wire_len;
	(void)aux;
	if (cap_len < 34)
		return 0;
	if (half(pkt + 12) == 0x800) {
		if (pkt[23] != 6 || (half(pkt + 20) & 0x1fff))
			return 0;
		at = 14 + 4 * (pkt[14] & 15u);
	} else if (half(pkt + 12) == 0x86dd && pkt[20] == 6) {
		at = 54;
	} else {
		return 0;
	}
	return at + 4 <= cap_len && (half(pkt + at) == 80 || half(pkt + at + 2) == 80) ? SNAP_LEN : 0;
}

#define HOST_SLOTS 512 /* for about 100 hosts */

struct hosts {
	uint32_t slots[HOST_SLOTS]; /* network order; 0: free */
};

static uint32_t
host_slot(uint32_t host)
{
	return host * 0x9e3779b1u >> 23;
}

static bool
host_in(const struct hosts *hosts, uint32_t host)
{
	uint32_t slot = host_slot(host);

	while (hosts->slots[slot]) {
		if (hosts->slots[slot] == host)
			return true;
		slot = (slot + 1) % HOST_SLOTS;
	}
	return false;
}

/* What a person would write for many or-ed hosts: a hash set. */
static uint32_t
hand_hosts(const void *ctx, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
	(void)wire_len;
	(void)aux;
	if (cap_len < 42)
		return 0;
	switch (half(pkt + 12)) {
	case 0x800:
		return host_in(ctx, word(pkt + 26)) || host_in(ctx, word(pkt + 30)) ? SNAP_LEN : 0;
	case 0x806:
	case 0x8035:
		return host_in(ctx, word(pkt + 28)) || host_in(ctx, word(pkt + 38)) ? SNAP_LEN : 0;
	default:
		return 0;
	}
}

/* Reads `host A or host B ...`. */
static void
hosts_fill(struct hosts *hosts, const char *text)
{
	for (const char *at = strstr(text, "host "); at; at = strstr(at + 1, "host ")) {
		char name[INET_ADDRSTRLEN] = "";
		struct in_addr address;
		uint32_t slot;

		sscanf(at, "host %15s", name);
		if (inet_pton(AF_INET, name, &address) != 1)
			die(name, "no address");
		slot = host_slot(address.s_addr);
		while (hosts->slots[slot])
			slot = (slot + 1) % HOST_SLOTS;
		hosts->slots[slot] = address.s_addr;
	}
}

static struct packet *
packets_read(const char *path, size_t *count)
{
	int fd = open(path, O_RDONLY);
	struct stat stat;
	struct packet *packets;
	uint8_t *mem;
	size_t at = 24, n = 0;

	if (fd < 0 || fstat(fd, &stat) < 0)
		die(path, "cannot be opened");
	mem = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	packets = malloc(((size_t)stat.st_size / 16 + 1) * sizeof(*packets));
	if (mem == MAP_FAILED || !packets)
		die(path, "no memory");
	while (at + 16 <= (size_t)stat.st_size) {
		uint32_t cap_len = word(mem + at + 8);

		packets[n++] = (struct packet){ mem + at + 16, cap_len, word(mem + at + 12) };
		at += 16 + cap_len;
	}
	*count = n;
	return packets;
}

static uint64_t
now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* not the time that others have the processor */
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
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
	void *translated = symbol(dlopen(object, RTLD_NOW), "filter");
	size_t n = 0;

	engines[n++] = (struct engine){ "libpcap", run_stock, code->insns, 1 };
	engines[n++] = (struct engine){ "interpreter", (run_fn)interpreted->run, interpreted, 1 };
	engines[n] = (struct engine){ "c", NULL, NULL, 1 };
	memcpy(&engines[n++].run, &translated, sizeof(translated));
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
	struct stock stock;
	struct bytecode code;

	if (argc < 4)
		die("usage", "see the head of filter_cost.c");
	stock_open(&stock, argv[1]);
	if (strcmp(argv[2], "dump") == 0) {
		code = stock_compile(&stock, argv[3]);
		for (unsigned i = 0; i < code.len; i++)
			printf("%u %u %u %u\n", code.insns[i].code, code.insns[i].jt, code.insns[i].jf,
			       code.insns[i].k);
		return 0;
	}
	if (argc != 8)
		die("usage", "see the head of filter_cost.c");
	code = stock_compile(&stock, argv[5]);
	run(atoi(argv[3]), argv[4], engines, engines_make(engines, &code, argv[5], argv[6], argv[7]));
	return 0;
}
