/* SPDX-License-Identifier: BSD-3-Clause */
/* Products and quotients of WORDs, whose highest bit is TOP_BIT: runtime.c has this twice. */
static WORD
MULTIPLY(WORD a, WORD b)
{
	WORD product = 0;

	while (b) {
		if (b & 1)
			product += a;
		a <<= 1;
		b >>= 1;
	}
	return product;
}

/* The quotient, or the rest. */
static WORD
DIVIDED(WORD a, WORD b, uint32_t rest)
{
	WORD quotient = 0;
	uint32_t shift = 0;

	while (b <= a && !(b & TOP_BIT)) {
		b <<= 1;
		shift++;
	}
	for (;;) {
		quotient <<= 1;
		if (a >= b) {
			a -= b;
			quotient++;
		}
		if (!shift)
			return rest ? a : quotient;
		b >>= 1;
		shift--;
	}
}
