/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COMMON_MACHINE_CODE_H
#define FFPF_COMMON_MACHINE_CODE_H
/*
 * Machine code that was made at run time. Its memory is written first and then made executable: never both at once.
 */
#include "common/error.h"

#include <stddef.h>

struct ffpf_machine_code {
	void *mem;      /* a mapping of its own; the code begins there */
	size_t mem_len; /* of the mapping, a multiple of the page */
	size_t len;     /* octets of code */
};

/* Copies `len` octets, which run wherever they lie. -FFPF_E_SYSTEM: no memory, or none may be executable. *out is
 * untouched on failure. */
int ffpf_machine_code_map(struct ffpf_machine_code *out, const void *octets, size_t len, struct ffpf_error *err);
void ffpf_machine_code_unmap(struct ffpf_machine_code *code); /* zeros are legal, and what is left */

#endif
