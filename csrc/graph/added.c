/* SPDX-License-Identifier: BSD-3-Clause */
/* Filter classes of an application's own, beside those of the table. */
#include "graph/engine_internal.h"
#include "graph/lex.h"

#include <stdlib.h>
#include <string.h>

const struct ffpf_class *
engine_class_find(const struct ffpf_engine *engine, const char *name)
{
	for (uint32_t i = 0; i < engine->class_count; i++) {
		if (strcmp(engine->classes[i]->name, name) == 0)
			return engine->classes[i];
	}
	return ffpf_class_find(name, strlen(name));
}

static int
add(struct ffpf_engine *engine, const struct ffpf_class *class, struct ffpf_error *err)
{
	const struct ffpf_class **grown;

	if (engine_class_find(engine, class->name))
		return ffpf_error_set(err, FFPF_E_INVALID, "there is a class \"%s\"", class->name);
	grown = realloc(engine->classes, (engine->class_count + 1) * sizeof(*grown));
	if (!grown)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	engine->classes = grown;
	engine->classes[engine->class_count++] = class;
	return 0;
}

int
ffpf_engine_add_class(struct ffpf_engine *engine, const struct ffpf_class *class, struct ffpf_error *err)
{
	int status;

	if (lex_name(class->name, strlen(class->name)) != strlen(class->name) || !*class->name)
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "\"%s\" is no name: letters, digits, _ and -, a letter first", class->name);
	status = engine_enter(engine, false, err);
	if (status)
		return status;
	status = add(engine, class, err);
	engine_leave(engine);
	return status;
}
