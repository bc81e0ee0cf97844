/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SYSPCAP_SYSPCAP_H
#define FFPF_SYSPCAP_SYSPCAP_H
/*
 * The system's libpcap, loaded by path in a namespace of its own (dlmopen), so that its symbols never meet ours. It
 * compiles filter text, lists devices, and serves the devices that we do not capture ourselves.
 *
 * Its libc is a second one: memory that it allocated is freed by it, a FILE of ours is never given to it, and its
 * errno is not ours. Loaded at the first use, once per process, under a lock; never unloaded.
 */
#include "bpf/bpf.h"
#include "common/error.h"

struct pcap;

/* Pointer to a function of the system's libpcap by name, or NULL when it has none (err set: not found, or is us). */
void *ffpf_syspcap_symbol(const char *name, struct ffpf_error *err);

/* Typed call: SYSPCAP(pcap_close, &err)(p). Needs <pcap/pcap.h>. */
#define FFPF_SYSPCAP(name, err) ((__typeof__(&name))ffpf_syspcap_symbol(#name, (err)))

/* Which form of filter: they differ for VLAN tags, direction and interfaces. */
enum ffpf_filter_form {
	FFPF_FORM_SAVEFILE, /* packets as stored, tags inline */
	FFPF_FORM_DEAD,     /* what pcap_open_dead() gives */
	FFPF_FORM_LIVE,     /* packets as the kernel's socket filter sees them: outer tag as metadata */
};

/*
 * Compiles filter text. *insns is allocated with malloc of this namespace; free it with free(). A text that does not
 * compile: -FFPF_E_BAD_FILTER with libpcap's own words. Thread-safe.
 */
int ffpf_syspcap_compile(struct ffpf_bpf_insn **insns, uint32_t *count, const char *text, int link_type,
			 uint32_t snap_len, bool optimize, uint32_t netmask, enum ffpf_filter_form form,
			 struct ffpf_error *err);

#endif
