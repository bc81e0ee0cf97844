/* SPDX-License-Identifier: BSD-3-Clause */
/* From the octets of an object to a program: every field is checked before it is believed. */
#include "fpl1/program.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES 24u
#define AREA_BYTES 8u

struct head {
	uint32_t version, steps, data_bytes, insns, areas, externals;
};

static uint32_t
u16_at(const uint8_t *octets)
{
	return octets[0] | (uint32_t)octets[1] << 8;
}

static uint32_t
u32_at(const uint8_t *octets)
{
	return u16_at(octets) | u16_at(octets + 2) << 16;
}

static int
bad(struct ffpf_error *err, const char *what)
{
	return ffpf_error_set(err, FFPF_E_BAD_FILTER, "no object of FPL-1: %s", what);
}

static int
read_head(struct head *head, const uint8_t *object, size_t len, struct ffpf_error *err)
{
	if (len < HEAD_BYTES || memcmp(object, "FPL1", 4) != 0)
		return bad(err, "it does not begin as one");
	*head = (struct head){ .version = u16_at(object + 4),
			       .steps = u32_at(object + 8),
			       .data_bytes = u32_at(object + 12),
			       .insns = u16_at(object + 16),
			       .areas = u16_at(object + 18),
			       .externals = u16_at(object + 20) };
	if (head->version != 1)
		return ffpf_error_set(err, FFPF_E_BAD_FILTER, "no object of FPL-1: version %u is not known",
				      head->version);
	if (u16_at(object + 6) || u16_at(object + 22))
		return bad(err, "octets are set that mean nothing");
	if (!head->steps || head->steps > FFPF_FPL1_STEPS_MAX)
		return bad(err, "its steps are not 1 to 1048576");
	if (head->data_bytes && (head->data_bytes < FFPF_FPL1_DATA_MIN || head->data_bytes > FFPF_FPL1_DATA_MAX ||
				 head->data_bytes & (head->data_bytes - 1)))
		return bad(err, "its memory is no power of two from 8 to 16777216");
	if (!head->insns || head->insns > FFPF_FPL1_INSNS_MAX)
		return bad(err, "it has not 1 to 4096 instructions");
	if (head->areas > FFPF_FPL1_AREAS_MAX || head->externals > FFPF_FPL1_EXTERNALS_MAX)
		return bad(err, "it has more than 16 areas, or 64 external functions");
	if (len != HEAD_BYTES + (size_t)head->insns * FFPF_FPL1_INSN_BYTES + (size_t)head->areas * AREA_BYTES +
		       (size_t)head->externals * FFPF_FPL1_NAME_BYTES)
		return bad(err, "it is not as long as it says");
	return 0;
}

static struct ffpf_fpl1 *
allocate(const struct head *head)
{
	size_t code = (size_t)head->insns * sizeof(struct ffpf_fpl1_insn);
	struct ffpf_fpl1 *p = calloc(1, sizeof(*p) + 2 * code);

	if (!p)
		return NULL;
	p->depths = malloc(head->insns);
	p->waiting = malloc(head->insns * sizeof(*p->waiting));
	p->code = p->banks;
	p->next = p->banks + head->insns;
	p->insn_count = head->insns;
	p->steps = head->steps;
	p->data_bytes = head->data_bytes;
	if (!p->depths || !p->waiting) {
		ffpf_fpl1_unload(p);
		return NULL;
	}
	return p;
}

static void
read_code(struct ffpf_fpl1 *p, const uint8_t *octets)
{
	for (uint32_t i = 0; i < p->insn_count; i++, octets += FFPF_FPL1_INSN_BYTES)
		p->banks[i] =
		    (struct ffpf_fpl1_insn){ octets[0], octets[1], (uint16_t)u16_at(octets + 2), u32_at(octets + 4) };
	memcpy(p->next, p->code, p->insn_count * sizeof(*p->next));
}

static int
read_areas(struct ffpf_fpl1 *p, const uint8_t *octets, uint32_t count, struct ffpf_error *err)
{
	uint32_t behind = 0; /* the area before */

	for (uint32_t i = 0; i < count; i++, octets += AREA_BYTES) {
		uint32_t first = u16_at(octets), slots = u16_at(octets + 2), target = u16_at(octets + 4);
		uint32_t end = first + slots;

		if (!slots || first < behind || end >= p->insn_count || target >= p->insn_count || u16_at(octets + 6))
			return bad(err, "an area lies where none can");
		for (uint32_t at = first; at < end; at++) {
			if (p->code[at].op != FFPF_FPL1_OP_JMP || p->code[at].k != end)
				return bad(err, "an area is not empty");
		}
		behind = end;
		p->areas[p->area_count++] = (struct ffpf_fpl1_area){ .first = (uint16_t)first,
								     .slots = (uint16_t)slots,
								     .target = (uint16_t)target };
	}
	return 0;
}

