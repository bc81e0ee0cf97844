/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_KERNEL_LAYOUT_H
#define FFPF_KERNEL_KERNEL_LAYOUT_H
/*
 * What the programs of one source in the kernel, and the control plane, share. No reader maps any of it. Read by eBPF
 * C, C and the emitter of classify programs. Host byte order.
 *
 *     hook_main -> CLASSIFY (-> CHAIN ...) (-> GRAPH) -> STORE          slots of one program array
 *       |             |                                   |
 *       +-- scratch: octets, metadata                     +-- verdict & active & the group's columns: who wants it
 *                     +-- scratch: verdict
 *
 * A flow has a slot, and two columns: 2 * slot and 2 * slot + 1, of which at most one is active. A column holds a
 * filter. Both lie in one word, so one store changes a flow's filter.
 *
 * Of a flow's IBufs, and a group's lanes, there may be two sets, banks: the one in use and the one used before or
 * after. A group's bank is groups[group].bank; a flow's is flows[slot].bank ^ groups[group].bank, so one store moves a
 * group with all its flows, and one moves a flow. A flow that is left behind, or comes back, has flows[slot].left
 * instead, which does not change with its group.
 */
#include "layout.h"

#define FFPF_KERNEL_FLOWS_MAX  512
#define FFPF_KERNEL_COLUMNS    1024 /* 2 * FFPF_KERNEL_FLOWS_MAX */
#define FFPF_KERNEL_WORDS      16   /* FFPF_KERNEL_COLUMNS / 64 */
#define FFPF_KERNEL_GROUPS_MAX 32
#define FFPF_KERNEL_BANKS      2
#define FFPF_KERNEL_CONTEXTS   2 /* lanes for each CPU of a netfilter source: netfilter.bpf.c says why */

/* Where things of one lane stand in maps: lanes, lane_state; and of one IBuf: ibufs, flow_state. */
#define FFPF_KERNEL_LANE_AT(bank, group, cpus, cpu) (((bank)*FFPF_KERNEL_GROUPS_MAX + (group)) * (cpus) + (cpu))
#define FFPF_KERNEL_IBUF_AT(bank, slot, cpus, cpu)  (((bank)*FFPF_KERNEL_FLOWS_MAX + (slot)) * (cpus) + (cpu))

/* An IBuf's map has values of a page: ffpf_ibuf_page, and then its entries. */
#define FFPF_KERNEL_ENTRIES_LOG2 9 /* a page of them */

/* Slots of the program array. */
#define FFPF_KERNEL_PROGS         64
#define FFPF_KERNEL_PROG_CLASSIFY 0 /* empty: nobody wants anything */
#define FFPF_KERNEL_PROG_STORE    1
#define FFPF_KERNEL_PROG_CHAIN    2  /* the first of those that classify programs may use */
#define FFPF_KERNEL_PROG_GRAPH    30 /* empty: no graph has nodes here; between chain and STORE */

/* enum ffpf_bms_id and enum ffpf_drop, for who cannot include their headers; kernel.c asserts that they are the same.
 */
#define FFPF_KERNEL_SRP           1
#define FFPF_KERNEL_FRP           2
#define FFPF_KERNEL_DROP_PBUF     1
#define FFPF_KERNEL_DROP_IBUF     2
#define FFPF_KERNEL_DROP_OVERSIZE 4
#define FFPF_KERNEL_DROP_INVALID  6
#define FFPF_KERNEL_DROP_EVICTED  7
#define FFPF_KERNEL_DROP_LEFT     8

#define FFPF_SCRATCH_DATA_BYTES 65536

/*
 * One per lane, by its number. hook_main writes all but verdict and results, classify those. A program behind whose
 * tail call the next one was missing stores 0 to inside (netfilter: owner), adds 1 to lost and returns 0 (NF_ACCEPT).
 */
