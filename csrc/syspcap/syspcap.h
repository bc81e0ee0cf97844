/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SYSPCAP_SYSPCAP_H
#define FFPF_SYSPCAP_SYSPCAP_H
/*
 * The system's libpcap, loaded by path in a namespace of its own (dlmopen), so that its symbols never meet ours. It
 * compiles filter text, lists devices, and serves the devices that we do not capture ourselves.
 *
 * Its libc is a second one: memory that it allocated is freed by it, a FILE of ours is never given to it, and its
 * errno is not ours. Loaded at the first use, once per process, under a lock; never unloaded. README.md tells where it
 * is looked for.
 */
#include "bpf/bpf.h"
#include "common/error.h"

struct pcap;

/*
 * Pointer to a function of the system's libpcap, or of its C library, by name; NULL when there is none or no library is
 * found (err set). Prepares the calling thread for calls into that C library, so a pointer is fetched anew by each
 * thread that uses it.
 */
void *ffpf_syspcap_symbol(const char *name, struct ffpf_error *err);

/* Typed call: FFPF_SYSPCAP(pcap_close, &err)(p). Needs <pcap/pcap.h>. */
#define FFPF_SYSPCAP(name, err) ((__typeof__(&name))ffpf_syspcap_symbol(#name, (err)))

/* Which form of filter: they differ for VLAN tags, direction and interfaces. */
enum ffpf_filter_form {
	FFPF_FORM_SAVEFILE,         /* packets as stored, tags inline */
	FFPF_FORM_SAVEFILE_SWAPPED, /* of a machine of the other byte order: DLT_NULL's header differs */
	FFPF_FORM_DEAD,             /* what pcap_open_dead() gives */
	FFPF_FORM_LIVE,             /* packets as the kernel's socket filter sees them: outer tag as metadata */
};

/*
 * Compiles filter text (NULL or blank: every packet). *insns is allocated with malloc of this namespace; free it with
 * free(). netmask: network byte order, for `ip broadcast`; 0xffffffff unknown. A text that does not compile:
 * -FFPF_E_BAD_FILTER with libpcap's own words. Thread-safe.
 */
int ffpf_syspcap_compile(struct ffpf_bpf_insn **insns, uint32_t *count, const char *text, int link_type,
			 uint32_t snap_len, bool optimize, uint32_t netmask, enum ffpf_filter_form form,
			 struct ffpf_error *err);

#endif
