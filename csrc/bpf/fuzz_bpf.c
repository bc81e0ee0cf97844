/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Octets -> a program and a packet; both rule sets judge the program; what libpcap's rules accept runs in the
 * interpreter and, where the compiler takes it, natively. The results must be equal, over the whole packet and shorter
 * captures, with and without ancillary data. The packet ends where a page begins that may not be read, so that a read
 * beyond traps.
 *
 * Input: form, packet length, packet, then the program in one of two forms:
 *   even  instructions as they are in memory, 8 octets each
 *   odd   6 octets each, made into known codes with jumps that stay inside: nearly all of these are valid
 */
#include "bpf/bpf.h"
#include "bpf/test_codes.h"
#include "common/fuzzing.h"

#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_INSNS   400
#define PACKET_ROOM 256

struct guarded {
	uint8_t *end;
};

static struct guarded
guarded_open(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED || mprotect(mem + page, page, PROT_NONE) < 0)
		abort();
	return (struct guarded){ .end = mem + page };
}

/* JEQ as often as all others together: the compiler makes searches of them. */
static struct ffpf_bpf_insn
made_insn(const uint8_t octets[6], uint32_t after)
{
	static const uint32_t borders[] = { 0,          1,          2,          3,          7,
					    31,         32,         33,         0xff,       0xffff,
					    0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff, 0xfffff000,
					    0xfffff008, 0xfffff02c, 0xfffff030, 0xfffff03c, 0xffffff00 };
	struct ffpf_bpf_insn insn = { .code = BPF_JMP | BPF_JEQ | BPF_K };
	uint32_t most = after < 256 ? after : 256;

	if (octets[0] < 128)
		insn.code = known_codes[octets[0] % KNOWN_CODES];
	insn.k = octets[3] & 1 ? borders[octets[4] % (sizeof(borders) / sizeof(borders[0]))] : octets[4];
	if (octets[3] & 2)
		insn.k = insn.k << 8 | octets[5];
	if (BPF_CLASS(insn.code) == BPF_JMP) {
		insn.jt = (uint8_t)(octets[1] % most);
		insn.jf = (uint8_t)(octets[2] % most);
		if (insn.code == (BPF_JMP | BPF_JA))
			insn.k = octets[4] % after;
	} else if (BPF_CLASS(insn.code) == BPF_ST || BPF_CLASS(insn.code) == BPF_STX ||
		   (BPF_CLASS(insn.code) <= BPF_LDX && BPF_MODE(insn.code) == BPF_MEM)) {
		insn.k = octets[4] % BPF_MEMWORDS;
	} else if ((insn.code == (BPF_ALU | BPF_DIV | BPF_K) || insn.code == (BPF_ALU | BPF_MOD | BPF_K)) &&
		   insn.k == 0) {
		insn.k = 1;
	}
	return insn;
}

/* Fills insns from octets; returns how many. */
static uint32_t
decode(struct ffpf_bpf_insn *insns, bool made, const uint8_t *octets, size_t len)
{
	size_t each = made ? 6 : sizeof(*insns), n = len / each;

	if (n >= MAX_INSNS)
		n = MAX_INSNS - 1;
	for (size_t i = 0; i < n; i++) {
		if (made)
			insns[i] = made_insn(octets + i * each, (uint32_t)(n - i));
		else
			memcpy(&insns[i], octets + i * each, each);
	}
	if (made)
		insns[n++] = (struct ffpf_bpf_insn){ .code = BPF_RET | BPF_A };
	return (uint32_t)n;
}

static bool
is_forward(const struct ffpf_bpf_insn *insns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (BPF_CLASS(insns[i].code) == BPF_JMP && BPF_OP(insns[i].code) == BPF_JA && insns[i].k >= n)
			return false;
	return true;
}

/* The text of a failure is a program that can be pasted into a test. */
static void
report(const struct ffpf_bpf_insn *insns, uint32_t n, const uint8_t *pkt, uint32_t len, uint32_t expected, uint32_t got)
{
	fprintf(stderr, "interpreter 0x%x, native 0x%x\npacket", expected, got);
	for (uint32_t i = 0; i < len; i++)
		fprintf(stderr, " %02x", pkt[i]);
	fprintf(stderr, "\n");
	for (uint32_t i = 0; i < n; i++)
		fprintf(stderr, "%4u { 0x%x, %u, %u, 0x%x },\n", i, insns[i].code, insns[i].jt, insns[i].jf,
			insns[i].k);
	abort();
}

static void
compare(const struct ffpf_bpf_prog *interpreted, const struct ffpf_bpf_prog *native, const uint8_t *pkt,
	uint32_t wire_len, uint32_t len, const struct ffpf_bpf_aux *aux)
{
	uint32_t expected = ffpf_bpf_run(interpreted, pkt, wire_len, len, aux);
	uint32_t got = native ? ffpf_bpf_run(native, pkt, wire_len, len, aux) : expected;

	if (expected != got)
		report(interpreted->insns, interpreted->insn_count, pkt, len, expected, got);
}

static void
run(const struct ffpf_bpf_insn *insns, uint32_t n, const uint8_t *packet, uint32_t len)
{
	static struct guarded memory; /* made once: a mapping per run would be all that is measured */
	static const struct ffpf_bpf_aux aux = { 0x01020304, 0xe064, 0x88a8, 0x86dd, 772, 4, true };
	const uint32_t lengths[] = { len, len / 2, len > 0 ? len - 1 : 0, 0 };
	struct ffpf_bpf_prog *interpreted, *native = NULL;
	bool forward = is_forward(insns, n);
	uint8_t *pkt;

	if (!memory.end)
		memory = guarded_open();
	if (ffpf_bpf_prog_create(&interpreted, insns, n, FFPF_BPF_INTERPRETER, NULL) < 0)
		abort();
	if (ffpf_bpf_prog_create(&native, insns, n, FFPF_BPF_JIT, NULL) == 0 && !native->native)
		abort();
	for (size_t i = 0; i < (forward ? 4 : 1); i++) { /* a loop may take a million rounds */
		pkt = memory.end - lengths[i];
		memcpy(pkt, packet, lengths[i]);
		compare(interpreted, native, pkt, len + 4, lengths[i], NULL);
		if (interpreted->reads_aux)
			compare(interpreted, native, pkt, len + 4, lengths[i], &aux);
		if (memcmp(pkt, packet, lengths[i]) != 0)
			abort();
	}
	ffpf_bpf_prog_destroy(interpreted);
	ffpf_bpf_prog_destroy(native);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ffpf_bpf_insn insns[MAX_INSNS];
	bool valid, made;
	uint32_t n, len;

	if (size < 2)
		return 0;
	made = data[0] & 1;
	len = data[1];
	data += 2;
	size -= 2;
	if (len > size)
		len = (uint32_t)size;
	n = decode(insns, made, data + len, size - len);
	valid = ffpf_bpf_validate(insns, n, FFPF_BPF_RULES_LIBPCAP, NULL) == 0;
	if (ffpf_bpf_validate(insns, n, FFPF_BPF_RULES_KERNEL, NULL) == 0 && !valid)
		abort(); /* the kernel's rules are the stricter ones */
	if (made && !valid)
		abort();
	if (valid)
		run(insns, n, data, len);
	return 0;
}
