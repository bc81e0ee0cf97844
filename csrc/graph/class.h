/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_H
#define FFPF_GRAPH_CLASS_H
/*
 * A filter class: what `(packetcount,,8)` in a graph's text means. Paper, section 2.3: instances of classes are the
 * nodes of the filter graph. A class is one file, class_NAME.c, and one row in the table of classes.c.
 *
 *     parse -> open -> { filter or filter_batch, tick }* -> flush -> close
 *                      describe at any time between open and close
 *
 * Everything of one instance is called by one thread at a time, under the engine's lock. parse sees no packets and no
 * MBuf: it checks the arguments, and writes them in the one form that all equal instances have (args->canonical).
 * Whatever it allocates close frees: close follows every parse that succeeded, and a parse that fails leaves nothing.
 *
 * MBuf: `mbuf_bytes` octets, aligned to 8, zeros unless the application filled it before. The application reads and
 * writes it at any time, from other threads too: words of it are read and written by the functions at the end of this
 * file, and its layout stands in the class's public header, class_NAME.h (fixed-width integers, host byte order).
 */
#include "graph/args.h"
#include "graph/report.h"
#include "reader/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ffpf_extern_scope; /* externs/externs.h */

/* Where a class can run. */
#define FFPF_LEVEL_USERSPACE 0x1
#define FFPF_LEVEL_KERNEL    0x2
#define FFPF_LEVEL_NIC       0x4

/* A packet on its way through the graph. Borrowed: gone when filter returns. 24 octets. */
struct ffpf_node_pkt {
	const struct ffpf_packet *pkt;
	uint64_t ts_ns;  /* since 1970, UTC, whatever the tick of its source */
	uint32_t result; /* classification result of the filter before this one; UINT32_MAX from a device, from a given
			    one its reader's */
	uint16_t link_type; /* DLT_* of its device */
	uint16_t form;      /* enum ffpf_filter_form (syspcap/syspcap.h): what a compiled filter must look like */
};

struct ffpf_class_env {
	void *mbuf; /* NULL when mbuf_bytes is 0; stays where it is until close */
	size_t mbuf_bytes;
	const uint32_t *link_types; /* of the devices whose packets can come here; the engine's, until close */
	const uint16_t *forms; /* with each link type: see struct ffpf_node_pkt. A link type stands twice if its packets
				  come in two forms. May be NULL when the class does not compile filters */
	uint32_t link_type_count;
	uint32_t snap_len;
	bool offline;     /* all devices are files: packets come as fast as they are read, and time is theirs */
	size_t *error_at; /* out, on failure: octet of the text that parse had, which the error is about; NULL: nobody
			     asks */
	const struct ffpf_extern_scope *externs; /* the application's own external functions, and filters that it may
						    call; the engine's, until close; NULL: none */
	/* open, around what takes long and looks at neither packets nor MBuf: others use the graph meanwhile. away(arg,
	 * true), and back: away(arg, false). NULL: nobody else has it. */
	void (*away)(void *arg, bool on);
	void *away_arg;
	/* Packets that the class should have handled and could not (its table is full, its disk is): it adds to this,
	 * and returns 0 for the packet. Those are `dropped`, not `filtered`, in the node's counters. */
	uint64_t *dropped;
};

struct ffpf_class {
	const char *name;      /* as in the graph's text */
	const char *summary;   /* one line, for lists of classes */
	const char *arguments; /* one line of usage; "" when there are none */
	unsigned levels;       /* FFPF_LEVEL_* */
	bool source;           /* a device: begins a flow, has no filter, and the engine opens it */
	bool program;    /* what it does is its text: it may call filters, and called it has all of its caller's MBuf
			    unless the text asks for a size */
	bool of_process; /* acts with what its process may do, as on files: no other process runs it in its place */
	size_t instance_bytes; /* private state; zeros at first */
	size_t mbuf_bytes;     /* MBuf when the text asks for no size; 0: none. See args->mbuf_bytes */

	/* NULL: no arguments are accepted, and an MBuf of any size of mbuf_bytes or more. */
	int (*parse)(void *instance, struct ffpf_class_args *args, struct ffpf_error *err);
	int (*open)(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err); /* may be NULL */

	/*
	 * The classification result: 0 turns the packet away. A class with no opinion of its own hands in->result on.
	 * One of the two is there; filter_batch writes one result for each packet, in results[0 .. count - 1].
	 */
	uint32_t (*filter)(void *instance, const struct ffpf_node_pkt *in);
	void (*filter_batch)(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results);

	/* What a packet costs at most, in steps of FPL-2's compiler (about an operation each), which adds them to those
	 * of a program that calls it. After open. May be NULL: FFPF_CLASS_STEPS. */
	uint64_t (*steps)(const void *instance);
	/* With FFPF_LEVEL_NIC: microcode that does the same for packets of one link type, which lie in a board's memory
	 * as they were on the wire. *object: a file in memory, to be closed. -code: why there is none. May be NULL. */
	int (*microcode)(const void *instance, uint32_t link_type, uint64_t mbuf_bytes, int *object,
			 struct ffpf_error *err);

	/* Time has passed; after each batch and, live, when nothing came. now_ns: since 1970; offline and for hooks the
	 * time of the last packet. Never goes back. May be NULL. */
	void (*tick)(void *instance, uint64_t now_ns);
	/* The input ended, or the last flow with this instance closes: write out what is held back. May be called more
	 * than once. May be NULL. */
	int (*flush)(void *instance, struct ffpf_error *err);
	void (*describe)(const void *instance, struct ffpf_report *report); /* its results; may be NULL */
	void (*close)(void *instance); /* may be NULL; instance itself is the engine's */
};

#define FFPF_CLASS_STEPS 100u

/* The classes of this core: the table's rows in the order of their names. */
extern const struct ffpf_class *const ffpf_classes[];
extern const uint32_t ffpf_class_count;

/* NULL: there is none of this name. */
const struct ffpf_class *ffpf_class_find(const char *name, size_t name_len);

/* Words of MBuf: each access is whole, and orders nothing else. add is one step, so that filter and application may
 * both count in a word. */
static inline uint64_t
ffpf_word_load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void
ffpf_word_store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void
ffpf_word_add(uint64_t *word, uint64_t value)
{
	__atomic_fetch_add(word, value, __ATOMIC_RELAXED);
}

#endif
