/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_READER_READER_H
#define FFPF_READER_READER_H
/*
 * The reader interface: batches of packet descriptors, whatever serves them.
 *
 *     savefile or stream --+
 *     TPACKET_V3 blocks ---+--> ffpf_reader --> next(): batch of descriptors --> consumer --> release(n)
 *     lanes (PBuf, IBuf) --+
 *
 * A reader belongs to one thread at a time; only wake() may be called from another thread or from a signal handler.
 *
 *   call          may be made
 *   next          when every descriptor of the batch before was released, or given back by set_filter
 *   release(n)    after next; the first n descriptors not yet released are done with
 *   settle        when the consumer returns to its own caller: see below
 *   give_back     when the consumer returns to its own caller: see below
 *   set_filter    at any time, also from within the handling of a packet: see below
 *   set_in_place  at any time: see below
 *   pace          at any time: see below
 *   overwritten   after release, before next and all that gives descriptors back
 *   wake          at any time before close, from anywhere (async-signal-safe)
 *   close         last; NULL is legal
 *
 * Life time: what data points to, released or not, stays as it is until the following call of next() or close().
 * So R advances in batches, and a consumer may hand out the pointer it has just released.
 */
#include "common/error.h"
#include "reader/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ffpf_bpf_prog;

enum ffpf_outcome {
	FFPF_BATCH = 1,   /* count > 0 descriptors */
	FFPF_WOULD_BLOCK, /* non-blocking reader, nothing there */
	FFPF_TIMEOUT,     /* the read timeout passed with nothing to deliver */
	FFPF_END,         /* end of the savefile or stream */
	FFPF_INTERRUPTED, /* wake() was called, or a signal came and nothing was there */
	FFPF_LAPPED,      /* FRP: the writer overtook this reader; counted as dropped, go on with next() */
	FFPF_FAILED,      /* reader->err says why */
};

struct ffpf_batch {
	const struct ffpf_packet *pkts; /* memory of the reader */
	uint32_t count;
	const uint8_t *mem_lo; /* every octet that the batch's descriptors (and readable heads) point to ... */
	const uint8_t *mem_hi; /* ... lies in [mem_lo, mem_hi); the drop-in's writer asks whether a pointer is ours */
};

/* Law, for every reader at every moment between calls: seen = filtered + delivered + sum(dropped). */
enum ffpf_drop {
	FFPF_DROP_KERNEL,   /* the kernel's ring was full (PACKET_STATISTICS) */
	FFPF_DROP_PBUF,     /* SRP: PBuf full */
	FFPF_DROP_IBUF,     /* SRP: this flow's IBuf full */
	FFPF_DROP_LAPPED,   /* FRP: overwritten before or while it was read */
	FFPF_DROP_OVERSIZE, /* larger than the largest record */
	FFPF_DROP_NESTED,   /* the lane's writer was interrupted by itself */
	FFPF_DROP_INVALID,  /* a descriptor that makes no sense: lengths beyond their container */
	FFPF_DROP_EVICTED,  /* SRP: the flow's reader wrote an R that cannot be, and is served no more */
	FFPF_DROP_LEFT,     /* the filter took it while the flow's group had gone on without the flow */
	FFPF_DROP_CAUSES
};

struct ffpf_counters {
	uint64_t seen;      /* packets that reached the flow, dropped ones included */
	uint64_t filtered;  /* turned away by the filter */
	uint64_t delivered; /* given to the consumer and released */
	uint64_t dropped[FFPF_DROP_CAUSES];
	uint64_t iface_drops; /* outside the law: what the interface itself lost, since the reader was opened */
	uint64_t waiting; /* outside the law: accepted by the kernel, not yet delivered; ps_recv is seen + waiting */
	uint64_t
	    misdirected; /* outside the law: of those filtered, the ones that passed all but the direction; lanes */
};

const char *ffpf_drop_name(enum ffpf_drop cause);              /* "kernel", "pbuf", ...; static text */
uint64_t ffpf_counters_dropped(const struct ffpf_counters *c); /* sum over the causes */

enum ffpf_tick { FFPF_TICK_US = 0, FFPF_TICK_NS = 1 };
enum ffpf_direction { FFPF_DIR_INOUT = 0, FFPF_DIR_IN = 1, FFPF_DIR_OUT = 2 }; /* values of pcap_direction_t */

/* How the packets of this reader are filtered now; for people (FFPF_STATS) and tests. */
enum ffpf_filter_kind {
	FFPF_FILTER_NONE,
	FFPF_FILTER_KERNEL,      /* attached to the socket */
	FFPF_FILTER_JIT,         /* native code in this process */
	FFPF_FILTER_INTERPRETER, /* bytecode in this process */
};

