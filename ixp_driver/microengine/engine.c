/* SPDX-License-Identifier: BSD-3-Clause */
#include "microengine/engine.h"

#include <string.h>

#define SIGNAL_BITS            (1u << IXP_SIGNAL_THREAD | 1u << IXP_SIGNAL_RECEIVE | 1u << IXP_SIGNAL_CONTROL)
#define FIELD(word, low, bits) ((word) >> (low) & ((1u << (bits)) - 1))

void
ixp_engine_init(struct ixp_engine *engine, uint8_t number, uint32_t branch_cycles)
{
	memset(engine, 0, sizeof(*engine));
	engine->number = number;
	engine->branch_cycles = branch_cycles;
}

void
ixp_engine_store(struct ixp_engine *engine, const uint32_t *words, uint32_t count)
{
	ixp_engine_stop(engine);
	engine->words = count < IXP_STORE_WORDS ? count : IXP_STORE_WORDS;
	memset(engine->store, 0, sizeof(engine->store));
	memcpy(engine->store, words, engine->words * sizeof(*words));
}

void
ixp_engine_start(struct ixp_engine *engine, uint32_t contexts)
{
	memset(engine->contexts, 0, sizeof(engine->contexts));
	for (uint32_t i = 0; i < contexts && i < IXP_CONTEXTS; i++)
		engine->contexts[i].state = IXP_CONTEXT_READY;
	engine->stop = IXP_STOP_NONE;
	engine->fault = 0;
	engine->active = IXP_CONTEXTS - 1; /* so that the first one is the next in turn */
	engine->running = false;
}

void
ixp_engine_stop(struct ixp_engine *engine)
{
	for (uint32_t i = 0; i < IXP_CONTEXTS; i++)
		engine->contexts[i].state = IXP_CONTEXT_STOPPED;
	engine->running = false;
}

void
ixp_engine_signal(struct ixp_engine *engine, uint32_t context, enum ixp_signal signal)
{
	if (context < IXP_CONTEXTS && (1u << signal & SIGNAL_BITS))
		engine->contexts[context].arrived |= (uint16_t)(1u << signal);
}

/* When the context has all signals that it waits for; UINT64_MAX: one of them comes from elsewhere. */
static uint64_t
ready_at(const struct ixp_context *context, uint64_t now)
{
	uint64_t at = now;

	if (context->state == IXP_CONTEXT_STOPPED)
		return UINT64_MAX;
	if (context->state == IXP_CONTEXT_READY)
		return now;
	if (context->mask & ~context->arrived & SIGNAL_BITS)
		return UINT64_MAX;
	for (uint32_t unit = 0; unit < IXP_UNIT_COUNT; unit++) {
		if (!(context->mask & 1u << unit))
			continue;
		if (!(context->pending & 1u << unit))
			return UINT64_MAX; /* waits for what it never asked for */
		if (context->due[unit] > at)
			at = context->due[unit];
	}
	return at;
}

uint64_t
ixp_engine_next(const struct ixp_engine *engine)
{
	uint64_t first = UINT64_MAX;

	if (engine->running)
		return engine->cycle;
	for (uint32_t i = 0; i < IXP_CONTEXTS; i++) {
		uint64_t at = ready_at(&engine->contexts[i], engine->cycle);

		if (at < first)
			first = at;
	}
	return first;
}

/* Gives the engine to the next context in turn that is ready now. */
static bool
arbitrate(struct ixp_engine *engine)
{
	for (uint32_t i = 1; i <= IXP_CONTEXTS; i++) {
		uint8_t number = (uint8_t)((engine->active + i) % IXP_CONTEXTS);
		struct ixp_context *context = &engine->contexts[number];

		if (ready_at(context, engine->cycle) > engine->cycle)
			continue;
		if (context->state == IXP_CONTEXT_WAITS) {
			context->arrived &= (uint16_t)~context->mask;
			context->pending &= (uint16_t)~context->mask;
		}
		context->state = IXP_CONTEXT_READY;
		engine->active = number;
		engine->running = true;
		engine->turns++;
		return true;
	}
	return false;
}

