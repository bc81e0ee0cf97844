/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One engine on a bus of a few words: what instructions do, what time they take, how contexts take turns; and objects,
 * every word and every octet of which is looked at before anything runs.
 */
#include "microengine/engine.h"
#include "microengine/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LATENCY  20
#define SMALL(n) (IXP_OPERAND_SMALL + (n))
#define B(n)     (IXP_BANK_GPRS + (n))

struct board {
	uint32_t words[16];
	uint32_t csr;
};

static uint32_t
reference(void *context, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in)
{
	struct board *board = context;

	if (ref->unit != IXP_UNIT_SRAM || ref->address / 4 + ref->count > 16)
		return IXP_BUS_FAULT;
	for (uint32_t i = 0; i < ref->count; i++) {
		uint32_t *word = &board->words[ref->address / 4 + i];

		if (ref->command == IXP_COMMAND_WRITE)
			*word = out[i];
		else
			in[i] = *word;
	}
	return LATENCY;
}

static bool
csr(void *context, const struct ixp_reference *from, uint8_t number, bool write, uint32_t *value)
{
	struct board *board = context;

	(void)from;
	if (number != IXP_CSR_BOARD)
		return false;
	if (write)
		board->csr = *value;
	else
		*value = board->csr;
	return true;
}

static uint32_t
op(enum ixp_operation operation, uint32_t rest)
{
	return (uint32_t)operation << 26 | rest;
}

static uint32_t
alu(enum ixp_operation operation, uint32_t dst, uint32_t a, uint32_t b, uint32_t n)
{
	return op(operation, dst << 19 | a << 12 | b << 5 | n);
}

static uint32_t
immed(uint32_t dst, enum ixp_immed how, uint32_t value)
{
	return op(IXP_OP_IMMED, dst << 20 | (uint32_t)how << 16 | value);
}

static uint32_t
branch(enum ixp_condition condition, uint32_t target)
{
	return op(IXP_OP_BR, (uint32_t)condition << 22 | target);
}

static uint32_t
sram(enum ixp_operation operation, enum ixp_command command, uint32_t address)
{
	return op(operation, (uint32_t)command << 20 | SMALL(address) << 7 | SMALL(0));
}

/* Runs `words` in so many contexts until something stops the engine, or `until`. */
static enum ixp_stop
run(struct ixp_engine *engine, struct board *board, const uint32_t *words, uint32_t count, uint32_t contexts,
    uint64_t until)
{
	struct ixp_bus bus = { .board = board, .reference = reference, .csr = csr };

	ixp_engine_init(engine, 3, IXP_BRANCH_CYCLES);
	ixp_engine_store(engine, words, count);
	ixp_engine_start(engine, contexts);
	return me_run(engine, until, &bus);
}

#define RUN(engine, board, words, contexts, until)                                                                     \
	run(engine, board, words, sizeof(words) / sizeof(*(words)), contexts, until)

static void
test_operations_have_their_values(void **state)
{
	static const struct {
		enum ixp_operation operation;
		uint32_t a, b, n, value;
	} cases[] = {
		{ IXP_OP_ADD, 5, 7, 0, 12 },
		{ IXP_OP_SUB, 5, 7, 0, 0xfffffffe },
		{ IXP_OP_B_SHL, 0, 7, 4, 0x70 },
		{ IXP_OP_B_SHR, 0, 0x80000000, 31, 1 },
		{ IXP_OP_B_ASR, 0, 0x80000000, 31, 0xffffffff },
		{ IXP_OP_NOT_SHL, 0, 1, 1, 0xfffffffd },
		{ IXP_OP_AND_SHL, 0xff, 0xf, 4, 0xf0 },
		{ IXP_OP_AND_SHR, 0xff, 0xf00, 4, 0xf0 },
		{ IXP_OP_ANDN_SHL, 0xff, 0xf, 4, 0x0f },
		{ IXP_OP_OR_SHL, 1, 1, 8, 0x101 },
		{ IXP_OP_OR_SHR, 1, 0x100, 4, 0x11 },
		{ IXP_OP_XOR_SHL, 0x11, 1, 4, 1 },
		{ IXP_OP_XOR_SHR, 0x11, 0x10, 4, 0x10 },
		{ IXP_OP_SHL_BY, 33, 3, 0, 6 },
		{ IXP_OP_SHR_BY, 1, 3, 0, 1 },
		{ IXP_OP_ASR_BY, 4, 0xffffff00, 0, 0xfffffff0 },
		{ IXP_OP_DSHR, 0x11223344, 0x55667788, 8, 0x44556677 },
		{ IXP_OP_DSHR_BY, 0x11223344, 0x55667788, 2, 0x33445566 },
	};
	struct ixp_engine engine;
	struct board board = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t words[] = {
			immed(0, IXP_IMMED_LOW, cases[i].a & 0xffff),
			immed(0, IXP_IMMED_UPPER, cases[i].a >> 16),
			immed(B(0), IXP_IMMED_LOW, cases[i].b & 0xffff),
			immed(B(0), IXP_IMMED_UPPER, cases[i].b >> 16),
			immed(2, IXP_IMMED_LOW, 16),
			alu(cases[i].operation, 1, 0, B(0), cases[i].n),
			op(IXP_OP_HALT, 0),
		};

		assert_int_equal(RUN(&engine, &board, words, 1, 1000), IXP_STOP_HALT);
		assert_int_equal(engine.contexts[0].gpr[1], cases[i].value);
		assert_int_equal(engine.cycle, 7);
	}
}