static const struct ffpf_fpl1_external *
find_external(const struct ffpf_fpl1_policy *policy, const char *name, struct ffpf_error *err)
{
	for (uint32_t i = 0; i < policy->external_count; i++) {
		if (strcmp(policy->externals[i].name, name) == 0)
			return &policy->externals[i];
	}
	if (policy->find)
		return policy->find(policy->arg, name, err);
	ffpf_error_set(err, FFPF_E_DENIED, "no external function %s may be called here", name);
	return NULL;
}

static bool
is_name(const uint8_t *octets)
{
	size_t len = strnlen((const char *)octets, FFPF_FPL1_NAME_BYTES);

	if (!len || len == FFPF_FPL1_NAME_BYTES)
		return false;
	for (size_t i = 0; i < FFPF_FPL1_NAME_BYTES; i++) {
		if (i < len ? octets[i] < ' ' || octets[i] > '~' : octets[i] != 0)
			return false;
	}
	return true;
}

static int
read_externals(struct ffpf_fpl1 *p, const uint8_t *octets, uint32_t count, const struct ffpf_fpl1_policy *policy,
	       struct ffpf_error *err)
{
	for (uint32_t i = 0; i < count; i++, octets += FFPF_FPL1_NAME_BYTES) {
		const struct ffpf_fpl1_external *external;

		if (!is_name(octets))
			return bad(err, "the name of an external function is none");
		external = find_external(policy, (const char *)octets, err);
		if (!external)
			return -(int)err->code;
		if (external->reads > p->data_bytes || external->writes > p->data_bytes)
			return ffpf_error_set(err, FFPF_E_BAD_FILTER,
					      "%s reads %u octets and writes %u: the memory has %u", external->name,
					      external->reads, external->writes, p->data_bytes);
		p->externals[p->external_count++] = external;
	}
	return 0;
}

static int
read_rest(struct ffpf_fpl1 *p, const struct head *head, const uint8_t *object, const struct ffpf_fpl1_policy *policy,
	  struct ffpf_error *err)
{
	const uint8_t *areas = object + HEAD_BYTES + (size_t)head->insns * FFPF_FPL1_INSN_BYTES;
	int status;

	read_code(p, object + HEAD_BYTES);
	status = read_areas(p, areas, head->areas, err);
	if (!status)
		status = read_externals(p, areas + (size_t)head->areas * AREA_BYTES, head->externals, policy, err);
	return status ? status : ffpf_fpl1_verify(p, p->code, err);
}

int
ffpf_fpl1_load(struct ffpf_fpl1 **out, const void *object, size_t len, const struct ffpf_fpl1_policy *policy,
	       uint32_t data_bytes, struct ffpf_error *err)
{
	struct ffpf_fpl1 *p;
	struct head head = { 0 };
	int status = read_head(&head, object, len, err);

	if (status)
		return status;
	if (policy->steps && head.steps > policy->steps)
		return ffpf_error_set(err, FFPF_E_DENIED, "it may take %u steps back, more than %u", head.steps,
				      policy->steps);
	if (head.data_bytes < data_bytes)
		head.data_bytes = data_bytes;
	p = allocate(&head);
	if (!p)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	status = read_rest(p, &head, object, policy, err);
	if (status) {
		ffpf_fpl1_unload(p);
		return status;
	}
	*out = p;
	return 0;
}

void
ffpf_fpl1_unload(struct ffpf_fpl1 *program)
{
	if (!program)
		return;
	free(program->depths);
	free(program->waiting);
	free(program->own);
	free(program);
}

size_t
ffpf_fpl1_memory_bytes(const struct ffpf_fpl1 *program)
{
	return program->data_bytes + (size_t)program->insn_count * FFPF_FPL1_INSN_BYTES +
	       sizeof(struct ffpf_fpl1_segment);
}

uint32_t
ffpf_fpl1_data_bytes(const struct ffpf_fpl1 *program)
{
	return program->data_bytes;
}

uint64_t
ffpf_fpl1_exhausted(const struct ffpf_fpl1 *program)
{
	return program->exhausted;
}