struct ffpf_reader_info {
	int link_type;         /* DLT_ value now in force */
	const int *link_types; /* the choices (set_link_type), memory of the reader; NULL and 0 when there is none */
	uint32_t link_type_count;
	int link_type_ext; /* pcap_datalink_ext(): FCS bits of a savefile's header, else 0 */
	uint32_t snap_len;
	enum ffpf_tick tick;
	bool swapped; /* savefile of the other byte order */
	int version_major, version_minor;
	size_t buffer_bytes; /* of the kernel's ring; 0 for savefiles */
	bool switched;       /* whoever fills it stops while its flow is paused: nothing is too old for a flow */
	enum ffpf_filter_kind filter_kind;
};

struct ffpf_reader;

struct ffpf_reader_ops {
	const char *name; /* "savefile", "tpacket", "lanes" */

	/* Waits as the reader was told to (timeout, non-blocking) and fills *batch. Hands the memory of released
	 * descriptors back to its writer. */
	enum ffpf_outcome (*next)(struct ffpf_reader *r, struct ffpf_batch *batch);
	void (*release)(struct ffpf_reader *r, uint32_t n);

	/* May be NULL: nothing to do. The consumer leaves off reading and its caller may now wait for poll_fd: when
	 * every descriptor has been released, all memory but that of the last one goes back to its writer now, so that
	 * poll_fd is not readable on account of packets that were read. While one has not, poll_fd stays readable. */
	void (*settle)(struct ffpf_reader *r);

	/* May be NULL. Likewise, but descriptors not yet released are given back: the consumer forgets its batch, and
	 * next() serves them again. For a reader whose memory others wait for. */
	void (*give_back)(struct ffpf_reader *r);

	/* From now on only packets that pass `prog` (NULL: all) are delivered. Descriptors not yet released are given
	 * back: the consumer forgets its batch and calls next(), which serves them again, filtered anew, and none that
	 * fails the new filter. The current packet's memory stays. The reader keeps a pointer to prog until the next
	 * set_filter or close; the caller keeps prog alive. 0 or -code; on failure the old filter stays in force. */
	int (*set_filter)(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog);

	/*
	 * Both NULL: no writer overwrites what this reader serves, and copying it would be for nothing. Else true: from
	 * now on (on) packets that a writer may overwrite meanwhile are served where they lie, read-only, or (!on, as
	 * from the start) as copies that were checked; descriptors not yet released are given back, as by set_filter.
	 * False: it makes no difference.
	 */
	bool (*set_in_place)(struct ffpf_reader *r, bool on);
	/*
	 * For a consumer that has used packets in place, and uses them no more: marks[i] is 1 if descriptor first + i
	 * of the last batch had been overwritten by now, else 0; how many are 1. All n were released. Lengths, times
	 * and results are right in any case. What was overwritten is not delivered but lapped, from the first call for
	 * it on; whoever never asks is taken to have used his packets until the following next() or close().
	 */
	uint32_t (*overwritten)(struct ffpf_reader *r, uint32_t first, uint32_t n, uint8_t *marks);

	/*
	 * May be NULL: the reader waits as it was opened to. A consumer that can wait for company, so as not to wake
	 * for every few packets. want > 0: whoever waits, in next() or for poll_fd, need not be woken for fewer
	 * packets, as long as there is memory for more. until_ns > 0, of CLOCK_MONOTONIC: next() waits until then, be
	 * it long past, instead of its timeout, and then returns what is there, or FFPF_TIMEOUT; non-blocking readers
	 * do not wait for it. 0: as opened.
	 */
	void (*pace)(struct ffpf_reader *r, uint32_t want, uint64_t until_ns);

	/* Each may be NULL: not supported by this kind of reader. 0 or -code, r->err set. */
	int (*set_link_type)(struct ffpf_reader *r, int dlt);
	int (*set_direction)(struct ffpf_reader *r, enum ffpf_direction dir);
	int (*set_nonblock)(struct ffpf_reader *r, bool on);
	int (*inject)(struct ffpf_reader *r, const void *data, size_t len); /* octets sent, or -code */

	int (*counters)(struct ffpf_reader *r, struct ffpf_counters *out);
	/* A descriptor for select/poll/epoll: readable, level-triggered, while next() would not wait; -1 when none.
	 * Where packets are held back for older ones of another lane it is readable now and then, and next() has
	 * nothing: whoever comes then returns at once or, of a blocking reader, after some 10 ms. */
	int (*poll_fd)(const struct ffpf_reader *r);
	/* The next, or current, next() returns FFPF_INTERRUPTED once. Async-signal-safe. */
	void (*wake)(struct ffpf_reader *r);
	void (*close)(struct ffpf_reader *r); /* frees r */
};

/* First member of every kind of reader. */
struct ffpf_reader {
	const struct ffpf_reader_ops *ops;
	struct ffpf_reader_info info;
	struct ffpf_error err; /* of the last call that failed */
};

#endif
