/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interpreter. What verify.c has shown is not looked at again: operations, jumps, depths, operands. What a packet
 * decides is: offsets, divisors, the steps of jumps back. The topmost value is in a variable, those below in memory;
 * under the lowest one lies a value that nobody asked for.
 */
#include "fpl1/program.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#define HASH_START  2166136261u /* FNV-1a, 32 bits; mixed as fpl/fpl2/meaning.py says */
#define HASH_FACTOR 16777619u

static inline uint64_t
hash(const uint8_t *octets, uint32_t len, uint32_t table)
{
	uint32_t h = HASH_START;

	for (uint32_t i = 0; i < len; i++)
		h = (h ^ octets[i]) * HASH_FACTOR;
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	h ^= h >> 16;
	return table ? h % table : h;
}

/* By magnitudes: the smallest number divided by -1 is itself. divisor is not 0. */
static inline uint64_t
divide(uint64_t a, uint64_t b, bool rest)
{
	uint64_t sign_a = -(a >> 63), sign_b = -(b >> 63);
	uint64_t size_a = (a ^ sign_a) - sign_a, size_b = (b ^ sign_b) - sign_b;
	uint64_t sign = rest ? sign_a : sign_a ^ sign_b;

	return ((rest ? size_a % size_b : size_a / size_b) ^ sign) - sign;
}

static inline uint64_t
extend(uint64_t value, uint32_t kind)
{
	uint32_t up = 64 - (1u << (kind & 7));

	return kind & FFPF_FPL1_KIND_SIGNED ? (uint64_t)((int64_t)(value << up) >> up) : value << up >> up;
}

/* How far part number `index` of `bits` bits lies from the right: they are numbered from the left. */
static inline uint32_t
part_shift(uint32_t whole, uint32_t bits, uint64_t index)
{
	return whole - bits * ((uint32_t)(index & (whole / bits - 1)) + 1);
}

static inline uint64_t
put_part(uint64_t whole, uint64_t value, uint32_t shift, uint32_t bits)
{
	uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;

	return (whole & ~(mask << shift)) | (value & mask) << shift;
}

static inline bool
lies_within(uint64_t at, uint32_t len, uint32_t room)
{
	return at <= room && len <= room - at;
}

#define LOAD_PACKET(name, type, order)                                                                                 \
	static inline uint64_t name(const uint8_t *octets)                                                             \
	{                                                                                                              \
		type value;                                                                                            \
		memcpy(&value, octets, sizeof(value));                                                                 \
		return order(value);                                                                                   \
	}
#define AS_IT_IS(value) (value)
LOAD_PACKET(packet_8, uint8_t, AS_IT_IS)
LOAD_PACKET(packet_16, uint16_t, be16toh)
LOAD_PACKET(packet_32, uint32_t, be32toh)
LOAD_PACKET(packet_64, uint64_t, be64toh)

/* Memory is read and written by its application, too: each access is whole. */
#define DATA(type, at)           ((type *)(void *)(data + ((at)&data_mask & ~(uint64_t)(sizeof(type) - 1))))
#define LOAD_DATA(type, at)      __atomic_load_n(DATA(type, at), __ATOMIC_RELAXED)
#define STORE_DATA(type, at, to) __atomic_store_n(DATA(type, at), (type)(to), __ATOMIC_RELAXED)

#define IS(code, id, name, form, takes, gives) [code] = &&op_##id - &&op_NOP,
#define RUN()                                  goto *(&&op_NOP + distance[pc->op])
#define NEXT()                                                                                                         \
	do {                                                                                                           \
		pc++;                                                                                                  \
		RUN();                                                                                                 \
	} while (0)
#define PUSH(value)                                                                                                    \
	do {                                                                                                           \
		const uint64_t pushed = (value);                                                                       \
		*sp++ = top;                                                                                           \
		top = pushed;                                                                                          \
		NEXT();                                                                                                \
	} while (0)
