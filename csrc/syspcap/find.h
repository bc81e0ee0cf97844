/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SYSPCAP_FIND_H
#define FFPF_SYSPCAP_FIND_H
/*
 * Where the system's libpcap may lie. The dynamic linker cannot be asked for it by name: we may be installed, or
 * preloaded, under that very name.
 */
#include <stdbool.h>

/*
 * Calls visit(path, arg) for each existing candidate that is not FFPF itself, best first, until it returns true:
 *   1. FFPF_SYSTEM_LIBPCAP, and then nothing else (not in set-user-ID programs)
 *   2. beside the C library of this process, which is the directory of this architecture
 *   3. what /etc/ld.so.cache names
 *   4. other usual directories
 * True when some visit returned true.
 */
bool ffpf_syspcap_find(bool (*visit)(const char *path, void *arg), void *arg);

/* Whether the file at path contains this core: it carries the note that find.c puts into every object it is linked
 * into. False for what cannot be read. */
bool ffpf_syspcap_is_ourselves(const char *path);

#endif
