/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (FPL-1,"pkt.u16 36; push 80; eq; ret") or (FPL-1,"file:web.fpl1",1024): programs in the paper's stack language
 * (section 3.3), assembled by fpl1, or an object file. The result is what the program returns. A program sees a
 * packet's octets with its VLAN tag in place. The MBuf is the program's data, its code and a segment: fpl1/fpl1.h. The
 * number in the tuple is the least size of the data.
 */
#include "externs/externs.h"
#include "fpl1/extend.h"
#include "graph/classes.h"
#include "graph/compiler.h"
#include "record/load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_WORD "file:"

struct fpl1 {
	struct ffpf_fpl1 *program;
	struct ffpf_fpl1_external uses[FFPF_FPL1_EXTERNALS_MAX]; /* of functions of externs/, by the names below */
	char *names[FFPF_FPL1_EXTERNALS_MAX];
	uint32_t use_count;
	const struct ffpf_extern_scope *known; /* while it is loaded */
	bool called;
	struct ffpf_extern_set *set;
	uint64_t *dropped;
};

static const struct ffpf_compiler assembler = { .language = "FPL-1", .program = "fpl1", .variable = "FFPF_FPL1" };

static uint64_t
call_use(void *context, const uint8_t *packet, uint32_t captured, uint8_t *memory, uint64_t read_at, uint64_t write_at)
{
	struct ffpf_extern_use *use = context;

	return use->call(use, packet, captured, memory, read_at, write_at);
}

/* For the loader: measured now, opened with the instance, which gives it its context. */
static const struct ffpf_fpl1_external *
find_use(void *arg, const char *name, struct ffpf_error *err)
{
	struct fpl1 *self = arg;
	struct ffpf_fpl1_external *use = &self->uses[self->use_count];
	struct ffpf_extern_sizes sizes;
	size_t error_at;

	if (ffpf_extern_measure(&sizes, name, self->known, &error_at, err))
		return NULL;
	self->names[self->use_count] = strdup(name);
	if (!self->names[self->use_count]) {
		ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
		return NULL;
	}
	*use = (struct ffpf_fpl1_external){
		.name = self->names[self->use_count], .reads = sizes.reads, .writes = sizes.writes, .function = call_use
	};
	self->use_count++;
	return use;
}

static int
read_object(uint8_t **out, size_t *len, int fd, struct ffpf_error *err)
{
	uint8_t *octets = malloc(FFPF_FPL1_OBJECT_MAX);
	ssize_t n = octets ? pread(fd, octets, FFPF_FPL1_OBJECT_MAX, 0) : 0;

	if (!octets)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	if (n < 0) {
		free(octets);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "an object of FPL-1 cannot be read");
	}
	*out = octets;
	*len = (size_t)n;
	return 0;
}

/* Which program it was, should the file change: equal nodes are one. */
static void
name_object(struct ffpf_class_args *args, const uint8_t *octets, size_t len)
{
	uint64_t digest = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		digest = (digest ^ octets[i]) * UINT64_C(1099511628211);
	ffpf_text_add(&args->canonical, "%s #%016" PRIx64, args->text, digest);
}

static int
find_object(struct ffpf_class_args *args, uint8_t **out, size_t *len, struct ffpf_error *err)
{
	const bool is_file = strncmp(args->text, FILE_WORD, strlen(FILE_WORD)) == 0;
	const char *path = args->text + strlen(FILE_WORD);
	char bytes[24];
	int status, fd;

	if (is_file) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		status = fd < 0 ? ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", path) : 0;
	} else {
		snprintf(bytes, sizeof(bytes), "%" PRIu64, args->mbuf_bytes);
		status =
		    ffpf_compiler_run(&assembler, (const char *[]){ "assemble", "--binary", "--mbuf", bytes, NULL },
				      args->text, &fd, &args->error_at, err);
	}
	if (status)
		return status;
	status = read_object(out, len, fd, err);
	close(fd);
	if (!status && is_file)
		name_object(args, *out, *len);
	return status;
}

