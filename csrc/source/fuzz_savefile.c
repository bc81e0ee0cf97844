/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as a savefile: from a regular file, from a pipe in pieces, and through stdio. All three must tell the
 * same, and every batch must obey the contract: memory bounds, counters. The first input octet chooses precision,
 * filter and how pieces are cut.
 */
#include "bpf/bpf.h"
#include "common/fuzzing.h"
#include "source/savefile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_ERRORS   8
#define MAX_INPUT    60000u /* fits a pipe, so that one thread is enough */
#define LARGEST_PIPE 65536u

struct told {
	uint64_t packets, errors, digest;
};

static uint32_t
odd_packets(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	    const struct ffpf_bpf_aux *aux)
{
	(void)prog;
	(void)wire_len;
	(void)aux;
	return cap_len ? (uint32_t)(pkt[0] ^ pkt[cap_len - 1]) & 1 : 1;
}

static const struct ffpf_bpf_prog filter = { .run = odd_packets };

static void
digest(struct told *told, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		told->digest = (told->digest ^ p[i]) * 0x100000001b3u;
}

static void
tell_packet(struct told *told, const struct ffpf_reader *r, const struct ffpf_batch *b, const struct ffpf_packet *pkt)
{
	int64_t frac = pkt->flags & FFPF_PACKET_FRAC_WIDE ? ffpf_savefile_wide_frac(r, pkt) : pkt->ts_frac;

	MUST(pkt->data >= b->mem_lo + 16 && pkt->data + pkt->cap_len <= b->mem_hi);
	MUST(pkt->flags & FFPF_PACKET_HEAD_READABLE);
	MUST(pkt->result != 0);
	digest(told, pkt->data, pkt->cap_len);
	digest(told, &pkt->ts_sec, sizeof(pkt->ts_sec));
	digest(told, &frac, sizeof(frac));
	digest(told, &pkt->wire_len, sizeof(pkt->wire_len));
	told->packets++;
}

static void
check_law(struct ffpf_reader *r, const struct told *told)
{
	struct ffpf_counters c;

	MUST(r->ops->counters(r, &c) == 0);
	MUST(c.seen == c.filtered + c.delivered + ffpf_counters_dropped(&c));
	MUST(c.delivered == told->packets);
}

/* Reads to the end, giving batches back now and then. */
static struct told
tell(FILE *fp, uint8_t options)
{
	const struct ffpf_savefile_config cfg = {
		.tick = options & 1 ? FFPF_WANT_NS : FFPF_WANT_US,
		.window_bytes = options & 2 ? 65536 : 0,
	};
	struct told told = { 0 };
	struct ffpf_error err = { 0 };
	struct ffpf_reader *r = NULL;
	struct ffpf_batch b;

	if (ffpf_savefile_open(&r, fp, &cfg, &err)) {
		MUST(!r && err.text[0]);
		digest(&told, err.text, strlen(err.text));
		return told;
	}
	if (options & 4)
		MUST(r->ops->set_filter(r, &filter) == 0);
	while (told.errors < MAX_ERRORS) {
		enum ffpf_outcome outcome = r->ops->next(r, &b);
		uint32_t n;

		if (outcome == FFPF_END)
			break;
		if (outcome == FFPF_FAILED) {
			told.errors++;
			digest(&told, r->err.text, strlen(r->err.text));
			continue;
		}
		MUST(outcome == FFPF_BATCH && b.count > 0);
		n = options & 8 ? (b.count + 1) / 2 : b.count;
		for (uint32_t i = 0; i < n; i++)
			tell_packet(&told, r, &b, &b.pkts[i]);
		r->ops->release(r, n);
		if (n < b.count)
			MUST(r->ops->set_filter(r, options & 4 ? &filter : NULL) == 0);
		check_law(r, &told);
	}
	check_law(r, &told);
	r->ops->close(r);
	return told;
}

static struct told
tell_file(const uint8_t *input, size_t size, uint8_t options)
{
	int fd = memfd_create("fuzz", 0);
	struct told told;
	FILE *fp;

	MUST(fd >= 0 && write(fd, input, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	fp = fdopen(fd, "rb");
	told = tell(fp, options);
	fclose(fp);
	return told;
}

static struct told
tell_pipe(const uint8_t *input, size_t size, uint8_t options)
{
	struct told told;
	int ends[2];
	FILE *fp;

	MUST(pipe(ends) == 0 && write(ends[1], input, size) == (ssize_t)size);
	close(ends[1]);
	fp = fdopen(ends[0], "rb");
	told = tell(fp, options);
	fclose(fp);
	return told;
}

/* Through a FILE without a descriptor and a small buffer: records come in pieces. */
static struct told
tell_stdio(const uint8_t *input, size_t size, uint8_t options)
{
	char buffer[64];
	FILE *fp = fmemopen((void *)(uintptr_t)input, size, "rb");
	struct told told;

	MUST(fp);
	setvbuf(fp, buffer, _IOFBF, 1 + options % sizeof(buffer));
	told = tell(fp, options);
	fclose(fp);
	return told;
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct told file, pipe_told, stdio_told;

	_Static_assert(MAX_INPUT < LARGEST_PIPE, "written before it is read");
	if (size < 2 || size > MAX_INPUT)
		return 0;
	file = tell_file(input + 1, size - 1, input[0]);
	pipe_told = tell_pipe(input + 1, size - 1, input[0]);
	stdio_told = tell_stdio(input + 1, size - 1, input[0]);
	MUST(memcmp(&file, &pipe_told, sizeof(file)) == 0);
	MUST(memcmp(&file, &stdio_told, sizeof(file)) == 0);
	return 0;
}