static void
test_branches_look_at_what_was_set(void **state)
{
	static const struct {
		enum ixp_condition condition;
		uint32_t a, b; /* 16 bits; above 0x7fff: negative */
		bool taken;
	} cases[] = {
		{ IXP_COND_EQ, 3, 3, true },       { IXP_COND_EQ, 3, 4, false },     { IXP_COND_NE, 3, 4, true },
		{ IXP_COND_MI, 3, 4, true },       { IXP_COND_PL, 4, 3, true },      { IXP_COND_CS, 4, 4, true },
		{ IXP_COND_CS, 3, 4, false },      { IXP_COND_CC, 3, 4, true },      { IXP_COND_LT, 0xffff, 1, true },
		{ IXP_COND_CC, 0xffff, 1, false }, { IXP_COND_GE, 1, 0xffff, true }, { IXP_COND_GT, 1, 1, false },
		{ IXP_COND_LE, 1, 1, true },       { IXP_COND_GT, 2, 0xffff, true }, { IXP_COND_ALWAYS, 0, 1, true },
	};
	struct ixp_engine engine;
	struct board board = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t words[] = {
			immed(0, IXP_IMMED_HIGH, cases[i].a),
			immed(B(0), IXP_IMMED_HIGH, cases[i].b),
			alu(IXP_OP_SUB, IXP_OPERAND_NONE, 0, B(0), 0),
			branch(cases[i].condition, 5),
			op(IXP_OP_HALT, 1),
			op(IXP_OP_HALT, 2),
		};

		assert_int_equal(RUN(&engine, &board, words, 1, 1000), IXP_STOP_HALT);
		assert_int_equal(engine.fault, 1 + cases[i].taken);
		assert_int_equal(engine.cycle, 5 + IXP_BRANCH_CYCLES * cases[i].taken);
		assert_int_equal(engine.branches, IXP_BRANCH_CYCLES * cases[i].taken);
	}
}

/* Each context reads a word, adds 1, and writes it: references overlap, and the time in which all wait is counted. */
static void
test_contexts_take_turns_while_memory_answers(void **state)
{
	const uint32_t words[] = {
		sram(IXP_OP_REF_SWAP, IXP_COMMAND_READ, 4),
		alu(IXP_OP_ADD, IXP_SRAM_XFER, SMALL(1), IXP_SRAM_XFER, 0),
		sram(IXP_OP_REF, IXP_COMMAND_WRITE, 4),
		op(IXP_OP_KILL, 0),
	};
	struct ixp_engine one, four;
	struct board board = { { 0, 6 }, 0 };

	(void)state;
	assert_int_equal(RUN(&one, &board, words, 1, 1000), IXP_STOP_DONE);
	assert_int_equal(board.words[1], 7);
	assert_int_equal(one.instructions, 4);
	assert_int_equal(one.stalled, LATENCY);
	assert_int_equal(RUN(&four, &board, words, 4, 1000), IXP_STOP_DONE);
	assert_int_equal(board.words[1], 8); /* all four had read 7 */
	assert_int_equal(four.instructions, 16);
	assert_int_equal(four.turns, 8);
	assert_int_equal(four.stalled, LATENCY - 3); /* while the first waited, three others sent theirs */
	assert_int_equal(four.idle, 1000 - 16 - four.stalled);
}

