/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/field_arg.h"

#include <string.h>

#define NAMED_BYTES 160 /* of the names that an error lists */

const struct ffpf_field *
ffpf_arg_field(struct ffpf_class_args *args, const struct ffpf_arg *arg, bool numbers_only, struct ffpf_error *err)
{
	char name[32] = "", names[NAMED_BYTES];
	const struct ffpf_field *field = NULL;

	memcpy(name, arg->value, arg->value_len < sizeof(name) ? arg->value_len : sizeof(name) - 1);
	if (arg->value_len < sizeof(name))
		field = ffpf_field_find(name);
	if (field && (!numbers_only || field->numbers))
		return field;
	ffpf_field_names(names, sizeof(names), numbers_only);
	ffpf_args_fail(args, (size_t)(arg->value - args->text), err, "\"%s\" is no %s: %s ...", name,
		       field ? "number" : "field", names);
	return NULL;
}
