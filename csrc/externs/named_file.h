/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_NAMED_FILE_H
#define FFPF_EXTERNS_NAMED_FILE_H
/*
 * A file that a program names. The program may come from somebody who may not read what this process may: so a file is
 * named without its folder, and looked for in those that whoever runs the process chose, FFPF_FPL_PATH (absolute, ':'
 * between them). fpl/fpl2/files.py does the same for USE.
 */
#include "graph/args.h"

#include <stdio.h>

#define NAMED_FILE_VARIABLE "FFPF_FPL_PATH"

/* The name is the value of this argument: 0, or -FFPF_E_INVALID with its place. Nothing is opened. */
int named_file_check(const char *name, struct ffpf_class_args *args, const struct ffpf_arg *arg,
		     struct ffpf_error *err);

/* The first ordinary file of this name, to be closed. -FFPF_E_DENIED: there are no folders;
 * -FFPF_E_SYSTEM: there is none, or it cannot be read. */
int named_file_open(FILE **out, const char *name, struct ffpf_error *err);

#endif
