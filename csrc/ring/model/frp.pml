/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FRP: the writer never waits (csrc/bms/frp.c). Here the memory is sequentially consistent; what release and acquire
 * have to do for it is in ../test_frp_enumeration.py.
 *
 * Shown: a copy that validation accepts is whole, of the record that the index meant; what is not accepted is counted.
 *
 * BROKEN: validation checks W instead of the intents.
 */
#define SIZE  2 /* cells; a record takes one, of two words */
#define SLOTS 2
#define N     5 /* packets: the number of a packet is its position + 1 */

byte word0[SIZE], word1[SIZE];
byte entry[SLOTS]; /* position of the record */
byte w, intent;    /* of the lane */
byte iw, iintent;  /* of the IBuf */
byte delivered, lapped;
bool over;

proctype writer()
{
	byte n = 0;

	do
	:: n < N ->
		intent = n + 1;
		word0[n % SIZE] = n + 1;
		word1[n % SIZE] = n + 1;
		w = n + 1;
		iintent = n + 1;
		entry[n % SLOTS] = n;
		iw = n + 1;
		n++
	:: else -> break
	od;
	over = true
}

proctype reader()
{
	byte next, pos, a, b, published;

	do
	:: next < iw ->
		published = iw;
		if
		:: published - next > SLOTS ->
			lapped = lapped + published - next - SLOTS;
			next = published - SLOTS
		:: else
		fi;
		pos = entry[next % SLOTS];
		a = word0[pos % SIZE];
		b = word1[pos % SIZE];
		if
#ifdef BROKEN
		:: iw <= next + SLOTS && w <= pos + SIZE ->
#else
		:: iintent <= next + SLOTS && intent <= pos + SIZE ->
#endif
			assert(pos == next);
			assert(a == next + 1 && b == next + 1);
			delivered++
		:: else -> lapped++
		fi;
		next++
	:: over && next == iw -> break
	od;
	assert(delivered + lapped == N)
}

init
{
	atomic {
		run writer();
		run reader()
	}
}