#define POP_AND_NEXT()                                                                                                 \
	do {                                                                                                           \
		top = *--sp;                                                                                           \
		NEXT();                                                                                                \
	} while (0)
#define BECOMES(expression)                                                                                            \
	do {                                                                                                           \
		top = (expression);                                                                                    \
		NEXT();                                                                                                \
	} while (0)
#define BINARY(expression)                                                                                             \
	do {                                                                                                           \
		const uint64_t a = *--sp, b = top;                                                                     \
		BECOMES(expression);                                                                                   \
	} while (0)
#define DIVISION(expression)                                                                                           \
	do {                                                                                                           \
		const uint64_t a = *--sp, b = top;                                                                     \
		if (!b)                                                                                                \
			return 0;                                                                                      \
		BECOMES(expression);                                                                                   \
	} while (0)
#define JUMP_IF(condition)                                                                                             \
	do {                                                                                                           \
		if (condition)                                                                                         \
			goto jump;                                                                                     \
		NEXT();                                                                                                \
	} while (0)
#define PACKET(load, type)                                                                                             \
	do {                                                                                                           \
		if (!lies_within(pc->k, sizeof(type), cap_len))                                                        \
			return 0;                                                                                      \
		PUSH((uint64_t)(type)load(octets + pc->k));                                                            \
	} while (0)
#define PACKET_X(load, type)                                                                                           \
	do {                                                                                                           \
		const uint64_t at = top + pc->k;                                                                       \
		if (!lies_within(top, sizeof(type), cap_len) || !lies_within(at, sizeof(type), cap_len))               \
			return 0;                                                                                      \
		BECOMES((uint64_t)(type)load(octets + at));                                                            \
	} while (0)
#define MEMORY(type, extended)   PUSH((uint64_t)(extended)LOAD_DATA(type, pc->k))
#define MEMORY_X(type, extended) BECOMES((uint64_t)(extended)LOAD_DATA(type, top + pc->k))
#define STORE(type)                                                                                                    \
	do {                                                                                                           \
		STORE_DATA(type, pc->k, top);                                                                          \
		POP_AND_NEXT();                                                                                        \
	} while (0)
#define STORE_X(type)                                                                                                  \
	do {                                                                                                           \
		STORE_DATA(type, top + pc->k, *--sp);                                                                  \
		POP_AND_NEXT();                                                                                        \
	} while (0)
#define ATOMIC(verb, type)                                                                                             \
	do {                                                                                                           \
		__atomic_fetch_##verb(DATA(type, pc->k), (type)top, __ATOMIC_RELAXED);                                 \
		POP_AND_NEXT();                                                                                        \
	} while (0)
#define ATOMIC_X(verb, type)                                                                                           \
	do {                                                                                                           \
		__atomic_fetch_##verb(DATA(type, top + pc->k), (type) * --sp, __ATOMIC_RELAXED);                       \
		POP_AND_NEXT();                                                                                        \
	} while (0)

