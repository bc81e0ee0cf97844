/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What microengines have no instruction for. The compiler calls these; a program has those alone that it needs.
 * Divisors are not 0.
 */
#define WORD     uint32_t
#define TOP_BIT  0x80000000
#define MULTIPLY __multiply32
#define DIVIDED  __divided32
#include "runtime_words.h"
#undef WORD
#undef TOP_BIT
#undef MULTIPLY
#undef DIVIDED
#define WORD     uint64_t
#define TOP_BIT  0x8000000000000000
#define MULTIPLY __multiply64
#define DIVIDED  __divided64
#include "runtime_words.h"

static inline uint32_t
__divide32(uint32_t a, uint32_t b)
{
	return __divided32(a, b, 0);
}

static inline uint32_t
__modulo32(uint32_t a, uint32_t b)
{
	return __divided32(a, b, 1);
}

static inline uint64_t
__divide64(uint64_t a, uint64_t b)
{
	return __divided64(a, b, 0);
}

static inline uint64_t
__modulo64(uint64_t a, uint64_t b)
{
	return __divided64(a, b, 1);
}

static int32_t
__signed_divide32(int32_t a, int32_t b)
{
	uint32_t quotient = __divide32(a < 0 ? -(uint32_t)a : (uint32_t)a, b < 0 ? -(uint32_t)b : (uint32_t)b);

	return (a ^ b) < 0 ? -quotient : quotient;
}

static int32_t
__signed_modulo32(int32_t a, int32_t b)
{
	uint32_t rest = __modulo32(a < 0 ? -(uint32_t)a : (uint32_t)a, b < 0 ? -(uint32_t)b : (uint32_t)b);

	return a < 0 ? -rest : rest;
}

static int64_t
__signed_divide64(int64_t a, int64_t b)
{
	uint64_t quotient = __divide64(a < 0 ? -(uint64_t)a : (uint64_t)a, b < 0 ? -(uint64_t)b : (uint64_t)b);

	return (a ^ b) < 0 ? -quotient : quotient;
}

static int64_t
__signed_modulo64(int64_t a, int64_t b)
{
	uint64_t rest = __modulo64(a < 0 ? -(uint64_t)a : (uint64_t)a, b < 0 ? -(uint64_t)b : (uint64_t)b);

	return a < 0 ? -rest : rest;
}

static uint64_t
__shift_left(uint64_t a, uint32_t n)
{
	if (n & 32)
		a <<= 32;
	for (n &= 31; n; n--)
		a <<= 1;
	return a;
}

static uint64_t
__shift_right(uint64_t a, uint32_t n)
{
	if (n & 32)
		a >>= 32;
	for (n &= 31; n; n--)
		a >>= 1;
	return a;
}

static uint64_t
__shift_right_signed(uint64_t a, uint32_t n)
{
	return (int64_t)a < 0 ? ~__shift_right(~a, n) : __shift_right(a, n);
}