struct ffpf_scratch {
	uint64_t verdict[FFPF_KERNEL_WORDS]; /* bit c: column c accepts; every word in use, for every packet */
	uint32_t inside;                     /* a packet is being handled */
	uint32_t data_len;                   /* octets at data: the packet, as far as fetch_len goes */
	uint32_t wire_len;                   /* of the packet, as filters see it */
	uint32_t ifindex;
	uint32_t pkt_type;     /* PACKET_HOST .. PACKET_OUTGOING */
	uint32_t protocol;     /* Ethernet type, host order */
	uint32_t hatype;       /* ARPHRD_* */
	uint32_t vlan_present; /* 0 or 1 */
	uint32_t vlan_tci;
	uint32_t vlan_tpid; /* host order */
	uint32_t mark, queue, rxhash, cpu;
	uint64_t lost;                         /* tail calls that found nothing */
	uint32_t results[FFPF_KERNEL_COLUMNS]; /* of columns whose ffpf_kernel_column.result is 0 */
	uint8_t data[FFPF_SCRATCH_DATA_BYTES]; /* as classic BPF in the kernel sees it: the VLAN tag is taken out */
	uint64_t owner;                        /* netfilter: the context in whose hands it is; 0: nobody's */
	uint64_t left[FFPF_KERNEL_WORDS];      /* hook_store: columns that accept, of flows that were left behind */
};
FFPF_AT(ffpf_scratch, inside, 128);
FFPF_AT(ffpf_scratch, data_len, 132);
FFPF_AT(ffpf_scratch, wire_len, 136);
FFPF_AT(ffpf_scratch, ifindex, 140);
FFPF_AT(ffpf_scratch, pkt_type, 144);
FFPF_AT(ffpf_scratch, protocol, 148);
FFPF_AT(ffpf_scratch, hatype, 152);
FFPF_AT(ffpf_scratch, vlan_present, 156);
FFPF_AT(ffpf_scratch, vlan_tci, 160);
FFPF_AT(ffpf_scratch, vlan_tpid, 164);
FFPF_AT(ffpf_scratch, mark, 168);
FFPF_AT(ffpf_scratch, queue, 172);
FFPF_AT(ffpf_scratch, rxhash, 176);
FFPF_AT(ffpf_scratch, cpu, 180);
FFPF_AT(ffpf_scratch, lost, 184);
FFPF_AT(ffpf_scratch, results, 192);
FFPF_AT(ffpf_scratch, data, 4288);
FFPF_AT(ffpf_scratch, owner, 69824);
FFPF_AT(ffpf_scratch, left, 69832);
FFPF_SIZE(ffpf_scratch, 69960);

enum ffpf_kernel_kind {
	FFPF_KERNEL_SOCKET = 0,    /* an AF_PACKET socket */
	FFPF_KERNEL_NETFILTER = 1, /* a place in netfilter, for each family */
};

/* Forms of a socket's hook, in the order in which they are tried: context.bpf.h says what they are. */
#define FFPF_KERNEL_FORM_CONTEXT 1
#define FFPF_KERNEL_FORM_PROBED  2
#define FFPF_KERNEL_FORM_PLAIN   3

/* Families of a netfilter source. */
#define FFPF_KERNEL_IPV4 1
#define FFPF_KERNEL_IPV6 2

/* What a source was made with. */
struct ffpf_kernel_source {
	uint32_t ifindex; /* 0: every interface */
	uint32_t cooked;  /* packets come without link header, and get one of LINUX_SLL2 */
	uint32_t promisc;
	uint32_t link_type;  /* DLT_* of the records */
	uint32_t cells_log2; /* of each lane */
	uint32_t snap_len;   /* most that a flow may ask for */
	uint32_t cpus;       /* lanes of each group: for CPUs 0 to cpus - 1; netfilter: two for each */
	uint32_t hatype;     /* of ifindex; found out when the source is made */
	uint32_t form;       /* the one that the kernel took, found out too; netfilter: 0 */
	uint32_t first_form; /* those before it are not tried; 0: all are */
	uint32_t kind;       /* enum ffpf_kernel_kind; netfilter: ifindex, cooked, promisc and first_form are 0 */
	uint32_t place;      /* netfilter: NF_INET_* */
	uint32_t families;   /* netfilter: FFPF_KERNEL_IPV4, FFPF_KERNEL_IPV6 or both */
	uint32_t reserved;
};
FFPF_AT(ffpf_kernel_source, cooked, 4);
FFPF_AT(ffpf_kernel_source, promisc, 8);
FFPF_AT(ffpf_kernel_source, link_type, 12);
FFPF_AT(ffpf_kernel_source, cells_log2, 16);
FFPF_AT(ffpf_kernel_source, snap_len, 20);
FFPF_AT(ffpf_kernel_source, cpus, 24);
FFPF_AT(ffpf_kernel_source, hatype, 28);
FFPF_AT(ffpf_kernel_source, form, 32);
FFPF_AT(ffpf_kernel_source, first_form, 36);
FFPF_AT(ffpf_kernel_source, kind, 40);
FFPF_AT(ffpf_kernel_source, place, 44);
FFPF_AT(ffpf_kernel_source, families, 48);
FFPF_SIZE(ffpf_kernel_source, 56);

