/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_EXTERNS_H
#define FFPF_EXTERNS_EXTERNS_H
/*
 * External functions: what EXTERN(name, read at, write at) calls. Paper, sections 3.3.1 and 3.5. One function is one
 * file, extern_NAME.c, and one row in the table of externs.c; docs/externs.md tells users what each does.
 *
 *     program's text --compiler: ffpf_extern_measure--> sizes checked --> names of the uses, in their order
 *     names --ffpf_extern_set_create: parse, open--> set --{ set->in = packet; call ... }*--> ffpf_extern_set_destroy
 *
 * A use is a function's name and, behind a blank, its arguments, as the program writes them: `checksum`,
 * `strsearch pattern='GET /' of=payload`. Names are the same in any case. Uses with the same text are one, and share
 * what it remembers.
 *
 * What a call may touch: the packet's captured octets, to read; of MBuf `reads` octets from read_at on, to read, and
 * `writes` octets from write_at on, to write. That both lie in MBuf is the caller's promise: the compiler's guards, or
 * ffpf_extern_fits(). The application, and other processors, may write MBuf meanwhile: what is read of it is copied
 * once, then looked at. Numbers in MBuf are in host byte order, at any octet.
 */
#include "graph/class.h"

struct ffpf_extern_use;

/* A function as it is registered. */
struct ffpf_extern {
	const char *name;        /* a word: letters, digits, _, a letter first */
	const char *summary;     /* one line, for lists */
	const char *arguments;   /* one line of usage; "" when there are none */
	const char *value;       /* what it returns */
	const char *reads_what;  /* layout at read_at, "u32 offset, u32 octets"; "" when reads is 0 */
	const char *writes_what; /* layout at write_at */
	unsigned levels;         /* FFPF_LEVEL_*: where it can run */
	uint32_t reads, writes;  /* octets of MBuf, without arguments */
	uint32_t steps;          /* of a call, at most, in the compiler's steps (about an operation each) */
	size_t state_bytes;      /* of a use; zeros at first */

	/* Checks the arguments, and says with which sizes the use comes, if others. Opens nothing: the compiler, which
	 * is another process, calls it too. NULL: no arguments are accepted. */
	int (*parse)(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err);
	int (*open)(struct ffpf_extern_use *use, struct ffpf_error *err); /* may be NULL */
	uint64_t (*call)(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf,
			 uint64_t read_at, uint64_t write_at);
	void (*close)(struct ffpf_extern_use *use); /* frees what parse and open allocated; may be NULL */
	void *arg;                                  /* of a function that is not the table's: its own */
};

/* A function as a program uses it. Compiled code calls the first member with a pointer to the whole. */
struct ffpf_extern_use {
	uint64_t (*call)(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf,
			 uint64_t read_at, uint64_t write_at);
	struct ffpf_extern_set *set;
	const struct ffpf_extern *function;
	void *state;
	uint32_t reads, writes, steps; /* with these arguments */
};

/* All uses of a program. One thread at a time is in it. */
struct ffpf_extern_set {
	/* The packet that the program looks at; whoever runs the program sets both before each packet, and takes the
	 * packet for dropped, not filtered, whatever the program returned, when `drop` is true afterwards. */
	const struct ffpf_node_pkt *in;
	bool drop;
	uint64_t mbuf_bytes; /* of the program */
	uint32_t count;
	struct ffpf_extern_use **uses; /* in the order of the names: what compiled code is given as `externals` */
};

/* Functions beside those of the table. They stay until the last set that uses them is destroyed. */
struct ffpf_extern_scope {
	const struct ffpf_extern *const *rows;
	uint32_t count;
};

/* The functions of this core: the table's rows in the order of their names. */
extern const struct ffpf_extern *const ffpf_externs[];
extern const uint32_t ffpf_extern_count;

/* What the compiler has to know of a use. */
struct ffpf_extern_sizes {
	const struct ffpf_extern *function;
	uint32_t reads, writes, steps;
};

/* scope may be NULL, err not. -FFPF_E_INVALID: no such function, or bad arguments; *error_at: octet of text. */
int ffpf_extern_measure(struct ffpf_extern_sizes *out, const char *text, const struct ffpf_extern_scope *scope,
			size_t *error_at, struct ffpf_error *err);

/* texts: of the uses; err may not be NULL. -FFPF_E_INVALID, or what the functions' open() says. */
int ffpf_extern_set_create(struct ffpf_extern_set **out, const char *const *texts, uint32_t count, uint64_t mbuf_bytes,
			   const struct ffpf_extern_scope *scope, struct ffpf_error *err);
void ffpf_extern_set_destroy(struct ffpf_extern_set *set); /* NULL is legal */

/* Whether a call with these offsets keeps to MBuf. */
static inline bool
ffpf_extern_fits(const struct ffpf_extern_use *use, uint64_t read_at, uint64_t write_at)
{
	uint64_t bytes = use->set->mbuf_bytes;

	return (!use->reads || (use->reads <= bytes && read_at <= bytes - use->reads)) &&
	       (!use->writes || (use->writes <= bytes && write_at <= bytes - use->writes));
}

#endif
