/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_PATTERN_H
#define FFPF_EXTERNS_PATTERN_H
/* Octets that users write: GET \x00\r\n\\ (escapes \xHH \n \r \t \0 \\ ), each other octet itself. */
#include <stddef.h>
#include <stdint.h>

/* Octets go to out, which has room for as many as the text has. Returns how many; -1: an escape that is none. */
long pattern_read(uint8_t *out, const char *text, size_t len);

#endif
