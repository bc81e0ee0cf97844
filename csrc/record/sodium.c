/* SPDX-License-Identifier: BSD-3-Clause */
#include "record/sodium.h"

#include <dlfcn.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libsodium.so.23"

static bool
find(void *library, const char *name, void *out)
{
	void *found = dlsym(library, name);

	memcpy(out, &found, sizeof(found)); /* a function's address, which C does not let us convert */
	return found != NULL;
}

int
ffpf_sodium_open(struct ffpf_sodium *out, struct ffpf_error *err)
{
	/* typed by the library's own header */
	__typeof__(&sodium_init) init = NULL;
	__typeof__(&crypto_hash_sha256) sha256 = NULL;
	__typeof__(&crypto_sign_verify_detached) verify = NULL;
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "records cannot be checked without libsodium: %s",
				      dlerror());
	if (!find(library, "sodium_init", &init) || !find(library, "crypto_hash_sha256", &sha256) ||
	    !find(library, "crypto_sign_verify_detached", &verify) || init() < 0) {
		dlclose(library);
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "records cannot be checked: %s is not as expected",
				      LIBRARY);
	}
	*out = (struct ffpf_sodium){ .library = library, .sha256 = sha256, .verify = verify };
	return 0;
}

void
ffpf_sodium_close(struct ffpf_sodium *sodium)
{
	if (sodium->library)
		dlclose(sodium->library);
	*sodium = (struct ffpf_sodium){ 0 };
}
