/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SRP: one writer, two readers with an IBuf each, one PBuf (csrc/bms/srp.c). Records take one or two cells.
 *
 * Shown: no cell that an unread index points to is overwritten; every packet is delivered to a flow or counted as
 * dropped for it; a reader may take its time, or stop. Positions are small because only N packets come.
 *
 * BROKEN: R* forgets the second flow.
 */
#define SIZE    3 /* cells */
#define SLOTS   2
#define N       5 /* packets; the number of a packet is its value + 1 */
#define READERS 2

byte cell[SIZE];        /* number of the packet that lies there */
byte w;                 /* W, in cells */
byte entry_pos[4];      /* reader * SLOTS + slot: position of the record */
byte entry_cells[4];
byte entry_number[4];
byte iw[READERS];       /* IBuf W, published */
byte r[READERS];        /* R, the reader's own word */
byte dropped[READERS], delivered[READERS];
bool over;

/* R is read once: what is decided by it holds for that value (take_r in srp.c). */
inline oldest(reader)
{
	seen = r[reader];
	d_step {
		if
		:: seen < iw[reader] && entry_pos[reader * SLOTS + seen % SLOTS] < star ->
			star = entry_pos[reader * SLOTS + seen % SLOTS]
		:: else
		fi
	}
}

inline index(reader)
{
	if
	:: room[reader] ->
		d_step {
			slot = reader * SLOTS + iw[reader] % SLOTS;
			entry_pos[slot] = w;
			entry_cells[slot] = cells;
			entry_number[slot] = n;
			slot = 0
		}
		iw[reader] = iw[reader] + 1
	:: else -> dropped[reader]++
	fi
}

proctype writer()
{
	byte n = 1, cells, star, seen, slot;
	bool room[READERS];

	do
	:: n <= N ->
		if
		:: cells = 1
		:: cells = 2
		fi;
		/* which IBufs have room: R is read once for each */
		room[0] = iw[0] - r[0] < SLOTS;
		room[1] = iw[1] - r[1] < SLOTS;
		star = w;
		oldest(0);
#ifndef BROKEN
		oldest(1);
#endif
		if
		:: (room[0] || room[1]) && w + cells - star <= SIZE ->
			/* the store, cell by cell */
			cell[w % SIZE] = n;
			if
			:: cells == 2 -> cell[(w + 1) % SIZE] = n
			:: else
			fi;
			index(0);
			index(1);
			w = w + cells
		:: else ->
			d_step {
				dropped[0]++;
				dropped[1]++
			}
		fi;
		n++
	:: else -> break
	od;
	over = true
}

proctype reader(byte me)
{
	byte pos, number, cells;

	do
	:: delivered[me] < iw[me] ->
		/* zero copy: the cells are looked at one after the other */
		pos = entry_pos[me * SLOTS + delivered[me] % SLOTS];
		number = entry_number[me * SLOTS + delivered[me] % SLOTS];
		cells = entry_cells[me * SLOTS + delivered[me] % SLOTS];
		assert(cell[pos % SIZE] == number);
		assert(cells == 1 || cell[(pos + 1) % SIZE] == number);
		delivered[me]++;
		if
		:: r[me] = delivered[me] /* R now, or several at once */
		:: skip
		fi
	:: r[me] < delivered[me] -> r[me] = delivered[me]
	:: over && delivered[me] == iw[me] -> break
	od;
	assert(delivered[me] + dropped[me] == N)
}

init
{
	atomic {
		run writer();
		run reader(0);
		run reader(1)
	}
}
