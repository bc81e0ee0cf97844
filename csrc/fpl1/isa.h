/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FPL1_ISA_H
#define FFPF_FPL1_ISA_H
/*
 * FPL-1's instructions: a stack of 64-bit values, 64 locals, a packet, a memory. What each does is told in
 * docs/fpl-1.md, whose table is held against this one by a test.
 */
#include <stdint.h>

#define FFPF_FPL1_STACK_MAX  64 /* values on the stack */
#define FFPF_FPL1_LOCALS     64
#define FFPF_FPL1_HASH_MAX   64 /* octets that one hash takes */
#define FFPF_FPL1_KINDS      7  /* of loads: u8 u16 u32 u64 s8 s16 s32, in the order of their codes */
#define FFPF_FPL1_INSN_BYTES 8

/* In memory, MBuf included, in host byte order; in an object file little-endian. 8 octets. */
struct ffpf_fpl1_insn {
	uint8_t op; /* enum ffpf_fpl1_op */
	uint8_t a;
	uint16_t b;
	uint32_t k;
};

_Static_assert(sizeof(struct ffpf_fpl1_insn) == FFPF_FPL1_INSN_BYTES, "one word of memory");

/* What an instruction's operands are. Those that are not named are 0. */
enum ffpf_fpl1_form {
	FFPF_FPL1_PLAIN,  /* none */
	FFPF_FPL1_NUMBER, /* k: a number */
	FFPF_FPL1_JUMP,   /* k: number of an instruction */
	FFPF_FPL1_CASE,   /* b: a number; k: number of an instruction */
	FFPF_FPL1_LOCAL,  /* a: 0 to 63 */
	FFPF_FPL1_FACT,   /* a: enum ffpf_fpl1_fact */
	FFPF_FPL1_PACKET, /* k: octets, added to the offset */
	FFPF_FPL1_MEMORY, /* likewise; there must be memory */
	FFPF_FPL1_PART,   /* a: kind of the part; b: bits of the whole, 8 to 64, no fewer than the part's */
	FFPF_FPL1_KIND,   /* a: a kind */
	FFPF_FPL1_HASH,   /* b: octets, 1 to 64; k: size of the table, 0 for 2^32 */
	FFPF_FPL1_CALL,   /* k: number of an external function */
};

/* A kind of values: log2 of its bits, 0 to 6, and whether the highest of them is a sign. */
#define FFPF_FPL1_KIND_SIGNED 8

/* What is known of a packet beside its octets. */
enum ffpf_fpl1_fact {
	FFPF_FPL1_LEN, /* octets on the wire */
	FFPF_FPL1_CAPLEN,
	FFPF_FPL1_IFINDEX,
	FFPF_FPL1_PKTTYPE, /* PACKET_HOST .. PACKET_OUTGOING */
	FFPF_FPL1_VLAN_PRESENT,
	FFPF_FPL1_VLAN_TCI,
	FFPF_FPL1_FACTS
};