/* One entry; written by the control plane. */
struct ffpf_kernel_control {
	FFPF_WORD(uint64_t) active[FFPF_KERNEL_WORDS]; /* columns in force; one 64-bit store changes a word */
	FFPF_WORD(uint32_t) fetch_len;   /* at most FFPF_SCRATCH_DATA_BYTES; grows before a program needs more */
	FFPF_WORD(uint32_t) words;       /* of verdict that are in use */
	FFPF_WORD(uint32_t) group_count; /* behind the last group in use */
	uint32_t reserved0;
	FFPF_WORD(int64_t) tai_offset_ns; /* TAI - UTC, as the kernel has it */
	struct ffpf_kernel_source source;
	/* Columns of flows that were left behind: what they accept while they are not active is counted as lost. Set
	 * before the column's bit of active goes, cleared after it has come. */
	FFPF_WORD(uint64_t) left[FFPF_KERNEL_WORDS];
};
FFPF_AT(ffpf_kernel_control, fetch_len, 128);
FFPF_AT(ffpf_kernel_control, words, 132);
FFPF_AT(ffpf_kernel_control, group_count, 136);
FFPF_AT(ffpf_kernel_control, tai_offset_ns, 144);
FFPF_AT(ffpf_kernel_control, source, 152);
FFPF_AT(ffpf_kernel_control, left, 208);
FFPF_SIZE(ffpf_kernel_control, 336);

/* By column. Written while the column is not active, and no packet is left that saw it active. */
struct ffpf_kernel_column {
	uint32_t result;          /* what the filter returns when it accepts; 0: ffpf_scratch.results says it */
	uint32_t generation;      /* of the flow's filter */
	FFPF_WORD(uint32_t) bank; /* of the flow, at any time: changed after ffpf_kernel_flow.bank */
	uint32_t reserved;
};
FFPF_AT(ffpf_kernel_column, generation, 4);
FFPF_AT(ffpf_kernel_column, bank, 8);
FFPF_SIZE(ffpf_kernel_column, 16);

/* What IBufs counted that were left for others. */
struct ffpf_kernel_past {
	uint64_t records;
	uint64_t dropped[FFPF_COUNTED_DROPS_MAX];
};
FFPF_SIZE(ffpf_kernel_past, 120);

/* By slot; written by the control plane. */
struct ffpf_kernel_flow {
	FFPF_WORD(uint32_t) bank;     /* see above */
	FFPF_WORD(uint32_t) snap_len; /* 1 to ffpf_kernel_source.snap_len */
	uint32_t group;
	uint32_t in_use;
	FFPF_WORD(uint32_t) lane_changed; /* the IBufs of the other bank, if any, are not of the lanes in use */
	FFPF_WORD(uint32_t) left; /* 0; or 1 and the bank that the flow has, whatever its group's: it was left behind */
	/* by bank: of the IBufs that came before those in it, summed over lanes */
	struct ffpf_kernel_past past[FFPF_KERNEL_BANKS];
};
FFPF_AT(ffpf_kernel_flow, snap_len, 4);
FFPF_AT(ffpf_kernel_flow, group, 8);
FFPF_AT(ffpf_kernel_flow, in_use, 12);
FFPF_AT(ffpf_kernel_flow, lane_changed, 16);
FFPF_AT(ffpf_kernel_flow, left, 20);
FFPF_AT(ffpf_kernel_flow, past, 24);
FFPF_SIZE(ffpf_kernel_flow, 264);

/* By group; written by the control plane. */
struct ffpf_kernel_group {
	FFPF_WORD(uint64_t) columns[FFPF_KERNEL_WORDS]; /* both of every flow of the group */
	FFPF_WORD(uint32_t) bank;
	FFPF_WORD(uint32_t) epoch;    /* counts changes of the group's flows: what lanes know of them all is void */
	FFPF_WORD(uint32_t) snap_min; /* of its flows */
	FFPF_WORD(uint32_t) snap_max;
	uint32_t bms; /* enum ffpf_bms_id; 0: not in use */
	uint32_t reserved[11];
};
FFPF_AT(ffpf_kernel_group, bank, 128);
FFPF_AT(ffpf_kernel_group, epoch, 132);
FFPF_AT(ffpf_kernel_group, snap_min, 136);
FFPF_AT(ffpf_kernel_group, snap_max, 140);
FFPF_AT(ffpf_kernel_group, bms, 144);
FFPF_SIZE(ffpf_kernel_group, 192);

