/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs one filter over the packets of a pcap file by several engines in turns, the kernel's among them.
 *
 *   fpl2 LIBPCAP ROUNDS FILE TEXT HAND CODE...      lines "engine place round nanoseconds accepted"
 *
 * LIBPCAP: path of the system's library. FILE: little-endian, microseconds, Ethernet. TEXT: the filter as libpcap has
 * it. HAND: which of the functions below is the same filter. CODE: "name=path" of machine code that fplc made. Places:
 * `cache`, the first packets again and again; `stream`, all of them once; `kernel`, what a filter costs that the kernel
 * compiled: packets are sent into a socket whose filter turns all of them away, and so much less is a filter of one
 * instruction that does the same.
 */
#include "bpf/bpf.h"
#include "common/machine_code.h"
#include "graph/fplc.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CACHE_PACKETS 1024
#define CACHE_NS      4000000 /* of one measurement in cache, at least */
#define MAX_ENGINES   8
#define SNAP_LEN      262144
#define NETMASK       0xffffffffu
#define SENT_AT_ONCE  64u
#define SENT_MAX      200000u /* packets of one measurement in the kernel */
#define HOST_SLOTS    512     /* for about 100 hosts */

struct packet {
	const uint8_t *data;
	uint32_t cap_len, wire_len;
};

/* All engines are called alike, as class_fpl2.c calls a program: facts, memory and externals at the end. */
typedef uint32_t (*run_fn)(const uint8_t *pkt, uint32_t cap_len, uint32_t wire_len, const void *facts, void *ctx,
			   const void *externals);

struct engine {
	const char *name;
	run_fn run;
	void *ctx;
	uint32_t passes; /* over the packets in cache, for one measurement */
};

struct bytecode {
	unsigned len;
	struct ffpf_bpf_insn *insns;
};

static unsigned (*stock_filter)(const void *insns, const uint8_t *pkt, unsigned wire_len, unsigned cap_len);

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "fpl2: %s: %s\n", what, why);
	exit(1);
}

static void
symbol(void *library, const char *name, void *out)
{
	void *found = library ? dlsym(library, name) : NULL;

	if (!found)
		die(name, dlerror());
	memcpy(out, &found, sizeof(found));
}

static struct bytecode
stock_compile(const char *path, const char *text)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *handle;
	void *(*open_dead)(int link_type, int snap_len);
	int (*compile)(void *handle, struct bytecode *out, const char *text, int optimize, uint32_t netmask);
	char *(*geterr)(void *handle);
	struct bytecode code;

	symbol(library, "pcap_open_dead", &open_dead);
	symbol(library, "pcap_compile", &compile);
	symbol(library, "pcap_geterr", &geterr);
	symbol(library, "bpf_filter", &stock_filter);
	handle = open_dead(1, SNAP_LEN);
	if (compile(handle, &code, text, 1, NETMASK) != 0)
		die(text, geterr(handle));
	return code;
}

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
	uint32_t at;

	UNUSED(wire_len);
	UNUSED(facts);
	UNUSED(ctx);
	UNUSED(externals);
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

struct hosts {
	uint32_t slots[HOST_SLOTS]; /* network order; 0: free */
	uint32_t first, second;     /* of two */
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

static bool
host_of_two(const struct hosts *hosts, uint32_t host)
{
	return host == hosts->first || host == hosts->second;
}

/* Ethernet with IPv4, ARP or RARP: whether one of the two addresses `in`. */
#define HOSTS(in)                                                                                                      \
	do {                                                                                                           \
		UNUSED(wire_len);                                                                                      \
		UNUSED(facts);                                                                                         \
		UNUSED(externals);                                                                                     \
		if (cap_len < 42)                                                                                      \
			return 0;                                                                                      \
		switch (half(pkt + 12)) {                                                                              \
		case 0x800:                                                                                            \
			return in(ctx, word(pkt + 26)) || in(ctx, word(pkt + 30)) ? SNAP_LEN : 0;                      \
		case 0x806:                                                                                            \
		case 0x8035:                                                                                           \
			return in(ctx, word(pkt + 28)) || in(ctx, word(pkt + 38)) ? SNAP_LEN : 0;                      \
		default:                                                                                               \
			return 0;                                                                                      \
		}                                                                                                      \
	} while (0)

ENGINE(hand_hosts)
{
	HOSTS(host_in);
}

ENGINE(hand_two_hosts)
{
	HOSTS(host_of_two);
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
		hosts->first = hosts->second;
		hosts->second = address.s_addr;
	}
}

/* ---- packets ---- */

static struct packet *
packets_read(const char *path, size_t *count)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
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
	close(fd);
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

static uint64_t
kernel_send(int fd, const struct packet *packets, size_t count)
{
	struct mmsghdr messages[SENT_AT_ONCE] = { 0 };
	struct iovec pieces[SENT_AT_ONCE];
	uint64_t start = now_ns();

	for (size_t i = 0; i < count;) {
		unsigned n = 0;

		for (; n < SENT_AT_ONCE && i + n < count; n++) {
			pieces[n] = (struct iovec){ (void *)packets[i + n].data, packets[i + n].cap_len };
			messages[n].msg_hdr = (struct msghdr){ .msg_iov = &pieces[n], .msg_iovlen = 1 };
		}
		if (sendmmsg(fd, messages, n, 0) != (int)n)
			die("kernel", "packets could not be sent");
		i += n;
	}
	return now_ns() - start;
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

/* "name=path" of machine code. */
static struct engine
fpl2_of(char *word_of)
{
	static uint64_t memory[128];
	char *path = strchr(word_of, '=');
	struct ffpf_machine_code code;
	uint8_t octets[65536];
	struct ffpf_error err;
	struct engine engine = { .name = word_of, .ctx = memory, .passes = 1 };
	ssize_t n;
	int fd;

	if (!path)
		die(word_of, "is not name=path");
	*path++ = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, octets, sizeof(octets));
	if (n <= 0 || ffpf_machine_code_map(&code, octets, (size_t)n, &err) < 0)
		die(path, "no machine code");
	close(fd);
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
	double without = (double)kernel_send(empty, packets, sent) / (double)sent;
	double with = (double)kernel_send(filtered, packets, sent) / (double)sent;

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

	if (argc < 6 || argc - 6 > 4)
		die("usage", "see the head of fpl2.c");
	code = stock_compile(argv[1], argv[4]);
	packets = packets_read(argv[3], &count);
	hosts_fill(&hosts, argv[4]);
	engines[n++] = (struct engine){ "libpcap", run_stock, code.insns, 1 };
	engines[n++] = (struct engine){ "jit", run_ours, ours(&code), 1 };
	engines[n++] = (struct engine){ "hand", hand_of(argv[5]), &hosts, 1 };
	for (int i = 6; i < argc; i++)
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
