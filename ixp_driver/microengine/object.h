/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_MICROENGINE_OBJECT_H
#define IXP_MICROENGINE_OBJECT_H
/*
 * Microcode as it is loaded into an engine. All numbers are little-endian, 32 bits where nothing else is said:
 *
 *   0   "IXPO", version (1), octets of the whole, contexts to start (1 to 4), words, imports, CRC-32 (as in zlib) of
 * the whole with these four octets 0, 0 32  imports: name (24 octets, NULs behind it, at least one), number of a word,
 * 0 .. ascending by word
 *   ..  words
 *
 * An import is a number that only the board knows, such as where an MBuf lies: its word is an IMMED LOW and the next
 * one an IMMED UPPER of the same GPR, both with value 0, and ixp_object_import() fills them in.
 *
 * What comes from elsewhere is parsed as hostile: every word must decode, and every branch lead into the program.
 */
#include "common/error.h"
#include "microengine/isa.h"

#include <stddef.h>
#include <stdint.h>

#define IXP_OBJECT_VERSION     1u
#define IXP_OBJECT_HEAD        32u
#define IXP_OBJECT_IMPORT      32u /* octets of one */
#define IXP_OBJECT_NAME        24u
#define IXP_OBJECT_IMPORTS_MAX 64u
#define IXP_OBJECT_MAX         (IXP_OBJECT_HEAD + IXP_OBJECT_IMPORTS_MAX * IXP_OBJECT_IMPORT + 4u * IXP_STORE_WORDS)

struct ixp_import {
	char name[IXP_OBJECT_NAME];
	uint32_t word;
};

struct ixp_object {
	uint32_t contexts;
	uint32_t word_count, import_count;
	struct ixp_import imports[IXP_OBJECT_IMPORTS_MAX];
	uint32_t words[IXP_STORE_WORDS];
};

/* Copies; *out is untouched on failure. -FFPF_E_FORMAT says what is wrong, and at which word. */
int ixp_object_parse(struct ixp_object *out, const uint8_t *octets, size_t len, struct ffpf_error *err);

/* Fills in all imports of this name; gives how many there are. */
uint32_t ixp_object_import(struct ixp_object *object, const char *name, uint32_t value);

/* NULL: the word is an instruction, in a program of so many words; else what is wrong with it. */
const char *ixp_word_fault(uint32_t word, uint32_t words);

#endif
