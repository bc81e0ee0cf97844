/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/pattern_set.h"
#include "externs/named_file.h"
#include "externs/pattern.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
no_memory(struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

static bool
grow(struct pattern_set *set, size_t len)
{
	if (set->count == set->room) {
		uint32_t room = set->room ? set->room * 2 : 16;
		uint32_t *at = realloc(set->at, room * sizeof(*at)), *lens;

		if (!at)
			return false;
		set->at = at;
		lens = realloc(set->len, room * sizeof(*lens));
		if (!lens)
			return false;
		set->len = lens;
		set->room = room;
	}
	if (set->bytes - set->used < len + 1) {
		size_t bytes = set->bytes * 2 + len + 1;
		uint8_t *octets = realloc(set->octets, bytes);

		if (!octets)
			return false;
		set->octets = octets;
		set->bytes = bytes;
	}
	return true;
}

int
pattern_set_add(struct pattern_set *set, const uint8_t *octets, size_t len, struct ffpf_error *err)
{
	if (!len)
		return ffpf_error_set(err, FFPF_E_INVALID, "a pattern without octets");
	if (set->count == PATTERN_SET_MAX || set->used + len > UINT32_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "more than %u patterns", PATTERN_SET_MAX);
	if (!grow(set, len))
		return no_memory(err);
	set->at[set->count] = (uint32_t)set->used;
	set->len[set->count++] = (uint32_t)len;
	memcpy(set->octets + set->used, octets, len);
	set->octets[set->used + len] = '\0';
	set->used += len + 1;
	return 0;
}

static int
add_line(struct pattern_set *set, char *line, size_t len, bool literal, struct ffpf_error *err)
{
	long n = (long)len;

	if (literal) {
		n = pattern_read((uint8_t *)line, line, len); /* octets are no more than the text has */
		if (n < 0)
			return ffpf_error_set(err, FFPF_E_INVALID, "an escape that is none");
	}
	return n ? pattern_set_add(set, (uint8_t *)line, (size_t)n, err) : 0;
}

static int
add_lines(struct pattern_set *set, const char *name, FILE *file, bool literal, struct ffpf_error *err)
{
	char *line = NULL;
	size_t room = 0, total = 0;
	unsigned number = 0;
	int status = 0;
	ssize_t len;

	while (!status && (len = getline(&line, &room, file)) >= 0) {
		number++;
		total += (size_t)len;
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		status = total > PATTERN_SET_FILE_MAX
			     ? ffpf_error_set(err, FFPF_E_INVALID, "more than %u octets", PATTERN_SET_FILE_MAX)
			     : add_line(set, line, (size_t)len, literal, err);
	}
	free(line);
	if (status)
		ffpf_error_append(err, " (%s, line %u)", name, number);
	else if (ferror(file))
		status = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", name);
	return status;
}

int
pattern_set_read(struct pattern_set *set, const char *name, bool literal, struct ffpf_error *err)
{
	FILE *file;
	int status = named_file_open(&file, name, err);

	if (status)
		return status;
	status = add_lines(set, name, file, literal, err);
	fclose(file);
	return status;
}

void
pattern_set_free(struct pattern_set *set)
{
	free(set->octets);
	free(set->at);
	free(set->len);
	*set = (struct pattern_set){ 0 };
}
