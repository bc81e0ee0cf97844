/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (FPL-2,"IF (PKT.IP_PROTO == PROTO_TCP) THEN MEM[PKT.TCP_DPORT & 255]++; FI",1024): programs in the paper's register
 * language (section 3.3), compiled by fplc for each link type that comes here. The result is what the program returns.
 * A program sees a packet's octets with its VLAN tag in place; MBuf is MEM, host byte order, a power of two of octets.
 *
 * (FPL-2,"file:/srv/filters/web.fplo"): what was compiled before, in a signed record (docs/fpl-records.md). It is
 * checked when the arguments are, by the policy of this process; its MBuf is the one that it was made for.
 */
#include "common/machine_code.h"
#include "externs/externs.h"
#include "graph/classes.h"
#include "graph/fplc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECLARED_BYTES 96
#define MBUF_MIN       8
#define MBUF_MAX       (1u << 24)
#define FILE_WORD      "file:"
#define SEAL_SHOWN     16 /* octets of a record's seal that tell it from others */

struct program {
	uint16_t link_type;
	struct ffpf_machine_code code;
	ffpf_fpl2_filter filter;
	struct ffpf_extern_set *externs;
};

struct fpl2 {
	char *text;                   /* NULL: there is a record */
	struct ffpf_fplo_image image; /* checked */
	void *mbuf;
	uint64_t *dropped;
	struct program *programs;
	uint32_t count;
	uint64_t steps; /* of the program that takes most */
};

/* By DLT_*: fplc's name, and the link type that its records have for it. */
static const struct link {
	uint16_t link_type, as;
	const char *name;
} links[] = { { 1, 1, "ethernet" }, { 12, 12, "raw" },   { 101, 12, "raw" },  { 228, 12, "raw" },
	      { 229, 12, "raw" },   { 113, 113, "sll" }, { 276, 276, "sll2" } };

static const struct link *
link_of(uint32_t link_type)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].link_type == link_type)
			return &links[i];
	}
	return NULL;
}

/* The record's own size; asking for another would let the code write elsewhere. */
static int
take_mbuf(const struct fpl2 *self, struct ffpf_class_args *args, struct ffpf_error *err)
{
	const uint64_t bytes = self->image.record.mbuf_bytes;

	if (args->mbuf_bytes && args->mbuf_bytes != bytes)
		return ffpf_args_fail(args, 0, err,
				      "this record was made for an MBuf of %" PRIu64 " octets, not %" PRIu64, bytes,
				      args->mbuf_bytes);
	args->mbuf_bytes = bytes;
	return 0;
}

static int
parse_record(struct fpl2 *self, const char *path, const struct ffpf_fplo_policy *policy, struct ffpf_class_args *args,
	     struct ffpf_error *err)
{
	const struct ffpf_fplo *record = &self->image.record;
	struct ffpf_fplo_external calls[FFPF_FPLO_EXTERNALS_MAX];
	uint32_t count;
	int status = ffpf_fplo_load(&self->image, path, policy, err);

	if (!status)
		status = take_mbuf(self, args, err);
	if (status) {
		ffpf_fplo_free(&self->image);
		return status;
	}
	count = ffpf_fplo_externals(record, calls, FFPF_FPLO_EXTERNALS_MAX);
	/* a file that was replaced meanwhile is another filter */
	ffpf_text_add(&args->canonical, FILE_WORD "%s#", path);
	for (uint32_t i = 0; i < count; i++) {
		ffpf_text_add(&args->calls, "%s", i ? " " : "");
		ffpf_text_add_octets(&args->calls, calls[i].text, calls[i].text_len);
	}
	for (uint32_t i = 0; i < SEAL_SHOWN; i++)
		ffpf_text_add(&args->canonical, "%02x", record->octets[record->seal_at + i]);
	return 0;
}

/* Behind the string or comment that begins here; `at` where none does. Whoever leaves one open is told so later. */
static const char *
behind_string(const char *at)
{
	if (*at != '"')
		return at;
	for (at++; *at && *at != '"'; at++)
		at += at[0] == '\\' && at[1];
	return *at ? at + 1 : at;
}

static const char *
behind_comment(const char *at)
{
	const char *end;

	if (strncmp(at, "//", 2) == 0)
		return at + strcspn(at, "\n");
	if (strncmp(at, "/*", 2) != 0)
		return at;
	end = strstr(at + 2, "*/");
	return end ? end + 2 : at + strlen(at);
}