static uint64_t
interpret(struct ffpf_fpl1 *program, const struct ffpf_fpl1_packet *packet)
{
	static const int distance[256] = { FFPF_FPL1_OPS(IS) };
	const struct ffpf_fpl1_insn *const code = program->code, *pc = code, *to;
	const struct ffpf_fpl1_external *external;
	const uint8_t *const octets = packet->data;
	const uint32_t cap_len = packet->facts[FFPF_FPL1_CAPLEN];
	uint8_t *const data = program->data;
	const uint64_t data_mask = (uint64_t)program->data_bytes - 1;
	uint64_t stack[FFPF_FPL1_STACK_MAX + 1], locals[FFPF_FPL1_LOCALS], *sp = stack, top = 0, other;
	uint32_t steps = program->steps;

	memset(locals, 0, program->locals * sizeof(locals[0]));
	RUN();

op_JZ:
	other = top;
	top = *--sp;
	JUMP_IF(!other);
op_JNZ:
	other = top;
	top = *--sp;
	JUMP_IF(other);
op_CASE:
	JUMP_IF(top == pc->b);
op_JMP:
jump:
	to = code + pc->k;
	if (to <= pc) {
		if ((uint64_t)(pc - to) >= steps) {
			program->exhausted++;
			return 0;
		}
		steps -= (uint32_t)(pc - to) + 1;
	}
	pc = to;
	RUN();

op_CALL:
	external = program->externals[pc->k];
	other = *--sp;
	if ((external->reads && !lies_within(other, external->reads, program->data_bytes)) ||
	    (external->writes && !lies_within(top, external->writes, program->data_bytes)))
		return 0;
	if (external->extender)
		BECOMES(external->extender(program, data, other));
	BECOMES(external->function(external->context, octets, cap_len, data, other, top));

op_SWAP:
	other = sp[-1];
	sp[-1] = top;
	BECOMES(other);
op_SET:
	locals[pc->a] = top;
	POP_AND_NEXT();
op_SETX:
	locals[top % FFPF_FPL1_LOCALS] = *--sp;
	POP_AND_NEXT();
op_PUT:
	other = part_shift(pc->b, 1u << (pc->a & 7), top);
	sp -= 2;
	BECOMES(put_part(sp[0], sp[1], (uint32_t)other, 1u << (pc->a & 7)));
op_HASH:
	if (!lies_within(top, pc->b, cap_len))
		return 0;
	BECOMES(hash(octets + top, pc->b, pc->k));

	// clang-format off
op_NOP:		NEXT();
op_RET:		return top;
op_RETK:	return pc->k;
op_PUSH:	PUSH(pc->k);
op_PUSHS:	PUSH((uint64_t)(int32_t)pc->k);
op_HIGH:	BECOMES(top | (uint64_t)pc->k << 32);
op_DUP:		PUSH(top);
op_DROP:	POP_AND_NEXT();
op_OVER:	PUSH(sp[-1]);
op_GET:		PUSH(locals[pc->a]);
op_GETX:	BECOMES(locals[top % FFPF_FPL1_LOCALS]);
op_FACT:	PUSH(packet->facts[pc->a]);

op_ADD:		BINARY(a + b);
op_SUB:		BINARY(a - b);
op_MUL:		BINARY(a * b);
op_DIV_U:	DIVISION(a / b);
op_DIV_S:	DIVISION(divide(a, b, false));
op_MOD_U:	DIVISION(a % b);
op_MOD_S:	DIVISION(divide(a, b, true));
op_AND:		BINARY(a & b);
op_OR:		BINARY(a | b);
op_XOR:		BINARY(a ^ b);
op_SHL:		BINARY(a << (b & 63));
op_SHR_U:	BINARY(a >> (b & 63));
op_SHR_S:	BINARY((uint64_t)((int64_t)a >> (b & 63)));
op_NEG:		BECOMES(0 - top);
op_NOT:		BECOMES(~top);
op_LNOT:	BECOMES(top == 0);
op_EQ:		BINARY(a == b);
op_NE:		BINARY(a != b);
op_LT_U:	BINARY(a < b);
op_LT_S:	BINARY((int64_t)a < (int64_t)b);
op_LE_U:	BINARY(a <= b);
op_LE_S:	BINARY((int64_t)a <= (int64_t)b);
op_GT_U:	BINARY(a > b);
op_GT_S:	BINARY((int64_t)a > (int64_t)b);
op_GE_U:	BINARY(a >= b);
op_GE_S:	BINARY((int64_t)a >= (int64_t)b);

op_PKT_U8:	PACKET(packet_8, uint8_t);
op_PKT_U16:	PACKET(packet_16, uint16_t);
op_PKT_U32:	PACKET(packet_32, uint32_t);
op_PKT_U64:	PACKET(packet_64, uint64_t);
op_PKT_S8:	PACKET(packet_8, int8_t);
op_PKT_S16:	PACKET(packet_16, int16_t);
op_PKT_S32:	PACKET(packet_32, int32_t);
op_PKTX_U8:	PACKET_X(packet_8, uint8_t);
op_PKTX_U16:	PACKET_X(packet_16, uint16_t);
op_PKTX_U32:	PACKET_X(packet_32, uint32_t);
op_PKTX_U64:	PACKET_X(packet_64, uint64_t);
op_PKTX_S8:	PACKET_X(packet_8, int8_t);
op_PKTX_S16:	PACKET_X(packet_16, int16_t);
op_PKTX_S32:	PACKET_X(packet_32, int32_t);

op_MEM_U8:	MEMORY(uint8_t, uint8_t);
op_MEM_U16:	MEMORY(uint16_t, uint16_t);
op_MEM_U32:	MEMORY(uint32_t, uint32_t);
op_MEM_U64:	MEMORY(uint64_t, uint64_t);
op_MEM_S8:	MEMORY(uint8_t, int8_t);
op_MEM_S16:	MEMORY(uint16_t, int16_t);
op_MEM_S32:	MEMORY(uint32_t, int32_t);
op_MEMX_U8:	MEMORY_X(uint8_t, uint8_t);
op_MEMX_U16:	MEMORY_X(uint16_t, uint16_t);
op_MEMX_U32:	MEMORY_X(uint32_t, uint32_t);
op_MEMX_U64:	MEMORY_X(uint64_t, uint64_t);
op_MEMX_S8:	MEMORY_X(uint8_t, int8_t);
op_MEMX_S16:	MEMORY_X(uint16_t, int16_t);
op_MEMX_S32:	MEMORY_X(uint32_t, int32_t);
op_STM_U8:	STORE(uint8_t);
op_STM_U16:	STORE(uint16_t);
op_STM_U32:	STORE(uint32_t);
op_STM_U64:	STORE(uint64_t);
op_STMX_U8:	STORE_X(uint8_t);
op_STMX_U16:	STORE_X(uint16_t);
op_STMX_U32:	STORE_X(uint32_t);
op_STMX_U64:	STORE_X(uint64_t);
op_ADDM_U32:	ATOMIC(add, uint32_t);
op_ADDM_U64:	ATOMIC(add, uint64_t);
op_ADDMX_U32:	ATOMIC_X(add, uint32_t);
op_ADDMX_U64:	ATOMIC_X(add, uint64_t);
op_ANDM_U32:	ATOMIC(and, uint32_t);
op_ANDM_U64:	ATOMIC(and, uint64_t);
op_ANDMX_U32:	ATOMIC_X(and, uint32_t);
op_ANDMX_U64:	ATOMIC_X(and, uint64_t);
op_ORM_U32:	ATOMIC(or, uint32_t);
op_ORM_U64:	ATOMIC(or, uint64_t);
op_ORMX_U32:	ATOMIC_X(or, uint32_t);
op_ORMX_U64:	ATOMIC_X(or, uint64_t);
op_XORM_U32:	ATOMIC(xor, uint32_t);
op_XORM_U64:	ATOMIC(xor, uint64_t);
op_XORMX_U32:	ATOMIC_X(xor, uint32_t);
op_XORMX_U64:	ATOMIC_X(xor, uint64_t);

op_PART:	BINARY(extend(a >> part_shift(pc->b, 1u << (pc->a & 7), b), pc->a));
op_EXT:		BECOMES(extend(top, pc->a));
	// clang-format on
}

uint32_t
ffpf_fpl1_run(struct ffpf_fpl1 *program, const struct ffpf_fpl1_packet *packet)
{
	const uint64_t result = interpret(program, packet);

	if (program->staged)
		ffpf_fpl1_commit(program);
	return result > UINT32_MAX ? UINT32_MAX : (uint32_t)result;
}
