/* SPDX-License-Identifier: BSD-3-Clause */
#include "syspcap/find.h"
#include "syspcap/syspcap.h"

#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/*
 * Process-wide: a process has one system library, and the dynamic linker has few namespaces (16 in glibc 2.36).
 * Written once, with release, by the thread that loaded it under the lock; pairs with the acquire in library().
 */
static _Atomic(void *) loaded;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

struct attempt {
	void *library;
	char reason[FFPF_ERROR_TEXT_LEN];
};

static bool
load(const char *path, void *arg)
{
	struct attempt *attempt = arg;
	void *library = dlmopen(LM_ID_NEWLM, path, RTLD_LAZY | RTLD_LOCAL);

	if (!library) {
		const char *why = dlerror();

		snprintf(attempt->reason, sizeof(attempt->reason), "%s", why ? why : path);
		return false;
	}
	if (!dlsym(library, "pcap_compile") || !dlsym(library, "pcap_open_dead")) {
		snprintf(attempt->reason, sizeof(attempt->reason), "%s is no libpcap", path);
		dlclose(library);
		return false;
	}
	attempt->library = library;
	return true;
}

static void *
library(struct ffpf_error *err)
{
	void *found = atomic_load_explicit(&loaded, memory_order_acquire); /* pairs with the release below */
	struct attempt attempt = { .library = NULL };

	if (found)
		return found;
	pthread_mutex_lock(&loading);
	found = atomic_load_explicit(&loaded, memory_order_relaxed);
	if (!found && ffpf_syspcap_find(load, &attempt)) {
		found = attempt.library;
		atomic_store_explicit(&loaded, found, memory_order_release);
	}
	pthread_mutex_unlock(&loading);
	if (!found)
		ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "the system's libpcap cannot be loaded%s%.200s",
			       attempt.reason[0] ? ": " : " (FFPF_SYSTEM_LIBPCAP can name it)", attempt.reason);
	return found;
}

/*
 * glibc prepares a new thread's tables of character classes only in the C library that started the thread (2.36,
 * nptl/pthread_create.c: __ctype_init); in the other one isspace() would follow a null pointer. Setting the locale that
 * is in force already prepares them.
 */
static void
prepare_thread(void *found)
{
	static _Thread_local bool prepared;
	locale_t (*set_locale)(locale_t);

	if (prepared)
		return;
	prepared = true;
	set_locale = (locale_t(*)(locale_t))dlsym(found, "uselocale");
	if (set_locale)
		set_locale(LC_GLOBAL_LOCALE);
}

void *
ffpf_syspcap_symbol(const char *name, struct ffpf_error *err)
{
	void *found = library(err);
	void *symbol;

	if (!found)
		return NULL;
	prepare_thread(found);
	symbol = dlsym(found, name);
	if (!symbol)
		ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "the system's libpcap has no %s", name);
	return symbol;
}
