/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two lanes merged by time (announce and rest in csrc/hook/hook.c, csrc/lanes/merge.c). The clock goes on by itself.
 *
 * Shown: packets are delivered in the order of their times.
 *
 * BROKEN: the reader looks at the other lane's w before its floor, and so may miss what came between.
 */
#define N    2 /* packets of each lane */
#define IDLE 255

byte clock = 1;
byte w[2];
byte stamp[4]; /* lane * N + number */
byte floor[2] = { IDLE, IDLE };
bool over[2];

proctype time()
{
	do
	:: clock < 4 -> clock++
	:: over[0] && over[1] -> break
	od
}

proctype writer(byte me)
{
	byte last = 0, now;

	do
	:: w[me] < N ->
		floor[me] = last;
		now = clock;
		stamp[me * N + w[me]] = now;
		last = now;
		w[me] = w[me] + 1;
		floor[me] = IDLE
	:: else -> break
	od;
	over[me] = true
}

/* May the head of lane `a`, of time `t`, go before whatever lane `b` still brings? */
inline ahead(b, t)
{
#ifdef BROKEN
	more = taken[b] < w[b];
	bound = floor[b]
#else
	bound = floor[b];
	more = taken[b] < w[b]
#endif
}

proctype reader()
{
	byte taken[2], last = 0, a, b, bound, t;
	bool more;

	do
	:: taken[0] == N && taken[1] == N -> break
	:: else ->
		if
		:: taken[0] < w[0] -> a = 0
		:: taken[1] < w[1] -> a = 1
		:: else -> a = 2
		fi;
		if
		:: a < 2 ->
			b = 1 - a;
			t = stamp[a * N + taken[a]];
			ahead(b, t);
			if
			:: more && stamp[b * N + taken[b]] < t ->
				/* both are known: the older one */
				t = stamp[b * N + taken[b]];
				taken[b] = taken[b] + 1;
				assert(t >= last);
				last = t
			:: more && stamp[b * N + taken[b]] >= t || !more && bound >= t ->
				taken[a] = taken[a] + 1;
				assert(t >= last);
				last = t
			:: else /* held back */
			fi
		:: else
		fi
	od
}

init
{
	atomic {
		run time();
		run writer(0);
		run writer(1);
		run reader()
	}
}