static uint32_t
source(const struct ixp_context *context, uint32_t operand)
{
	if (operand >= IXP_OPERAND_SMALL)
		return operand - IXP_OPERAND_SMALL;
	if (operand < IXP_GPRS)
		return context->gpr[operand];
	return context->in[operand >= IXP_SDRAM_XFER][operand % IXP_TRANSFERS];
}

static void
put(struct ixp_context *context, uint32_t operand, uint32_t value)
{
	if (operand < IXP_GPRS)
		context->gpr[operand] = value;
	else if (operand < IXP_OPERAND_END)
		context->out[operand >= IXP_SDRAM_XFER][operand % IXP_TRANSFERS] = value;
}

/* a + b + carry, and all four codes of it. */
static uint32_t
sum(struct ixp_context *context, uint32_t a, uint32_t b, uint32_t carry)
{
	uint64_t wide = (uint64_t)a + b + carry;
	uint32_t value = (uint32_t)wide;

	context->c = wide >> 32;
	context->v = (~(a ^ b) & (a ^ value)) >> 31;
	return value;
}

static uint32_t
asr(uint32_t value, uint32_t n)
{
	return (uint32_t)((int64_t)(int32_t)value >> n);
}

static void
alu(struct ixp_context *context, uint32_t word)
{
	uint32_t a = source(context, FIELD(word, 12, 7)), b = source(context, FIELD(word, 5, 7)), n = word & 31;
	uint64_t both = (uint64_t)a << 32 | b;
	bool c = context->c;
	uint32_t value = 0;

	context->c = context->v = false;
	switch ((enum ixp_operation)(word >> 26)) {
	case IXP_OP_ADD:
		value = sum(context, a, b, 0);
		break;
	case IXP_OP_ADDC:
		value = sum(context, a, b, c);
		break;
	case IXP_OP_SUB:
		value = sum(context, a, ~b, 1);
		break;
	case IXP_OP_SUBC:
		value = sum(context, a, ~b, c);
		break;
	case IXP_OP_B_SHL:
		value = b << n;
		break;
	case IXP_OP_B_SHR:
		value = b >> n;
		break;
	case IXP_OP_B_ASR:
		value = asr(b, n);
		break;
	case IXP_OP_NOT_SHL:
		value = ~(b << n);
		break;
	case IXP_OP_AND_SHL:
		value = a & b << n;
		break;
	case IXP_OP_AND_SHR:
		value = a & b >> n;
		break;
	case IXP_OP_ANDN_SHL:
		value = a & ~(b << n);
		break;
	case IXP_OP_OR_SHL:
		value = a | b << n;
		break;
	case IXP_OP_OR_SHR:
		value = a | b >> n;
		break;
	case IXP_OP_XOR_SHL:
		value = a ^ b << n;
		break;
	case IXP_OP_XOR_SHR:
		value = a ^ b >> n;
		break;
	case IXP_OP_SHL_BY:
		value = b << (a & 31);
		break;
	case IXP_OP_SHR_BY:
		value = b >> (a & 31);
		break;
	case IXP_OP_ASR_BY:
		value = asr(b, a & 31);
		break;
	case IXP_OP_DSHR:
		value = (uint32_t)(both >> n);
		break;
	case IXP_OP_DSHR_BY:
		value = (uint32_t)(both >> (context->gpr[n] & 31));
		break;
	default:
		break;
	}
	context->n = value >> 31;
	context->z = !value;
	put(context, FIELD(word, 19, 7), value);
}

static void
immed(struct ixp_context *context, uint32_t word)
{
	uint32_t dst = FIELD(word, 20, 6), how = FIELD(word, 16, 4), value = word & 0xffff;
	uint32_t shift = how == IXP_IMMED_UPPER ? 16 : 8 * (how % 3);

	value <<= shift;
	if (how == IXP_IMMED_UPPER)
		value |= source(context, dst) & 0xffff;
	else if (how >= IXP_IMMED_N_LOW)
		value = ~value;
	put(context, dst, value);
}

