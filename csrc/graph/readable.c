/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes whose MBufs programs read. Paper, section 2.2: "Filters may read the MBuf of other filters in their flow
 * group".
 *
 *     MEM@stats.W[n]  ->  mem@stats(2 * n, 2)  ->  one load of a word, whole; it orders nothing else
 *
 * An MBuf's memory is a power of two of octets, of which those behind what the class asked for are zeros: an offset is
 * taken modulo that, and so reaches nothing else.
 */
#include "graph/engine_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX "mem@" /* in a program M@ is the same */

struct readable {
	struct ffpf_extern row; /* its `arg` is this */
	char *name;             /* with PREFIX */
	struct node *node;
	bool wanted, unclear;
};

static uint64_t
load(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t octets)
{
	const struct readable *self = use->function->arg;
	const struct ffpf_mbuf *from = &self->node->mbuf;
	const uint32_t at = (uint32_t)read_at; /* it has less than 2^32 octets */

	(void)pkt;
	(void)cap_len;
	(void)mbuf;
	switch (octets) {
	case 1:
		return ffpf_mbuf_load8(from, at);
	case 2:
		return ffpf_mbuf_load16(from, at);
	case 4:
		return ffpf_mbuf_load32(from, at);
	case 8:
		return ffpf_mbuf_load64(from, at);
	default: /* no compiler of ours asks for that */
		return 0;
	}
}

/* Of several nodes by one name, in any case, none is meant. */
static int
add(struct readables *self, const char *name, struct node *node)
{
	struct readable *readable = &self->list[self->count];

	if (!node->mbuf_bytes)
		return 0;
	for (uint32_t i = 0; i < self->count; i++) {
		if (strcasecmp(self->list[i].name + strlen(PREFIX), name) != 0)
			continue;
		self->list[i].unclear |= self->list[i].node != node;
		return 0;
	}
	if (asprintf(&readable->name, PREFIX "%s", name) < 0) {
		readable->name = NULL;
		return -1;
	}
	readable->node = node;
	readable->row = (struct ffpf_extern){ .name = readable->name,
					      .summary = "reads the MBuf of a node",
					      .arguments = "",
					      .value = "what is there",
					      .reads_what = "",
					      .writes_what = "",
					      .levels = FFPF_LEVEL_USERSPACE,
					      .steps = 1,
					      .call = load,
					      .arg = readable };
	self->count++;
	return 0;
}

int
readables_create(struct readables *out, const struct ffpf_graph_flow *flow, uint32_t number, struct ffpf_error *err)
{
	const struct ffpf_graph_text *text = flow->text;
	struct readables self = { .list = calloc((size_t)number + text->alias_count + 1, sizeof(*self.list)) };
	int failed = !self.list;

	for (uint32_t i = 0; !failed && i < number; i++) {
		const char *name = text->nodes[i].name;

		if (name && strlen(name) <= FFPF_GRAPH_WORD_MAX && !strchr(name, '-'))
			failed = add(&self, name, flow->nodes[i]);
	}
	for (uint32_t i = 0; !failed && i < text->alias_count; i++)
		failed = add(&self, text->aliases[i].word, flow->nodes[text->aliases[i].node]);
	*out = self;
	return failed ? ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory") : 0;
}

const struct ffpf_extern *
readables_row(const struct readables *self, uint32_t i)
{
	return &self->list[i].row;
}

void
readables_want(struct readables *self, const char *text)
{
	for (uint32_t i = 0; i < self->count; i++)
		self->list[i].wanted |= !self->list[i].unclear && (engine_has_word(text, self->list[i].name) ||
								   engine_has_word(text, self->list[i].name + 2));
}

bool
readables_is_wanted(const struct readables *self, uint32_t i)
{
	return self->list[i].wanted;
}

const struct node *
readables_node(const struct readables *self, uint32_t i)
{
	return self->list[i].node;
}

void
readables_free(struct readables *self)
{
	for (uint32_t i = 0; i < self->count; i++)
		free(self->list[i].name);
	free(self->list);
}
