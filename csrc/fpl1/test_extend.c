/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that extend themselves: when it takes effect, what is refused, and what others see of it meanwhile. */
#include "fpl1/testing.h"

#include <pthread.h>

#define SLOTS 8u
#define FIRST 3u /* of the area */

/* The packet: u16 whether to extend, u16 port. Asks for the port in area 0, and then looks whether the port is there.
 */
static const struct ffpf_fpl1_insn ports[] = {
	{ OP(PKT_U16), .k = 0 },
	{ OP(JNZ), .k = FIRST + SLOTS + 2 },
	{ OP(PKT_U16), .k = 2 }, /* the area is behind it */
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(JMP), .k = FIRST + SLOTS },
	{ OP(RETK), .k = 0 },
	{ OP(RETK), .k = 1 }, /* the target */
	{ OP(PKT_U16), .k = 2 },
	{ OP(STM_U32), .k = 8 },
	{ OP(PUSH), .k = 8 },
	{ OP(PUSH), .k = 0 },
	{ OP(CALL), .k = 0 }, /* ExtendWithPort */
	{ OP(DROP) },
	{ OP(JMP), .k = 2 },
};

static struct test_object
ports_object(void)
{
	return test_object_of(ports, COUNT(ports), 32, FIRST, SLOTS, FIRST + SLOTS + 1);
}

static uint32_t
packet(struct test_program *t, bool extend, uint32_t port)
{
	const uint8_t octets[] = { 0, extend, (uint8_t)(port >> 8), (uint8_t)port };

	return test_run(t, octets, sizeof(octets));
}

static void
takes_effect_behind_the_packet(void **state)
{
	const struct test_object o = ports_object();
	struct test_program t;

	(void)state;
	test_load(&t, &o);
	assert_int_equal(packet(&t, false, 5004), 0);
	assert_int_equal(packet(&t, true, 5004), 0); /* this packet, too, comes through the area */
	assert_int_equal(packet(&t, false, 5004), 1);
	assert_int_equal(packet(&t, false, 5005), 0);
	assert_int_equal(packet(&t, true, 5004), 1); /* there already: no other instruction */
	assert_int_equal(ffpf_fpl1_extended(t.p), 1);
	assert_int_equal(test_segment(&t)->extended, 1);
	test_unload(&t);
}

static void
forged_ports_and_a_full_area_change_nothing(void **state)
{
	const struct test_object o = ports_object();
	struct test_program t;
	uint8_t *code, *before;

	(void)state;
	test_load(&t, &o);
	assert_int_equal(packet(&t, true, 0), 0);
	assert_int_equal(ffpf_fpl1_refused(t.p), 1);
	t.memory[12] = 1; /* there is no area 1 */
	assert_int_equal(packet(&t, true, 80), 0);
	t.memory[12] = 0;
	assert_int_equal(ffpf_fpl1_refused(t.p), 2);
	assert_int_equal(ffpf_fpl1_extended(t.p), 0);
	for (uint32_t port = 1; port <= SLOTS; port++)
		packet(&t, true, port);
	code = t.memory + 32;
	before = malloc(sizeof(ports));
	assert_non_null(before);
	memcpy(before, code, sizeof(ports));
	for (uint32_t port = 1; port < 65536; port += 17)
		assert_int_equal(packet(&t, true, port), port <= SLOTS);
	assert_int_equal(ffpf_fpl1_extended(t.p), SLOTS);
	assert_memory_equal(code, before, sizeof(ports));
	assert_int_equal(test_segment(&t)->refused, ffpf_fpl1_refused(t.p));
	free(before);
	test_unload(&t);
}

/* AddInstruction as it stands in memory at 0; then whatever the packet says is a port. */
static const struct ffpf_fpl1_insn any[] = {
	{ OP(PUSH), .k = 7 }, { OP(JMP), .k = 3 },  { OP(JMP), .k = 3 },  { OP(DROP) },
	{ OP(PUSH), .k = 0 }, { OP(PUSH), .k = 0 }, { OP(CALL), .k = 1 }, { OP(RET) },
};

static uint32_t
add(struct test_program *t, struct ffpf_fpl1_insn insn, uint32_t area, uint32_t rest)
{
	memcpy(t->memory, &insn, sizeof(insn));
	memcpy(t->memory + 8, &area, sizeof(area));
	memcpy(t->memory + 12, &rest, sizeof(rest));
	return test_run(t, "", 0);
}

