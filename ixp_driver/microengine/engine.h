/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_MICROENGINE_ENGINE_H
#define IXP_MICROENGINE_ENGINE_H
/*
 * One emulated microengine: instruction store, four contexts, counted cycles. It knows nothing of memories: whoever
 * owns the engine, the board, gives it a bus. An engine is one thread's at a time; nothing here allocates, or fails but
 * by what it returns. The same engine, store and bus's answers give the same run.
 *
 * Time: every instruction takes one cycle, a taken branch `branch_cycles` more (the pipeline's refill). Contexts are
 * changed in no time, where an instruction asks for it, to the next one in turn that is ready. A reference's command is
 * sent with its instruction: what it writes is taken from the transfer registers then, what it reads is in them when
 * the unit's signal has come (before that, a program sees the new values too early, and is wrong). A signal stands for
 * all references of its unit that a context has made.
 */
#include "microengine/isa.h"

#include <stdbool.h>
#include <stdint.h>

struct ixp_reference {
	uint64_t cycle; /* of the engine's count, when the command is sent */
	uint32_t address;
	uint8_t engine, context;
	uint8_t unit;    /* enum ixp_unit */
	uint8_t command; /* enum ixp_command */
	uint8_t count;   /* words, 1 to 8; of SDRAM 64 bits each, 1 to 4 */
};

#define IXP_BUS_FAULT UINT32_MAX

struct ixp_bus {
	void *board;
	/* Does what the reference says, at once. out: the transfer registers that it takes from, in: those that it
	 * brings to; count of either, twice as many of SDRAM. Gives the cycles until the signal (1 or more), or
	 * IXP_BUS_FAULT for what cannot be referred to: the engine stops. */
	uint32_t (*reference)(void *board, const struct ixp_reference *ref, const uint32_t *out, uint32_t *in);
	/* Registers from IXP_CSR_BOARD on; false: there is none, and the engine stops. write: *value is what is
	 * written. */
	bool (*csr)(void *board, const struct ixp_reference *from, uint8_t csr, bool write, uint32_t *value);
};

enum ixp_context_state {
	IXP_CONTEXT_STOPPED = 0,
	IXP_CONTEXT_READY,
	IXP_CONTEXT_WAITS, /* for signals */
};

struct ixp_context {
	uint32_t gpr[IXP_GPRS];
	uint32_t in[2][IXP_TRANSFERS], out[2][IXP_TRANSFERS]; /* of SRAM and its like; of SDRAM */
	uint64_t due[IXP_UNIT_COUNT];                         /* cycle when the unit's signal comes */
	uint16_t pending;                                     /* bits of units that a signal is to come from */
	uint16_t arrived;                                     /* bits of enum ixp_signal */
	uint16_t mask;                                        /* what it waits for */
	uint16_t pc;
	uint8_t state; /* enum ixp_context_state */
	bool n, z, c, v;
};

/* Why an engine runs no more. */
enum ixp_stop {
	IXP_STOP_NONE = 0,
	IXP_STOP_HALT,  /* HALT said so; `fault` is its code */
	IXP_STOP_DONE,  /* all contexts were killed */
	IXP_STOP_STORE, /* a word beyond the program, at `fault` */
	IXP_STOP_WORD,  /* a word that is no instruction, at `fault` */
	IXP_STOP_BUS,   /* a reference that cannot be, at `fault` */
	IXP_STOP_CSR,   /* a register that is not there, at `fault` */
};

struct ixp_engine {
	uint32_t store[IXP_STORE_WORDS];
	uint32_t words;         /* of the store that hold a program */
	uint32_t branch_cycles; /* parameter: what a taken branch costs beside its own cycle */
	uint8_t number;         /* which engine of the board */
	uint8_t active;         /* context whose turn it is */
	bool running;           /* whether the active context has the engine, or a ready one is to be looked for */
	uint8_t stop;           /* enum ixp_stop */
	uint16_t fault;
	struct ixp_context contexts[IXP_CONTEXTS];

	/* Counts, which whoever owns the engine may set to 0 between two runs. */
	uint64_t cycle;        /* the engine's time */
	uint64_t instructions; /* executed */
	uint64_t branches;     /* cycles lost to taken branches */
	uint64_t stalled;      /* cycles in which all contexts waited, one at least for a memory */
	uint64_t idle;         /* cycles in which all waited for signals from elsewhere */
	uint64_t references[IXP_UNIT_COUNT];
	uint64_t turns; /* times that a context was given the engine */
};

/* A stopped engine with an empty store. branch_cycles: IXP_BRANCH_CYCLES, or what the board's parameters say. */
#define IXP_BRANCH_CYCLES 2u
void ixp_engine_init(struct ixp_engine *engine, uint8_t number, uint32_t branch_cycles);

/* Words that decode, every branch's target within; object.h checks. The engine stays stopped. */
void ixp_engine_store(struct ixp_engine *engine, const uint32_t *words, uint32_t count);

/* The first `contexts` contexts begin at word 0, registers zeroed, with context 0. Counts go on. */
void ixp_engine_start(struct ixp_engine *engine, uint32_t contexts);
void ixp_engine_stop(struct ixp_engine *engine);

/* A signal from elsewhere. signal: enum ixp_signal. */
void ixp_engine_signal(struct ixp_engine *engine, uint32_t context, enum ixp_signal signal);

/* The cycle at which a context can run next (the engine's own count, where one can now); UINT64_MAX: none can without a
 * signal from elsewhere. */
uint64_t ixp_engine_next(const struct ixp_engine *engine);

/* Runs until its count is `until`, or a few cycles more where an instruction takes them; stopped ones, and those whose
 * contexts all wait for signals from elsewhere, let the time go by. Gives what stopped it, IXP_STOP_NONE for nothing.
 */
enum ixp_stop me_run(struct ixp_engine *engine, uint64_t until, const struct ixp_bus *bus);

#endif
