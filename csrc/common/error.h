/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_COMMON_ERROR_H
#define FFPF_COMMON_ERROR_H
/*
 * Errors: a code, the system's errno when there is one, and the story as text.
 *
 * Every function of the core that can fail returns 0 (or a count) on success and -code on failure, and describes the
 * failure in the `struct ffpf_error` it was given. The origin sets the text, callers may append to it. The data path
 * never formats, allocates or locks: it counts (see reader/reader.h).
 */

enum ffpf_code {
	FFPF_E_GENERIC = 1, /* the text says it all */
	FFPF_E_SYSTEM,      /* a system call failed; sys_errno says how */
	FFPF_E_NO_MEMORY,
	FFPF_E_INVALID,       /* an argument is out of its range */
	FFPF_E_NOT_SUPPORTED, /* this source cannot do it */
	FFPF_E_NO_SUCH_DEVICE,
	FFPF_E_PERMISSION,         /* the caller may not capture on this device */
	FFPF_E_PROMISC_PERMISSION, /* may capture, but not promiscuously */
	FFPF_E_DEVICE_DOWN,
	FFPF_E_DEVICE_GONE, /* vanished during a capture */
	FFPF_E_RFMON_NOT_SUPPORTED,
	FFPF_E_CAPTURE_NOT_SUPPORTED,
	FFPF_E_TSTAMP_TYPE, /* a time stamp type this device does not have */
	FFPF_E_TSTAMP_PRECISION,
	FFPF_E_FORMAT,     /* bytes that are no savefile, or a broken one */
	FFPF_E_TRUNCATED,  /* a savefile that ends inside a header or packet */
	FFPF_E_BAD_FILTER, /* text that does not compile, or bytecode that does not validate */
	FFPF_E_DENIED,     /* a policy said no */
	FFPF_E_NO_SERVER,  /* nobody answers where ffpfd should, or no more */
	FFPF_E_CLOSED,     /* it was closed before */
	FFPF_E_BUSY,       /* it is another thread's now, or another process's */
	FFPF_E_VIEWED,     /* views of memory live that would change */
};

#define FFPF_ERROR_TEXT_LEN 256 /* libpcap's PCAP_ERRBUF_SIZE: texts reach users through buffers of that size */

struct ffpf_error {
	enum ffpf_code code;
	int sys_errno; /* 0 when no system call is to blame */
	char text[FFPF_ERROR_TEXT_LEN];
};

/* Both return -code, so that a function can end in `return ffpf_error_set(...)`. `err` may be NULL. Long texts are cut.
 */
int ffpf_error_set(struct ffpf_error *err, enum ffpf_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As above with code `code` and ": " + strerror(sys_errno) after the text; FFPF_E_SYSTEM is the usual code. */
int ffpf_error_set_errno(struct ffpf_error *err, enum ffpf_code code, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds to the end of the text: what the caller was doing. */
void ffpf_error_append(struct ffpf_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
