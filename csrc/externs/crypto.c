/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/crypto.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY      "libcrypto.so.3"
#define DIGEST_BYTES 64 /* EVP_MAX_MD_SIZE */

/* What we call, as openssl/evp.h declares it; its types are opaque there, too. */
struct crypto_digest {
	void *library;
	void *(*fetch)(void *ctx, const char *algorithm, const char *properties);
	void (*free)(void *md);
	void *(*context_new)(void);
	void (*context_free)(void *context);
	int (*init)(void *context, const void *md, void *engine);
	int (*update)(void *context, const void *data, size_t len);
	int (*final)(void *context, unsigned char *out, unsigned int *len);
	void *md, *context;
};

static bool
find(struct crypto_digest *digest)
{
	struct {
		const char *name;
		void **at;
	} symbols[] = {
		{ "EVP_MD_fetch", (void **)&digest->fetch },
		{ "EVP_MD_free", (void **)&digest->free },
		{ "EVP_MD_CTX_new", (void **)&digest->context_new },
		{ "EVP_MD_CTX_free", (void **)&digest->context_free },
		{ "EVP_DigestInit_ex", (void **)&digest->init },
		{ "EVP_DigestUpdate", (void **)&digest->update },
		{ "EVP_DigestFinal_ex", (void **)&digest->final },
	};

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].at = dlsym(digest->library, symbols[i].name);
		if (!*symbols[i].at)
			return false;
	}
	return true;
}

int
crypto_digest_open(struct crypto_digest **out, const char *name, struct ffpf_error *err)
{
	struct crypto_digest *digest = calloc(1, sizeof(*digest));
	int status = 0;

	if (!digest)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	digest->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!digest->library || !find(digest)) {
		status = ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s needs %s, of Debian's libssl3", name, LIBRARY);
	} else {
		digest->md = digest->fetch(NULL, name, NULL);
		digest->context = digest->md ? digest->context_new() : NULL;
		if (!digest->context)
			status = ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s has no %s here", LIBRARY, name);
	}
	if (status)
		crypto_digest_close(digest);
	else
		*out = digest;
	return status;
}

bool
crypto_digest_of(struct crypto_digest *digest, const uint8_t *data, uint32_t len, uint8_t *out)
{
	unsigned char octets[DIGEST_BYTES];
	unsigned int bytes = 0;

	if (digest->init(digest->context, digest->md, NULL) != 1 || digest->update(digest->context, data, len) != 1 ||
	    digest->final(digest->context, octets, &bytes) != 1)
		return false;
	memcpy(out, octets, bytes);
	return true;
}

/* The library stays: what it registered for the process's end would otherwise be gone. */
void
crypto_digest_close(struct crypto_digest *digest)
{
	if (!digest)
		return;
	if (digest->context)
		digest->context_free(digest->context);
	if (digest->md)
		digest->free(digest->md);
	free(digest);
}
