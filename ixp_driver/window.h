/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_WINDOW_H
#define FFPF_IXP_WINDOW_H
/*
 * The window: everything that a host and the board share, and how a host gets it. Paper, section 4.2; the memories that
 * packets lie in have the formats of ../csrc/layout.h, and its rules for widths, order, owners and FFPF_WORD hold here.
 * Owners: (b) the board, (h) the host's driver of one session, (c) the board, before the memory is shared.
 *
 *     host                                             board
 *       connect  ------------------------------------->  a session: a mailbox of its own
 *                <---- ffpf_ixp_hello -----------------   registers, mailbox, replies, doorbells
 *       mailbox.request = ...; sequence; doorbell ---->  StrongARM carries it out
 *                <---- replies.reply; doorbell --------
 *                <---- ffpf_ixp_flow (LOAD, if it went well)   reader page, wake, MBuf, { lane, IBuf } of each port
 *
 * The socket (SOCK_SEQPACKET) does nothing but enumerate: it passes descriptors, the host sends nothing on it, and its
 * end is the end: of the session, whose filters the board unloads, or of the board, whose window is lost then. Memories
 * stay mapped: what was published can still be read.
 *
 * Whatever the host writes is taken as hostile: a request is copied before it is looked at.
 */
#include "layout.h"

#define FFPF_IXP_MAGIC   0x42505849u /* "IXPB" */
#define FFPF_IXP_VERSION 1

#define FFPF_IXP_ENGINES      6
#define FFPF_IXP_CONTEXTS     4 /* of an engine */
#define FFPF_IXP_PORTS_MAX    2
#define FFPF_IXP_NAME_BYTES   16
#define FFPF_IXP_TEXT_BYTES   240
#define FFPF_IXP_STAGE_OFFSET 4096  /* in the mailbox: where the staging area begins */
#define FFPF_IXP_STAGE_BYTES  61440 /* an engine's store is 4 KiB; the rest is for names and limits of an object */
#define FFPF_IXP_ANY_ENGINE   UINT32_MAX

/* What an engine is for. */
enum ffpf_ixp_role { FFPF_IXP_ROLE_NONE = 0, FFPF_IXP_ROLE_RECEIVE = 1, FFPF_IXP_ROLE_FILTER = 2 };

/* What became of an engine. Of the last three it comes back by LOAD or RESET. */
enum ffpf_ixp_engine_state {
	FFPF_IXP_ENGINE_EMPTY = 0,
	FFPF_IXP_ENGINE_LOADED = 1, /* not started, or stopped by its host */
	FFPF_IXP_ENGINE_RUNS = 2,
	FFPF_IXP_ENGINE_HUNG = 3,    /* the watchdog stopped it: work waited, and none was done */
	FFPF_IXP_ENGINE_FAULTED = 4, /* it did what no program may: the text of its registers says what */
	FFPF_IXP_ENGINE_LOST = 5,    /* the board was reset under it */
};

enum ffpf_ixp_board_state {
	FFPF_IXP_BOARD_STARTS = 0,
	FFPF_IXP_BOARD_RUNS = 1,
	FFPF_IXP_BOARD_RESETS = 2,
	FFPF_IXP_BOARD_DEAD = 3, /* a receive engine died: nothing comes any more until RESET */
};

enum ffpf_ixp_port_kind { FFPF_IXP_PORT_FILE = 1, FFPF_IXP_PORT_LIVE = 2, FFPF_IXP_PORT_GENERATOR = 3 };

enum ffpf_ixp_port_state {
	FFPF_IXP_PORT_HOLDS = 0, /* waits for as many filters as it was told to */
	FFPF_IXP_PORT_RUNS = 1,
	FFPF_IXP_PORT_ENDED = 2, /* no packet will come: the lane is FFPF_LANE_CLOSED when all filters have seen all */
	FFPF_IXP_PORT_FAILED = 3,
};

/* How packets come to the host (paper, section 4.3). The board only keeps what the administrator chose. */
enum ffpf_ixp_copy_mode { FFPF_IXP_COPY_ZERO = 0, FFPF_IXP_COPY_ALL = 1, FFPF_IXP_COPY_INTERESTING = 2 };

/*
 * Law: offered = rx_lost + no_descriptor + no_room + oversize + unwanted + received + what is on its way through the
 * receive FIFO and the receive engine, which is nothing once a port has ended.
 */
