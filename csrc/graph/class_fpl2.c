/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (FPL-2,"IF (PKT.IP_PROTO == PROTO_TCP) THEN MEM[PKT.TCP_DPORT & 255]++; FI",1024): programs in the paper's register
 * language (section 3.3), compiled by fplc for each link type that comes here. The result is what the program returns.
 * A program sees a packet's octets with its VLAN tag in place; MBuf is MEM, host byte order, a power of two of octets.
 */
#include "graph/classes.h"
#include "graph/fplc.h"

#include <stdlib.h>
#include <string.h>

#define MBUF_MIN 8
#define MBUF_MAX (1u << 24)

struct program {
	uint16_t link_type;
	struct ffpf_machine_code code;
	ffpf_fpl2_filter filter;
};

struct fpl2 {
	char *text;
	void *mbuf;
	struct program *programs;
	uint32_t count;
};

/* By DLT_*; fplc's names. */
static const struct {
	uint16_t link_type;
	const char *name;
} links[] = { { 1, "ethernet" }, { 12, "raw" },  { 101, "raw" }, { 228, "raw" },
	      { 229, "raw" },    { 113, "sll" }, { 276, "sll2" } };

static const char *
link_of(uint32_t link_type)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].link_type == link_type)
			return links[i].name;
	}
	return NULL;
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct fpl2 *self = instance;
	uint64_t bytes = MBUF_MIN;

	if (args->mbuf_bytes > MBUF_MAX)
		return ffpf_args_fail(args, 0, err, "an MBuf of FPL-2 has %u octets at most", MBUF_MAX);
	while (bytes < args->mbuf_bytes)
		bytes *= 2;
	if (args->mbuf_bytes)
		args->mbuf_bytes = bytes;
	self->text = strdup(args->text);
	return self->text ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static int
open_program(struct program *program, const char *text, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	const char *link = link_of(program->link_type);
	int status;

	if (!link)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "FPL-2 does not know packets of link type %u",
				      program->link_type);
	status = ffpf_fplc_compile(&program->code, text, link, env->mbuf_bytes, err);
	if (status)
		return status;
	memcpy(&program->filter, &program->code.mem, sizeof(program->code.mem));
	return 0;
}

static bool
is_known(const struct fpl2 *self, uint32_t link_type)
{
	for (uint32_t i = 0; i < self->count; i++) {
		if (self->programs[i].link_type == link_type)
			return true;
	}
	return false;
}

static int
open_fpl2(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct fpl2 *self = instance;

	self->mbuf = env->mbuf;
	self->programs = calloc(env->link_type_count, sizeof(*self->programs));
	if (!self->programs)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	for (uint32_t i = 0; i < env->link_type_count; i++) {
		struct program *program = &self->programs[self->count];
		int status;

		if (is_known(self, env->link_types[i]))
			continue; /* once more in another form, which is nothing to us */
		program->link_type = (uint16_t)env->link_types[i];
		self->count++;
		status = open_program(program, self->text, env, err);
		if (status)
			return status;
	}
	return 0;
}

static void
close_fpl2(void *instance)
{
	struct fpl2 *self = instance;

	for (uint32_t i = 0; i < self->count; i++)
		ffpf_machine_code_unmap(&self->programs[i].code);
	free(self->programs);
	free(self->text);
}

static void
filter(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	struct fpl2 *self = instance;
	const struct program *program = self->programs;

	for (uint32_t i = 0; i < n; i++) {
		const struct ffpf_packet *pkt = in[i].pkt;
		const struct ffpf_fpl2_facts facts = {
			.ifindex = pkt->ifindex,
			.pkt_type = pkt->pkt_type,
			.vlan_present = (pkt->flags & (FFPF_PACKET_VLAN | FFPF_PACKET_VLAN_BESIDE)) != 0,
			.vlan_tci = pkt->vlan_tci,
		};

		while (self->count > 1 && program->link_type != in[i].link_type)
			program = program + 1 < self->programs + self->count ? program + 1 : self->programs;
		results[i] = program->filter(pkt->data, pkt->cap_len, pkt->wire_len, &facts, self->mbuf, NULL);
	}
}

const struct ffpf_class ffpf_class_fpl2 = {
	.name = "FPL-2",
	.summary = "what a program in the paper's packet language lets through",
	.arguments = "a program: see docs/fpl-2.md",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct fpl2),
	.parse = parse,
	.open = open_fpl2,
	.filter_batch = filter,
	.close = close_fpl2,
};
