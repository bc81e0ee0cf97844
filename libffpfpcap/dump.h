/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_DUMP_H
#define FFPFPCAP_DUMP_H
/*
 * Writing savefiles. A pcap_dumper_t is the FILE that programs cast it to, so what we know about one is kept beside it,
 * in a dumper that is found by the FILE's address.
 *
 *     pcap_dump_open ---> registered: packets of a callback may be gathered
 *     "-", pcap_dump_fopen, pcap_dump_open_append, a FILE of the program's own ---> not registered: plain stdio
 *     pcap_dump_file ---> from then on plain stdio
 *     pcap_dump_close --> no longer registered
 *
 * Gathering. While a batch is handled its packets lie in the reader's memory; what has to be written is noted, and
 * written by few calls of writev(2). It begins with an empty FILE buffer. The octets still to be written are, in this
 * order:
 *
 *     pieces[0 .. piece_count) | run | FILE's buffer (what the program itself wrote, by the FILE it had by a cast)
 *
 * A run is a stretch of the reader's memory that grows while packets follow each other as they do in a savefile, their
 * record headers included. When it ends it becomes a piece, or, being short, is copied behind what the stage holds,
 * where short runs and headers become one piece: a piece costs the kernel more than a small copy costs us.
 *
 * A program that has the FILE by a cast may use it as its own between read calls: write, ask for its position, fclose()
 * it. Within a callback, behind a packet it has just dumped, it may write, but not seek or close it: then it must have
 * asked for it by pcap_dump_file(). It may flush it if it does so from the first packet on, as snort does: that packet
 * goes through the FILE's buffer, and where the buffer is empty when the next one comes nothing is gathered for it
 * (enum dump_trial). A registration that fclose() left behind is replaced when a FILE of that
 * address is opened again.
 */
#include "handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>
#include <sys/uio.h>

/* Whether the program flushes the FILE that it has by a cast behind each packet. */
enum dump_trial {
	DUMP_UNTRIED, /* no packet is in the FILE's buffer yet */
	DUMP_WATCHED, /* one is: empty when the next one comes, the buffer was flushed by the program */
	DUMP_TRIED,
};

struct dumper {
	/* Its address identifies it; NULL: free to be used again. Stored with release under the registry's lock when
	 * the rest is set; pairs with the acquire in ffpf_dumper_find(). */
	_Atomic(FILE *) file;
	struct dumper *next_in_bucket; /* never changes: dumpers are used again, but not freed */

	pthread_mutex_t lock; /* guards what follows; see ffpf_dumper_lock() */
	bool gathers;         /* false once the program has the FILE, or two threads write to it */
	enum dump_trial trial;
	int fd;                        /* that of the FILE when it was opened */
	struct pcap *source;           /* the handle whose batch is being gathered; NULL: nothing is */
	struct pcap *linked;           /* the handle in whose list of dumpers to finish this one is */
	struct dumper *next_of_linked; /* more dumpers of that list, which is linked->finish_state */
	uint64_t since_flush;          /* octets dumped since pcap_dump_flush, but for those gathered */
	off_t begin;                   /* position of the FILE before pieces and run; -1 not yet asked for */
	const uint8_t *run, *run_end;  /* equal: none */
	size_t piece_bytes;            /* sum over pieces */
	unsigned piece_count;
	struct iovec *pieces; /* DUMP_PIECES; in the same allocation as stage */
	uint8_t *stage;       /* DUMP_STAGE_BYTES, malloc'ed; NULL until first used */
	size_t stage_used;
};

#define DUMP_STAGE_BYTES 65536
#define DUMP_PIECES      1024 /* IOV_MAX of Linux */
/* Runs up to this length are copied; longer ones become pieces. Between 64 and 2048 the cost of a packet is the same.
 */
#define DUMP_SHORT_RUN 512
/* Fewer octets go through the FILE's buffer, and batches with fewer packets left are not gathered: a system call for
 * each would cost more than it saves. */
#define DUMP_WORTH_A_CALL  8192
#define DUMP_WORTH_PACKETS 8

/* dump_registry.c. All thread-safe. */

/* The dumper of a registered FILE, or NULL. The last answer of a thread is found without a search. */
struct dumper *ffpf_dumper_find(FILE *fp);
/* Registers a FILE that is to gather, if need be anew (the program closed it behind our back and got its address
 * again). Without memory it is not registered. */
void ffpf_dumper_register(FILE *fp);
void ffpf_dumper_forget(FILE *fp);
/* For the end of the process: visit(d) for each registered dumper. */
void ffpf_dumper_each(void (*visit)(struct dumper *d));

/* A process of one thread needs no lock. Returns what unlock() is to be told. */
static inline bool
ffpf_dumper_lock(struct dumper *d)
{
	bool locked = !__libc_single_threaded;

	if (locked)
		pthread_mutex_lock(&d->lock);
	return locked;
}

static inline void
ffpf_dumper_unlock(struct dumper *d, bool locked)
{
	if (locked)
		pthread_mutex_unlock(&d->lock);
}

/* dump_gather.c; the lock is held */

/* Gathers a packet that lies in memory of p's current batch; false when it must be written plainly. */
bool ffpf_dumper_gather(struct dumper *d, struct pcap *p, const struct pcap_pkthdr *h, const u_char *data);
/* Writes out all that was gathered: afterwards the FILE is as if it had been written to. */
void ffpf_dumper_write_out(struct dumper *d);

/* Octets gathered and not yet written. */
static inline size_t
ffpf_dumper_gathered(const struct dumper *d)
{
	return d->source ? d->piece_bytes + (size_t)(d->run_end - d->run) : 0;
}

/* Record header of a savefile. */
struct dump_record {
	int32_t sec, frac;
	uint32_t cap_len, wire_len;
};

static inline struct dump_record
ffpf_dump_record(const struct pcap_pkthdr *h)
{
	/* cut to 32 bits by the format */
	return (struct dump_record){ (int32_t)h->ts.tv_sec, (int32_t)h->ts.tv_usec, h->caplen, h->len };
}

#endif
