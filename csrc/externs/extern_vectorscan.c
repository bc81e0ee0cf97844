/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN("vectorscan file=expressions", 0, w): regular expressions, and large sets of patterns, by
 * vectorscan, which is loaded when the first use is opened. */
#include "externs/named_file.h"
#include "externs/octets.h"
#include "externs/pattern_set.h"
#include "externs/table.h"

#include <dlfcn.h>
#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY       "libhs.so.5"
#define STEPS         3000
#define WRITTEN_BYTES 4

struct library {
	void *handle;
	hs_error_t (*compile)(const char *const *, const unsigned *, const unsigned *, unsigned, unsigned,
			      const hs_platform_info_t *, hs_database_t **, hs_compile_error_t **);
	hs_error_t (*free_error)(hs_compile_error_t *);
	hs_error_t (*free_database)(hs_database_t *);
	hs_error_t (*alloc_scratch)(const hs_database_t *, hs_scratch_t **);
	hs_error_t (*free_scratch)(hs_scratch_t *);
	hs_error_t (*scan)(const hs_database_t *, const char *, unsigned, unsigned, hs_scratch_t *, match_event_handler,
			   void *);
};

struct scanner {
	enum octets_of of;
	bool literal;
	char *file, *regex;
	struct library hs;
	hs_database_t *database; /* NULL: there are no patterns */
	hs_scratch_t *scratch;
};

struct found {
	uint32_t pattern, end;
	bool any;
};

static int
parse_word(struct scanner *self, struct ffpf_class_args *args, struct ffpf_arg *arg, struct ffpf_error *err)
{
	static const char *const places[] = { "packet", "payload" };
	char **text = ffpf_arg_is(arg, "file") ? &self->file : ffpf_arg_is(arg, "regex") ? &self->regex : NULL;
	size_t choice;
	int status;

	if (text) {
		free(*text);
		*text = ffpf_arg_copy(arg);
		if (!*text)
			return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
		return text == &self->file ? named_file_check(self->file, args, arg, err) : 0;
	}
	if (ffpf_arg_is(arg, "of")) {
		status = ffpf_arg_choice(args, arg, places, 2, &choice, err);
		self->of = !status && choice ? OCTETS_PAYLOAD : OCTETS_PACKET;
		return status;
	}
	if (!arg->key_len && arg->value_len == 7 && memcmp(arg->value, "literal", 7) == 0) {
		self->literal = true;
		return 0;
	}
	return ffpf_arg_unknown(args, arg, ffpf_extern_vectorscan.arguments, err);
}

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct scanner *self = use->state;
	struct ffpf_arg arg;

	self->of = OCTETS_PACKET;
	while (ffpf_args_next(args, &arg, err)) {
		int status = parse_word(self, args, &arg, err);

		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	if (!self->file == !self->regex || (self->literal && self->regex))
		return ffpf_args_fail(args, 0, err,
				      "which expressions? Either file=NAME, perhaps literal, or regex='...'");
	return 0;
}

static int
load(struct library *hs, struct ffpf_error *err)
{
	struct {
		const char *name;
		void **at;
	} symbols[] = {
		{ "hs_compile_multi", (void **)&hs->compile },
		{ "hs_free_compile_error", (void **)&hs->free_error },
		{ "hs_free_database", (void **)&hs->free_database },
		{ "hs_alloc_scratch", (void **)&hs->alloc_scratch },
		{ "hs_free_scratch", (void **)&hs->free_scratch },
		{ "hs_scan", (void **)&hs->scan },
	};

	hs->handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].at = hs->handle ? dlsym(hs->handle, symbols[i].name) : NULL;
		if (!*symbols[i].at)
			return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
					      "vectorscan needs %s, of Debian's libvectorscan5", LIBRARY);
	}
	return 0;
}

/* A pattern of octets as an expression. */
static int
spell(struct pattern_set *out, const struct pattern_set *set, uint32_t i, struct ffpf_error *err)
{
	const size_t len = 4 * (size_t)set->len[i];
	char *text = malloc(len + 1);
	int status;

	if (!text)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	for (uint32_t j = 0; j < set->len[i]; j++)
		snprintf(text + 4 * (size_t)j, 5, "\\x%02x", set->octets[set->at[i] + j]);
	status = pattern_set_add(out, (const uint8_t *)text, len, err);
	free(text);
	return status;
}