static void
close_fpl1(void *instance)
{
	struct fpl1 *self = instance;

	ffpf_extern_set_destroy(self->set);
	ffpf_fpl1_unload(self->program);
	for (uint32_t i = 0; i < self->use_count; i++)
		free(self->names[i]);
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct ffpf_fplo_policy signing;
	struct fpl1 *self = instance;
	const struct ffpf_fpl1_policy policy = {
		.externals = ffpf_fpl1_extenders, .external_count = FFPF_FPL1_EXTENDERS, .find = find_use, .arg = self
	};
	uint32_t data_bytes = args->mbuf_bytes ? FFPF_FPL1_DATA_MIN : 0;
	uint8_t *object = NULL;
	size_t len = 0;
	int status;

	ffpf_fplo_policy_of_environment(&signing);
	if (signing.require_signed)
		return ffpf_error_set(err, FFPF_E_DENIED,
				      "programs must be signed here, and those in FPL-1 are not. "
				      "FFPF_REQUIRE_SIGNED is set");
	if (args->mbuf_bytes > FFPF_FPL1_DATA_MAX)
		return ffpf_args_fail(args, 0, err, "a memory of FPL-1 has %u octets at most", FFPF_FPL1_DATA_MAX);
	while (data_bytes < args->mbuf_bytes)
		data_bytes *= 2;
	status = find_object(args, &object, &len, err);
	if (status)
		return status;
	self->known = args->externs;
	self->called = args->called;
	status = ffpf_fpl1_load(&self->program, object, len, &policy, data_bytes, err);
	free(object);
	if (status) {
		close_fpl1(self);
		return status;
	}
	args->lent_bytes = ffpf_fpl1_data_bytes(self->program);
	args->mbuf_bytes = self->called ? args->lent_bytes : ffpf_fpl1_memory_bytes(self->program);
	for (uint32_t i = 0; i < self->use_count; i++)
		ffpf_text_add(&args->calls, "%s ", self->names[i]);
	return 0;
}

static int
open_fpl1(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct fpl1 *self = instance;
	int status = ffpf_extern_set_create(&self->set, (const char *const *)self->names, self->use_count,
					    ffpf_fpl1_data_bytes(self->program), env->externs, err);

	if (status)
		return status;
	for (uint32_t i = 0; i < self->use_count; i++)
		self->uses[i].context = self->set->uses[i];
	self->dropped = env->dropped;
	if (self->called)
		return ffpf_fpl1_attach_data(self->program, env->mbuf, err);
	ffpf_fpl1_attach(self->program, env->mbuf);
	return 0;
}

static uint32_t
run(struct fpl1 *self, const struct ffpf_node_pkt *in)
{
	const struct ffpf_packet *pkt = in->pkt;
	const struct ffpf_fpl1_packet seen = {
		.data = pkt->data,
		.facts = { [FFPF_FPL1_LEN] = pkt->wire_len,
			   [FFPF_FPL1_CAPLEN] = pkt->cap_len,
			   [FFPF_FPL1_IFINDEX] = pkt->ifindex,
			   [FFPF_FPL1_PKTTYPE] = pkt->pkt_type,
			   [FFPF_FPL1_VLAN_PRESENT] = (pkt->flags & (FFPF_PACKET_VLAN | FFPF_PACKET_VLAN_BESIDE)) != 0,
			   [FFPF_FPL1_VLAN_TCI] = pkt->vlan_tci },
	};
	const uint64_t exhausted = ffpf_fpl1_exhausted(self->program);
	uint32_t result;

	self->set->in = in;
	self->set->drop = false;
	result = ffpf_fpl1_run(self->program, &seen);
	if (!self->set->drop && ffpf_fpl1_exhausted(self->program) == exhausted)
		return result;
	*self->dropped += 1;
	return 0;
}

static void
filter(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	for (uint32_t i = 0; i < count; i++)
		results[i] = run(instance, &in[i]);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct fpl1 *self = instance;

	ffpf_report_uint(report, "out_of_steps", ffpf_fpl1_exhausted(self->program));
	ffpf_report_uint(report, "extended", ffpf_fpl1_extended(self->program));
	ffpf_report_uint(report, "refused", ffpf_fpl1_refused(self->program));
}

/* Each instruction may be a call of the function that takes most. */
static uint64_t
steps(const void *instance)
{
	const struct fpl1 *self = instance;
	uint64_t most = 1;

	for (uint32_t i = 0; i < self->set->count; i++) {
		if (most < self->set->uses[i]->steps)
			most = self->set->uses[i]->steps;
	}
	return ffpf_fpl1_steps(self->program) * most;
}

const struct ffpf_class ffpf_class_fpl1 = {
	.name = "FPL-1",
	.summary = "what a program in the paper's stack language lets through; it may extend itself",
	.arguments = "a program, or file:PATH of an object: see docs/fpl-1.md",
	.levels = FFPF_LEVEL_USERSPACE,
	.program = true,
	.instance_bytes = sizeof(struct fpl1),
	.parse = parse,
	.open = open_fpl1,
	.filter_batch = filter,
	.steps = steps,
	.describe = describe,
	.close = close_fpl1,
};
