/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RECORD_RECORD_H
#define FFPF_RECORD_RECORD_H
/*
 * A compilation record: what fplc made of one program, and what was promised of it. docs/fpl-records.md has the format,
 * octet by octet; fpl/fpl2/record.py writes it.
 *
 * What is parsed is in one form only: sections ascend and touch, padding is zeros, nothing stands behind the seal. That
 * a record is well-formed says nothing about who made it: seal.h and load.h do.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FFPF_FPLO_MAX           (8u << 20) /* octets of a record */
#define FFPF_FPLO_CODE_MAX      (1u << 20) /* octets of code in one section */
#define FFPF_FPLO_SECTIONS_MAX  32u
#define FFPF_FPLO_EXTERNALS_MAX 64u
#define FFPF_FPLO_TEXT_MAX      4096u /* octets of an external function's name and arguments */
#define FFPF_FPLO_DIGEST_LEN    32u   /* SHA-256 */
#define FFPF_FPLO_KEY_ID_LEN    16u   /* the first octets of the SHA-256 of a public key */
#define FFPF_FPLO_COMPILER_LEN  32u
#define FFPF_FPLO_KEY_LEN       32u /* a public key of Ed25519 */
#define FFPF_FPLO_SIGNATURE_LEN 64u

enum ffpf_fplo_seal {
	FFPF_FPLO_SEAL_DIGEST = 1, /* SHA-256 of all before it: whole, from whomever */
	FFPF_FPLO_SEAL_ED25519,    /* the signature of all before it */
};

/* What a section holds. Another back end is one more, and one row of the table in record.c. */
enum ffpf_fplo_kind {
	FFPF_FPLO_NATIVE = 1, /* machine code that runs wherever it lies, entered at its first octet: graph/fplc.h */
	FFPF_FPLO_EXTERNALS,  /* functions that it calls, in the order of the table that it is given */
};

/* The machines of ELF. */
#define FFPF_FPLO_X86_64  62u
#define FFPF_FPLO_AARCH64 183u

/* Borrows the octets that it was parsed from. */
struct ffpf_fplo {
	const uint8_t *octets;
	uint32_t len;     /* the seal included */
	uint32_t seal_at; /* where it begins: so many octets are sealed */
	enum ffpf_fplo_seal seal;
	uint32_t section_count; /* 1 or more */
	uint64_t mbuf_bytes;    /* the MBuf that the code was made for: a power of two of 8 or more, or 0 */
	uint64_t steps;         /* declared cost: operations of the longest way */
	uint64_t rounds;        /* ... rounds of its loops */
	uint32_t deepest;       /* ... loops within each other */
	const uint8_t *key_id;  /* FFPF_FPLO_KEY_ID_LEN octets; zeros when it is sealed by a digest */
	char compiler[FFPF_FPLO_COMPILER_LEN];
	const uint8_t *source_digest;
};

struct ffpf_fplo_section {
	enum ffpf_fplo_kind kind;
	uint16_t machine;      /* FFPF_FPLO_X86_64 ...; 0 of externals */
	uint16_t link_type;    /* DLT_*: 1, 12, 113, 276; 0 of externals */
	const uint8_t *octets; /* the record's */
	uint32_t len;
	const uint8_t *digest;
};

struct ffpf_fplo_external {
	const char *text; /* name and arguments as the program has them; the record's, not ended by NUL, without NULs */
	uint32_t text_len;
	uint32_t reads, writes; /* octets of MBuf, as they were when the record was made */
};

/* Nothing is allocated, copied or executed. -FFPF_E_FORMAT says what is wrong, and at which octet. */
int ffpf_fplo_parse(struct ffpf_fplo *out, const uint8_t *octets, size_t len, struct ffpf_error *err);

/* Of a record that was parsed. i < section_count. */
void ffpf_fplo_section(const struct ffpf_fplo *record, uint32_t i, struct ffpf_fplo_section *out);
/* false: there is no code for this machine and link type. */
bool ffpf_fplo_code(const struct ffpf_fplo *record, uint16_t machine, uint16_t link_type,
		    struct ffpf_fplo_section *out);
/* How many there are; the first `room` of them are written. */
uint32_t ffpf_fplo_externals(const struct ffpf_fplo *record, struct ffpf_fplo_external *out, uint32_t room);

#endif
