/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_ARGS_H
#define FFPF_GRAPH_ARGS_H
/*
 * The arguments of a filter, as its class reads them.
 *
 *     (topk,"k=10 by=bytes",4096)      text "k=10 by=bytes", mbuf_bytes 4096
 *     (file,"path='/tmp/my file'")     words are separated by blanks; a value may stand in single quotes
 *
 * Errors say where: an octet of `text`, which whoever parsed the graph turns into a line, a column and a caret.
 */
#include "common/error.h"
#include "common/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ffpf_extern_scope; /* externs/externs.h */

struct ffpf_class_args {
	const char *text;    /* the expression without its quotation marks, ended by NUL; "" when there is none */
	uint64_t mbuf_bytes; /* in: asked for, or the class's own size; out: parse() may say what it needs instead */
	/* out: equal for instances that do the same; equal ones run once. When parse() leaves it empty it is `text`. */
	struct ffpf_text canonical;
	const struct ffpf_extern_scope *externs; /* beside the table's: those that a program may call; NULL: none */
	bool called; /* by another filter's program, whose MBuf it has instead of one of its own */
	/* out, of programs: a text in which each filter that it may call by EXTERN occurs as a word; others may, too */
	struct ffpf_text calls;
	/* out: octets of the MBuf, from its begin on, that filters which it calls have; 0: all of it */
	uint64_t lent_bytes;
	size_t error_at; /* out, on failure: octet of text that the error is about */
	size_t next_at;  /* where ffpf_args_next goes on */
};

/* A word of the arguments: `key=value`, or only `value` (key_len 0). Points into text; not ended by NUL. */
struct ffpf_arg {
	const char *key;
	size_t key_len;
	const char *value;
	size_t value_len;
	size_t at; /* octet of text where the word begins */
};

/* The next word; false at the end, or (*err set: code is not 0) when a quote is not closed. err->code must be 0 before.
 */
bool ffpf_args_next(struct ffpf_class_args *args, struct ffpf_arg *out, struct ffpf_error *err);
/* "" asks for a word without a key. */
bool ffpf_arg_is(const struct ffpf_arg *arg, const char *key);
/* A copy of the value, to be freed; NULL when memory runs out. */
char *ffpf_arg_copy(const struct ffpf_arg *arg);

/* Each: 0, or -FFPF_E_INVALID with a text that names the word, what it may be, and args->error_at set. */
int ffpf_arg_uint(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t least, uint64_t most,
		  uint64_t *out, struct ffpf_error *err);
/* The same with an optional suffix: k, M, G for 2^10, 2^20, 2^30. */
int ffpf_arg_bytes(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t least, uint64_t most,
		   uint64_t *out, struct ffpf_error *err);
/* A time with its unit: "100us", "5ms", "10s", "2m", "1h"; a bare number is seconds. More than 0. */
int ffpf_arg_duration(struct ffpf_class_args *args, const struct ffpf_arg *arg, uint64_t *out_ns,
		      struct ffpf_error *err);
/* One of `count` names; *out is its number. */
int ffpf_arg_choice(struct ffpf_class_args *args, const struct ffpf_arg *arg, const char *const *names, size_t count,
		    size_t *out, struct ffpf_error *err);
/* For a word that the class does not know: says what it does know (`usage`: the class's own line). */
int ffpf_arg_unknown(struct ffpf_class_args *args, const struct ffpf_arg *arg, const char *usage,
		     struct ffpf_error *err);
/* Refuses any argument at all, for classes that have none. */
int ffpf_args_none(struct ffpf_class_args *args, struct ffpf_error *err);

/* -FFPF_E_INVALID with the text, at octet `at`. */
int ffpf_args_fail(struct ffpf_class_args *args, size_t at, struct ffpf_error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
