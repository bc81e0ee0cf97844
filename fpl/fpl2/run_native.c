/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests: runs native code of another processor than the test's own, under qemu.
 *
 * takes    cases on standard input: u32 octets of code, of packet, of memory, u32 facts[FACTS], code, packet, memory
 * gives    of each, on standard output: u32 result, memory
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FACTS 4 /* of values.py's OWN_FACTS */

typedef uint32_t (*filter_fn)(const void *packet, uint32_t captured, uint32_t wire, const void *facts, void *memory,
			      const void *externals);

static void *
octets(uint32_t count)
{
	void *at = calloc(1, count + 1u);

	if (!at || fread(at, 1, count, stdin) != count)
		exit(1);
	return at;
}

int
main(void)
{
	uint32_t sizes[3], facts[FACTS];

	while (fread(sizes, sizeof(sizes), 1, stdin) == 1 && fread(facts, sizeof(facts), 1, stdin) == 1) {
		void *code = octets(sizes[0]), *packet = octets(sizes[1]), *memory = octets(sizes[2]);
		void *at = mmap(NULL, sizes[0], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		filter_fn filter;
		uint32_t result;

		if (at == MAP_FAILED)
			return 1;
		memcpy(at, code, sizes[0]);
		__builtin___clear_cache(at, (char *)at + sizes[0]);
		if (mprotect(at, sizes[0], PROT_READ | PROT_EXEC))
			return 1;
		memcpy(&filter, &at, sizeof(filter));
		result = filter(packet, sizes[1], sizes[1], facts, memory, NULL);
		fwrite(&result, sizeof(result), 1, stdout);
		fwrite(memory, 1, sizes[2], stdout);
		munmap(at, sizes[0]);
		free(code);
		free(packet);
		free(memory);
	}
	return 0;
}
