/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FIELD_ARG_H
#define FFPF_GRAPH_FIELD_ARG_H
/* A field of fields.h as the argument of a class. */
#include "graph/args.h"
#include "graph/fields.h"

/* NULL: there is none of that name, or only one that is no number where `numbers_only`; *err names the choices. */
const struct ffpf_field *ffpf_arg_field(struct ffpf_class_args *args, const struct ffpf_arg *arg, bool numbers_only,
					struct ffpf_error *err);

#endif
