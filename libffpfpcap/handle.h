/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_HANDLE_H
#define FFPFPCAP_HANDLE_H
/*
 * The handle: what programs know as pcap_t, opaque to them. Shared by the files of this room only.
 *
 *     pcap_create --> not activated --pcap_activate--+--> shared   our reader of what ffpfd captures
 *                                                    +--> live     our AF_PACKET reader
 *                                                    +--> board    our reader of a network processor's window
 *                                                    +--> foreign  the system's libpcap serves the device
 *     pcap_open_offline ... ----------------------------> savefile our savefile reader
 *     pcap_open_dead ... -------------------------------> dead     serves only to compile filters and to write
 *
 * A handle belongs to one thread at a time; only pcap_breakloop() may be called from another, or from a signal handler.
 */
#include "abi.h"

#include "bpf/bpf.h"
#include "common/error.h"
#include "reader/reader.h"
#include "syspcap/syspcap.h"

#include <stdbool.h>
#include <stdio.h>

#define FFPF_MAX_SNAP_LEN 262144

struct ffpf_handle_refusals; /* refuse.h */

/*
 * What a kind of handle does. Every function is set; each takes and returns what the pcap function of the same name
 * does, errors with their text in p->errbuf.
 */
struct ffpf_handle_ops {
	const char *name; /* "inactive", "shared", "live", "board", "foreign", "savefile", "dead" */
	/* count <= 0: one buffer-full. Sets no state of the dispatch: read.c does. */
	int (*dispatch)(struct pcap *p, int count, pcap_handler callback, u_char *user);
	/* The same without an end: until count packets (<= 0: for ever), end of file, error or breakloop. */
	int (*loop)(struct pcap *p, int count, pcap_handler callback, u_char *user);
	int (*next_ex)(struct pcap *p, struct pcap_pkthdr **header, const u_char **data);
	void (*breakloop)(struct pcap *p); /* async-signal-safe; p->break_loop is set already */
	int (*setfilter)(struct pcap *p, const struct bpf_program *program);
	int (*setdirection)(struct pcap *p, pcap_direction_t direction);
	int (*set_datalink)(struct pcap *p, int dlt); /* only called with one of the choices */
	int (*getnonblock)(struct pcap *p);
	int (*setnonblock)(struct pcap *p, int nonblock);
	int (*inject)(struct pcap *p, const void *data, int size);
	int (*stats)(struct pcap *p, struct pcap_stat *stat);
	int (*can_set_rfmon)(struct pcap *p);
	void (*close)(struct pcap *p); /* gives back what the kind holds; the handle itself is freed by the caller */
	const struct ffpf_handle_refusals *refusals; /* NULL: none of the operations is one of refuse.h */
};

extern const struct ffpf_handle_ops ffpf_inactive_ops, ffpf_live_ops, ffpf_savefile_ops, ffpf_dead_ops;
extern const struct ffpf_handle_ops ffpf_foreign_ops, ffpf_shared_ops, ffpf_board_ops;

/* Set before activation; pcap_open_* sets what it implies. */
struct ffpf_handle_options {
	char *device; /* malloc'ed; NULL for savefiles and dead handles */
	int timeout_ms;
	int buffer_bytes; /* 0: the default */
	int promisc, rfmon, immediate, nonblock;
	int protocol;         /* host order; 0: all */
	int tstamp_type;      /* PCAP_TSTAMP_*; -1: not set */
	int tstamp_precision; /* PCAP_TSTAMP_PRECISION_*; in force for every kind of handle */
};

/*
 * The members up to the break are what the read loop touches for each packet.
 *
 * `next` is the index of the first packet not yet handed to the program, `released` of the first not yet given back to
 * the reader: released <= next <= batch.count. `next` is advanced before the program's callback is called, so that the
 * callback may read from this handle, set a filter on it, or leave by exit() or longjmp().
 */
struct pcap {
	const struct ffpf_handle_ops *ops;
	struct ffpf_reader *reader; /* shared, live, board and savefile */
	struct ffpf_batch batch;
	uint32_t next, released;
	_Atomic int break_loop;    /* set by pcap_breakloop, cleared by the read loop that obeys it */
	struct pcap_pkthdr header; /* of the packet that pcap_next_ex or pcap_next gave */

	/*
	 * Gathered writes: dump.c sets finish (and keeps what it likes at finish_state) when it has put off writing
	 * octets that lie in memory of this handle's reader. It is called, with finish already reset to NULL, before
	 * the reader's next(), before a read call returns to the program, and before the handle is closed.
	 */
	void (*finish)(struct pcap *p);
	void *finish_state;
	const struct ffpf_packet
	    *current; /* descriptor of the packet that the callback is handling; see ffpf_current */

