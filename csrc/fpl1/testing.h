/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_TESTING_H
#define FFPF_FPL1_TESTING_H
/* For tests: objects made of instructions; a program in memory that is as large as it is said to be. */
#include "fpl1/extend.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define OP(name)  .op = FFPF_FPL1_OP_##name
#define COUNT(of) (sizeof(of) / sizeof((of)[0]))

struct test_object {
	uint8_t octets[4096];
	size_t len;
};

static inline void
test_put(struct test_object *o, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		o->octets[o->len++] = (uint8_t)(value >> 8 * i);
}

/* One area, if slots is not 0, and the external functions by which programs extend themselves. */
static inline struct test_object
test_object_of(const struct ffpf_fpl1_insn *code, uint32_t count, uint32_t data_bytes, uint32_t first, uint32_t slots,
	       uint32_t target)
{
	struct test_object o = { .octets = "FPL1", .len = 4 };

	test_put(&o, 1, 4);
	test_put(&o, 1000, 4);
	test_put(&o, data_bytes, 4);
	test_put(&o, count, 2);
	test_put(&o, slots != 0, 2);
	test_put(&o, FFPF_FPL1_EXTENDERS, 4);
	for (uint32_t i = 0; i < count; i++) {
		test_put(&o, code[i].op, 1);
		test_put(&o, code[i].a, 1);
		test_put(&o, code[i].b, 2);
		test_put(&o, code[i].k, 4);
	}
	if (slots) {
		test_put(&o, first, 2);
		test_put(&o, slots, 2);
		test_put(&o, target, 4);
	}
	for (uint32_t i = 0; i < FFPF_FPL1_EXTENDERS; i++) {
		memcpy(o.octets + o.len, ffpf_fpl1_extenders[i].name, strlen(ffpf_fpl1_extenders[i].name));
		o.len += FFPF_FPL1_NAME_BYTES;
	}
	return o;
}

struct test_program {
	struct ffpf_fpl1 *p;
	uint8_t *memory;
	size_t bytes;
};

static inline void
test_load(struct test_program *t, const struct test_object *o)
{
	const struct ffpf_fpl1_policy policy = { .externals = ffpf_fpl1_extenders,
						 .external_count = FFPF_FPL1_EXTENDERS };
	struct ffpf_error err = { 0 };

	if (ffpf_fpl1_load(&t->p, o->octets, o->len, &policy, 0, &err))
		fail_msg("%s", err.text);
	t->bytes = ffpf_fpl1_memory_bytes(t->p);
	t->memory = calloc(1, t->bytes);
	assert_non_null(t->memory);
	ffpf_fpl1_attach(t->p, t->memory);
}

static inline void
test_unload(struct test_program *t)
{
	ffpf_fpl1_unload(t->p);
	free(t->memory);
}

/* The octets lie in an allocation of their own size. */
static inline uint32_t
test_run(struct test_program *t, const void *octets, uint32_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	const struct ffpf_fpl1_packet packet = { .data = exact,
						 .facts = { [FFPF_FPL1_LEN] = len, [FFPF_FPL1_CAPLEN] = len } };
	uint32_t result;

	assert_non_null(exact);
	memcpy(exact, octets, len);
	result = ffpf_fpl1_run(t->p, &packet);
	assert_memory_equal(exact, octets, len);
	free(exact);
	return result;
}

static inline struct ffpf_fpl1_segment *
test_segment(const struct test_program *t)
{
	return (struct ffpf_fpl1_segment *)(void *)(t->memory + t->bytes - sizeof(struct ffpf_fpl1_segment));
}

#endif