static void
test_without_a_swap_the_engine_waits(void **state)
{
	const uint32_t words[] = {
		sram(IXP_OP_REF, IXP_COMMAND_READ, 4),
		op(IXP_OP_BR_NSIGNAL, (uint32_t)IXP_UNIT_SRAM << 22 | 1),
		alu(IXP_OP_ADD, IXP_SRAM_XFER, SMALL(1), IXP_SRAM_XFER, 0),
		sram(IXP_OP_REF, IXP_COMMAND_WRITE, 4),
		op(IXP_OP_KILL, 0),
	};
	struct ixp_engine engine;
	struct board board = { { 0, 6 }, 0 };

	(void)state;
	assert_int_equal(RUN(&engine, &board, words, 4, 1000), IXP_STOP_DONE);
	assert_int_equal(board.words[1], 10); /* one after the other */
	assert_int_equal(engine.stalled, 0);
}

static void
test_signals_from_elsewhere_wake_who_waits_for_them(void **state)
{
	const uint32_t words[] = {
		op(IXP_OP_CTX_ARB, 1u << IXP_SIGNAL_THREAD),
		alu(IXP_OP_ADD, 0, SMALL(1), 0, 0),
		branch(IXP_COND_ALWAYS, 0),
	};
	struct ixp_bus bus = { .reference = reference, .csr = csr };
	struct ixp_engine engine;
	struct board board = { 0 };

	(void)state;
	assert_int_equal(RUN(&engine, &board, words, 2, 100), IXP_STOP_NONE);
	assert_int_equal(ixp_engine_next(&engine), UINT64_MAX);
	assert_int_equal(engine.idle, 98);
	ixp_engine_signal(&engine, 1, IXP_SIGNAL_RECEIVE); /* another one than it waits for */
	assert_int_equal(ixp_engine_next(&engine), UINT64_MAX);
	ixp_engine_signal(&engine, 1, IXP_SIGNAL_THREAD);
	assert_int_equal(ixp_engine_next(&engine), 100);
	assert_int_equal(me_run(&engine, 200, &bus), IXP_STOP_NONE);
	assert_int_equal(engine.contexts[0].gpr[0], 0);
	assert_int_equal(engine.contexts[1].gpr[0], 1);
}

static void
test_what_cannot_go_on_stops_the_engine_and_says_where(void **state)
{
	static const struct {
		uint32_t word;
		enum ixp_stop stop;
	} cases[] = {
		{ 63u << 26, IXP_STOP_WORD },
		{ (uint32_t)IXP_OP_REF << 26 | (uint32_t)IXP_UNIT_FIFO << 23, IXP_STOP_BUS },
		{ (uint32_t)IXP_OP_CSR_READ << 26 | (IXP_CSR_BOARD + 1), IXP_STOP_CSR },
		{ (uint32_t)IXP_OP_CSR_WRITE << 26 | IXP_CSR_ACTIVE, IXP_STOP_CSR },
	};
	struct ixp_engine engine;
	struct board board = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t words[] = { op(IXP_OP_NOP, 0), cases[i].word };

		assert_int_equal(RUN(&engine, &board, words, 1, 1000), cases[i].stop);
		assert_int_equal(engine.fault, 1);
	}
	const uint32_t ends[] = { op(IXP_OP_NOP, 0) };

	assert_int_equal(RUN(&engine, &board, ends, 1, 1000), IXP_STOP_STORE);
	assert_int_equal(engine.fault, 1);
}

/* ---- objects ---- */

static uint32_t
crc(const uint8_t *octets, size_t len)
{
	uint32_t value = ~0u;

	for (size_t i = 0; i < len; i++) {
		value ^= octets[i];
		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
	}
	return ~value;
}

static void
put(uint8_t *octets, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		octets[i] = (uint8_t)(value >> 8 * i);
}

/* An object of these words, with an import at word 0; its length. */
static size_t
object(uint8_t *octets, const uint32_t *words, uint32_t count)
{
	size_t len = IXP_OBJECT_HEAD + IXP_OBJECT_IMPORT + 4 * (size_t)count;

	memset(octets, 0, len);
	memcpy(octets, "IXPO", 4);
	put(octets + 4, IXP_OBJECT_VERSION);
	put(octets + 8, (uint32_t)len);
	put(octets + 12, IXP_CONTEXTS);
	put(octets + 16, count);
	put(octets + 20, 1);
	memcpy(octets + IXP_OBJECT_HEAD, "mbuf", 4);
	for (uint32_t i = 0; i < count; i++)
		put(octets + IXP_OBJECT_HEAD + IXP_OBJECT_IMPORT + 4 * i, words[i]);
	put(octets + 24, crc(octets, len));
	return len;
}

#define OCTETS (IXP_OBJECT_HEAD + IXP_OBJECT_IMPORT + 4 * 4)

