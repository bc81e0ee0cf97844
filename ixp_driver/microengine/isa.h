/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_MICROENGINE_ISA_H
#define IXP_MICROENGINE_ISA_H
/*
 * The instruction set of an emulated microengine, after the IXP1200's (paper, section 4.1): what its instructions do is
 * taken from what has been published of that processor, how they are encoded is our own. isa.py reads the tables below
 * from this very file, so that the executor, the compiler and the disassembler cannot differ.
 *
 * A microword has 32 bits, the operation in the highest six. Operands (7 bits):
 *
 *   0..15   GPRs of bank A       16..31  GPRs of bank B      of the context that runs; an instruction that reads two
 *                                                            GPRs reads one of each bank
 *   32..39  SRAM transfer registers: read, what a reference brought (also of scratchpad, hash unit, FIFO); written,
 *           what one takes away. Two sets of eight
 *   40..47  SDRAM transfer registers: likewise
 *   64..127 the numbers 0 to 63, as a source;  127, as a destination: none
 *
 * Condition codes (N, Z, C, V of each context) are set by ALU operations, and by nothing else. C behind a subtraction
 * is 1 where nothing was borrowed.
 */

#define IXP_STORE_WORDS   1024u /* instruction store of an engine */
#define IXP_CONTEXTS      4u
#define IXP_GPRS          32u /* of a context: 16 in each bank */
#define IXP_BANK_GPRS     16u
#define IXP_TRANSFERS     8u /* of a context, for each of SRAM and SDRAM, and each direction */
#define IXP_SRAM_XFER     32u
#define IXP_SDRAM_XFER    40u
#define IXP_OPERAND_END   48u
#define IXP_OPERAND_SMALL 64u  /* the first of the numbers */
#define IXP_OPERAND_NONE  127u /* as a destination */

/*
 * X(name, code, format). Fields of a format, by their lowest bit:
 *   NONE
 *   ALU     dst 19 (7), a 12 (7), b 5 (7), n 0 (5)
 *   MOV     dst 19 (7), b 5 (7)
 *   IMM     dst 20 (6), how 16 (4), value 0 (16)
 *   BR      cond 22 (4), target 0 (10)
 *   BIT     a 20 (6), bit 15 (5), target 0 (10)
 *   BYTE    a 20 (6), byte 18 (2), value 10 (8), target 0 (10)       byte 0 is the lowest
 *   REF     unit 23 (3), cmd 20 (3), xfer 17 (3), count 14 (3), base 7 (7), offset 0 (7)    count: one less
 *   ARB     mask 0 (16)
 *   SIGNAL  signal 22 (4), target 0 (10)
 *   CSR     reg 19 (7), csr 0 (8)
 *   RTN     a 12 (7)
 *   HALT    code 0 (16)
 * Bits that no field has are 0.
 */
#define IXP_OPERATIONS(X)                                                                                              \
	X(NOP, 0, NONE)                                                                                                \
	X(ADD, 1, ALU)       /* a + b */                                                                               \
	X(ADDC, 2, ALU)      /* a + b + C */                                                                           \
	X(SUB, 3, ALU)       /* a - b */                                                                               \
	X(SUBC, 4, ALU)      /* a - b - !C */                                                                          \
	X(B_SHL, 5, ALU)     /* b << n: a move, with n 0 */                                                            \
	X(B_SHR, 6, ALU)     /* b >> n */                                                                              \
	X(B_ASR, 7, ALU)     /* b >> n, the sign repeated */                                                           \
	X(NOT_SHL, 8, ALU)   /* ~(b << n) */                                                                           \
	X(AND_SHL, 9, ALU)   /* a & b << n */                                                                          \
	X(AND_SHR, 10, ALU)  /* a & b >> n */                                                                          \
	X(ANDN_SHL, 11, ALU) /* a & ~(b << n) */                                                                       \
	X(OR_SHL, 12, ALU)   /* a | b << n */                                                                          \
	X(OR_SHR, 13, ALU)   /* a | b >> n */                                                                          \
	X(XOR_SHL, 14, ALU)  /* a ^ b << n */                                                                          \
	X(XOR_SHR, 15, ALU)  /* a ^ b >> n */                                                                          \
	X(SHL_BY, 16, ALU)   /* b << (a & 31) */                                                                       \
	X(SHR_BY, 17, ALU)   /* b >> (a & 31) */                                                                       \
	X(ASR_BY, 18, ALU)   /* b >> (a & 31), the sign repeated */                                                    \
	X(DSHR, 19, ALU)     /* the low half of (a, b) >> n */                                                         \
	X(DSHR_BY, 20, ALU)  /* the low half of (a, b) >> (GPR number n & 31) */                                       \
	X(IMMED, 21, IMM)    /* dst = value, as enum ixp_immed says */                                                 \
	X(BR, 22, BR)        /* where the condition holds */                                                           \
	X(BR_BSET, 23, BIT)  /* where bit `bit` of a is set */                                                         \
	X(BR_BCLR, 24, BIT)                                                                                            \
	X(BR_BYTE, 25, BYTE)  /* where octet `byte` of a is the value */                                               \
	X(BR_NBYTE, 26, BYTE) /* where it is another */                                                                \
	X(BAL, 27, IMM)       /* dst = the number of the word behind this one; on to word `value` */                   \
	X(RTN, 28, RTN)       /* on to word number a */                                                                \
	X(REF, 29, REF)       /* a memory reference: its unit's signal tells that it is done */                        \
	X(REF_SWAP, 30, REF)  /* the same, and another context runs until then */                                      \
	X(CTX_ARB, 31, ARB)   /* another context runs until all signals of the mask came; 0: until its next turn */    \
	X(BR_NSIGNAL, 32, SIGNAL) /* where the signal has not come; else it is taken */                                \
	X(CSR_READ, 33, CSR)                                                                                           \
	X(CSR_WRITE, 34, CSR)                                                                                          \
	X(KILL, 35, NONE) /* this context runs no more */                                                              \
	X(HALT, 36, HALT) /* no context of this engine does */                                                         \
	X(MOVE, 37, MOV)  /* b; no condition code is set */

