/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_FRAMEWORK_FRAME_H
#define IXP_FRAMEWORK_FRAME_H
/*
 * What the microcode of the framework and the StrongARM of the board have in common. Read by both compilers, so there
 * are only numbers here. Words are in host order. Owners: (r) the port's receive engine, (f) the filter's engine, (s)
 * the StrongARM; whoever is none only reads.
 *
 *   receive engine                                   filter engine (one of up to five)
 *     turn: fetch packet `sequence` from the port      wait: tail beyond `sequence`
 *       pop a descriptor, claim cells, move octets     descriptor = ring[sequence]; is it wanted of us?
 *       pass TURN on                                   ffpf_filter(record, captured)      contexts side by side
 *     header, stamp, descriptor, ring[sequence]        turn: IBuf entry, or filtered; pass TURN on
 *     turn: lane's W, TAIL, wake filters               done flag; the last one pushes the descriptor
 *
 * Packets of a port are numbered (sequence, 32 bits, wraps); number n is context n's, modulo the contexts of the port.
 */

/* Scratchpad: one block for each port, then one for each engine and port. */
#define PORT_BLOCK     0 /* of port 0 */
#define PORT_BYTES     64
#define PORT_TURN      0  /* (r) number of the packet that is fetched next */
#define PORT_W         4  /* (r) position behind the cells that are claimed, 64 bits */
#define PORT_LIMIT     12 /* (s) low half of the position up to which cells may be claimed */
#define PORT_FILTERS   16 /* (s) a bit for each engine that is to judge */
#define PORT_TAIL      20 /* (r) number behind the last packet that filters may take */
#define PORT_NO_ROOM   24 /* (r) packets, 32 bits that wrap; and the next three */
#define PORT_NO_DESC   28
#define PORT_OVERSIZE  32
#define PORT_UNWANTED  36  /* there was no filter */
#define FILTER_BLOCK   128 /* of engine 0 and port 0 */
#define FILTER_BYTES   64  /* of an engine and port; an engine has one for each of two ports */
#define FILTER_TURN    0   /* (f) number of the packet whose result is stored next */
#define FILTER_W       4   /* (f) position in IBuf, 64 bits */
#define FILTER_REFUSED 12  /* (f) packets that the filter turned away, 32 bits that wrap */
#define FILTER_FULL    16  /* (f) packets for which IBuf had no room, likewise */
#define FILTER_LIMIT   20  /* (s) low half of the position in IBuf up to which entries may be stored */
#define FILTER_START   24  /* (s) number of the first packet */

/* Descriptor, in SRAM. The LIFO links free ones through their first word. */
#define DESC_BYTES    32
#define DESC_DONE     4  /* a bit for each filter that is done with the packet */
#define DESC_WANTED   8  /* ... that is to be */
#define DESC_SEQUENCE 12 /* number of the packet */
#define DESC_POSITION 16 /* low half of the record's */
#define DESC_RECORD   20 /* SDRAM address of the record */
#define DESC_CAPTURED 24 /* octets */
#define DESC_LIST     0  /* number of the LIFO */

/* Entry of a port's ring, in SRAM: { descriptor, low half of the record's position }. */
#define RING_LOG2 3

/* The formats of csrc/layout.h, as far as the microcode writes them. */
#define LANE_W       64
#define LANE_INTENT  128
#define LANE_CELLS   4096
#define RECORD_DATA  48
#define IBUF_W       64
#define IBUF_INTENT  128
#define IBUF_ENTRIES 4096

/* Receive FIFO: sixteen elements of 64 octets, and the port's status behind each. Reading the status brings the next
 * octets of the port's packet into the element first. The words of the status: octets of the packet (FIFO_NOTHING:
 * there is none, and SIGNAL_RECEIVE will come when there is), octets on the wire, time (64 bits), and words 6, 7, 8 and
 * 9 of struct ffpf_record. Writing { SDRAM address, octets } to an element moves it there. */
#define FIFO_ELEMENT 128 /* octets of address space */
#define FIFO_STATUS  64
#define FIFO_OCTETS  64
#define FIFO_NOTHING 0xffffffff

/* Registers of the board. */
#define CSR_SIGNAL  16 /* written: engine << 2 | context that is sent SIGNAL_THREAD */
#define CSR_DISCARD 17 /* written: what is left of the port's packet is thrown away */

/* Hash unit: addresses are functions. FNV: { state, word, octets of it } -> { state }, the first octet highest; MIX:
 * { state } -> { state }. What they are is in fpl/fpl2/meaning.py. */
#define HASH_FNV 0
#define HASH_MIX 4

#endif