/* By (bank * groups + group) * cpus + cpu: what the writer of a lane keeps to itself. */
struct ffpf_kernel_lane_state {
	uint64_t w;
	uint64_t intent;
	uint64_t r_star; /* SRP: never ahead of the truth */
	int64_t last_ns; /* latest time so far */
	uint32_t room;   /* SRP: so many entries every IBuf of the group has room for; never more than the truth */
	uint32_t epoch;  /* of the group, when room was computed */
	uint32_t rest;   /* SRP: so many packets until room is computed again, while it is 0 */
	uint32_t word;   /* of a walk over flows, here because the verifier must not follow it: the next word, ... */
	uint64_t bits;   /* ... columns of this one that were not visited yet, */
	uint32_t n;      /* ... and what it counts */
	uint32_t reserved;
};
FFPF_AT(ffpf_kernel_lane_state, intent, 8);
FFPF_AT(ffpf_kernel_lane_state, r_star, 16);
FFPF_AT(ffpf_kernel_lane_state, last_ns, 24);
FFPF_AT(ffpf_kernel_lane_state, room, 32);
FFPF_AT(ffpf_kernel_lane_state, epoch, 36);
FFPF_AT(ffpf_kernel_lane_state, rest, 40);
FFPF_AT(ffpf_kernel_lane_state, word, 44);
FFPF_AT(ffpf_kernel_lane_state, bits, 48);
FFPF_AT(ffpf_kernel_lane_state, n, 56);
FFPF_SIZE(ffpf_kernel_lane_state, 64);

/* By (bank * flows + slot) * cpus + cpu: what the writer of an IBuf keeps to itself. */
struct ffpf_kernel_flow_state {
	uint64_t w;
	uint64_t first_pos; /* an R below is from before this IBuf: nothing was read */
	uint64_t r;         /* SRP: the last R that was accepted */
	uint64_t sweep;     /* FRP: w at the last sweep */
	uint32_t mask;
	uint32_t evicted;
	uint32_t woken; /* value of ffpf_reader_page.sleep that was answered */
	uint32_t generation;
	uint64_t due_w;     /* the reader that says due_sleep is due when w reaches this ... */
	uint32_t due_sleep; /* value of ffpf_reader_page.sleep */
	uint32_t due_cell;  /* ... or the lane's W, of which these are the low bits, this */
};
FFPF_AT(ffpf_kernel_flow_state, first_pos, 8);
FFPF_AT(ffpf_kernel_flow_state, r, 16);
FFPF_AT(ffpf_kernel_flow_state, sweep, 24);
FFPF_AT(ffpf_kernel_flow_state, mask, 32);
FFPF_AT(ffpf_kernel_flow_state, evicted, 36);
FFPF_AT(ffpf_kernel_flow_state, woken, 40);
FFPF_AT(ffpf_kernel_flow_state, generation, 44);
FFPF_AT(ffpf_kernel_flow_state, due_w, 48);
FFPF_AT(ffpf_kernel_flow_state, due_sleep, 56);
FFPF_AT(ffpf_kernel_flow_state, due_cell, 60);
FFPF_SIZE(ffpf_kernel_flow_state, 64);

/* ---- what control.bpf.c is asked to do ---- */

enum ffpf_kernel_op {
	FFPF_KERNEL_OP_LANE_STATE = 1, /* lanes[at].state = value */
	FFPF_KERNEL_OP_IBUF_STATE = 2, /* ibufs[at].state = value */
	FFPF_KERNEL_OP_IBUF_READ = 3,  /* what ibufs[at], readers[slot].r[cpu], lanes[lane_at] and counts[cpu] say */
	FFPF_KERNEL_OP_SOURCE_STATE = 4,
	FFPF_KERNEL_OP_WAKE = 5,       /* the reader of slot */
	FFPF_KERNEL_OP_IBUF_BEGIN = 6, /* ibufs[at], if nothing was ever in it: what counts[cpu] says was before it */
};

#define FFPF_KERNEL_NOWHERE 0xffffffffu

/* Its context: asked and answered in place. */
struct ffpf_kernel_request {
	uint32_t op;
	uint32_t at;
	uint32_t slot, cpu;
	uint32_t lane_at;   /* its lane */
	uint32_t before_at; /* the IBuf before it on the same lane; FFPF_KERNEL_NOWHERE: there is none */
	uint32_t value;
	uint32_t done; /* 1: the thing was there */
	uint32_t state;
	uint32_t slots_log2;
	uint64_t first_pos, w, generation, generation_pos;
	uint64_t packets_before, nested_before;
	uint64_t r, behind;
	uint64_t packets, nested;
	uint64_t dropped[FFPF_COUNTED_DROPS_MAX];
};
FFPF_SIZE(ffpf_kernel_request, 232);

/* What the hook is loaded with: constants for the verifier. */
struct ffpf_kernel_constants {
	uint32_t cpus;
	uint32_t cells_log2; /* of a lane */
	uint32_t cooked;
	uint32_t hatype;     /* for the plain form */
	uint32_t lo_ifindex; /* whose outgoing packets come again as incoming ones, and are not looked at; 0: none */
	uint32_t ordered_stores; /* this machine's stores are seen in the order in which they are made */
};
FFPF_SIZE(ffpf_kernel_constants, 24);

#endif
