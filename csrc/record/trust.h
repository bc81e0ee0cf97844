/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RECORD_TRUST_H
#define FFPF_RECORD_TRUST_H
/*
 * Whose signatures count: a directory with one file for each public key, named by the key's id in hex and ".pub".
 *
 *     ffpf-trust 1
 *     ed25519 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29
 *     not-after 2027-01-31T00:00:00Z
 *
 * The last line may be missing: then there is no end. The directory and the file must belong to root or to this
 * process's user, and nobody else may be able to write them. fpl/fpl2/keys.py writes these files.
 */
#include "record/record.h"
#include "record/sodium.h"

#define FFPF_TRUST_ID_TEXT (2 * FFPF_FPLO_KEY_ID_LEN + 1) /* octets of an id as text */

void ffpf_trust_id_text(const uint8_t id[FFPF_FPLO_KEY_ID_LEN], char text[FFPF_TRUST_ID_TEXT]);

/* The key with this id. -FFPF_E_DENIED: it is not trusted, or no more, or the directory is not to be relied on;
 * -FFPF_E_FORMAT: its file is none. The text has the path, and why. */
int ffpf_trust_find(const char *directory, const uint8_t id[FFPF_FPLO_KEY_ID_LEN], const struct ffpf_sodium *sodium,
		    uint8_t key[FFPF_FPLO_KEY_LEN], struct ffpf_error *err);

#endif
