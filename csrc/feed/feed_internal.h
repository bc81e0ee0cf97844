/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FEED_FEED_INTERNAL_H
#define FFPF_FEED_FEED_INTERNAL_H
/*
 * The feed's state, shared by feed.c (control plane), feed_run.c (the thread), feed_pace.c (when a packet is due) and
 * feed_packet.c (from a reader's descriptor to a hook's packet).
 *
 * The hooks are slots that the control plane stores to, and the thread loads for each packet:
 *
 *     control plane                              thread
 *     slot = NULL              (seq_cst)         inside = 1      (seq_cst, exchange)
 *     wait: inside == 0        (seq_cst)         load slot       (seq_cst)
 *           or passes moved    (acquire)         ... a packet ...
 *                                                passes += 1, inside = 0   (release)
 *
 * Of the store of slot and the exchange one comes first in the order of all seq_cst operations: either the thread loads
 * NULL, or the control plane sees that it is inside, and waits until it has left. It is never inside while it waits.
 */
#include "feed/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

struct feed_pacer {
	enum ffpf_feed_pace pace;
	double rate;
	uint64_t start_ns; /* CLOCK_MONOTONIC: of the first packet */
	uint64_t now_ns;   /* as last read */
	bool started;      /* start_ns is set */
	bool playing;      /* FFPF_PACE_RECORDED: latest_ns is set, in this loop */
	int64_t latest_ns; /* latest time of the packets before */
	double due_ns;     /* of the next packet, from start_ns on */
};

struct ffpf_feed {
	struct ffpf_feed_config cfg;
	struct ffpf_reader_info info; /* of the reader, as it was at first */
	FILE *fp;                     /* of the savefile, ours; NULL: another kind of reader */
	int vlan_offset;
	bool cooked; /* packets begin with a header of LINUX_SLL2 */

	/* between control plane and thread */
	struct ffpf_hook *_Atomic hooks[FFPF_FEED_HOOKS_MAX]; /* NULL: free */
	_Atomic uint32_t slots;                               /* no slot from here on was ever used */
	_Atomic uint32_t inside;
	_Atomic uint64_t passes;
	_Atomic bool stopping;            /* stored before stop_fd is written */
	_Atomic enum ffpf_feed_state now; /* stored by the thread when it ends, with `control` held and err set */
	int stop_fd, end_fd;              /* eventfds that nobody else has */

	/* the control plane's */
	pthread_mutex_t control; /* slots and the end; the thread takes it once, when no packet will come any more */
	pthread_t thread;
	bool to_join;

	/* the thread's */
	struct ffpf_reader *reader; /* a savefile's is another one in each loop */
	struct ffpf_error err;      /* read by others once `now` is FFPF_FEED_FAILED */
	struct feed_pacer pacer;
	uint64_t played;              /* packets in the loops before this one */
	int64_t latest_ns;            /* time of the hooks' packets so far, and what they were told as floor */
	uint8_t *untagged;            /* room for a packet whose tag is taken out */
	size_t untagged_bytes;        /* as far as it has grown */
	uint64_t looked_ns;           /* when the reader's counters were looked at */
	struct ffpf_counters counted; /* what they said */
	_Atomic uint64_t packets, bytes, loops, late_ns, late_max_ns, waits, wait_ns, lost; /* one writer */
};

/* feed_packet.c: *out points to the reader's memory, or to feed->untagged. 0, or -code and feed->err is set. */
int feed_packet(struct ffpf_feed *feed, const struct ffpf_packet *from, struct ffpf_hook_packet *out);

/* feed.c: opens the savefile from its start. */
int feed_open_savefile(struct ffpf_reader **out, FILE *fp, struct ffpf_error *err);

/* feed_pace.c */
/* When the packet is due, CLOCK_MONOTONIC; 0: at once. Once for each packet, in order. */
uint64_t feed_due(struct feed_pacer *pacer, uint32_t wire_len, int64_t time_ns);

/* feed_run.c */
void *feed_run(void *feed);

#endif
