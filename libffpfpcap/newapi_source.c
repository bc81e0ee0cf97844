/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source strings of pcap_open(), as pcap_open(3PCAP) of libpcap 1.11 writes them:
 *
 *     file://PATH                              a savefile, or a folder of them
 *     rpcap://DEVICE, rpcap://, DEVICE         a device of this machine
 *     rpcap://HOST[:PORT]/[DEVICE], rpcaps://  a device of another machine
 *
 * Buffers of callers have PCAP_BUF_SIZE octets; what does not fit is cut.
 */
#include "handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
refuse(char *errbuf, const char *why)
{
	snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", why);
	return PCAP_ERROR;
}

static bool
given(const char *text)
{
	return text && *text;
}

int
pcap_createsrcstr(char *source, int type, const char *host, const char *port, const char *name, char *errbuf)
{
	bool numeric6 = host && strchr(host, ':');

	switch (type) {
	case PCAP_SRC_FILE:
		if (!given(name))
			return refuse(errbuf, "The file name cannot be NULL.");
		snprintf(source, PCAP_BUF_SIZE, PCAP_SRC_FILE_STRING "%s", name);
		return 0;
	case PCAP_SRC_IFLOCAL:
		snprintf(source, PCAP_BUF_SIZE, PCAP_SRC_IF_STRING "%s", name ? name : "");
		return 0;
	case PCAP_SRC_IFREMOTE:
		if (!given(host))
			return refuse(errbuf, "The host name cannot be NULL.");
		snprintf(source, PCAP_BUF_SIZE, PCAP_SRC_IF_STRING "%s%s%s%s%s/%s", numeric6 ? "[" : "", host,
			 numeric6 ? "]" : "", given(port) ? ":" : "", given(port) ? port : "", name ? name : "");
		return 0;
	default:
		return refuse(errbuf, "The interface type is not valid.");
	}
}

/* Copies [from, to) into a buffer of PCAP_BUF_SIZE, which may be NULL. */
static void
put(char *buffer, const char *from, const char *to)
{
	if (buffer)
		snprintf(buffer, PCAP_BUF_SIZE, "%.*s", (int)(to - from), from);
}

static void
put_type(int *type, int value)
{
	if (type)
		*type = value;
}

/* "[user@]host[:port]" in [from, to): 0, or an error for an address in brackets that does not end. */
static int
parse_authority(const char *from, const char *to, char *host, char *port, char *errbuf)
{
	const char *at = memchr(from, '@', (size_t)(to - from));
	const char *colon;

	if (at)
		from = at + 1;
	if (from < to && *from == '[') {
		const char *bracket = memchr(from, ']', (size_t)(to - from));

		if (!bracket)
			return refuse(errbuf, "The address in brackets has no end.");
		put(host, from + 1, bracket);
		colon = bracket + 1 < to && bracket[1] == ':' ? bracket + 1 : NULL;
	} else {
		colon = memchr(from, ':', (size_t)(to - from));
		put(host, from, colon ? colon : to);
	}
	if (colon)
		put(port, colon + 1, to);
	return 0;
}

/* Each pointer but source and errbuf may be NULL: not asked for. */
int
pcap_parsesrcstr(const char *source, int *type, char *host, char *port, char *name, char *errbuf)
{
	static const char *const remote[] = { "rpcap://", "rpcaps://" };
	const char *end = source + strlen(source);

	put(host, "", "");
	put(port, "", "");
	put(name, "", "");
	if (!strstr(source, "://")) {
		put(name, source, end);
		put_type(type, PCAP_SRC_IFLOCAL);
		return 0;
	}
	if (strncmp(source, PCAP_SRC_FILE_STRING, strlen(PCAP_SRC_FILE_STRING)) == 0) {
		put(name, source + strlen(PCAP_SRC_FILE_STRING), end);
		put_type(type, PCAP_SRC_FILE);
		return 0;
	}
	for (unsigned i = 0; i < 2; i++) {
		const char *authority = source + strlen(remote[i]);
		const char *slash;

		if (strncmp(source, remote[i], strlen(remote[i])) != 0)
			continue;
		slash = strchr(authority, '/');
		if (!slash) { /* no host: a device of this machine */
			put(name, authority, end);
			put_type(type, PCAP_SRC_IFLOCAL);
			return 0;
		}
		put(name, slash + 1, end);
		put_type(type, PCAP_SRC_IFREMOTE);
		return parse_authority(authority, slash, host, port, errbuf);
	}
	return refuse(errbuf, "The source string URL scheme is not supported.");
}
