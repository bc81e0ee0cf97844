/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_LAYOUT_H
#define FFPF_LAYOUT_H
/*
 * The bytes that processes share. Read by C, by eBPF C and by cffi: fixed widths, offsets instead of pointers, host
 * byte order. docs/memory.md tells the protocols; paper, section 3.1.
 *
 * Owner of each field: (w) the lane's one writer, (r) the flow's reader, (c) control plane, before the memory is shared
 * unless it says otherwise. Whoever is not the owner only reads. FFPF_WORD(type) is accessed atomically.
 *
 *   lane                               one per writer                  mapped read-only by the group
 *   +-----------------+---------------------------------------------------------------+--------------+
 *   | ffpf_lane_page  | PBuf: 2^n cells of 64 octets                                  | slack        |
 *   +-----------------+---------------------------------------------------------------+--------------+
 *   0              4096    |record---------|record-|           |record-----------------------|   256 KiB
 *                           header, packet: as many cells as they need; the last may run into the slack
 *
 *   IBuf                               one per lane and flow           mapped read-only by the group
 *   +-----------------+-------------------------------+
 *   | ffpf_ibuf_page  | 2^m x { index, result }       |    index = low 32 bits of the record's position
 *   +-----------------+-------------------------------+
 *
 *   reader page                        one per flow                    mapped read-write by its reader
 *   +---------------------------------+
 *   | ffpf_reader_page: sleep, R[lane]|
 *   +---------------------------------+
 *
 *   MBuf                               one per filter                  mapped read-write by its application
 *   +-----------------+---------------+
 *   | ffpf_mbuf_page  | 2^k octets    |
 *   +-----------------+---------------+
 *
 *   counts                             one per source in the kernel    mapped read-only by every group
 *   +-------------------------------------------+
 *   | ffpf_counts_page: state, { counts }[lane] |
 *   +-------------------------------------------+
 *
 * Positions are 64-bit counts that never wrap: of cells in PBuf, of entries in IBuf. position & (size - 1) is the
 * place, what is above it tells the lap.
 */

/* The one place that knows where the integer types come from. */
#if defined(FFPF_LAYOUT_TYPES_GIVEN)
/* whoever includes this has them already (vmlinux.h) */
#elif defined(__bpf__)
#include <linux/types.h>
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef __s32 int32_t;
typedef __s64 int64_t;
#else
#include <stdint.h>
#endif

