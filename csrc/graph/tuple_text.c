/* SPDX-License-Identifier: BSD-3-Clause */
/* Tuples for people. */
#include "graph/tuple.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_TEXT 48

static const char *
protocol_name(uint8_t protocol, char *number, size_t bytes)
{
	static const struct {
		uint8_t protocol;
		const char *name;
	} names[] = {
		{ IPPROTO_ICMP, "icmp" },    { IPPROTO_IGMP, "igmp" }, { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" },
		{ IPPROTO_GRE, "gre" },      { IPPROTO_ESP, "esp" },   { IPPROTO_AH, "ah" },   { 89, "ospf" },
		{ IPPROTO_ICMPV6, "icmp6" }, { IPPROTO_SCTP, "sctp" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].protocol == protocol)
			return names[i].name;
	snprintf(number, bytes, "ip %u", protocol);
	return number;
}

static void
address_text(uint8_t kind, const uint8_t *a, char *text)
{
	if (kind == FFPF_TUPLE_ETHER)
		snprintf(text, ADDRESS_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
	else
		inet_ntop(kind == FFPF_TUPLE_IPV4 ? AF_INET : AF_INET6, a, text, ADDRESS_TEXT);
}

/* An address of IPv6 stands in brackets where a port follows. */
static void
end_text(const struct ffpf_tuple *t, const uint8_t *address, uint16_t port, char *text, size_t bytes)
{
	char a[ADDRESS_TEXT];
	const bool bracket = t->kind == FFPF_TUPLE_IPV6;

	address_text(t->kind, address, a);
	if (t->sport || t->dport)
		snprintf(text, bytes, "%s%s%s:%u", bracket ? "[" : "", a, bracket ? "]" : "", port);
	else
		snprintf(text, bytes, "%s", a);
}

/* Only a flow or a pair of hosts has a second end: fields.h leaves dst zero in a single address. */
static bool
is_single(const struct ffpf_tuple *t)
{
	static const uint8_t none[16];

	return !t->protocol && !t->ether_type && !t->sport && !t->dport && memcmp(t->dst, none, sizeof(none)) == 0;
}

size_t
ffpf_tuple_text(const struct ffpf_tuple *t, char *text, size_t bytes)
{
	char src[ADDRESS_TEXT + 16], dst[ADDRESS_TEXT + 16], name[16];
	uint64_t number;
	int n;

	if (t->kind == FFPF_TUPLE_NUMBER) {
		memcpy(&number, t->src, sizeof(number));
		n = snprintf(text, bytes, "%" PRIu64, number);
	} else if (t->kind == FFPF_TUPLE_NONE) {
		n = snprintf(text, bytes, "none");
	} else if (is_single(t)) {
		address_text(t->kind, t->src, src);
		n = snprintf(text, bytes, "%s", src);
	} else {
		end_text(t, t->src, t->sport, src, sizeof(src));
		end_text(t, t->dst, t->dport, dst, sizeof(dst));
		if (t->kind == FFPF_TUPLE_ETHER)
			n = snprintf(text, bytes, "ether 0x%04x %s <-> %s", t->ether_type, src, dst);
		else if (t->protocol)
			n = snprintf(text, bytes, "%s %s <-> %s", protocol_name(t->protocol, name, sizeof(name)), src,
				     dst);
		else
			n = snprintf(text, bytes, "%s <-> %s", src, dst);
	}
	return n < 0 ? 0 : (size_t)n < bytes ? (size_t)n : bytes - 1;
}
