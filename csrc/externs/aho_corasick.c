/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/aho_corasick.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* The patterns as a tree: children of a node in a list. */
struct node {
	uint32_t child, sibling, pattern;
	uint8_t octet;
};

/* What building needs and the automaton does not, by state: its node, and the state that it falls back to. */
struct work {
	struct node *nodes;
	uint32_t count;
	uint32_t *order, *fail;
};

static int
no_memory(struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static uint32_t
child_of(struct work *work, uint32_t parent, uint8_t octet)
{
	uint32_t node = work->nodes[parent].child;

	while (node != NONE && work->nodes[node].octet != octet)
		node = work->nodes[node].sibling;
	if (node == NONE) {
		node = work->count++;
		work->nodes[node] = (struct node){ NONE, work->nodes[parent].child, NONE, octet };
		work->nodes[parent].child = node;
	}
	return node;
}

static void
plant(struct work *work, const struct pattern_set *set)
{
	work->nodes[0] = (struct node){ NONE, NONE, NONE, 0 };
	work->count = 1;
	for (uint32_t i = 0; i < set->count; i++) {
		const uint8_t *octets = set->octets + set->at[i];
		uint32_t node = 0;

		for (uint32_t j = 0; j < set->len[i]; j++)
			node = child_of(work, node, octets[j]);
		if (work->nodes[node].pattern == NONE)
			work->nodes[node].pattern = i;
	}
}

/* Class 0 is all octets that no pattern has. */
static void
classify(struct aho_corasick *ac, const struct pattern_set *set)
{
	bool used[256] = { false };

	ac->classes = 1;
	memset(ac->class_of, 0, sizeof(ac->class_of));
	for (uint32_t i = 0; i < set->count; i++) {
		for (uint32_t j = 0; j < set->len[i]; j++)
			used[set->octets[set->at[i] + j]] = true;
	}
	for (unsigned octet = 0; octet < 256; octet++) {
		if (used[octet] && ac->classes < 256) /* all 256 used: class 0 is the last one's alone */
			ac->class_of[octet] = (uint8_t)ac->classes++;
	}
}

static void
note_begins(struct aho_corasick *ac, const struct pattern_set *set)
{
	for (uint32_t i = 0; i < set->count; i++) {
		const uint8_t *octets = set->octets + set->at[i];
		const unsigned head = (unsigned)octets[0] << 8;

		ac->first[octets[0]] = true;
		if (set->len[i] == 1)
			memset(ac->pairs + head / 64, 0xff, 256 / 8);
		else
			ac->pairs[(head | octets[1]) / 64] |= 1ull << ((head | octets[1]) % 64);
	}
}

/* Rows in the order of depth: each is that of the longest end of its own text that begins a pattern, where no child
 * says otherwise. */
static void
fill(struct aho_corasick *ac, struct work *work)
{
	uint32_t have = 1;

	work->order[0] = work->fail[0] = 0;
	ac->pattern[0] = NONE;
	for (uint32_t state = 0; state < have; state++) {
		uint32_t *row = ac->next + (size_t)state * ac->classes;
		const uint32_t *other = ac->next + (size_t)work->fail[state] * ac->classes;

		if (state)
			memcpy(row, other, ac->classes * sizeof(*row));
		for (uint32_t node = work->nodes[work->order[state]].child; node != NONE;
		     node = work->nodes[node].sibling) {
			const uint8_t class = ac->class_of[work->nodes[node].octet];
			const uint32_t fail = state ? row[class] : 0;

			work->order[have] = node;
			work->fail[have] = fail;
			ac->pattern[have] =
			    work->nodes[node].pattern != NONE ? work->nodes[node].pattern : ac->pattern[fail];
			row[class] = have++;
		}
	}
}

/* From numbers of states to where their rows begin. */
static void
finish(struct aho_corasick *ac)
{
	for (size_t i = 0; i < (size_t)ac->states * ac->classes; i++) {
		const uint32_t state = ac->next[i];

		ac->next[i] = state * ac->classes | (ac->pattern[state] != NONE ? AC_ENDS : 0);
	}
}

static int
make(struct aho_corasick *ac, const struct pattern_set *set, struct work *work, struct ffpf_error *err)
{
	const size_t most = set->used + 1;

	work->nodes = malloc(most * sizeof(*work->nodes));
	if (!work->nodes)
		return no_memory(err);
	plant(work, set);
	classify(ac, set);
	if ((uint64_t)work->count * ac->classes > AC_WORDS_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "%u patterns need a table of %zu MiB, more than %u: take vectorscan", set->count,
				      ((size_t)work->count * ac->classes) >> 18, AC_WORDS_MAX >> 18);
	ac->states = work->count;
	ac->count = set->count;
	work->order = malloc(work->count * sizeof(uint32_t));
	work->fail = malloc(work->count * sizeof(uint32_t));
	ac->next = calloc((size_t)work->count * ac->classes, sizeof(uint32_t));
	ac->pattern = malloc(work->count * sizeof(uint32_t));
	ac->lengths = malloc((set->count + 1) * sizeof(uint32_t));
	if (!work->order || !work->fail || !ac->next || !ac->pattern || !ac->lengths)
		return no_memory(err);
	for (uint32_t i = 0; i < set->count; i++)
		ac->lengths[i] = set->len[i];
	fill(ac, work);
	finish(ac);
	note_begins(ac, set);
	return 0;
}

int
ac_build(struct aho_corasick *ac, const struct pattern_set *set, struct ffpf_error *err)
{
	struct work work = { 0 };
	int status;

	memset(ac, 0, sizeof(*ac));
	status = make(ac, set, &work, err);
	free(work.nodes);
	free(work.order);
	free(work.fail);
	if (status)
		ac_free(ac);
	return status;
}

bool
ac_find(const struct aho_corasick *ac, const uint8_t *text, uint32_t len, struct ac_match *out)
{
	const uint32_t *next = ac->next;
	uint32_t state = 0, at = 0;

	if (!ac->count)
		return false;
	while (at < len) {
		if (!state) { /* the first state: on to where a pattern may begin */
			while (at + 1 < len) {
				const unsigned pair = (unsigned)text[at] << 8 | text[at + 1];

				if (ac->pairs[pair / 64] >> (pair % 64) & 1)
					break;
				at++;
			}
			if (at + 1 == len && !ac->first[text[at]])
				return false;
		}
		state = next[state + ac->class_of[text[at++]]];
		if (state & AC_ENDS) {
			const uint32_t pattern = ac->pattern[(state & ~AC_ENDS) / ac->classes];

			*out = (struct ac_match){ pattern, at - ac->lengths[pattern], ac->lengths[pattern] };
			return true;
		}
	}
	return false;
}

void
ac_free(struct aho_corasick *ac)
{
	free(ac->next);
	free(ac->pattern);
	free(ac->lengths);
	memset(ac, 0, sizeof(*ac));
}