static void
any_instruction_is_verified_first(void **state)
{
	static const struct ffpf_fpl1_insn bad[] = {
		{ .op = 0 },
		{ .op = 255 },
		{ OP(CALL), .k = 1 },
		{ OP(DROP) }, /* what comes behind would be reached with two depths, or end too early */
		{ OP(DUP) },
		{ OP(JMP), .k = COUNT(any) },
		{ OP(JMP), .k = UINT32_MAX },
		{ OP(JMP), .k = 4 }, /* with a value too many */
		{ OP(JZ), .k = 3 },
		{ OP(CASE), .b = 7, .k = 7 + 1000 },
		{ OP(GET), .a = 64 },
		{ OP(NOP), .k = 1 },
		{ OP(NOP), .a = 1 },
		{ OP(PART), .a = 3, .b = 4 },
		{ OP(HASH), .b = 65 },
	};
	const struct test_object o = test_object_of(any, COUNT(any), 16, 1, 2, 3);
	struct test_program t;

	(void)state;
	test_load(&t, &o);
	for (uint32_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(add(&t, bad[i], 0, 0), 0);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(NOP) }, 1, 0), 0);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(NOP) }, 0, 1), 0);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(NOP) }, UINT32_MAX, 0), 0);
	assert_int_equal(ffpf_fpl1_refused(t.p), COUNT(bad) + 3);
	assert_memory_equal(t.memory + 16, any, sizeof(any));
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(NEG) }, 0, 0), 1);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(RETK), .k = 9 }, 0, 0), 1);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(NOP) }, 0, 0), 9); /* it ends before the call now */
	test_unload(&t);
}

static void
a_loop_that_is_added_is_bounded_too(void **state)
{
	const struct test_object o = test_object_of(any, COUNT(any), 16, 1, 2, 3);
	struct test_program t;

	(void)state;
	test_load(&t, &o);
	assert_int_equal(add(&t, (struct ffpf_fpl1_insn){ OP(JMP), .k = 1 }, 0, 0), 1);
	assert_int_equal(test_run(&t, "", 0), 0);
	assert_int_equal(ffpf_fpl1_exhausted(t.p), 1);
	test_unload(&t);
}

/* ---- with others at the memory ---- */

struct others {
	struct test_program *t;
	bool done;
	uint64_t seen;
};

static bool
done(const struct others *o)
{
	return __atomic_load_n(&o->done, __ATOMIC_ACQUIRE);
}

/* Whoever reads the code by the turns sees as many ports as the segment says, each in its place. */
static void *
look(void *arg)
{
	struct others *o = arg;
	const struct ffpf_fpl1_segment *segment = test_segment(o->t);
	const uint64_t *code = (const uint64_t *)(const void *)(o->t->memory + 32);

	while (!done(o)) {
		const uint64_t turn = __atomic_load_n(&segment->turn, __ATOMIC_ACQUIRE);
		uint32_t cases = 0, extended;

		for (uint32_t i = 0; i < SLOTS; i++) {
			const uint64_t word = __atomic_load_n(&code[FIRST + i], __ATOMIC_ACQUIRE);
			struct ffpf_fpl1_insn insn;

			memcpy(&insn, &word, sizeof(insn));
			cases += insn.op == FFPF_FPL1_OP_CASE && insn.b == 1000 + i;
		}
		extended = __atomic_load_n(&segment->extended, __ATOMIC_ACQUIRE);
		if (turn % 2 || __atomic_load_n(&segment->turn, __ATOMIC_RELAXED) != turn)
			continue;
		if (cases != extended)
			abort();
		o->seen++;
	}
	return NULL;
}

/* An application that means harm: any octets over code and segment, all the time. */
static void *
scribble(void *arg)
{
	struct others *o = arg;
	uint64_t *words = (uint64_t *)(void *)(o->t->memory + 32), x = 0x5eed0001;
	const size_t count = (o->t->bytes - 32) / sizeof(*words);

	while (!done(o)) {
		for (size_t i = 0; i < count; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			__atomic_store_n(&words[i], x, __ATOMIC_RELAXED);
		}
		o->seen++;
	}
	return NULL;
}

static void
packets_beside(void *(*other)(void *))
{
	const struct test_object object = ports_object();

	for (uint32_t round = 0; round < 50; round++) {
		struct test_program t;
		struct others o = { .t = &t };
		pthread_t thread;

		test_load(&t, &object);
		assert_int_equal(pthread_create(&thread, NULL, other, &o), 0);
		for (uint32_t i = 0; i < SLOTS; i++) {
			for (uint32_t n = 0; n < 100; n++)
				assert_int_equal(packet(&t, false, 1000 + n), n < i);
			assert_int_equal(packet(&t, true, 1000 + i), 0);
			assert_int_equal(packet(&t, false, 1000 + i), 1);
		}
		__atomic_store_n(&o.done, true, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		assert_int_equal(ffpf_fpl1_extended(t.p), SLOTS);
		assert_int_equal(ffpf_fpl1_refused(t.p), 0);
		test_unload(&t);
	}
}

static void
readers_see_whole_states(void **state)
{
	(void)state;
	packets_beside(look);
}

static void
what_an_application_writes_over_the_code_is_without_effect(void **state)
{
	(void)state;
	packets_beside(scribble);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_effect_behind_the_packet),
		cmocka_unit_test(forged_ports_and_a_full_area_change_nothing),
		cmocka_unit_test(any_instruction_is_verified_first),
		cmocka_unit_test(a_loop_that_is_added_is_bounded_too),
		cmocka_unit_test(readers_see_whole_states),
		cmocka_unit_test(what_an_application_writes_over_the_code_is_without_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