struct ffpf_ixp_port_registers {
	FFPF_WORD(uint32_t) kind;  /* (c) enum ffpf_ixp_port_kind */
	FFPF_WORD(uint32_t) state; /* (b) enum ffpf_ixp_port_state */
	char name[64];             /* (c) as it was given: "pcap:FILE", "if:veth0" ... */
	FFPF_WORD(uint32_t) link_type;
	FFPF_WORD(uint32_t) ifindex;        /* (c) 0: no interface of this host */
	FFPF_WORD(uint64_t) offered;        /* (b) packets that came over the wire */
	FFPF_WORD(uint64_t) offered_octets; /* (b) */
	FFPF_WORD(uint64_t) rx_lost;        /* (b) the receive FIFO was full */
	FFPF_WORD(uint64_t) no_descriptor;  /* (b) filters were behind by as many packets as there are descriptors */
	FFPF_WORD(uint64_t) no_room;        /* (b) PBuf was full (SRP) */
	FFPF_WORD(uint64_t) oversize;       /* (b) larger than a record can be */
	FFPF_WORD(uint64_t) unwanted;       /* (b) no filter ran */
	FFPF_WORD(uint64_t) received;       /* (b) packets in PBuf */
	FFPF_WORD(uint64_t) socket_lost;    /* (b) live: what the kernel's socket lost; outside the law */
};

/* Cycles: the board's clock, in its own time. busy + stalled + idle = the cycles since the engine was started. */
struct ffpf_ixp_engine_registers {
	FFPF_WORD(uint32_t) role;          /* (b) enum ffpf_ixp_role */
	FFPF_WORD(uint32_t) state;         /* (b) enum ffpf_ixp_engine_state */
	FFPF_WORD(uint32_t) port;          /* (b) of a receive engine */
	FFPF_WORD(uint32_t) words;         /* (b) of its store that are used */
	FFPF_WORD(uint64_t) busy_cycles;   /* (b) an instruction was executed */
	FFPF_WORD(uint64_t) stall_cycles;  /* (b) no context could run, one at least waited for memory */
	FFPF_WORD(uint64_t) idle_cycles;   /* (b) every context waited for a packet */
	FFPF_WORD(uint64_t) instructions;  /* (b) */
	FFPF_WORD(uint64_t) packets;       /* (b) that it has dealt with: stored, or judged */
	FFPF_WORD(uint64_t) sustained_pps; /* (b) packets a second if it were never idle */
	char text[FFPF_IXP_TEXT_BYTES];    /* (b) why it is HUNG, FAULTED or LOST; before state */
};

/* Read-only for every host. */
struct ffpf_ixp_registers {
	uint32_t magic; /* (c) */
	uint16_t version;
	uint16_t ports;                       /* (c) how many of `port` there are */
	uint64_t bytes;                       /* (c) of the whole memory */
	char name[FFPF_IXP_NAME_BYTES];       /* (c) "ixp0" */
	uint32_t clock_hz;                    /* (c) of the engines */
	uint32_t filters_max;                 /* (c) engines that are left for filters */
	uint32_t bms;                         /* (c) enum ffpf_bms_id of every lane */
	uint32_t snap_len;                    /* (c) */
	FFPF_WORD(uint32_t) state;            /* (b) enum ffpf_ixp_board_state */
	FFPF_WORD(uint32_t) resets;           /* (b) */
	FFPF_WORD(uint32_t) sessions;         /* (b) hosts that are connected */
	FFPF_WORD(uint32_t) filters;          /* (b) engines that run one */
	FFPF_WORD(uint32_t) copy_mode;        /* (b) enum ffpf_ixp_copy_mode */
	FFPF_WORD(uint32_t) copy_changes;     /* (b) times that it was changed; stored behind it */
	FFPF_WORD(uint64_t) cycles;           /* (b) the board's own time since it started */
	FFPF_WORD(uint64_t) descriptors;      /* (b) there are */
	FFPF_WORD(uint64_t) free_descriptors; /* (b) on the LIFO */
	FFPF_WORD(uint64_t) advances;         /* (b) `advance read pointer` messages that were taken */
	FFPF_WORD(uint64_t) refused;          /* (b) requests that made no sense */
	FFPF_WORD(uint64_t) sustained_pps;    /* (b) packets a second that the busiest engine could do, at this mix */
	uint64_t reserved0[2];
	struct ffpf_ixp_port_registers port[FFPF_IXP_PORTS_MAX];
	struct ffpf_ixp_engine_registers engine[FFPF_IXP_ENGINES];
};

