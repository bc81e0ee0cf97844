/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_SAVEFILE_INTERNAL_H
#define FFPF_SOURCE_SAVEFILE_INTERNAL_H
/*
 * What the files of the savefile reader share; nobody else includes it.
 *
 *   savefile.c           open, the reader's operations, batches
 *   savefile_window.c    where octets come from, and the memory they lie in
 *   savefile_pcap.c      pcap: header, walk over records
 *   pcapng.c             pcapng: header, walk over blocks
 *   pcapng_interface.c   pcapng: interfaces and their clocks
 *   savefile_pseudo.c    headers that some capture hosts write in their own byte order
 */
#include "bpf/bpf.h"
#include "common/error.h"
#include "reader/reader.h"
#include "source/pcapng_interface.h"
#include "source/savefile.h"

#include <byteswap.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>

#define SAVEFILE_BATCH 128 /* descriptors: 6 KiB, so a batch stays in the first-level cache */

/*
 * The window. Offsets are from mem; they fit 32 bits, since the largest record of any link type is 128 MiB.
 *
 *   0          head                lo                     hi                    len
 *   | headroom | records walked    | records to walk      | free                |
 *
 * The octet at file offset f lies at an offset that is f modulo 4096, so that copies out of the page cache are aligned
 * on both sides; hence the records slide down by whole pages, and head is WINDOW_HEADROOM to twice that.
 */
#define WINDOW_HEADROOM 4096u

struct window {
	uint8_t *mem;
	size_t len;        /* of the mapping */
	size_t fill_to;    /* read ahead up to this offset; a larger record is read beyond it */
	size_t lo;         /* first octet not walked over */
	size_t hi;         /* behind the last octet read */
	size_t patched_hi; /* octets before this one are in this host's order where savefile_pseudo.c puts them so */
};

enum source_kind {
	SOURCE_PREAD, /* a regular file or block device: pread(2), the descriptor's position is not touched */
	SOURCE_READ,  /* pipe, socket, terminal: read(2) returns what is there */
	SOURCE_STDIO, /* no descriptor */
};

enum walk_state {
	WALK_FULL,   /* the batch is full, or must end here */
	WALK_NEED,   /* the record at lo is not whole: sf->need octets of it must be there */
	WALK_FAILED, /* the record at lo is wrong: error set, lo moved on; only with an empty batch */
};

struct savefile;

typedef enum walk_state (*walk_fn)(struct savefile *sf);
/* The stream ended with lo < hi, after walk asked for sf->need octets. Sets the error. */
typedef void (*cut_fn)(struct savefile *sf);
/* Puts a packet's pseudo header into this host's byte order in place, when `swap`, and corrects *wire_len. */
typedef void (*pseudo_fn)(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap);

enum lengths_order { LENGTHS_CAP_FIRST, LENGTHS_WIRE_FIRST, LENGTHS_UNSURE };
enum time_scale { SCALE_NONE, SCALE_UP, SCALE_DOWN };

struct pcap_format {
	uint32_t header_len; /* of a record: 16, or 24 for Kuznetzov's */
	enum lengths_order lengths;
	enum time_scale scale;
	uint32_t sure_len; /* captured lengths up to this one are neither cut nor refused */
	uint32_t max_len;
};

struct savefile {
	struct ffpf_reader reader; /* first: a reader is cast to this */
	walk_fn walk;
	cut_fn cut;
	pseudo_fn pseudo; /* NULL for most link types */
	const struct ffpf_bpf_prog *prog;

	struct window win;
	size_t need;
	enum source_kind source;
	FILE *fp;
	int fd;
	int last_errno; /* of the last read that failed */
	bool interruptible;
	off_t file_end;    /* SOURCE_PREAD: file offset of the octet at win.hi */
	off_t fp_position; /* SOURCE_PREAD: where the FILE was when last we or the program were told */

