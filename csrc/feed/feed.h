/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FEED_FEED_H
#define FFPF_FEED_FEED_H
/*
 * Userspace lanes: one thread that takes what a reader (reader/reader.h) delivers, and is the source of one hook for
 * each group that wants it.
 *
 *     savefile --+                            +--> hook of a group --> lane, IBufs --> that group's readers
 *     TPACKET  --+--> reader --> feed (thread)+--> hook of another group ...
 *
 *   call                            by
 *   create, start, stop, join,      control plane: one thread at a time
 *   add, remove, destroy
 *   counters, state, error, end_fd  anybody between create and destroy
 *
 *     READY --start--> RUNNING --stop--> STOPPED      the hooks are open: what becomes of them is the control plane's
 *                         |----end----> ENDED        the hooks were closed: their readers see the end behind the rest
 *                         +----error--> FAILED       the same, or open (tells_failure); ffpf_feed_error() says why
 *
 * The flows of a hook come and go, and change their filters, at any time (hook/hook.h); its hooks do so by add and
 * remove. The thread blocks all signals.
 *
 * Savefiles: packets are as they were recorded, a VLAN tag among their octets, and filters see them so, as those of
 * `tcpdump -r` do; a cooked header, too. Times beyond the years 1678 to 2262 become the nearest that nanoseconds in 64
 * bits can tell. Other readers: filters see what one attached to a socket sees, the tag beside the packet, and no
 * cooked header.
 */
#include "hook/hook.h"
#include "reader/reader.h"

#define FFPF_FEED_HOOKS_MAX 32

enum ffpf_feed_pace {
	FFPF_PACE_NONE,     /* as fast as possible; live readers have their own */
	FFPF_PACE_RECORDED, /* rate: how many times as fast as it was recorded */
	FFPF_PACE_PACKETS,  /* rate: packets a second */
	FFPF_PACE_BITS,     /* rate: bits a second, by the packets' length on the wire */
};

enum ffpf_feed_times {
	FFPF_FEED_TIMES_GIVEN, /* as the reader says; each loop of a file says the same */
	FFPF_FEED_TIMES_NOW,   /* when the packet is handed to the hook */
};

enum ffpf_feed_full {
	FFPF_FEED_DROPS, /* a packet for which there is no room is dropped, and counted, as by any live source */
	FFPF_FEED_WAITS, /* SRP: the feed waits until every flow of every group could have it */
};

struct ffpf_feed_config {
	enum ffpf_feed_pace pace;
	double rate; /* positive; not looked at with FFPF_PACE_NONE */
	enum ffpf_feed_times times;
	enum ffpf_feed_full full;
	uint64_t patience_ns; /* FFPF_FEED_WAITS: at most so long for one packet, which is dropped then; UINT64_MAX */
	uint64_t loops;       /* how often a savefile is played, at least once; 1 for other readers */
	uint16_t hatype;      /* ARPHRD_* of the interface, 0: unknown; cooked packets say it themselves */
	bool tells_failure;   /* its hooks stay open when it fails: the control plane tells their readers, and closes */
};

enum ffpf_feed_state {
	FFPF_FEED_READY,
	FFPF_FEED_RUNNING,
	FFPF_FEED_STOPPED,
	FFPF_FEED_ENDED,
	FFPF_FEED_FAILED,
};

struct ffpf_feed_counters {
	uint64_t packets, bytes; /* given to the hooks: octets as captured */
	uint64_t loops;          /* finished */
	uint64_t late_ns;        /* by how much the last paced packet was behind its time */
	uint64_t late_max_ns;    /* and the latest of all */
	uint64_t waits, wait_ns; /* FFPF_FEED_WAITS: packets that had to wait for room, and how long in all */
	uint64_t lost; /* packets that the reader lost or refused, by its counters: each flow counts them too */
};

struct ffpf_feed;

/* The reader becomes the feed's, also where its thread may not end a wait in next() (see wake in reader.h) and so
 * delays stop. *out is untouched on failure, and the reader the caller's. */
int ffpf_feed_create(struct ffpf_feed **out, struct ffpf_reader *reader, const struct ffpf_feed_config *cfg,
		     struct ffpf_error *err);
/* A savefile, read from its start. fd is a regular file's: the caller may close it, but nobody else may use its file
 * position, which every duplicate of the descriptor shares. */
int ffpf_feed_create_savefile(struct ffpf_feed **out, int fd, const struct ffpf_feed_config *cfg,
			      struct ffpf_error *err);
/* Stops, joins. Every hook must have been removed. NULL is legal. */
void ffpf_feed_destroy(struct ffpf_feed *feed);

/* Sets what the reader decides of a hook: link type, VLAN offset, what filters do not see. */
void ffpf_feed_describe(const struct ffpf_feed *feed, struct ffpf_hook_config *cfg);
const struct ffpf_reader_info *ffpf_feed_info(const struct ffpf_feed *feed);

/* Once. */
int ffpf_feed_start(struct ffpf_feed *feed, struct ffpf_error *err);
/* Asks the thread to end, between two packets, and returns at once. Async-signal-safe; a second call does nothing. */
void ffpf_feed_stop(struct ffpf_feed *feed);
/* Waits until the thread has ended, for whatever reason. */
void ffpf_feed_join(struct ffpf_feed *feed);

/* From its next packet on the feed is this hook's source; where no packet will come any more the hook is closed at
 * once. Packets that are waiting for room are given to a new hook too. */
int ffpf_feed_add(struct ffpf_feed *feed, struct ffpf_hook *hook, struct ffpf_error *err);
/* As remove and add between two packets: none is lost, and none comes twice. */
int ffpf_feed_replace(struct ffpf_feed *feed, struct ffpf_hook *hook, struct ffpf_hook *successor,
		      struct ffpf_error *err);
/* When this returns the feed cannot reach the hook any more, and what it stored is published: the caller is its source.
 * A hook that is not the feed's is legal. */
void ffpf_feed_remove(struct ffpf_feed *feed, struct ffpf_hook *hook);

enum ffpf_feed_state ffpf_feed_state(const struct ffpf_feed *feed);
/* Why it failed: valid once the state is FFPF_FEED_FAILED. */
const struct ffpf_error *ffpf_feed_error(const struct ffpf_feed *feed);
void ffpf_feed_counters(const struct ffpf_feed *feed, struct ffpf_feed_counters *out);
/* Readable, level-triggered, once the thread has ended. The feed's. */
int ffpf_feed_end_fd(const struct ffpf_feed *feed);

#endif