/* FFPF_LAYOUT_PLAIN: for readers of declarations that know no atomic types and no assertions (cffi). */
#if defined(FFPF_LAYOUT_PLAIN) || defined(__bpf__)
#define FFPF_WORD(type) type
#else
#define FFPF_WORD(type) _Atomic(type)
#endif
#if defined(FFPF_LAYOUT_PLAIN)
#define FFPF_AT(object, field, offset) struct object
#define FFPF_SIZE(object, size)        struct object
#else
#define FFPF_AT(object, field, offset)                                                                                 \
	_Static_assert(__builtin_offsetof(struct object, field) == (offset), #object "." #field)
#define FFPF_SIZE(object, size) _Static_assert(sizeof(struct object) == (size), #object)
#endif

#define FFPF_LAYOUT_MAGIC   0x46504646u /* "FFPF" */
#define FFPF_LAYOUT_VERSION 1

#define FFPF_PAGE_BYTES        4096
#define FFPF_CELL_BYTES        64
#define FFPF_RECORD_MAX_CELLS  4096   /* 256 KiB, header included */
#define FFPF_SLACK_BYTES       262144 /* FFPF_RECORD_MAX_CELLS cells */
#define FFPF_RECORD_DATA       48     /* offset of the first octet of the packet */
#define FFPF_PACKET_MAX_BYTES  262096 /* FFPF_SLACK_BYTES - FFPF_RECORD_DATA */
#define FFPF_PBUF_MIN_CELLS    8
#define FFPF_PBUF_MAX_CELLS    0x40000000u /* 2^30, 64 GiB: two laps stay apart in 32 bits */
#define FFPF_IBUF_MIN_SLOTS    2
#define FFPF_IBUF_MAX_SLOTS    0x08000000u /* 2^27, 1 GiB */
#define FFPF_MBUF_MIN_BYTES    8
#define FFPF_MBUF_MAX_BYTES    0x40000000u
#define FFPF_FLOW_LANES_MAX    256
#define FFPF_FLOOR_IDLE        0x7fffffffffffffffLL /* of ffpf_lane_page.floor_ns */
#define FFPF_COUNTED_DROPS_MAX 14                   /* enum ffpf_drop fits */

enum ffpf_kind {
	FFPF_KIND_LANE = 1,
	FFPF_KIND_IBUF = 2,
	FFPF_KIND_READER = 3,
	FFPF_KIND_MBUF = 4,
	FFPF_KIND_COUNTS = 5,
};

/* First in each memory. (c) */
struct ffpf_head {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;  /* enum ffpf_kind */
	uint64_t bytes; /* of the whole memory, this included */
};
FFPF_AT(ffpf_head, version, 4);
FFPF_AT(ffpf_head, kind, 6);
FFPF_AT(ffpf_head, bytes, 8);
FFPF_SIZE(ffpf_head, 16);

/*
 * Record header, followed by cap_len octets of packet. Written and read in 64-bit words, which is why every field lies
 * within one of them. All (w).
 */
struct ffpf_record {
	uint64_t stamp;       /* commit stamp: the record's own position; written last */
	int64_t time_ns;      /* since 1970, UTC */
	uint32_t cap_len;     /* octets that follow, the tag included */
	uint32_t wire_len;    /* octets on the wire, the tag included */
	uint32_t ifindex;     /* 0: unknown */
	uint16_t vlan_tci;    /* tag that the kernel took out: put back, when FFPF_RECORD_VLAN; or not, _VLAN_BESIDE */
	uint16_t vlan_tpid;   /* host order */
	uint16_t protocol;    /* Ethernet type, host order; 0: unknown */
	uint16_t hatype;      /* ARPHRD_* of the interface */
	uint8_t pkt_type;     /* PACKET_HOST .. PACKET_OUTGOING of linux/if_packet.h */
	uint8_t flags;        /* FFPF_RECORD_* */
	uint16_t vlan_offset; /* where in the packet the tag was put; only with FFPF_RECORD_VLAN */
	uint64_t reserved;    /* 0 */
};
#define FFPF_RECORD_VLAN        0x01
#define FFPF_RECORD_VLAN_BESIDE 0x02
#define FFPF_RECORD_COOKED      0x04 /* begins with a header of LINUX_SLL2 that filters, in live form, do not see */
#define FFPF_RECORD_WORDS       6
FFPF_AT(ffpf_record, time_ns, 8);
FFPF_AT(ffpf_record, cap_len, 16);
FFPF_AT(ffpf_record, wire_len, 20);
FFPF_AT(ffpf_record, ifindex, 24);
FFPF_AT(ffpf_record, vlan_tci, 28);
FFPF_AT(ffpf_record, vlan_tpid, 30);
FFPF_AT(ffpf_record, protocol, 32);
FFPF_AT(ffpf_record, hatype, 34);
FFPF_AT(ffpf_record, pkt_type, 36);
FFPF_AT(ffpf_record, flags, 37);
FFPF_AT(ffpf_record, vlan_offset, 38);
FFPF_AT(ffpf_record, reserved, 40);
FFPF_SIZE(ffpf_record, 48);

/* Values of ffpf_lane_page.state. */
enum ffpf_lane_state { FFPF_LANE_LIVE = 0, FFPF_LANE_CLOSED = 1 };

struct ffpf_lane_page {
	struct ffpf_head head;     /* (c) */
	uint32_t pbuf_offset;      /* (c) of cell 0 from the start of this page */
	uint32_t cells_log2;       /* (c) */
	uint32_t slack_bytes;      /* (c) */
	uint32_t bms;              /* (c) enum ffpf_bms_id */
	uint32_t link_type;        /* (c) DLT_* */
	uint32_t snap_len;         /* (c) at most so many octets of a packet are stored */
	uint64_t first_w;          /* (c) position of the first record: a multiple of the size, not 0 */
	FFPF_WORD(uint32_t) state; /* (w), or (c) for a writer that died: enum ffpf_lane_state */
	uint32_t reserved0[3];

	FFPF_WORD(uint64_t) w;    /* (w) W: position behind the last published record */
	FFPF_WORD(uint64_t) wrap; /* (w) times that W went past the last cell; stored before w */
	uint64_t reserved1[6];

	FFPF_WORD(uint64_t) intent; /* (w) position behind the cells that are being overwritten; stored before them */
	uint64_t reserved2[7];

	FFPF_WORD(int64_t)
	floor_ns; /* (w) no record still to come is older; FFPF_FLOOR_IDLE: than the time it is read */
	uint64_t reserved3[7];

	FFPF_WORD(uint64_t) packets; /* (w) that the hook was given */
	FFPF_WORD(uint64_t) records; /* (w) stored */
	FFPF_WORD(uint64_t) nested;  /* (w), whatever interrupts it: packets that came while one was being handled */
	uint64_t reserved4[5];

	uint8_t reserved5[3776];
};
FFPF_AT(ffpf_lane_page, pbuf_offset, 16);
FFPF_AT(ffpf_lane_page, cells_log2, 20);
FFPF_AT(ffpf_lane_page, slack_bytes, 24);
FFPF_AT(ffpf_lane_page, bms, 28);
FFPF_AT(ffpf_lane_page, link_type, 32);
FFPF_AT(ffpf_lane_page, snap_len, 36);
FFPF_AT(ffpf_lane_page, first_w, 40);
FFPF_AT(ffpf_lane_page, state, 48);
FFPF_AT(ffpf_lane_page, w, 64);
FFPF_AT(ffpf_lane_page, wrap, 72);
FFPF_AT(ffpf_lane_page, intent, 128);
FFPF_AT(ffpf_lane_page, floor_ns, 192);
FFPF_AT(ffpf_lane_page, packets, 256);
FFPF_AT(ffpf_lane_page, records, 264);
FFPF_AT(ffpf_lane_page, nested, 272);
FFPF_SIZE(ffpf_lane_page, 4096);

/* One entry of an IBuf. (w) */
struct ffpf_index {
	FFPF_WORD(uint32_t) index;  /* low 32 bits of the record's position */
	FFPF_WORD(uint32_t) result; /* classification result: not 0 */
};
FFPF_AT(ffpf_index, result, 4);
FFPF_SIZE(ffpf_index, 8);

/* Values of ffpf_ibuf_page.state. */
enum ffpf_ibuf_state {
	FFPF_IBUF_LIVE = 0,
	FFPF_IBUF_EVICTED = 1,  /* SRP: the reader wrote an R that cannot be; nothing protects it any more */
	FFPF_IBUF_DETACHED = 2, /* the control plane took the flow from the lane */
	FFPF_IBUF_MOVED = 3,    /* the flow goes on in another IBuf, perhaps of another lane: read this one, then ask */
	/* second hand: */
	FFPF_IBUF_LEFT = 4,   /* its reader held up whoever writes it; nothing protects what it has not read */
	FFPF_IBUF_GONE = 5,   /* no entry will come: the source is gone */
	FFPF_IBUF_CLOSED = 6, /* ... its lane was closed */
};

/* Values of ffpf_ibuf_page.flags. */
#define FFPF_IBUF_SECOND_HAND 0x1 /* written by a reader of the lane, later than the lane is (csrc/relay) */

struct ffpf_ibuf_page {
	struct ffpf_head head;     /* (c) */
	uint32_t entries_offset;   /* (c) of entry 0 from the start of this page */
	uint32_t slots_log2;       /* (c) */
	FFPF_WORD(uint32_t) state; /* (w), or (c) once the writer cannot reach it: enum ffpf_ibuf_state */
	uint32_t lane;             /* (c) which R of the reader page is of this IBuf */
	uint64_t nested_before;    /* (c) `nested` of the lane, or of its counts, when the flow came */
	uint64_t packets_before; /* (w) ffpf_counts.packets of the lane when the flow began; as the flow is activated */
	uint64_t first_pos;      /* (c) position of the first entry: a multiple of 2^32 */
	uint32_t flags;          /* (c) FFPF_IBUF_* */
	uint32_t reserved0;

	FFPF_WORD(uint64_t) w; /* (w) position behind the last published entry */
	/* (w) second hand: as of the lane's page, of entries instead of records; stored behind the W of every lane */
	FFPF_WORD(int64_t) floor_ns;
	uint64_t reserved1[6];

	/* (w) position behind the entry that is being overwritten, or one more; stored before it. The kernel's hook
	 * keeps it under FRP alone. */
	FFPF_WORD(uint64_t) intent;
	FFPF_WORD(uint64_t) stale; /* (w) FRP: entries below have been lapped, and their 32 bits may be ambiguous */
	uint64_t reserved2[6];

	FFPF_WORD(uint64_t) generation;     /* (w) of the filter; stored after generation_pos */
	FFPF_WORD(uint64_t) generation_pos; /* (w) first entry that this filter let pass */
	uint64_t reserved3[6];

	/* law, between two packets: seen = filtered + sum(dropped) + w - first_pos, w with what is not published yet.
	 * Lanes in the kernel leave seen and filtered 0: ffpf_counts tells what was seen, and the law the other. */
	FFPF_WORD(uint64_t) seen;                            /* (w) packets that reached the flow */
	FFPF_WORD(uint64_t) filtered;                        /* (w) turned away by the filter */
	FFPF_WORD(uint64_t) dropped[FFPF_COUNTED_DROPS_MAX]; /* (w) by enum ffpf_drop */

	uint8_t reserved4[3712];
};
FFPF_AT(ffpf_ibuf_page, entries_offset, 16);
FFPF_AT(ffpf_ibuf_page, slots_log2, 20);
FFPF_AT(ffpf_ibuf_page, state, 24);
FFPF_AT(ffpf_ibuf_page, lane, 28);
FFPF_AT(ffpf_ibuf_page, nested_before, 32);
FFPF_AT(ffpf_ibuf_page, packets_before, 40);
FFPF_AT(ffpf_ibuf_page, first_pos, 48);
FFPF_AT(ffpf_ibuf_page, flags, 56);
FFPF_AT(ffpf_ibuf_page, w, 64);
FFPF_AT(ffpf_ibuf_page, floor_ns, 72);
FFPF_AT(ffpf_ibuf_page, intent, 128);
FFPF_AT(ffpf_ibuf_page, stale, 136);
FFPF_AT(ffpf_ibuf_page, generation, 192);
FFPF_AT(ffpf_ibuf_page, generation_pos, 200);
FFPF_AT(ffpf_ibuf_page, seen, 256);
FFPF_AT(ffpf_ibuf_page, filtered, 264);
FFPF_AT(ffpf_ibuf_page, dropped, 272);
FFPF_SIZE(ffpf_ibuf_page, 4096);

/* How a reader sleeps: the low FFPF_SLEEP_BITS of ffpf_reader_page.sleep; above them a count of its sleeps. */
enum ffpf_sleep { FFPF_AWAKE = 0, FFPF_SLEEPS_ON_FUTEX = 1, FFPF_SLEEPS_ON_FD = 2 };
#define FFPF_SLEEP_BITS 2
#define FFPF_SLEEP_MASK 3u

struct ffpf_reader_page {
	struct ffpf_head head; /* (c) */
	uint64_t reserved0[6];

	/* A lane wakes the reader when it holds `want` packets for it, or one for timeout_ns (0: no limit). Both are
	 * stored before sleep. */
	FFPF_WORD(uint32_t) sleep;      /* (r) count of sleeps << FFPF_SLEEP_BITS | enum ffpf_sleep */
	FFPF_WORD(uint32_t) want;       /* (r) */
	FFPF_WORD(uint64_t) timeout_ns; /* (r) */
	uint64_t reserved1[6];

	FFPF_WORD(uint32_t) wakes; /* (w), any lane's, and (r): futex word; every wake-up adds 1 */
	uint32_t reserved2[15];

	FFPF_WORD(uint64_t) delivered; /* (r) for whoever shows states: what struct ffpf_counters says */
	FFPF_WORD(uint64_t) filtered;  /* (r) turned away by the reader itself */
	FFPF_WORD(uint64_t) lapped;    /* (r) */
	uint64_t reserved3[5];

	uint8_t reserved4[1792];

	/* R: entries of this lane's IBuf below are done with. Not trusted. */
	FFPF_WORD(uint64_t) r[FFPF_FLOW_LANES_MAX]; /* (r) */
};
FFPF_AT(ffpf_reader_page, sleep, 64);
FFPF_AT(ffpf_reader_page, want, 68);
FFPF_AT(ffpf_reader_page, timeout_ns, 72);
FFPF_AT(ffpf_reader_page, wakes, 128);
FFPF_AT(ffpf_reader_page, delivered, 192);
FFPF_AT(ffpf_reader_page, filtered, 200);
FFPF_AT(ffpf_reader_page, lapped, 208);
FFPF_AT(ffpf_reader_page, r, 2048);
FFPF_SIZE(ffpf_reader_page, 4096);

struct ffpf_mbuf_page {
	struct ffpf_head head; /* (c) */
	uint32_t data_offset;  /* (c) of the first octet from the start of this page */
	uint32_t bytes_log2;   /* (c) */
	uint8_t reserved_0[40];
	/* Of a node whose MBuf other processes read (csrc/graph): packets that came to it, that it let out, and for
	 * which its class had no room. Filtered is the rest. */
	FFPF_WORD(uint64_t) came, out, dropped; /* (w) */
	uint8_t reserved[4008];
};
FFPF_AT(ffpf_mbuf_page, data_offset, 16);
FFPF_AT(ffpf_mbuf_page, bytes_log2, 20);
FFPF_AT(ffpf_mbuf_page, came, 64);
FFPF_AT(ffpf_mbuf_page, out, 72);
FFPF_AT(ffpf_mbuf_page, dropped, 80);
FFPF_SIZE(ffpf_mbuf_page, 4096);

/* What the hook of one lane, a CPU, was given. So a packet that nobody wants costs no flow a counter. */
struct ffpf_counts {
	FFPF_WORD(uint64_t) packets; /* (w) that the hook was given */
	FFPF_WORD(uint64_t) nested;  /* (w), whatever interrupts it: packets that came while one was being handled */
	FFPF_WORD(uint64_t) no_lane; /* (w) packets of a CPU that has no lane; of any CPU, in lane 0 */
	uint64_t reserved[5];
};
FFPF_AT(ffpf_counts, nested, 8);
FFPF_AT(ffpf_counts, no_lane, 16);
FFPF_SIZE(ffpf_counts, 64);

/* Values of ffpf_counts_page.state. */
enum ffpf_source_state {
	FFPF_SOURCE_UP = 0,
	FFPF_SOURCE_DOWN = 1, /* the interface is down: no packets for now */
	FFPF_SOURCE_GONE = 2, /* for good */
};

struct ffpf_counts_page {
	struct ffpf_head head;     /* (c) */
	FFPF_WORD(uint32_t) state; /* (c), at any time: enum ffpf_source_state */
	uint32_t lane_count;       /* (c) of counts that are in use */
	uint64_t reserved0[5];
	struct ffpf_counts counts[FFPF_FLOW_LANES_MAX]; /* by ffpf_ibuf_page.lane */
	uint8_t reserved1[4032];
};
FFPF_AT(ffpf_counts_page, state, 16);
FFPF_AT(ffpf_counts_page, lane_count, 20);
FFPF_AT(ffpf_counts_page, counts, 64);
FFPF_SIZE(ffpf_counts_page, 20480);

#endif
