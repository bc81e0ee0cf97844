/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_COMPILER_H
#define FFPF_GRAPH_COMPILER_H
/*
 * A compiler is a program of its own: it may die on what it is given, and take any time. So it runs as a child with
 * limits of time and memory, text on its standard input, and its death is a refusal with a message.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ffpf_compiler {
	const char *language; /* for messages */
	const char *program;  /* looked for on PATH */
	const char *variable; /* of the environment: the path of another one */
};

/*
 * arguments: ended by NULL. *out: a file in memory with what it wrote, to be closed.
 * -FFPF_E_BAD_FILTER: what it says of the text, with line and column, and *error_at is the octet of text there, if it
 * says where (NULL: nobody asks); -FFPF_E_NOT_SUPPORTED: there is no compiler. Blocks, for 20 seconds at most.
 */
int ffpf_compiler_run(const struct ffpf_compiler *compiler, const char *const *arguments, const char *text, int *out,
		      size_t *error_at, struct ffpf_error *err);

#endif