static bool
holds(const struct ixp_context *context, uint32_t condition)
{
	bool less = context->n != context->v;

	switch ((enum ixp_condition)condition) {
	case IXP_COND_EQ:
		return context->z;
	case IXP_COND_NE:
		return !context->z;
	case IXP_COND_MI:
		return context->n;
	case IXP_COND_PL:
		return !context->n;
	case IXP_COND_CS:
		return context->c;
	case IXP_COND_CC:
		return !context->c;
	case IXP_COND_LT:
		return less;
	case IXP_COND_GE:
		return !less;
	case IXP_COND_GT:
		return !less && !context->z;
	case IXP_COND_LE:
		return less || context->z;
	default:
		return true;
	}
}

static void
halt(struct ixp_engine *engine, enum ixp_stop stop, uint32_t fault)
{
	ixp_engine_stop(engine);
	engine->stop = (uint8_t)stop;
	engine->fault = (uint16_t)fault;
}

static void
wait(struct ixp_engine *engine, struct ixp_context *context, uint32_t mask)
{
	context->mask = (uint16_t)mask;
	context->state = mask ? IXP_CONTEXT_WAITS : IXP_CONTEXT_READY;
	engine->running = false;
}

static bool
refer(struct ixp_engine *engine, struct ixp_context *context, uint32_t word, const struct ixp_bus *bus)
{
	uint32_t xfer = FIELD(word, 17, 3);
	struct ixp_reference ref = {
		.cycle = engine->cycle,
		.address = source(context, FIELD(word, 7, 7)) + source(context, FIELD(word, 0, 7)),
		.engine = engine->number,
		.context = engine->active,
		.unit = (uint8_t)FIELD(word, 23, 3),
		.command = (uint8_t)FIELD(word, 20, 3),
		.count = (uint8_t)(FIELD(word, 14, 3) + 1),
	};
	uint32_t set = ref.unit == IXP_UNIT_SDRAM;
	uint32_t cycles = bus->reference(bus->board, &ref, &context->out[set][xfer], &context->in[set][xfer]);
	uint64_t due = engine->cycle + cycles;

	if (cycles == IXP_BUS_FAULT)
		return false;
	engine->references[ref.unit]++;
	if (due > context->due[ref.unit])
		context->due[ref.unit] = due;
	context->pending |= (uint16_t)(1u << ref.unit);
	return true;
}

/* BR_NSIGNAL: false when the signal has come, which takes it. */
static bool
not_signalled(const struct ixp_engine *engine, struct ixp_context *context, uint32_t signal)
{
	uint16_t bit = (uint16_t)(1u << signal);

	if (signal < IXP_UNIT_COUNT ? !(context->pending & bit) || context->due[signal] > engine->cycle
				    : !(context->arrived & bit))
		return true;
	context->pending &= (uint16_t)~bit;
	context->arrived &= (uint16_t)~bit;
	return false;
}

static bool
control(struct ixp_engine *engine, struct ixp_context *context, uint32_t word, const struct ixp_bus *bus)
{
	uint32_t reg = FIELD(word, 19, 7), csr = FIELD(word, 0, 8), value = 0;
	bool write = word >> 26 == IXP_OP_CSR_WRITE;

	if (write)
		value = source(context, reg);
	if (csr >= IXP_CSR_BOARD) {
		struct ixp_reference from = { .cycle = engine->cycle,
					      .engine = engine->number,
					      .context = engine->active };

		if (!bus->csr(bus->board, &from, (uint8_t)csr, write, &value))
			return false;
	} else if (!write && csr == IXP_CSR_ACTIVE) {
		value = engine->active | (uint32_t)engine->number << 2;
	} else if (!write && csr == IXP_CSR_CYCLES) {
		value = (uint32_t)engine->cycle;
	} else {
		return false;
	}
	if (!write)
		put(context, reg, value);
	return true;
}

