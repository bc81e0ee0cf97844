/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_WORDS_H
#define FFPF_EXTERNS_WORDS_H
/*
 * Text in packets, as RTSP, SIP and FTP are written: octets that may be anything, and end anywhere. Letters are the
 * same in any case. Nothing is read at or behind `end`.
 */
#include <stdbool.h>
#include <stdint.h>

struct words {
	const uint8_t *at, *end;
};

/* The next line without its end (LF, CRLF or the text's end), taken off the text. False: the text is empty. */
bool words_line(struct words *text, struct words *line);
/* Takes the prefix off; false, and nothing taken, when it is not there. `lower`: in small letters. */
bool words_begin(struct words *text, const char *lower);
/* Takes off all up to and including the first `lower`; false, and nothing taken, when it is not there. */
bool words_skip_to(struct words *text, const char *lower);
/* Takes off a decimal number of at most `most`; false, and nothing taken: no digit, or a larger number. */
bool words_number(struct words *text, uint32_t most, uint32_t *out);
/* Takes off blanks and tabs. */
void words_blanks(struct words *text);

#endif
