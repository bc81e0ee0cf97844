/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (BPF,"tcp port 80"): the filters of tcpdump, compiled by the system's libpcap for each link type and form that comes
 * here, and run as native code. The result is what the filter returns: how many octets of the packet it wants.
 *
 *     form       sees                                            whence
 *     savefile   the octets as they are                          files, readers of them
 *     dead       the same                                        hooks, cooked link types
 *     live       the octets without the tag that the kernel took out, and that tag beside them    interfaces
 */
#include "bpf/bpf.h"
#include "graph/classes.h"
#include "source/live_link_type.h"
#include "syspcap/syspcap.h"

#include <stdlib.h>
#include <string.h>

#define TAG_BYTES 4

struct program {
	uint16_t link_type, form;
	int vlan_offset; /* of a tag that was put back; -1: none is */
	struct ffpf_bpf_prog *prog;
};

struct bpf {
	char *text;
	struct program *programs;
	uint32_t count;
	uint8_t *untagged; /* room for one packet */
	uint32_t untagged_bytes;
};

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Texts that differ in blanks alone are the same filter. */
static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct bpf *self = instance;

	if (args->mbuf_bytes)
		return ffpf_args_fail(args, 0, err, "BPF filters have no MBuf");
	for (const char *p = args->text; *p; p++) {
		if (!blank(*p))
			ffpf_text_add_octets(&args->canonical, p, 1);
		else if (args->canonical.len && p[1] && !blank(p[1]))
			ffpf_text_add_octets(&args->canonical, " ", 1);
	}
	self->text = strdup(ffpf_text_get(&args->canonical));
	return self->text ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static int
compile(struct program *out, const char *text, uint32_t snap_len, struct ffpf_error *err)
{
	struct ffpf_bpf_insn *insns;
	uint32_t count;
	int status = ffpf_syspcap_compile(&insns, &count, text, out->link_type, snap_len, true, 0xffffffff,
					  (enum ffpf_filter_form)out->form, err);

	if (status)
		return status;
	status = ffpf_bpf_prog_create(&out->prog, insns, count, FFPF_BPF_AUTO, err);
	free(insns);
	return status;
}

static int
open_bpf(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct bpf *self = instance;

	self->programs = calloc(env->link_type_count, sizeof(*self->programs));
	self->untagged_bytes = env->snap_len + TAG_BYTES;
	self->untagged = malloc(self->untagged_bytes);
	if (!self->programs || !self->untagged)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	for (; self->count < env->link_type_count; self->count++) {
		struct program *program = &self->programs[self->count];
		int status;

		program->link_type = (uint16_t)env->link_types[self->count];
		program->form = env->forms[self->count];
		program->vlan_offset = ffpf_link_type_vlan_offset(program->link_type);
		status = compile(program, self->text, env->snap_len, err);
		if (status)
			return status;
	}
	return 0;
}

static void
close_bpf(void *instance)
{
	struct bpf *self = instance;

	for (uint32_t i = 0; i < self->count; i++)
		ffpf_bpf_prog_destroy(self->programs[i].prog);
	free(self->programs);
	free(self->untagged);
	free(self->text);
}

/* As the socket's filter would have seen it. */
static uint32_t
run_live(struct bpf *self, const struct program *program, const struct ffpf_packet *pkt)
{
	const bool tagged = pkt->flags & FFPF_PACKET_VLAN && program->vlan_offset >= 0;
	const struct ffpf_bpf_aux aux = {
		.ifindex = pkt->ifindex,
		.vlan_tci = pkt->vlan_tci,
		.vlan_tpid = pkt->vlan_tpid,
		.protocol = pkt->protocol,
		.pkt_type = pkt->pkt_type,
		.vlan_present = pkt->flags & (FFPF_PACKET_VLAN | FFPF_PACKET_VLAN_BESIDE),
	};
	const uint32_t at = tagged ? (uint32_t)program->vlan_offset : 0;

	if (!tagged || pkt->cap_len > self->untagged_bytes)
		return ffpf_bpf_run(program->prog, pkt->data, pkt->wire_len, pkt->cap_len, &aux);
	if (pkt->cap_len < at + TAG_BYTES) /* cut inside the tag */
		return ffpf_bpf_run(program->prog, pkt->data, pkt->wire_len - TAG_BYTES,
				    pkt->cap_len < at ? pkt->cap_len : at, &aux);
	memcpy(self->untagged, pkt->data, at);
	memcpy(self->untagged + at, pkt->data + at + TAG_BYTES, pkt->cap_len - at - TAG_BYTES);
	return ffpf_bpf_run(program->prog, self->untagged, pkt->wire_len - TAG_BYTES, pkt->cap_len - TAG_BYTES, &aux);
}

static const struct program *
program_for(const struct bpf *self, uint16_t link_type, uint16_t form)
{
	const struct program *program = self->programs;

	while (program->link_type != link_type || program->form != form)
		program++;
	return program;
}

const struct ffpf_bpf_prog *
ffpf_bpf_of(const void *instance, uint16_t link_type, uint16_t form)
{
	return program_for(instance, link_type, form)->prog;
}

static void
filter(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	struct bpf *self = instance;
	const struct program *program = self->programs;

	for (uint32_t i = 0; i < n; i++) {
		const struct ffpf_packet *pkt = in[i].pkt;

		if (self->count > 1)
			program = program_for(self, in[i].link_type, in[i].form);
		if (program->form == FFPF_FORM_LIVE)
			results[i] = run_live(self, program, pkt);
		else
			results[i] = ffpf_bpf_run(program->prog, pkt->data, pkt->wire_len, pkt->cap_len, NULL);
	}
}

const struct ffpf_class ffpf_class_bpf = {
	.name = "BPF",
	.summary = "packets that a filter of tcpdump accepts",
	.arguments = "a filter: see pcap-filter(7); nothing accepts everything",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct bpf),
	.parse = parse,
	.open = open_bpf,
	.filter_batch = filter,
	.close = close_bpf,
};