	bool activated;
	bool nonblock;
	enum ffpf_filter_form form; /* which filters this handle wants compiled */
	int snapshot;
	int link_type; /* DLT_ now in force */
	int link_type_ext;
	int fd;            /* pcap_fileno; -1 none */
	int selectable_fd; /* -1 none */
	FILE *file;        /* of a savefile, else NULL */
	bool owns_file;    /* pcap_close closes it (not standard input) */
	bool swapped;
	int version_major, version_minor;
	int buffer_bytes; /* pcap_bufsize of a live handle */
	int *link_types;  /* choices, malloc'ed; NULL: only link_type */
	int link_type_count;
	struct ffpf_bpf_prog *filter;   /* in force; the reader points to it */
	struct ffpf_sampling *sampling; /* NULL: every packet; see sampling.h */
	struct ffpf_handle_options opt;
	struct pcap *foreign;       /* the system's libpcap's own handle; never ours */
	uint64_t foreign_delivered; /* packets that p->foreign gave */
	bool file_shared;        /* pcap_file() was called: the program may look at the FILE's position, or move it */
	struct pcap *stats_next; /* stats.c: list of the handles open for reading */
	bool stats_attached;
	char errbuf[PCAP_ERRBUF_SIZE]; /* programs keep the pointer that pcap_geterr gave */
};

/*
 * The handle whose callback runs on this thread now, NULL outside of callbacks. Per thread, since pcap_dump() is handed
 * nothing but its FILE, and must know whether the packet it is given lies in memory that stays until p->finish is
 * called: when ffpf_current and the pointer lies in [ffpf_current->batch.mem_lo, ffpf_current->batch.mem_hi).
 * ffpf_current->current is the descriptor of the packet being handled. After a callback that was left by longjmp()
 * it stays set until the handle's next read call or its close: until then the memory stays too.
 */
extern _Thread_local struct pcap *ffpf_current __attribute__((tls_model("initial-exec")));

/* pcap_init() was called: pcap_lookupdev() refuses from then on. A process-wide switch by the ABI's definition. */
extern bool ffpf_new_api;

/* All zero but for the descriptors (-1) and the options' defaults; NULL and errbuf (PCAP_ERRBUF_SIZE octets, may be
 * NULL) set when memory lacks. */
struct pcap *ffpf_handle_create(const struct ffpf_handle_ops *ops, char *errbuf);
/* Ends gathered writes, accounts for FFPF_STATS, calls ops->close, frees. */
void ffpf_handle_destroy(struct pcap *p);

/* printf into p->errbuf; returns status, so that a function can end in it. */
int ffpf_handle_fail(struct pcap *p, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": " + strerror(err) behind the text. */
int ffpf_handle_fail_errno(struct pcap *p, int status, int err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The text of err into p->errbuf; returns the PCAP_ERROR_* that its code means. */
int ffpf_handle_fail_error(struct pcap *p, const struct ffpf_error *err);
/* PCAP_ERROR_* for a code of the core: PCAP_ERROR when libpcap has no status of its own. */
int ffpf_pcap_status(enum ffpf_code code);

/* For functions whose one text must say what else would be in the status: of an activation that failed, into errbuf. */
void ffpf_handle_describe_failure(const struct pcap *p, const char *device, int status, char *errbuf);

/* Tells the reader which packets are done with; after it the counters and the savefile's position are exact. */
void ffpf_handle_settle(struct pcap *p);

/* Gives the rest of the batch back to the reader: for set_filter, which serves it again. */
void ffpf_handle_forget_batch(struct pcap *p);

/* Calls and clears p->finish. */
static inline void
ffpf_handle_finish(struct pcap *p)
{
	void (*finish)(struct pcap *) = p->finish;

	if (__builtin_expect(finish != NULL, 0)) {
		p->finish = NULL;
		finish(p);
	}
}

/* foreign.c */

/* Whether the system's libpcap, not we, captures on a device of this name: usbmon, bluetooth, nflog, nfqueue, dbus,
 * rdma. */
bool ffpf_foreign_device(const char *device);
/* Opens p->opt.device with p's options in the system's libpcap and activates it: p->foreign, ops, descriptors, link
 * types, snapshot, buffer size are set. Returns what pcap_activate does; on failure the text is in p->errbuf and p as
 * before. */
int ffpf_foreign_activate(struct pcap *p);
/* What pcap_setnonblock() and pcap_getnonblock() say there before the activation: some devices refuse already then. */
int ffpf_foreign_keep_nonblock(struct pcap *p, int nonblock);
int ffpf_foreign_kept_nonblock(struct pcap *p);

#endif
