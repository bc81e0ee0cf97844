/* SPDX-License-Identifier: BSD-3-Clause */
#include "syspcap/compile.h"
#include "syspcap/syspcap.h"

#include <ctype.h>
#include <pcap/pcap.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SPECIAL_VLAN_HANDLING 1 /* pcap-int.h of libpcap 1.8 to 1.10: BPF_SPECIAL_VLAN_HANDLING */

/* The load of the "has a tag" metadata: SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT of linux/filter.h. */
#define LOAD_BYTE          0x30
#define VLAN_TAG_AVAILABLE 0xfffff030U

#define PROBE_SNAP_LEN 65535

/*
 * In libpcap 1.10 these lie between the flag and the text of errors, whose address pcap_geterr() tells. Where the
 * members have moved, the search below finds the flag.
 */
struct after_flag {
	int flag;
	int selectable_fd;
	const void *select_timeout;
	struct bpf_program filter;
};

struct system_calls {
	__typeof__(&pcap_open_dead) open_dead;
	__typeof__(&pcap_compile) compile;
	__typeof__(&pcap_freecode) freecode;
	__typeof__(&pcap_geterr) geterr;
	__typeof__(&pcap_close) close;
};

static bool
get_calls(struct system_calls *calls)
{
	struct ffpf_error err;

	calls->open_dead = FFPF_SYSPCAP(pcap_open_dead, &err);
	calls->compile = FFPF_SYSPCAP(pcap_compile, &err);
	calls->freecode = FFPF_SYSPCAP(pcap_freecode, &err);
	calls->geterr = FFPF_SYSPCAP(pcap_geterr, &err);
	calls->close = FFPF_SYSPCAP(pcap_close, &err);
	return calls->open_dead && calls->compile && calls->freecode && calls->geterr && calls->close;
}

static bool
writes_live_form(const struct system_calls *calls, pcap_t *handle)
{
	struct bpf_program program;
	bool found = false;

	if (calls->compile(handle, &program, "vlan", 1, PCAP_NETMASK_UNKNOWN) != 0)
		return false;
	for (u_int i = 0; i < program.bf_len; i++)
		found |= program.bf_insns[i].code == LOAD_BYTE && program.bf_insns[i].k == VLAN_TAG_AVAILABLE;
	calls->freecode(&program);
	return found;
}

/* The word must be 0, as the flags of a dead handle are, and back at 0 the old form must be back. */
static bool
is_flag(const struct system_calls *calls, pcap_t *handle, int *word)
{
	bool works;

	if (*word != 0)
		return false;
	*word = SPECIAL_VLAN_HANDLING;
	works = writes_live_form(calls, handle);
	*word = 0;
	return works && !writes_live_form(calls, handle);
}

/*
 * Offset of the flag in a handle; 0 when there is none to be found. Only words between the handle's begin and its text
 * of errors are touched, one at a time, and only those that are 0.
 */
static size_t
find_flag(void)
{
	struct system_calls calls;
	pcap_t *handle;
	char *begin, *text;
	size_t offset = 0;

	if (!get_calls(&calls))
		return 0;
	handle = calls.open_dead(DLT_EN10MB, PROBE_SNAP_LEN);
	if (!handle)
		return 0;
	begin = (char *)handle;
	text = calls.geterr(handle);
	if (text > begin && text - begin < 4096 && (text - begin) % (ptrdiff_t)sizeof(int) == 0) {
		char *likely = text - sizeof(struct after_flag);

		if (likely > begin && is_flag(&calls, handle, (int *)(void *)likely))
			offset = (size_t)(likely - begin);
		for (char *at = text - sizeof(int); offset == 0 && at > begin; at -= sizeof(int))
			if (is_flag(&calls, handle, (int *)(void *)at))
				offset = (size_t)(at - begin);
	}
	calls.close(handle);
	return offset;
}

#define NOT_SOUGHT ((size_t)-1)

/* Offset of the flag, 0 for none. Every thread that seeks it finds the same: no order is needed. */
static size_t
flag_offset(void)
{
	static _Atomic size_t known = NOT_SOUGHT;
	size_t offset = atomic_load_explicit(&known, memory_order_relaxed);

	if (offset == NOT_SOUGHT) {
		offset = find_flag();
		atomic_store_explicit(&known, offset, memory_order_relaxed);
	}
	return offset;
}

static pcap_t *
open_with_flag(int link_type, uint32_t snap_len)
{
	struct system_calls calls;
	size_t offset = flag_offset();
	pcap_t *handle = NULL;

	if (offset && get_calls(&calls))
		handle = calls.open_dead(link_type, (int)snap_len);
	if (handle)
		*(int *)(void *)((char *)handle + offset) = SPECIAL_VLAN_HANDLING;
	return handle;
}

/* Loopback is Ethernet to a socket; no other link type of live captures has a form of its own. */
static pcap_t *
open_on_loopback(uint32_t snap_len)
{
	char text[PCAP_ERRBUF_SIZE];
	struct system_calls calls;
	struct ffpf_error err;
	__typeof__(&pcap_create) create = FFPF_SYSPCAP(pcap_create, &err);
	__typeof__(&pcap_set_snaplen) set_snaplen = FFPF_SYSPCAP(pcap_set_snaplen, &err);
	__typeof__(&pcap_activate) activate = FFPF_SYSPCAP(pcap_activate, &err);
	pcap_t *handle;

	if (!create || !set_snaplen || !activate || !get_calls(&calls))
		return NULL;
	handle = create("lo", text);
	if (!handle)
		return NULL;
	if (set_snaplen(handle, (int)snap_len) == 0 && activate(handle) >= 0)
		return handle;
	calls.close(handle);
	return NULL;
}

static bool
device_way_works(void)
{
	struct system_calls calls;
	pcap_t *handle = open_on_loopback(PROBE_SNAP_LEN);
	bool works;

	if (!handle || !get_calls(&calls))
		return false;
	works = writes_live_form(&calls, handle);
	calls.close(handle);
	return works;
}

enum live_way
ffpf_syspcap_live_way(void)
{
	if (flag_offset())
		return LIVE_BY_FLAG;
	return device_way_works() ? LIVE_BY_DEVICE : LIVE_BY_DEAD;
}

static bool
speaks_of_vlans(const char *text)
{
	for (const char *at = text; (at = strstr(at, "vlan")) != NULL; at += 4)
		if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[4]))
			return true;
	return false;
}

static bool
has_live_form(int link_type)
{
	return link_type == DLT_EN10MB || link_type == DLT_NETANALYZER || link_type == DLT_NETANALYZER_TRANSPARENT;
}

struct pcap *
ffpf_syspcap_live_handle(enum live_way way, int link_type, uint32_t snap_len, const char *text, struct ffpf_error *err)
{
	struct system_calls calls;
	pcap_t *handle = NULL;

	if (way == LIVE_BY_FLAG)
		handle = open_with_flag(link_type, snap_len);
	else if (way == LIVE_BY_DEVICE && link_type == DLT_EN10MB)
		handle = open_on_loopback(snap_len);
	else if (has_live_form(link_type) && text && speaks_of_vlans(text)) {
		ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
			       "this system's libpcap cannot be made to compile \"vlan\" for a live capture");
		return NULL;
	} else if (get_calls(&calls)) {
		handle = calls.open_dead(link_type, (int)snap_len);
	}
	if (!handle)
		ffpf_error_set(err, FFPF_E_GENERIC, "the system's libpcap gives no handle to compile a filter with");
	return handle;
}
