/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RECORD_SODIUM_H
#define FFPF_RECORD_SODIUM_H
/*
 * The system's libsodium, there while it is needed and no longer: nobody who loads no record links with it, or has it
 * in the process.
 */
#include "common/error.h"

struct ffpf_sodium {
	void *library;
	int (*sha256)(unsigned char *out, const unsigned char *in, unsigned long long in_len);
	/* Ed25519; 0: the signature is good. */
	int (*verify)(const unsigned char *signature, const unsigned char *message, unsigned long long message_len,
		      const unsigned char *key);
};

/* -FFPF_E_NOT_SUPPORTED: it is not there. */
int ffpf_sodium_open(struct ffpf_sodium *out, struct ffpf_error *err);
void ffpf_sodium_close(struct ffpf_sodium *sodium);

#endif
