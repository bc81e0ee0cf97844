/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many patterns in payloads: EXTERN's ahocorasick and vectorscan beside vectorscan's own loop, hs_scan over the same
 * octets. GB/s of one processor. `python -m bench patterns` runs it.
 *
 * 2,048 payloads of 1,460 octets; patterns of 8 to 16 letters, none of which stands in a payload: all octets are looked
 * at. `letters`: the payloads are of the same 26 letters, which is hard on everybody; `octets`: of any.
 */
#include "common/clock.h"
#include "externs/externs.h"

#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAYLOADS 2048
#define OCTETS   1460
#define ROUNDS   7
#define LOOPS    3
#define LONGEST  16

enum who { AHO_CORASICK, EXTERN_VECTORSCAN, PLAIN_VECTORSCAN, WHO };

static const char *const names[WHO] = { "ahocorasick", "vectorscan", "hs_scan" };
static uint8_t payloads[PAYLOADS][OCTETS];
static uint64_t state = 1;

static uint32_t
chance(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static double
now(void)
{
	return (double)ffpf_clock_ns(CLOCK_THREAD_CPUTIME_ID) / 1e9;
}

static void
must(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

struct bench {
	char (*patterns)[LONGEST + 1];
	uint32_t count;
	struct ffpf_extern_set *sets[2];
	hs_database_t *database;
	hs_scratch_t *scratch;
};

static void
make_sets(struct bench *b)
{
	char path[] = "/tmp/ffpf-patterns-XXXXXX", texts[2][64];
	const char *name = strrchr(path, '/') + 1;
	FILE *file = fdopen(mkstemp(path), "w");
	struct ffpf_error err = { 0 };

	must(file != NULL, "no file");
	for (uint32_t i = 0; i < b->count; i++)
		fprintf(file, "%s\n", b->patterns[i]);
	fclose(file);
	setenv("FFPF_FPL_PATH", "/tmp", 1);
	snprintf(texts[0], sizeof(texts[0]), "ahocorasick file=%s", name);
	snprintf(texts[1], sizeof(texts[1]), "vectorscan file=%s literal", name);
	for (unsigned i = 0; i < 2; i++) {
		const char *text = texts[i];

		must(!ffpf_extern_set_create(&b->sets[i], &text, 1, 64, NULL, &err), err.text);
	}
	unlink(path);
}

static void
make_plain(struct bench *b)
{
	const char **texts = calloc(b->count, sizeof(*texts));
	unsigned *ids = calloc(b->count, sizeof(*ids)), *flags = calloc(b->count, sizeof(*flags));
	hs_compile_error_t *refusal;

	must(texts && ids && flags, "out of memory");
	for (uint32_t i = 0; i < b->count; i++) {
		texts[i] = b->patterns[i];
		ids[i] = i;
	}
	must(hs_compile_multi(texts, flags, ids, b->count, HS_MODE_BLOCK, NULL, &b->database, &refusal) == HS_SUCCESS,
	     "vectorscan refused");
	must(hs_alloc_scratch(b->database, &b->scratch) == HS_SUCCESS, "out of memory");
	free(texts);
	free(ids);
	free(flags);
}

static int
count_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *arg)
{
	(void)id, (void)from, (void)to, (void)flags;
	++*(uint64_t *)arg;
	return 0;
}

static uint64_t
by_call(struct ffpf_extern_set *set, const uint8_t *octets)
{
	const struct ffpf_packet pkt = { .data = octets, .cap_len = OCTETS, .wire_len = OCTETS };
	const struct ffpf_node_pkt in = { .pkt = &pkt, .link_type = 1 };
	uint8_t mbuf[64];
	uint64_t found;

	set->in = &in;
	found = set->uses[0]->call(set->uses[0], octets, OCTETS, mbuf, 0, 0);
	set->in = NULL;
	return found;
}

/* GB/s */
static double
run(struct bench *b, enum who who)
{
	uint64_t matches = 0;
	double began = now();

	for (unsigned loop = 0; loop < LOOPS; loop++) {
		for (unsigned i = 0; i < PAYLOADS; i++) {
			if (who == PLAIN_VECTORSCAN)
				hs_scan(b->database, (const char *)payloads[i], OCTETS, 0, b->scratch, count_match,
					&matches);
			else
				matches += by_call(b->sets[who], payloads[i]);
		}
	}
	must(matches == 0, "a pattern stands in a payload: the figures would be of different work");
	return (double)PAYLOADS * OCTETS * LOOPS / (now() - began) / 1e9;
}

static int
compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
measure(const char *text, uint32_t count, bool letters)
{
	struct bench b = { .patterns = calloc(count, LONGEST + 1), .count = count };
	double found[WHO][ROUNDS];

	must(b.patterns != NULL, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0, len = 8 + chance(9); j < len; j++)
			b.patterns[i][j] = (char)('a' + chance(26));
	}
	for (unsigned i = 0; i < PAYLOADS * OCTETS; i++)
		payloads[i / OCTETS][i % OCTETS] = (uint8_t)(letters ? 'a' + chance(26) : chance(256));
	make_sets(&b);
	make_plain(&b);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned who = 0; who < WHO; who++)
			found[who][round] = run(&b, who);
	}
	for (unsigned who = 0; who < WHO; who++) {
		qsort(found[who], ROUNDS, sizeof(double), compare);
		printf("%s %u %s %.3f %.3f %.3f\n", text, count, names[who], found[who][ROUNDS / 2],
		       found[who][ROUNDS / 4], found[who][ROUNDS * 3 / 4]);
	}
	fflush(stdout);
	for (unsigned i = 0; i < 2; i++)
		ffpf_extern_set_destroy(b.sets[i]);
	hs_free_scratch(b.scratch);
	hs_free_database(b.database);
	free(b.patterns);
}

int
main(void)
{
	static const uint32_t counts[] = { 10, 1000, 10000 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		measure("letters", counts[i], true);
		measure("octets", counts[i], false);
	}
	return 0;
}
