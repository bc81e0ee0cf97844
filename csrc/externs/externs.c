/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/table.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LEN 63

// clang-format off
const struct ffpf_extern *const ffpf_externs[] = {
	&ffpf_extern_ahocorasick, &ffpf_extern_checksum, &ffpf_extern_crc32c, &ffpf_extern_drop, &ffpf_extern_ftp_port, &ffpf_extern_rtsp_port, &ffpf_extern_md5, &ffpf_extern_payload,
	&ffpf_extern_rtsp_ports, &ffpf_extern_sampling, &ffpf_extern_sha256, &ffpf_extern_sip_ports, &ffpf_extern_strsearch, &ffpf_extern_topn,
	&ffpf_extern_vectorscan, &ffpf_extern_xxhash64,
};
// clang-format on
const uint32_t ffpf_extern_count = sizeof(ffpf_externs) / sizeof(ffpf_externs[0]);

static const struct ffpf_extern *
find_among(const struct ffpf_extern *const *rows, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcasecmp(rows[i]->name, name) == 0)
			return rows[i];
	}
	return NULL;
}

static const struct ffpf_extern *
find(const char *name, const struct ffpf_extern_scope *scope)
{
	const struct ffpf_extern *found = find_among(ffpf_externs, ffpf_extern_count, name);

	return found || !scope ? found : find_among(scope->rows, scope->count, name);
}

/* What a use without parse() has to say of its arguments. */
static int
none(struct ffpf_class_args *args, const struct ffpf_extern *function, struct ffpf_error *err)
{
	size_t at = strspn(args->text, " \t\r\n");

	return args->text[at] ? ffpf_args_fail(args, at, err, "%s takes no arguments", function->name) : 0;
}

static void
free_use(struct ffpf_extern_use *use)
{
	if (use->function->close)
		use->function->close(use);
	free(use->state);
	free(use);
}

/* The text's arguments read; nothing is opened. */
static int
make(struct ffpf_extern_use **out, const char *text, const struct ffpf_extern_scope *scope, size_t *error_at,
     struct ffpf_error *err)
{
	size_t len = strcspn(text, " \t\r\n");
	char name[NAME_MAX_LEN + 1] = "";
	struct ffpf_class_args args = { .text = text + len };
	const struct ffpf_extern *function;
	struct ffpf_extern_use *use;
	int status;

	*error_at = 0;
	err->code = 0; /* ffpf_args_next asks for it */
	if (len <= NAME_MAX_LEN)
		memcpy(name, text, len);
	function = find(name, scope);
	if (!function)
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no external function %.*s", (int)len, text);
	use = calloc(1, sizeof(*use));
	if (!use)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	*use = (struct ffpf_extern_use){ .call = function->call,
					 .function = function,
					 .state = calloc(1, function->state_bytes ? function->state_bytes : 1),
					 .reads = function->reads,
					 .writes = function->writes,
					 .steps = function->steps };
	if (!use->state) {
		free(use);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	}
	status = function->parse ? function->parse(use, &args, err) : none(&args, function, err);
	ffpf_text_free(&args.canonical);
	if (status) {
		*error_at = len + args.error_at;
		free_use(use);
		return status;
	}
	*out = use;
	return 0;
}

int
ffpf_extern_measure(struct ffpf_extern_sizes *out, const char *text, const struct ffpf_extern_scope *scope,
		    size_t *error_at, struct ffpf_error *err)
{
	struct ffpf_extern_use *use;
	int status = make(&use, text, scope, error_at, err);

	if (status)
		return status;
	*out = (struct ffpf_extern_sizes){ use->function, use->reads, use->writes, use->steps };
	free_use(use);
	return 0;
}

static int
add(struct ffpf_extern_set *set, const char *text, const struct ffpf_extern_scope *scope, struct ffpf_error *err)
{
	struct ffpf_extern_use *use;
	size_t at;
	int status = make(&use, text, scope, &at, err);

	if (status)
		return status;
	set->uses[set->count++] = use;
	use->set = set;
	if (!ffpf_extern_fits(use, 0, 0))
		return ffpf_error_set(err, FFPF_E_INVALID, "%s needs %u octets of MBuf; there are %u", text,
				      use->reads > use->writes ? use->reads : use->writes, (unsigned)set->mbuf_bytes);
	return use->function->open ? use->function->open(use, err) : 0;
}

int
ffpf_extern_set_create(struct ffpf_extern_set **out, const char *const *texts, uint32_t count, uint64_t mbuf_bytes,
		       const struct ffpf_extern_scope *scope, struct ffpf_error *err)
{
	struct ffpf_extern_set *set = calloc(1, sizeof(*set));
	int status = 0;

	if (set) {
		set->mbuf_bytes = mbuf_bytes;
		set->uses = calloc(count + 1, sizeof(struct ffpf_extern_use *));
	}
	if (!set || !set->uses)
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	for (uint32_t i = 0; !status && i < count; i++)
		status = add(set, texts[i], scope, err);
	if (status)
		ffpf_extern_set_destroy(set);
	else
		*out = set;
	return status;
}

void
ffpf_extern_set_destroy(struct ffpf_extern_set *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; i < set->count; i++)
		free_use(set->uses[i]);
	free(set->uses);
	free(set);
}
