/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_IXP_H
#define FFPF_IXP_HOST_IXP_H
/*
 * (device,ixp0): a filter on the board as a reader (reader/reader.h), whichever way its packets come. Paper,
 * section 4.3.
 *
 *     zero copy      window (SDRAM, IBuf) --------------------------------------------> lanes reader --> consumer
 *     copy all       window --> lanes reader --> feed, a thread --> hook --> host lane --> lanes reader --> consumer
 *     interesting    the same; the hook stores what the consumer's filter takes, which it judges in the window
 *
 * The administrator changes the mode while packets come: a change takes effect between two packets, in next(). What the
 * thread has copied is read before the window is again, and the thread begins where the consumer left off; so none is
 * lost, and none comes twice.
 *
 * Beyond reader.h: FFPF_FAILED with -FFPF_E_DEVICE_GONE when the board is gone, after all that it had published was
 * read, or when its engine ended (hung, faulted, reset). Packets are as they were on the wire, a VLAN tag among their
 * octets: filters are compiled for FFPF_FORM_DEAD.
 */
#include "host/session.h"
#include "reader/reader.h"

struct ffpf_ixp_config {
	const char *board; /* a name, or the path of a socket: see session.h */
	struct ffpf_ixp_program program;
	uint32_t snap_len; /* octets delivered of a packet */
	enum ffpf_tick tick;
	int timeout_ms; /* next() ends after so long at the latest; 0: only with a packet */
	uint32_t want;  /* packets worth waking for, at least 1 */
	bool nonblock;
};

int ffpf_ixp_open(struct ffpf_reader **out, const struct ffpf_ixp_config *cfg, struct ffpf_error *err);
/* For one whose program was loaded `stopped`: from the next packet on, or not any more. Between calls of next. */
int ffpf_ixp_run(struct ffpf_reader *reader, bool on, struct ffpf_error *err);
/* Whether this reader is one of ffpf_ixp_open's. */
bool ffpf_ixp_is_reader(const struct ffpf_reader *reader);

/* What crossed the PCI bus for this reader, since it was opened; what the driver did by itself, see docs/ixp.md. Words
 * are of 32 bits. */
struct ffpf_ixp_accesses {
	uint64_t packets; /* taken from the window */
	uint64_t reads;   /* of single words or pairs, each a round trip: states, W */
	uint64_t bursts;  /* reads of several words in a row: an index entry, a record's header, a copied packet */
	uint64_t burst_words;
	uint64_t writes;       /* posted: `advance read pointer` is two */
	uint64_t copied;       /* packets stored in host memory */
	uint64_t copied_bytes; /* octets of them, headers included, in whole cells */
};

void ffpf_ixp_accesses(struct ffpf_reader *reader, struct ffpf_ixp_accesses *out);
enum ffpf_ixp_copy_mode ffpf_ixp_mode(const struct ffpf_reader *reader); /* in force, which may be behind the board's */
uint32_t ffpf_ixp_engine(const struct ffpf_reader *reader);              /* the microengine that its filter runs on */
/* The filter's MBuf in the window; base NULL: it has none. */
struct ffpf_region ffpf_ixp_mbuf(const struct ffpf_reader *reader);

#endif