enum ffpf_ixp_op {
	/* A filter: microcode from the staging area (stage_bytes 0: the framework's own, which takes every packet with
	 * the result UINT32_MAX), fresh buffers, and off it goes unless FFPF_IXP_LOAD_STOPPED. reply.engine: where. */
	FFPF_IXP_LOAD = 1,
	FFPF_IXP_START = 2,     /* from the next packet on; the time in between is not counted */
	FFPF_IXP_STOP = 3,      /* behind the packets that it has begun; its IBuf stays */
	FFPF_IXP_UNLOAD = 4,    /* its IBufs become FFPF_IBUF_DETACHED */
	FFPF_IXP_COPY_MODE = 5, /* value: enum ffpf_ixp_copy_mode. The board's own user, or root */
	FFPF_IXP_RESET = 6,     /* likewise. Every filter is LOST, ports begin anew */
};

#define FFPF_IXP_LOAD_STOPPED 0x1

/* (h) All of it before `sequence`. */
struct ffpf_ixp_request {
	uint32_t op;     /* enum ffpf_ixp_op */
	uint32_t engine; /* 0 to 5; LOAD: FFPF_IXP_ANY_ENGINE or the one that is wanted; only own ones */
	uint32_t value;
	uint32_t flags;       /* FFPF_IXP_LOAD_* */
	uint32_t stage_bytes; /* LOAD: of the staging area, from its beginning */
	uint32_t ibuf_slots;  /* LOAD: power of two, for each lane; 0: 4096 */
	uint32_t mbuf_bytes;  /* LOAD: power of two, or 0: none */
	uint32_t reserved;
};

/* Host-writable; one per session. Behind it, at FFPF_IXP_STAGE_OFFSET, lies the staging area. */
struct ffpf_ixp_mailbox {
	uint32_t magic; /* (c) */
	uint32_t version;
	uint64_t bytes;               /* (c) */
	FFPF_WORD(uint32_t) sequence; /* (h) of the request, 1 more than that of the one before; release */
	/* (h) `advance read pointer`: added to after R was stored in a reader page; release. Needs no reply: the board
	 * looks at R of the session's flows, of which it takes only last R <= R <= W. */
	FFPF_WORD(uint32_t) advance;
	struct ffpf_ixp_request request;
};

/* (b) All of it before `sequence`. */
struct ffpf_ixp_reply {
	int32_t status;  /* 0, or -code (common/error.h) */
	uint32_t engine; /* LOAD */
	char text[FFPF_IXP_TEXT_BYTES];
};

/* Read-only for the host; one per session. */
struct ffpf_ixp_replies {
	uint32_t magic; /* (c) */
	uint32_t version;
	uint64_t bytes;               /* (c) */
	FFPF_WORD(uint32_t) sequence; /* (b) of the request that was answered last; release */
	uint32_t reserved;
	struct ffpf_ixp_reply reply;
};

/* The first datagram, with descriptors in this order. */
enum ffpf_ixp_hello_fd {
	FFPF_IXP_FD_REGISTERS,  /* sealed as lanes are */
	FFPF_IXP_FD_MAILBOX,    /* writable */
	FFPF_IXP_FD_REPLIES,    /* sealed as lanes are */
	FFPF_IXP_FD_BOARD_BELL, /* eventfd, non-blocking: the host writes it after `sequence` or `advance` */
	FFPF_IXP_FD_HOST_BELL,  /* eventfd, non-blocking: the board writes it after a reply */
	FFPF_IXP_HELLO_FDS
};

enum ffpf_ixp_datagram { FFPF_IXP_HELLO = 1, FFPF_IXP_FLOW = 2, FFPF_IXP_REFUSED = 3 };

struct ffpf_ixp_hello {
	uint32_t magic;
	uint32_t version;
	uint32_t what;  /* FFPF_IXP_HELLO; FFPF_IXP_REFUSED, without descriptors: too many sessions */
	uint32_t ports; /* lanes of each flow */
};

/*
 * One for each LOAD that went well, sent before the reply. Descriptors: reader page (writable), what its reader is
 * woken with (a timerfd), { lane, IBuf } of each port, and, if there is one, the MBuf (writable). Lanes come with each
 * flow: a board that was reset, or a capture that begins anew, has fresh ones.
 */
struct ffpf_ixp_flow {
	uint32_t magic;
	uint32_t version;
	uint32_t what;     /* FFPF_IXP_FLOW */
	uint32_t sequence; /* of the request */
	uint32_t engine;
	uint32_t ports;
	uint32_t mbuf; /* 1: the last descriptor is an MBuf's */
	uint32_t reserved;
};
#define FFPF_IXP_FLOW_FDS_MAX (2 + 2 * FFPF_IXP_PORTS_MAX + 1)

#endif