	/* The batch. Records [batch_lo, ends[0]), [ends[0], ends[1]) ... hold one delivered packet each, after the
	 * skipped ones; tail_skipped follow the last. */
	uint32_t count, released, tail_skipped;
	size_t batch_lo;
	struct ffpf_counters counters;
	_Atomic bool woken; /* set by wake() in any thread, pairs with the exchange in next() */

	struct pcap_format pcap;
	struct pcapng_format pcapng;

	uint32_t ends[SAVEFILE_BATCH];
	struct ffpf_packet pkts[SAVEFILE_BATCH];
};

static inline uint32_t
get32(const uint8_t *p, bool swapped)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return swapped ? bswap_32(v) : v;
}

static inline uint16_t
get16(const uint8_t *p, bool swapped)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return swapped ? bswap_16(v) : v;
}

static inline uint64_t
get64(const uint8_t *p, bool swapped)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return swapped ? bswap_64(v) : v;
}

/* What a walk has so far. */
struct walked {
	uint32_t count;   /* descriptors */
	uint32_t skipped; /* turned away since the last of them */
};

/* Puts the pseudo header of a record that ends at offset `end` into this host's order, once however often it is read.
 */
static inline void
savefile_fix_pseudo(struct savefile *sf, struct ffpf_packet *pkt, size_t end)
{
	struct window *w = &sf->win;

	sf->pseudo(w->mem + (pkt->data - w->mem), pkt->cap_len, &pkt->wire_len,
		   sf->reader.info.swapped && end > w->patched_hi);
	if (end > w->patched_hi)
		w->patched_hi = end;
}

/* *pkt, the descriptor behind the last, stays when the filter lets it pass. */
static inline void
savefile_classify(struct savefile *sf, const struct ffpf_bpf_prog *prog, struct walked *so_far, struct ffpf_packet *pkt,
		  size_t end)
{
	pkt->skipped = so_far->skipped;
	pkt->result = prog ? ffpf_bpf_run(prog, pkt->data, pkt->wire_len, pkt->cap_len, NULL) : UINT32_MAX;
	if (pkt->result == 0) {
		so_far->skipped++;
	} else {
		so_far->skipped = 0;
		sf->ends[so_far->count++] = (uint32_t)end;
	}
}

static inline void
savefile_walked(struct savefile *sf, const struct walked *so_far, size_t lo)
{
	sf->win.lo = lo;
	sf->count = so_far->count;
	sf->tail_skipped = so_far->skipped;
}

/* Both read the rest of the file's header from sf->fp, whose magic number was read, and fill in sf.
 * 1: done; 0: not this format; -code: broken. */
int ffpf_savefile_pcap_open(struct savefile *sf, uint32_t magic, enum ffpf_tick_wanted tick, struct ffpf_error *err);
int ffpf_savefile_pcapng_open(struct savefile *sf, uint32_t magic, enum ffpf_tick_wanted tick, struct ffpf_error *err);

/* After a short fread(3): -code and the text of a failed read when the FILE says that it failed, 0 at its end. */
int ffpf_savefile_read_failed(FILE *fp, int sys_errno, struct ffpf_error *err);

/* NULL when packets of this link type need no treatment. */
pseudo_fn ffpf_savefile_pseudo_for(int dlt, bool swapped);

/* Goes on where stdio stopped. 0 or -code. */
int ffpf_savefile_window_open(struct savefile *sf, size_t window_bytes, struct ffpf_error *err);
void ffpf_savefile_window_close(struct savefile *sf);
/* Makes room for sf->need octets from win.lo on, and reads once. > 0; 0 at the end; -1: last_errno says why, and 0 in
 * it means that there is no memory. The FILE's own flags are kept as stdio keeps them: the end sticks. */
ssize_t ffpf_savefile_window_fill(struct savefile *sf);
/* Forgets what was read and goes on at a file offset. SOURCE_PREAD only. */
void ffpf_savefile_window_seek(struct savefile *sf, off_t position);

#endif
