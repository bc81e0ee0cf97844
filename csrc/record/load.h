/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_RECORD_LOAD_H
#define FFPF_RECORD_LOAD_H
/*
 * From a file, or a compiler's answer, to code that may be mapped. The order is: the form, the seal, every section's
 * digest, what the policy says of the declared cost. Whoever maps code takes it from the memory that was checked.
 */
#include "record/record.h"

/* What whoever loads asks for. */
struct ffpf_fplo_policy {
	const char *trust;                  /* directory of the keys whose signatures count */
	bool require_signed;                /* programs that are no signed records are refused */
	uint64_t steps, rounds, mbuf_bytes; /* the most that a record may declare */
};

/* Of this process: the directory FFPF_TRUST, else FFPF_TRUST_DEFAULT; FFPF_REQUIRE_SIGNED=1; the limits that the
 * compiler has by itself. Borrows from the environment. */
void ffpf_fplo_policy_of_environment(struct ffpf_fplo_policy *out);
#define FFPF_TRUST_DEFAULT "/etc/ffpf/trust"

/* A record in memory of its own. */
struct ffpf_fplo_image {
	uint8_t *octets;
	struct ffpf_fplo record;
};

/* Checks octets from whomever. by_key: a digest is not enough. -FFPF_E_FORMAT, -FFPF_E_DENIED. */
int ffpf_fplo_check(struct ffpf_fplo *out, const uint8_t *octets, size_t len, bool by_key,
		    const struct ffpf_fplo_policy *policy, struct ffpf_error *err);
/* The record in a file, which must be signed. Errors begin with the path. */
int ffpf_fplo_load(struct ffpf_fplo_image *out, const char *path, const struct ffpf_fplo_policy *policy,
		   struct ffpf_error *err);
/* Takes what a descriptor has from its begin on, up to the end, at most FFPF_FPLO_MAX octets; no policy but that it
 * is whole. The descriptor stays open. */
int ffpf_fplo_take(struct ffpf_fplo_image *out, int fd, bool by_key, const struct ffpf_fplo_policy *policy,
		   struct ffpf_error *err);
void ffpf_fplo_free(struct ffpf_fplo_image *image); /* zeros are legal, and what is left */

#endif
