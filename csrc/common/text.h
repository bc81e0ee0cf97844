/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COMMON_TEXT_H
#define FFPF_COMMON_TEXT_H
/*
 * A text that grows. Zeros are the empty text. When memory runs out `failed` is set, what was added stays, and nothing
 * more is added: whoever asked for the text looks once, at the end. Not for the data path.
 */
#include <stdbool.h>
#include <stddef.h>

struct ffpf_text {
	char *data; /* ended by NUL; NULL while nothing was added */
	size_t len; /* without the NUL */
	size_t room;
	bool failed;
};

void ffpf_text_add(struct ffpf_text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ffpf_text_add_octets(struct ffpf_text *text, const char *octets, size_t len);
const char *ffpf_text_get(const struct ffpf_text *text); /* never NULL */
void ffpf_text_free(struct ffpf_text *text);             /* leaves the empty text */

#endif
