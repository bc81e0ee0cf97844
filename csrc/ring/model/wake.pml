/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping and waking (csrc/hook/wake.c, csrc/lanes/wait.c): the futex word, the sleep word, two lanes that wake.
 *
 * Shown: no wake-up is lost. The reader wants one packet at a time; a state in which it sleeps for good with a packet
 * there is an invalid end state. A wake-up answers one value of `sleep`, and a writer never writes that word.
 *
 * BROKEN: the reader looks for packets before it says that it sleeps.
 */
#define N     2 /* packets of each lane */
#define LANES 2

byte w[LANES];
byte got;
byte sleep; /* 0: awake; else the count of this sleep */
byte wakes; /* futex word */
bool asleep; /* in FUTEX_WAIT */

proctype writer(byte me)
{
	byte seen, woken = 0;

	do
	:: w[me] < N ->
		w[me] = w[me] + 1;
		seen = sleep;
		if
		:: seen != 0 && seen != woken ->
			woken = seen;
			wakes++;
			asleep = false /* FUTEX_WAKE */
		:: else
		fi
	:: else -> break
	od
}

proctype reader()
{
	byte sleeps = 0, word;
	bool ready;

	do
	:: got < w[0] + w[1] -> got++
	:: got == LANES * N -> break
	:: got < LANES * N && got >= w[0] + w[1] ->
		word = wakes;
		sleeps++;
#ifdef BROKEN
		ready = got < w[0] + w[1];
		sleep = sleeps;
#else
		sleep = sleeps;
		ready = got < w[0] + w[1];
#endif
		if
		:: ready
		:: else ->
			atomic {
				if
				:: wakes == word -> asleep = true /* FUTEX_WAIT compares */
				:: else
				fi
			}
			!asleep
		fi;
		sleep = 0
	od
}

init
{
	atomic {
		run writer(0);
		run writer(1);
		run reader()
	}
}
