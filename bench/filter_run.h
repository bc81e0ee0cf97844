/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs that measure filters have in common: packets of a file, the clock, the system's libpcap, and
 * filters as a person would write them. All ends the process, with a message, where something fails.
 */
#ifndef BENCH_FILTER_RUN_H
#define BENCH_FILTER_RUN_H

#include "bpf/bpf.h"
#include "common/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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
#define HOST_SLOTS    512 /* for about 100 hosts */
#define SENT_AT_ONCE  64u

struct packet {
	const uint8_t *data;
	uint32_t cap_len, wire_len;
};

struct bytecode {
	unsigned len;
	struct ffpf_bpf_insn *insns;
};

static inline void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
	exit(1);
}

/* Of a library that dlopen gave, or did not. *out: a pointer of any kind. */
static inline void
symbol(void *library, const char *name, void *out)
{
	void *found = library ? dlsym(library, name) : NULL;

	if (!found)
		die(name, dlerror());
	memcpy(out, &found, sizeof(found));
}

/* ---- the system's libpcap ---- */

static unsigned (*stock_filter)(const void *insns, const uint8_t *pkt, unsigned wire_len, unsigned cap_len);

/* Of Ethernet; optimised. After it stock_filter may be called. */
static inline struct bytecode
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

/* ---- what a person would write; the results are BPF's ---- */

static inline uint16_t
half(const uint8_t *at)
{
	uint16_t octets;

	memcpy(&octets, at, sizeof(octets));
	return ntohs(octets);
}

/* As it lies there. */
static inline uint32_t
word(const uint8_t *at)
{
	uint32_t octets;

	memcpy(&octets, at, sizeof(octets));
	return octets;
}

/* `tcp port 80` */
static inline uint32_t
by_hand_tcp_port_80(const uint8_t *pkt, uint32_t cap_len)
{
	uint32_t at;

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

/* Addresses in network order. */
struct hosts {
	uint32_t slots[HOST_SLOTS]; /* a hash set; 0: free */
	uint32_t first, second;     /* the last two */
};

static inline uint32_t
host_slot(uint32_t host)
{
	return host * 0x9e3779b1u >> 23;
}

static inline bool
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

static inline bool
host_of_two(const struct hosts *hosts, uint32_t host)
{
	return host == hosts->first || host == hosts->second;
}

/* `host A or host B ...`: whether one of the two addresses of IPv4, ARP or RARP is `in`. */
static inline uint32_t
by_hand_hosts(const struct hosts *hosts, bool (*in)(const struct hosts *, uint32_t), const uint8_t *pkt,
	      uint32_t cap_len)
{
	if (cap_len < 42)
		return 0;
	switch (half(pkt + 12)) {
	case 0x800:
		return in(hosts, word(pkt + 26)) || in(hosts, word(pkt + 30)) ? SNAP_LEN : 0;
	case 0x806:
	case 0x8035:
		return in(hosts, word(pkt + 28)) || in(hosts, word(pkt + 38)) ? SNAP_LEN : 0;
	default:
		return 0;
	}
}

/* Reads `host A or host B ...`. */
static inline void
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

/* Little-endian, microseconds, Ethernet. They stay mapped. */
static inline struct packet *
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

static inline uint64_t
now_ns(void)
{
	return ffpf_clock_ns(CLOCK_THREAD_CPUTIME_ID); /* not the time that others have the processor */
}

/* Into a socket, many at once; ns in all. */
static inline uint64_t
packets_send(int fd, const struct packet *packets, size_t count)
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
			die("send", "packets could not be sent");
		i += n;
	}
	return now_ns() - start;
}

#endif