/* X(code, identifier, name, form, values taken from the stack, values put on it) */
#define FFPF_FPL1_EACH_LOAD(X, code, id, name, form, takes)                                                            \
	X(code + 0, id##_U8, name ".u8", form, takes, 1)                                                               \
	X(code + 1, id##_U16, name ".u16", form, takes, 1)                                                             \
	X(code + 2, id##_U32, name ".u32", form, takes, 1)                                                             \
	X(code + 3, id##_U64, name ".u64", form, takes, 1)                                                             \
	X(code + 4, id##_S8, name ".s8", form, takes, 1)                                                               \
	X(code + 5, id##_S16, name ".s16", form, takes, 1)                                                             \
	X(code + 6, id##_S32, name ".s32", form, takes, 1)
#define FFPF_FPL1_EACH_STORE(X, code, id, name, takes)                                                                 \
	X(code + 0, id##_U8, name ".u8", MEMORY, takes, 0)                                                             \
	X(code + 1, id##_U16, name ".u16", MEMORY, takes, 0)                                                           \
	X(code + 2, id##_U32, name ".u32", MEMORY, takes, 0)                                                           \
	X(code + 3, id##_U64, name ".u64", MEMORY, takes, 0)
#define FFPF_FPL1_EACH_ATOMIC(X, code, id, name)                                                                       \
	X(code + 0, id##M_U32, name "m.u32", MEMORY, 1, 0)                                                             \
	X(code + 1, id##M_U64, name "m.u64", MEMORY, 1, 0)                                                             \
	X(code + 2, id##MX_U32, name "mx.u32", MEMORY, 2, 0)                                                           \
	X(code + 3, id##MX_U64, name "mx.u64", MEMORY, 2, 0)

#define FFPF_FPL1_OPS(X)                                                                                               \
	X(0x01, NOP, "nop", PLAIN, 0, 0)                                                                               \
	X(0x02, RET, "ret", PLAIN, 1, 0)                                                                               \
	X(0x03, RETK, "retk", NUMBER, 0, 0)                                                                            \
	X(0x04, JMP, "jmp", JUMP, 0, 0)                                                                                \
	X(0x05, JZ, "jz", JUMP, 1, 0)                                                                                  \
	X(0x06, JNZ, "jnz", JUMP, 1, 0)                                                                                \
	X(0x07, CASE, "case", CASE, 1, 1)                                                                              \
	X(0x08, CALL, "call", CALL, 2, 1)                                                                              \
	X(0x10, PUSH, "push", NUMBER, 0, 1)                                                                            \
	X(0x11, PUSHS, "pushs", NUMBER, 0, 1)                                                                          \
	X(0x12, HIGH, "high", NUMBER, 1, 1)                                                                            \
	X(0x13, DUP, "dup", PLAIN, 1, 2)                                                                               \
	X(0x14, DROP, "drop", PLAIN, 1, 0)                                                                             \
	X(0x15, SWAP, "swap", PLAIN, 2, 2)                                                                             \
	X(0x16, OVER, "over", PLAIN, 2, 3)                                                                             \
	X(0x17, GET, "get", LOCAL, 0, 1)                                                                               \
	X(0x18, SET, "set", LOCAL, 1, 0)                                                                               \
	X(0x19, FACT, "fact", FACT, 0, 1)                                                                              \
	X(0x1a, GETX, "getx", PLAIN, 1, 1)                                                                             \
	X(0x1b, SETX, "setx", PLAIN, 2, 0)                                                                             \
	X(0x20, ADD, "add", PLAIN, 2, 1)                                                                               \
	X(0x21, SUB, "sub", PLAIN, 2, 1)                                                                               \
	X(0x22, MUL, "mul", PLAIN, 2, 1)                                                                               \
	X(0x23, DIV_U, "div.u", PLAIN, 2, 1)                                                                           \
	X(0x24, DIV_S, "div.s", PLAIN, 2, 1)                                                                           \
	X(0x25, MOD_U, "mod.u", PLAIN, 2, 1)                                                                           \
	X(0x26, MOD_S, "mod.s", PLAIN, 2, 1)                                                                           \
	X(0x27, AND, "and", PLAIN, 2, 1)                                                                               \
	X(0x28, OR, "or", PLAIN, 2, 1)                                                                                 \
	X(0x29, XOR, "xor", PLAIN, 2, 1)                                                                               \
	X(0x2a, SHL, "shl", PLAIN, 2, 1)                                                                               \
	X(0x2b, SHR_U, "shr.u", PLAIN, 2, 1)                                                                           \
	X(0x2c, SHR_S, "shr.s", PLAIN, 2, 1)                                                                           \
	X(0x2d, NEG, "neg", PLAIN, 1, 1)                                                                               \
	X(0x2e, NOT, "not", PLAIN, 1, 1)                                                                               \
	X(0x2f, LNOT, "lnot", PLAIN, 1, 1)                                                                             \
	X(0x30, EQ, "eq", PLAIN, 2, 1)                                                                                 \
	X(0x31, NE, "ne", PLAIN, 2, 1)                                                                                 \
	X(0x32, LT_U, "lt.u", PLAIN, 2, 1)                                                                             \
	X(0x33, LT_S, "lt.s", PLAIN, 2, 1)                                                                             \
	X(0x34, LE_U, "le.u", PLAIN, 2, 1)                                                                             \
	X(0x35, LE_S, "le.s", PLAIN, 2, 1)                                                                             \
	X(0x36, GT_U, "gt.u", PLAIN, 2, 1)                                                                             \
	X(0x37, GT_S, "gt.s", PLAIN, 2, 1)                                                                             \
	X(0x38, GE_U, "ge.u", PLAIN, 2, 1)                                                                             \
	X(0x39, GE_S, "ge.s", PLAIN, 2, 1)                                                                             \
	FFPF_FPL1_EACH_LOAD(X, 0x40, PKT, "pkt", PACKET, 0)                                                            \
	FFPF_FPL1_EACH_LOAD(X, 0x48, PKTX, "pktx", PACKET, 1)                                                          \
	FFPF_FPL1_EACH_LOAD(X, 0x50, MEM, "mem", MEMORY, 0)                                                            \
	FFPF_FPL1_EACH_LOAD(X, 0x58, MEMX, "memx", MEMORY, 1)                                                          \
	FFPF_FPL1_EACH_STORE(X, 0x60, STM, "stm", 1)                                                                   \
	FFPF_FPL1_EACH_STORE(X, 0x68, STMX, "stmx", 2)                                                                 \
	X(0x70, PART, "part", PART, 2, 1)                                                                              \
	X(0x71, PUT, "put", PART, 3, 1)                                                                                \
	X(0x72, EXT, "ext", KIND, 1, 1)                                                                                \
	X(0x73, HASH, "hash", HASH, 1, 1)                                                                              \
	FFPF_FPL1_EACH_ATOMIC(X, 0x78, ADD, "add")                                                                     \
	FFPF_FPL1_EACH_ATOMIC(X, 0x7c, AND, "and")                                                                     \
	FFPF_FPL1_EACH_ATOMIC(X, 0x80, OR, "or")                                                                       \
	FFPF_FPL1_EACH_ATOMIC(X, 0x84, XOR, "xor")

#define FFPF_FPL1_OP_ENTRY(code, id, name, form, takes, gives) FFPF_FPL1_OP_##id = (code),
enum ffpf_fpl1_op { FFPF_FPL1_OPS(FFPF_FPL1_OP_ENTRY) };
#undef FFPF_FPL1_OP_ENTRY

struct ffpf_fpl1_op_info {
	const char *name; /* as in assembly */
	enum ffpf_fpl1_form form;
	uint8_t takes, gives; /* values of the stack */
};

/* NULL: no instruction has this code. */
const struct ffpf_fpl1_op_info *ffpf_fpl1_op_info(uint8_t op);

#endif