static void
add_code(struct ffpf_text *to, const char *text)
{
	const char *end;

	for (const char *at = text; *at; at = end) {
		end = behind_comment(at);
		if (end != at) {
			ffpf_text_add(to, " ");
			continue;
		}
		end = behind_string(at);
		end += end == at;
		ffpf_text_add_octets(to, at, (size_t)(end - at));
	}
}

/* A program's text, but for its comments, has the names of what it calls, unless they are in a file that it uses. */
static void
name_calls(struct ffpf_class_args *args)
{
	bool uses;

	add_code(&args->calls, args->text);
	uses = args->externs && strcasestr(ffpf_text_get(&args->calls), "USE");
	for (uint32_t i = 0; uses && i < args->externs->count; i++)
		ffpf_text_add(&args->calls, " %s", args->externs->rows[i]->name);
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct ffpf_fplo_policy policy;
	struct fpl2 *self = instance;
	uint64_t bytes = MBUF_MIN;

	ffpf_fplo_policy_of_environment(&policy);
	if (args->mbuf_bytes > MBUF_MAX)
		return ffpf_args_fail(args, 0, err, "an MBuf of FPL-2 has %u octets at most", MBUF_MAX);
	if (strncmp(args->text, FILE_WORD, strlen(FILE_WORD)) == 0)
		return parse_record(self, args->text + strlen(FILE_WORD), &policy, args, err);
	if (policy.require_signed)
		return ffpf_error_set(err, FFPF_E_DENIED,
				      "programs in FPL-2 must be signed records here: "
				      "(FPL-2,\"file:PATH\"). FFPF_REQUIRE_SIGNED is set");
	while (bytes < args->mbuf_bytes)
		bytes *= 2;
	if (args->mbuf_bytes)
		args->mbuf_bytes = bytes;
	name_calls(args);
	self->text = strdup(args->text);
	return self->text ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

/* Code comes from octets that were checked, and lie in memory of our own. */
static int
map_code(struct program *program, const struct ffpf_fplo *record, uint16_t link_type, struct ffpf_error *err)
{
	struct ffpf_fplo_section section;
	int status;

	if (!ffpf_fplo_code(record, ffpf_fplc_machine(), link_type, &section))
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
				      "the record has no code for this processor and packets of link type %u",
				      program->link_type);
	status = ffpf_machine_code_map(&program->code, section.octets, section.len, err);
	if (!status)
		memcpy(&program->filter, &program->code.mem, sizeof(program->code.mem));
	return status;
}

/* The functions that it calls must take what they took when it was compiled: the code's guards know those sizes. */
static int
check_sizes(const struct ffpf_extern_set *set, const struct ffpf_fplo_external *declared, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < set->count; i++) {
		const struct ffpf_extern_use *use = set->uses[i];

		if (use->reads > declared[i].reads || use->writes > declared[i].writes)
			return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
					      "the record was made for another version of the external function %.*s",
					      (int)declared[i].text_len, declared[i].text);
	}
	return 0;
}

static int
open_externs(struct program *program, const struct ffpf_fplo *record, const struct ffpf_extern_scope *own,
	     struct ffpf_error *err)
{
	struct ffpf_fplo_external found[FFPF_FPLO_EXTERNALS_MAX];
	char *texts[FFPF_FPLO_EXTERNALS_MAX];
	const uint32_t count = ffpf_fplo_externals(record, found, FFPF_FPLO_EXTERNALS_MAX);
	uint32_t made = 0;
	int status = 0;

	while (made < count && (texts[made] = strndup(found[made].text, found[made].text_len)))
		made++;
	if (made < count)
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	if (!status)
		status = ffpf_extern_set_create(&program->externs, (const char *const *)texts, count,
						record->mbuf_bytes, own, err);
	if (!status)
		status = check_sizes(program->externs, found, err);
	while (made)
		free(texts[--made]);
	return status;
}

static int
take_code(struct fpl2 *self, struct program *program, const struct ffpf_fplo *record, uint16_t link_type,
	  const struct ffpf_extern_scope *own, struct ffpf_error *err)
{
	int status = map_code(program, record, link_type, err);

	if (self->steps < record->steps)
		self->steps = record->steps;
	return status ? status : open_externs(program, record, own, err);
}

