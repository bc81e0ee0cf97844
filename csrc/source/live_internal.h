/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_INTERNAL_H
#define FFPF_SOURCE_LIVE_INTERNAL_H
/*
 * The live reader's state, shared by the files live*.c: live.c opens, closes and is the table of operations,
 * live_walk.c turns frames into descriptors, live_wait.c waits, live_filter.c places the filter, live_count.c counts.
 *
 *      tail                      at                        units of the ring, in ring order
 *     --+-------+-------+-------+----.----+-------+--
 *       | held  | held  | held  | held    | kernel's ...
 *     --+-------+-------+-------+----.----+-------+--
 *                                    ^ at.frame: next to be looked at, at.left packets of this unit to come
 *
 * Held units carry what the batch points to. They go back to the kernel in the next next(), or in settle() once the
 * consumer has released everything: that is why the last packet of a ring that holds no more is copied (keep).
 */
#include "bpf/bpf.h"
#include "reader/reader.h"
#include "source/live.h"
#include "source/live_link_type.h"
#include "source/tpacket_ring.h"

#include <net/if.h>
#include <stdatomic.h>
#include <time.h>

#define LIVE_MAX_SNAP_LEN 262144

#define LIVE_BATCH 128 /* descriptors: few enough that a packet's first lines are still in cache when it is handled */
#define LIVE_SHARE 8   /* of the ring's units, at most one in so many is held by a batch, but one */

struct live_position {
	uint8_t *frame;
	uint32_t unit;
	uint32_t left;    /* packets of the unit from frame on; 0: the unit is not opened */
	uint32_t held;    /* units from tail on that are not the kernel's; `unit` is the last of them while left > 0 */
	uint32_t invalid; /* frames so far that made no sense: FFPF_DROP_INVALID */
};

enum live_refilter {
	REFILTER_NONE,    /* the kernel's filter is the whole truth */
	REFILTER_ALL,     /* every packet is filtered here: always, or until `refilter_until` */
	REFILTER_COUNTED, /* the next refilter_units units */
};

struct live {
	struct ffpf_reader reader; /* first */

	/* set at open */
	int fd;
	int wake_fd;
	int ifindex;    /* 0: any */
	int lo_ifindex; /* -1: there is none */
	bool cooked;
	bool promisc;
	bool immediate;
	int timeout_ms;
	char device[IFNAMSIZ];
	struct tpacket_ring ring;
	uint32_t batch_units; /* that a batch may hold: the kernel has the others to fill while it is consumed */

	/* the walk */
	uint32_t tail;
	struct live_position at;
	struct live_position batch_start;
	uint32_t count, released; /* descriptors of the batch */
	const uint8_t *kept_from; /* where the packet at ring.keep was */
	int batch_vlan_offset;    /* with which it was made */
	uint32_t batch_header;    /* octets of the cooked header then */
	uint32_t skipped;         /* turned away since the last descriptor of this or an earlier batch */
	uint32_t carried;         /* of these, before batch_start */
	int vlan_offset;
	enum ffpf_direction direction;
	bool nonblock;

	/* the filter */
	const struct ffpf_bpf_prog *prog;
	enum live_refilter refilter;
	bool kernel_filters;   /* prog is attached to the socket */
	uint32_t known_result; /* of whatever the kernel lets pass; 0: prog has more than one */
	struct timespec refilter_until;
	uint32_t refilter_units;
	const char *filter_warning;
	char filter_warning_text[128];

	/* waiting */
	_Atomic bool woken;     /* set by wake, pairs with the exchange in live_next */
	uint64_t pace_until_ns; /* CLOCK_MONOTONIC; 0: timeout_ms */
	bool netdown;           /* ENETDOWN seen, and since then neither a packet nor the interface's end */
	int netdown_wait_ms;

	/* counts */
	struct ffpf_counters counters;
	uint64_t kernel_packets; /* passed the kernel's filter, dropped ones included */
	uint64_t iface_lost_seen;

	struct ffpf_packet packets[LIVE_BATCH];
};

/* live_walk.c */
uint32_t live_walk(struct live *l);         /* fills packets[] as far as units are ours; the count */
void live_give_back(struct live *l);        /* hands walked units to the kernel; every descriptor must be released */
void live_rewind(struct live *l);           /* takes back what was served and not released */
bool live_more_ready(const struct live *l); /* without a wait */
void live_set_link_type(struct live *l, int dlt);

/* live_wait.c: FFPF_BATCH when the socket may have packets */
enum ffpf_outcome live_wait(struct live *l, const struct timespec *deadline);

/* live_filter.c */
int live_attach_accept(struct live *l, struct ffpf_error *err); /* the filter that cuts packets at snap_len */
int live_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog);
void live_filter_settle(struct live *l); /* before each walk while refilter is not NONE and the kernel filters */

/* live_count.c */
int live_counters(struct ffpf_reader *r, struct ffpf_counters *out);

/* timestamp.c: asks driver and socket for the device's own stamps; FFPF_LIVE_* or -code */
int ffpf_timestamp_enable(int fd, const char *device, enum ffpf_tstamp_type type, struct ffpf_error *err);

#endif
