/* SPDX-License-Identifier: BSD-3-Clause */
/* Filter classes and external functions of an application's own, beside those of the tables. */
#include "graph/engine_internal.h"
#include "graph/lex.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

bool
engine_extern_is_known(const struct ffpf_engine *engine, const char *name)
{
	const struct ffpf_extern_scope *own = &engine->externs_scope;

	for (uint32_t i = 0; i < ffpf_extern_count; i++) {
		if (strcasecmp(ffpf_externs[i]->name, name) == 0)
			return true;
	}
	for (uint32_t i = 0; i < own->count; i++) {
		if (strcasecmp(own->rows[i]->name, name) == 0)
			return true;
	}
	return false;
}

static int
add_extern(struct ffpf_engine *engine, const struct ffpf_extern *function, struct ffpf_error *err)
{
	const struct ffpf_extern **grown;

	if (engine_extern_is_known(engine, function->name))
		return ffpf_error_set(err, FFPF_E_INVALID, "there is an external function \"%s\"", function->name);
	grown = realloc(engine->externs, (engine->externs_scope.count + 1) * sizeof(*grown));
	if (!grown)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	grown[engine->externs_scope.count++] = function;
	engine->externs = grown;
	engine->externs_scope.rows = grown;
	return 0;
}

int
ffpf_engine_add_extern(struct ffpf_engine *engine, const struct ffpf_extern *function, struct ffpf_error *err)
{
	const char *name = function->name;
	int status;

	if (lex_name(name, strlen(name)) != strlen(name) || !*name || strchr(name, '-'))
		return ffpf_error_set(err, FFPF_E_INVALID, "\"%s\" is no name: letters, digits and _, a letter first",
				      name);
	status = engine_enter(engine, false, err);
	if (status)
		return status;
	status = add_extern(engine, function, err);
	engine_leave(engine);
	return status;
}
