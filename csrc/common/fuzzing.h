/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COMMON_FUZZING_H
#define FFPF_COMMON_FUZZING_H
/* What every fuzz target has. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* libFuzzer sees the end of the process, and keeps the input. */
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

#endif
