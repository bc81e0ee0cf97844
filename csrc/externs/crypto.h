/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_CRYPTO_H
#define FFPF_EXTERNS_CRYPTO_H
/*
 * Digests by OpenSSL's libcrypto (EVP), which is loaded when the first use is opened: nobody who needs none has it in
 * his process.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct crypto_digest;

/* name: as EVP_MD_fetch knows it. -FFPF_E_NOT_SUPPORTED: no libcrypto, or it has no such digest (a policy of the
 * machine may forbid MD5). */
int crypto_digest_open(struct crypto_digest **out, const char *name, struct ffpf_error *err);
/* Writes the digest, whose length is the name's; false: the library failed, and nothing is written. */
bool crypto_digest_of(struct crypto_digest *digest, const uint8_t *data, uint32_t len, uint8_t *out);
void crypto_digest_close(struct crypto_digest *digest); /* NULL is legal */

#endif