/* Only whether a pattern matches is asked: of each, one match is enough. */
static int
compile(struct scanner *self, const struct pattern_set *set, struct ffpf_error *err)
{
	const char **texts = calloc(set->count, sizeof(*texts));
	unsigned *flags = calloc(set->count, sizeof(*flags)), *ids = calloc(set->count, sizeof(*ids));
	hs_compile_error_t *refusal = NULL;
	int status = texts && flags && ids ? 0 : ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");

	for (uint32_t i = 0; !status && i < set->count; i++) {
		texts[i] = (const char *)set->octets + set->at[i];
		ids[i] = i;
		flags[i] = HS_FLAG_SINGLEMATCH | HS_FLAG_DOTALL;
	}
	if (!status && self->hs.compile(texts, flags, ids, set->count, HS_MODE_BLOCK, NULL, &self->database,
					&refusal) != HS_SUCCESS)
		status = ffpf_error_set(err, FFPF_E_INVALID, "expression %d: %s", refusal ? refusal->expression + 1 : 0,
					refusal ? refusal->message : "vectorscan refused");
	if (refusal)
		self->hs.free_error(refusal);
	free(texts);
	free(flags);
	free(ids);
	return status;
}

static int
read_set(struct scanner *self, struct pattern_set *set, struct ffpf_error *err)
{
	struct pattern_set octets = { 0 };
	int status;

	if (!self->file)
		return pattern_set_add(set, (const uint8_t *)self->regex, strlen(self->regex), err);
	if (!self->literal)
		return pattern_set_read(set, self->file, false, err);
	status = pattern_set_read(&octets, self->file, true, err);
	for (uint32_t i = 0; !status && i < octets.count; i++)
		status = spell(set, &octets, i, err);
	pattern_set_free(&octets);
	return status;
}

static int
open_scanner(struct ffpf_extern_use *use, struct ffpf_error *err)
{
	struct scanner *self = use->state;
	struct pattern_set set = { 0 };
	int status = load(&self->hs, err);

	if (!status)
		status = read_set(self, &set, err);
	if (!status && set.count)
		status = compile(self, &set, err);
	pattern_set_free(&set);
	if (!status && self->database && self->hs.alloc_scratch(self->database, &self->scratch) != HS_SUCCESS)
		status = ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	return status;
}

/* The library stays where it is: its handle is counted, and loading it again costs more than keeping it. */
static void
close_scanner(struct ffpf_extern_use *use)
{
	struct scanner *self = use->state;

	if (self->scratch)
		self->hs.free_scratch(self->scratch);
	if (self->database)
		self->hs.free_database(self->database);
	free(self->file);
	free(self->regex);
}

static int
matched(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *arg)
{
	struct found *found = arg;

	(void)from, (void)flags;
	*found = (struct found){ id, (uint32_t)to, true };
	return 1; /* enough */
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	struct scanner *self = use->state;
	const struct octets octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);
	struct found found = { 0 };

	if (!self->database)
		return 0;
	self->hs.scan(self->database, (const char *)octets.data, octets.len, 0, self->scratch, matched, &found);
	if (!found.any)
		return 0;
	octets_put_u32(mbuf + write_at, octets.at + found.end);
	return (uint64_t)found.pattern + 1;
}

const struct ffpf_extern ffpf_extern_vectorscan = {
	.name = "vectorscan",
	.summary = "which of many regular expressions, or patterns, a packet matches, by vectorscan",
	.arguments = "file=NAME [literal] | regex='...', [of=packet|payload]",
	.value = "1 + the number of an expression that matches, the first that vectorscan reports; 0: none",
	.reads_what = "",
	.writes_what = "u32 octet of the packet behind the match; nothing when there is none",
	.levels = FFPF_LEVEL_USERSPACE,
	.writes = WRITTEN_BYTES,
	.steps = STEPS,
	.state_bytes = sizeof(struct scanner),
	.parse = parse,
	.open = open_scanner,
	.call = call,
	.close = close_scanner,
};