/* With the application's own functions declared: the compiler is another process, which does not know them. */
static int
compile(struct ffpf_fplo_image *out, struct ffpf_fpl2_request *request, const struct ffpf_class_env *env,
	const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	const struct ffpf_extern_scope *own = env->externs;
	const uint32_t count = own ? own->count : 0;
	char(*texts)[DECLARED_BYTES] = calloc(count + 1, sizeof(*texts));
	const char **declared = calloc(count + 1, sizeof(*declared));
	int status = texts && declared ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");

	for (uint32_t i = 0; !status && i < count; i++) {
		const struct ffpf_extern *function = own->rows[i];

		snprintf(texts[i], DECLARED_BYTES, "%.64s:%u:%u:%u", function->name, function->reads, function->writes,
			 function->steps);
		declared[i] = texts[i];
	}
	request->declared = declared;
	request->declared_count = count;
	if (!status && env->away)
		env->away(env->away_arg, true);
	if (!status) {
		status = ffpf_fplc_compile(out, request, policy, err);
		if (env->away)
			env->away(env->away_arg, false);
	}
	free(declared);
	free(texts);
	return status;
}

static int
open_program(struct fpl2 *self, struct program *program, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct ffpf_fpl2_request request = {
		.text = self->text, .mbuf_bytes = env->mbuf_bytes, .offline = env->offline, .error_at = env->error_at
	};
	const struct link *link = link_of(program->link_type);
	struct ffpf_fplo_image compiled = { 0 };
	struct ffpf_fplo_policy policy;
	int status;

	if (!link)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "FPL-2 does not know packets of link type %u",
				      program->link_type);
	if (!self->text)
		return take_code(self, program, &self->image.record, link->as, env->externs, err);
	request.link = link->name;
	ffpf_fplo_policy_of_environment(&policy);
	status = compile(&compiled, &request, env, &policy, err);
	if (!status && compiled.record.mbuf_bytes != env->mbuf_bytes)
		status = ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "the compiler of FPL-2 made code for another MBuf");
	if (!status)
		status = take_code(self, program, &compiled.record, link->as, env->externs, err);
	ffpf_fplo_free(&compiled);
	return status;
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
	self->dropped = env->dropped;
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
		status = open_program(self, program, env, err);
		if (status)
			return status;
	}
	return 0;
}

static void
close_fpl2(void *instance)
{
	struct fpl2 *self = instance;

	for (uint32_t i = 0; i < self->count; i++) {
		ffpf_extern_set_destroy(self->programs[i].externs);
		ffpf_machine_code_unmap(&self->programs[i].code);
	}
	ffpf_fplo_free(&self->image);
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
		program->externs->in = &in[i];
		results[i] =
		    program->filter(pkt->data, pkt->cap_len, pkt->wire_len, &facts, self->mbuf, program->externs->uses);
		if (program->externs->drop) {
			program->externs->drop = false;
			results[i] = 0;
			++*self->dropped;
		}
	}
}

static uint64_t
steps(const void *instance)
{
	const struct fpl2 *self = instance;

	return self->steps;
}

static int
microcode(const void *instance, uint32_t link_type, uint64_t mbuf_bytes, int *object, struct ffpf_error *err)
{
	const struct fpl2 *self = instance;
	const struct link *link = link_of(link_type);
	const struct ffpf_fpl2_request request = { .text = self->text,
						   .link = link ? link->name : "",
						   .mbuf_bytes = mbuf_bytes };

	if (!link)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "FPL-2 does not know packets of link type %u",
				      link_type);
	if (!self->text)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "a record has no microcode");
	return ffpf_fplc_microcode(object, &request, err);
}

const struct ffpf_class ffpf_class_fpl2 = {
	.name = "FPL-2",
	.summary = "what a program in the paper's packet language lets through",
	.arguments = "a program, or file:PATH of a signed record: see docs/fpl-2.md",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL | FFPF_LEVEL_NIC,
	.program = true,
	.instance_bytes = sizeof(struct fpl2),
	.parse = parse,
	.open = open_fpl2,
	.filter_batch = filter,
	.steps = steps,
	.microcode = microcode,
	.close = close_fpl2,
};