static size_t
good(uint8_t *octets)
{
	const uint32_t words[] = { immed(5, IXP_IMMED_LOW, 0), immed(5, IXP_IMMED_UPPER, 0),
				   alu(IXP_OP_ADD, 0, 5, B(1), 0), branch(IXP_COND_ALWAYS, 0) };

	return object(octets, words, 4);
}

static void
test_an_object_is_read_and_its_imports_filled_in(void **state)
{
	uint8_t octets[OCTETS];
	struct ixp_object found;

	(void)state;
	assert_int_equal(ixp_object_parse(&found, octets, good(octets), NULL), 0);
	assert_int_equal(found.contexts, 4);
	assert_int_equal(found.word_count, 4);
	assert_string_equal(found.imports[0].name, "mbuf");
	assert_int_equal(ixp_object_import(&found, "other", 1), 0);
	assert_int_equal(ixp_object_import(&found, "mbuf", 0x12345678), 1);
	assert_int_equal(found.words[0], immed(5, IXP_IMMED_LOW, 0x5678));
	assert_int_equal(found.words[1], immed(5, IXP_IMMED_UPPER, 0x1234));
}

static void
test_no_octet_of_an_object_can_be_changed_or_missing(void **state)
{
	uint8_t octets[OCTETS + 1];
	struct ixp_object found;
	struct ffpf_error err;
	size_t len = good(octets);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		octets[i] ^= 0x10;
		assert_int_equal(ixp_object_parse(&found, octets, len, &err), -FFPF_E_FORMAT);
		octets[i] ^= 0x10;
		assert_int_equal(ixp_object_parse(&found, octets, i, &err), -FFPF_E_FORMAT);
	}
	octets[len] = 0;
	assert_int_equal(ixp_object_parse(&found, octets, len + 1, &err), -FFPF_E_FORMAT);
}

static void
test_words_that_are_no_instructions_are_named(void **state)
{
	const struct {
		uint32_t word;
		const char *fault;
	} cases[] = {
		{ 63u << 26, "no such operation" },
		{ (uint32_t)IXP_OP_NOP << 26 | 1, "bits that have no meaning" },
		{ (uint32_t)IXP_OP_BR << 26 | 4, "a branch out of the program" },
		{ (uint32_t)IXP_OP_BAL << 26 | 4, "a branch out of the program" },
		{ (uint32_t)IXP_OP_BR << 26 | 11u << 22, "no such condition" },
		{ (uint32_t)IXP_OP_ADD << 26 | 50u << 12, "no such register" },
		{ (uint32_t)IXP_OP_ADD << 26 | 1u << 12 | 2u << 5, "two registers of one bank" },
		{ (uint32_t)IXP_OP_ADD << 26 | 70u << 19, "no such register" },
		{ (uint32_t)IXP_OP_IMMED << 26 | 7u << 16, "no such way" },
		{ (uint32_t)IXP_OP_IMMED << 26 | 32u << 20 | 6u << 16, "half of what is no GPR" },
		{ (uint32_t)IXP_OP_REF << 26 | 7u << 23, "no such unit" },
		{ sram(IXP_OP_REF, IXP_COMMAND_READ, 0) | 1u << 23 | 4u << 14, "more transfer registers" },
		{ sram(IXP_OP_REF, IXP_COMMAND_READ, 0) | 7u << 17 | 1u << 14, "more transfer registers" },
		{ (uint32_t)IXP_OP_REF << 26, "two registers of one bank" },
		{ (uint32_t)IXP_OP_MOVE << 26 | 1, "bits that have no meaning" },
	};
	uint8_t octets[OCTETS];
	struct ixp_object found;
	struct ffpf_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t words[] = { immed(5, IXP_IMMED_LOW, 0), immed(5, IXP_IMMED_UPPER, 0), cases[i].word,
					   op(IXP_OP_KILL, 0) };

		assert_int_equal(ixp_object_parse(&found, octets, object(octets, words, 4), &err), -FFPF_E_FORMAT);
		assert_non_null(strstr(err.text, cases[i].fault));
		assert_non_null(strstr(err.text, "word 2"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_have_their_values),
		cmocka_unit_test(test_branches_look_at_what_was_set),
		cmocka_unit_test(test_contexts_take_turns_while_memory_answers),
		cmocka_unit_test(test_without_a_swap_the_engine_waits),
		cmocka_unit_test(test_signals_from_elsewhere_wake_who_waits_for_them),
		cmocka_unit_test(test_what_cannot_go_on_stops_the_engine_and_says_where),
		cmocka_unit_test(test_an_object_is_read_and_its_imports_filled_in),
		cmocka_unit_test(test_no_octet_of_an_object_can_be_changed_or_missing),
		cmocka_unit_test(test_words_that_are_no_instructions_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