/* One instruction of the active context. */
static void
step(struct ixp_engine *engine, const struct ixp_bus *bus)
{
	struct ixp_context *context = &engine->contexts[engine->active];
	uint16_t pc = context->pc;
	uint32_t word, target;
	bool taken = false, fine = true;

	if (pc >= engine->words) {
		halt(engine, IXP_STOP_STORE, pc);
		return;
	}
	word = engine->store[pc];
	target = FIELD(word, 0, 10);
	context->pc++;
	engine->cycle++;
	engine->instructions++;
	switch ((enum ixp_operation)(word >> 26)) {
	case IXP_OP_NOP:
		break;
	case IXP_OP_MOVE:
		put(context, FIELD(word, 19, 7), source(context, FIELD(word, 5, 7)));
		break;
	case IXP_OP_IMMED:
		immed(context, word);
		break;
	case IXP_OP_BR:
		taken = holds(context, FIELD(word, 22, 4));
		break;
	case IXP_OP_BR_BSET:
	case IXP_OP_BR_BCLR:
		taken =
		    (source(context, FIELD(word, 20, 6)) >> FIELD(word, 15, 5) & 1) == (word >> 26 == IXP_OP_BR_BSET);
		break;
	case IXP_OP_BR_BYTE:
	case IXP_OP_BR_NBYTE:
		taken = ((source(context, FIELD(word, 20, 6)) >> 8 * FIELD(word, 18, 2) & 255) == FIELD(word, 10, 8)) ==
			(word >> 26 == IXP_OP_BR_BYTE);
		break;
	case IXP_OP_BAL:
		put(context, FIELD(word, 20, 6), context->pc);
		taken = true;
		break;
	case IXP_OP_RTN:
		target = source(context, FIELD(word, 12, 7)) & 0xffff;
		taken = true;
		break;
	case IXP_OP_REF:
	case IXP_OP_REF_SWAP:
		fine = refer(engine, context, word, bus);
		if (!fine)
			halt(engine, IXP_STOP_BUS, pc);
		else if (word >> 26 == IXP_OP_REF_SWAP)
			wait(engine, context, 1u << FIELD(word, 23, 3));
		break;
	case IXP_OP_CTX_ARB:
		wait(engine, context, word & 0xffff);
		break;
	case IXP_OP_BR_NSIGNAL:
		taken = not_signalled(engine, context, FIELD(word, 22, 4));
		break;
	case IXP_OP_CSR_READ:
	case IXP_OP_CSR_WRITE:
		if (!control(engine, context, word, bus))
			halt(engine, IXP_STOP_CSR, pc);
		break;
	case IXP_OP_KILL:
		context->state = IXP_CONTEXT_STOPPED;
		engine->running = false;
		break;
	case IXP_OP_HALT:
		halt(engine, IXP_STOP_HALT, word & 0xffff);
		break;
	default:
		if (word >> 26 >= IXP_OP_ADD && word >> 26 <= IXP_OP_DSHR_BY)
			alu(context, word);
		else
			halt(engine, IXP_STOP_WORD, pc);
		break;
	}
	if (taken) {
		context->pc = (uint16_t)target;
		engine->cycle += engine->branch_cycles;
		engine->branches += engine->branch_cycles;
	}
}

static bool
any_alive(const struct ixp_engine *engine)
{
	for (uint32_t i = 0; i < IXP_CONTEXTS; i++) {
		if (engine->contexts[i].state != IXP_CONTEXT_STOPPED)
			return true;
	}
	return false;
}

enum ixp_stop
me_run(struct ixp_engine *engine, uint64_t until, const struct ixp_bus *bus)
{
	while (engine->cycle < until) {
		uint64_t next;

		if (engine->running || arbitrate(engine)) {
			step(engine, bus);
			if (engine->stop)
				break;
			continue;
		}
		if (!engine->stop && !any_alive(engine))
			engine->stop = IXP_STOP_DONE;
		next = ixp_engine_next(engine);
		if (next != UINT64_MAX)
			engine->stalled += (next < until ? next : until) - engine->cycle;
		else
			engine->idle += until - engine->cycle;
		engine->cycle = next < until ? next : until;
	}
	return (enum ixp_stop)engine->stop;
}