#define IXP_CONDITIONS(X)                                                                                              \
	X(ALWAYS, 0)                                                                                                   \
	X(EQ, 1)                                                                                                       \
	X(NE, 2)                                                                                                       \
	X(MI, 3) /* N */                                                                                               \
	X(PL, 4)                                                                                                       \
	X(CS, 5) /* C: carried, or not borrowed: unsigned >= */                                                        \
	X(CC, 6) /* unsigned < */                                                                                      \
	X(LT, 7) /* signed */                                                                                          \
	X(GE, 8)                                                                                                       \
	X(GT, 9)                                                                                                       \
	X(LE, 10)

/* How IMMED's 16 bits become 32. */
#define IXP_IMMEDS(X)                                                                                                  \
	X(LOW, 0)      /* value */                                                                                     \
	X(MIDDLE, 1)   /* value << 8 */                                                                                \
	X(HIGH, 2)     /* value << 16 */                                                                               \
	X(N_LOW, 3)    /* ~value */                                                                                    \
	X(N_MIDDLE, 4) /* ~(value << 8) */                                                                             \
	X(N_HIGH, 5)   /* ~(value << 16) */                                                                            \
	X(UPPER, 6)    /* value << 16 | the lower half that is there: of a GPR */

/* What is referred to. A unit's signal has its number. Addresses are of octets; the bits below a word (32 bits; of
 * SDRAM 64) are not looked at. */
#define IXP_UNITS(X)                                                                                                   \
	X(SRAM, 0)                                                                                                     \
	X(SDRAM, 1)                                                                                                    \
	X(SCRATCH, 2)                                                                                                  \
	X(HASH, 3) /* the operands in transfer registers, the address which of its functions */                        \
	X(FIFO, 4) /* receive and transmit FIFOs: what it takes is the board's to say */

/* Signals that come from elsewhere: other engines, ports, the StrongARM. */
#define IXP_SIGNALS(X)                                                                                                 \
	X(THREAD, 8)                                                                                                   \
	X(RECEIVE, 9)                                                                                                  \
	X(CONTROL, 10)

/* A word is in the host's byte order, as csrc/layout.h has it; _NET: the first octet is the highest, as on the wire. */
#define IXP_COMMANDS(X)                                                                                                \
	X(READ, 0)                                                                                                     \
	X(WRITE, 1)                                                                                                    \
	X(READ_NET, 2)                                                                                                 \
	X(WRITE_NET, 3)                                                                                                \
	X(PUSH, 4)     /* SRAM: onto the LIFO that the address numbers */                                              \
	X(POP, 5)      /* SRAM: 0 where it is empty */                                                                 \
	X(SET_BITS, 6) /* SRAM, scratchpad: atomically, in one word; the word before comes back */                     \
	X(ADD, 7)      /* scratchpad: likewise */

/* Registers of control and status. Those from IXP_CSR_BOARD on are the board's. */
#define IXP_CSRS(X)                                                                                                    \
	X(ACTIVE, 0) /* context | engine << 2 */                                                                       \
	X(CYCLES, 1) /* the low half of the engine's count */
#define IXP_CSR_BOARD 16u

#define IXP_OPERATION(name, code, format) IXP_OP_##name = (code),
#define IXP_CONDITION(name, code)         IXP_COND_##name = (code),
#define IXP_IMMED(name, code)             IXP_IMMED_##name = (code),
#define IXP_UNIT(name, code)              IXP_UNIT_##name = (code),
#define IXP_SIGNAL(name, code)            IXP_SIGNAL_##name = (code),
#define IXP_COMMAND(name, code)           IXP_COMMAND_##name = (code),
#define IXP_CSR(name, code)               IXP_CSR_##name = (code),
enum ixp_operation { IXP_OPERATIONS(IXP_OPERATION) IXP_OPERATION_COUNT };
enum ixp_condition { IXP_CONDITIONS(IXP_CONDITION) IXP_CONDITION_COUNT };
enum ixp_immed { IXP_IMMEDS(IXP_IMMED) IXP_IMMED_COUNT };
enum ixp_unit { IXP_UNITS(IXP_UNIT) IXP_UNIT_COUNT };
enum ixp_signal { IXP_SIGNALS(IXP_SIGNAL) IXP_SIGNAL_END = 16 };
enum ixp_command { IXP_COMMANDS(IXP_COMMAND) IXP_COMMAND_COUNT };
enum ixp_csr { IXP_CSRS(IXP_CSR) IXP_CSR_LOCAL_COUNT };

#endif
