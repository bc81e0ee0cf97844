/* SPDX-License-Identifier: BSD-3-Clause */
#include "syspcap/compile.h"
#include "syspcap/syspcap.h"

#include <byteswap.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct bpf_insn) == sizeof(struct ffpf_bpf_insn), "one instruction, two names");

#define RETURN_CONSTANT 0x06 /* BPF_RET | BPF_K */

/* Writes a savefile's header with the system's library, which knows the number that savefiles have for a link type.
 * False when they have none: such a number came out of a savefile as it was. */
static bool
write_header(struct pcap_file_header *header, int link_type, uint32_t snap_len)
{
	struct ffpf_error err;
	__typeof__(&pcap_open_dead) open_dead = FFPF_SYSPCAP(pcap_open_dead, &err);
	__typeof__(&pcap_dump_fopen) dump_fopen = FFPF_SYSPCAP(pcap_dump_fopen, &err);
	__typeof__(&pcap_close) close_handle = FFPF_SYSPCAP(pcap_close, &err);
	__typeof__(&fmemopen) open_memory = FFPF_SYSPCAP(fmemopen, &err);
	__typeof__(&fclose) close_file = FFPF_SYSPCAP(fclose, &err);
	char octets[sizeof(*header) + 1]; /* fmemopen() ends what it writes with a 0 */
	pcap_t *handle;
	FILE *fp;
	bool written;

	if (!open_dead || !dump_fopen || !close_handle || !open_memory || !close_file)
		return false;
	handle = open_dead(link_type, (int)snap_len);
	if (!handle)
		return false;
	fp = open_memory(octets, sizeof(octets), "w");
	written = fp && dump_fopen(handle, fp) != NULL;
	if (fp && close_file(fp) != 0)
		written = false;
	close_handle(handle);
	if (written)
		memcpy(header, octets, sizeof(*header));
	return written;
}

static void
swap_header(struct pcap_file_header *header)
{
	header->magic = bswap_32(header->magic);
	header->version_major = bswap_16(header->version_major);
	header->version_minor = bswap_16(header->version_minor);
	header->snaplen = bswap_32(header->snaplen);
	header->linktype = bswap_32(header->linktype);
}

/*
 * A handle of the system's library that reads a savefile. Its FILE must be of the same C library, and is one over
 * memory: no descriptor is needed, so it works without /proc, at the limit of open files, and in a sandbox.
 */
static pcap_t *
savefile_handle(int link_type, uint32_t snap_len, bool swapped, struct ffpf_error *err)
{
	struct pcap_file_header header = {
		.magic = 0xa1b2c3d4,
		.version_major = PCAP_VERSION_MAJOR,
		.version_minor = PCAP_VERSION_MINOR,
		.snaplen = snap_len,
		.linktype = (bpf_u_int32)link_type,
	};
	__typeof__(&pcap_fopen_offline) fopen_offline = FFPF_SYSPCAP(pcap_fopen_offline, err);
	__typeof__(&fmemopen) open_memory = FFPF_SYSPCAP(fmemopen, err);
	__typeof__(&fclose) close_file = FFPF_SYSPCAP(fclose, err);
	char text[PCAP_ERRBUF_SIZE] = "no memory";
	pcap_t *handle = NULL;
	FILE *fp;

	if (!fopen_offline || !open_memory || !close_file)
		return NULL;
	write_header(&header, link_type, snap_len);
	if (swapped)
		swap_header(&header);
	fp = open_memory(&header, sizeof(header), "r");
	if (fp)
		handle = fopen_offline(fp, text);
	if (!handle) {
		ffpf_error_set(err, FFPF_E_GENERIC, "%s", text);
		if (fp)
			close_file(fp);
	}
	return handle;
}

static pcap_t *
open_handle(const char *text, int link_type, uint32_t snap_len, enum ffpf_filter_form form, struct ffpf_error *err)
{
	__typeof__(&pcap_open_dead) open_dead;
	pcap_t *handle;

	switch (form) {
	case FFPF_FORM_SAVEFILE:
	case FFPF_FORM_SAVEFILE_SWAPPED:
		return savefile_handle(link_type, snap_len, form == FFPF_FORM_SAVEFILE_SWAPPED, err);
	case FFPF_FORM_LIVE:
		return ffpf_syspcap_live_handle(ffpf_syspcap_live_way(), link_type, snap_len, text, err);
	case FFPF_FORM_DEAD:
		break;
	}
	open_dead = FFPF_SYSPCAP(pcap_open_dead, err);
	if (!open_dead)
		return NULL;
	handle = open_dead(link_type, (int)snap_len);
	if (!handle)
		ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a handle of the system's libpcap");
	return handle;
}

/*
 * What every program compiles that was given no filter, for the link types nearly all captures have: accept the packet.
 * Not loading a library for it halves the time in which such a program starts.
 */
static bool
accepts_all(const char *text, int link_type, uint32_t snap_len)
{
	if (snap_len == 0 || (text && text[strspn(text, " \t\r\n")] != '\0'))
		return false;
	return link_type == DLT_EN10MB || link_type == DLT_LINUX_SLL || link_type == DLT_LINUX_SLL2 ||
	       link_type == DLT_RAW;
}

static int
copy_insns(struct ffpf_bpf_insn **insns, uint32_t *count, const struct bpf_insn *from, uint32_t n,
	   struct ffpf_error *err)
{
	struct ffpf_bpf_insn *copy = malloc((size_t)n * sizeof(*copy));

	if (!copy)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a filter of %u instructions", n);
	memcpy(copy, from, (size_t)n * sizeof(*copy));
	*insns = copy;
	*count = n;
	return 0;
}

int
ffpf_syspcap_compile(struct ffpf_bpf_insn **insns, uint32_t *count, const char *text, int link_type, uint32_t snap_len,
		     bool optimize, uint32_t netmask, enum ffpf_filter_form form, struct ffpf_error *err)
{
	__typeof__(&pcap_compile) compile;
	__typeof__(&pcap_freecode) freecode;
	__typeof__(&pcap_geterr) geterr;
	__typeof__(&pcap_close) close_handle;
	struct bpf_program program = { .bf_len = 0 };
	pcap_t *handle;
	int result;

	if (accepts_all(text, link_type, snap_len)) {
		const struct bpf_insn accept = { .code = RETURN_CONSTANT, .k = snap_len };

		return copy_insns(insns, count, &accept, 1, err);
	}
	compile = FFPF_SYSPCAP(pcap_compile, err);
	if (!compile)
		return -FFPF_E_NOT_SUPPORTED;
	freecode = FFPF_SYSPCAP(pcap_freecode, err);
	geterr = FFPF_SYSPCAP(pcap_geterr, err);
	close_handle = FFPF_SYSPCAP(pcap_close, err);
	if (!freecode || !geterr || !close_handle)
		return -FFPF_E_NOT_SUPPORTED;
	handle = open_handle(text, link_type, snap_len, form, err);
	if (!handle)
		return err ? -(int)err->code : -FFPF_E_GENERIC;
	if (compile(handle, &program, text, optimize, netmask) == 0) {
		result = copy_insns(insns, count, program.bf_insns, program.bf_len, err);
		freecode(&program);
	} else {
		result = ffpf_error_set(err, FFPF_E_BAD_FILTER, "%s", geterr(handle));
	}
	close_handle(handle);
	return result;
}
