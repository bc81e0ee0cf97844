/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/fields.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Where a field lies: octets at an offset behind the header that `needs` names. */
static unsigned
load(const struct ffpf_headers *h, uint32_t offset, unsigned bytes, uint64_t *out)
{
	uint64_t value = 0;

	if (offset > h->len || bytes > h->len - offset)
		return 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | h->data[offset + i];
	*out = value;
	return 1;
}

static bool
is(const struct ffpf_headers *h, unsigned found)
{
	return (h->found & found) == found;
}

/* The first octets of a header of this protocol lie at h->transport: a later piece of a datagram has none. */
static bool
is_transport(const struct ffpf_headers *h, uint8_t protocol)
{
	return is(h, FFPF_FOUND_TRANSPORT) && h->protocol == protocol &&
	       (is(h, FFPF_FOUND_PORTS) || !is(h, FFPF_FOUND_FRAGMENT));
}

#define FIELD(function, condition, offset, bytes)                                                                      \
	static unsigned function(const struct ffpf_headers *h, uint64_t *out)                                          \
	{                                                                                                              \
		return (condition) ? load(h, (offset), (bytes), out) : 0;                                              \
	}

#define VALUE(function, condition, value)                                                                              \
	static unsigned function(const struct ffpf_headers *h, uint64_t *out)                                          \
	{                                                                                                              \
		out[0] = (value);                                                                                      \
		return (condition) ? 1 : 0;                                                                            \
	}

#define BOTH_PORTS(function, condition)                                                                                \
	static unsigned function(const struct ffpf_headers *h, uint64_t *out)                                          \
	{                                                                                                              \
		out[0] = h->sport;                                                                                     \
		out[1] = h->dport;                                                                                     \
		return (condition) && is(h, FFPF_FOUND_PORTS) ? 2 : 0;                                                 \
	}

#define IS_TCP       is_transport(h, IPPROTO_TCP)
#define IS_UDP       is_transport(h, IPPROTO_UDP)
#define IS_SCTP      is_transport(h, IPPROTO_SCTP)
#define IS_ICMP      (is_transport(h, IPPROTO_ICMP) || is_transport(h, IPPROTO_ICMPV6))
#define HAS_PORTS    (is(h, FFPF_FOUND_PORTS) && h->protocol != IPPROTO_ICMP && h->protocol != IPPROTO_ICMPV6)
#define IS_IPV4      is(h, FFPF_FOUND_IPV4)
#define IS_IPV6      is(h, FFPF_FOUND_IPV6)
#define TCP_PORTS    (IS_TCP && HAS_PORTS)
#define UDP_PORTS    (IS_UDP && HAS_PORTS)
#define SCTP_PORTS   (IS_SCTP && HAS_PORTS)
#define TRANSPORT(n) (h->transport + (n))
#define NETWORK(n)   (h->network + (n))

VALUE(wire_len, true, h->pkt->wire_len)
VALUE(cap_len, true, h->pkt->cap_len)
VALUE(ifindex, h->pkt->ifindex != 0, h->pkt->ifindex)
VALUE(result, true, h->pkt->result)
VALUE(ether_type, h->ether_type != 0, h->ether_type)
VALUE(vlan_id, is(h, FFPF_FOUND_VLAN), h->vlan_tci & 0xfffu)
VALUE(vlan_priority, is(h, FFPF_FOUND_VLAN), h->vlan_tci >> 13)
VALUE(ip_version, IS_IPV4 || IS_IPV6, IS_IPV4 ? 4 : 6)
VALUE(ip_protocol, IS_IPV4 || IS_IPV6, h->protocol)
VALUE(ip_fragment, IS_IPV4 || IS_IPV6, is(h, FFPF_FOUND_FRAGMENT))
VALUE(sport, HAS_PORTS, h->sport)
VALUE(dport, HAS_PORTS, h->dport)
VALUE(tcp_sport, TCP_PORTS, h->sport)
VALUE(tcp_dport, TCP_PORTS, h->dport)
VALUE(udp_sport, UDP_PORTS, h->sport)
VALUE(udp_dport, UDP_PORTS, h->dport)
VALUE(sctp_sport, SCTP_PORTS, h->sport)
VALUE(sctp_dport, SCTP_PORTS, h->dport)
BOTH_PORTS(ports, HAS_PORTS)
BOTH_PORTS(tcp_ports, IS_TCP)
BOTH_PORTS(udp_ports, IS_UDP)
FIELD(tcp_seq, IS_TCP, TRANSPORT(4), 4)
FIELD(tcp_ack, IS_TCP, TRANSPORT(8), 4)
FIELD(tcp_flags, IS_TCP, TRANSPORT(13), 1)
FIELD(tcp_window, IS_TCP, TRANSPORT(14), 2)
FIELD(udp_len, IS_UDP, TRANSPORT(4), 2)
FIELD(icmp_type, IS_ICMP, TRANSPORT(0), 1)
FIELD(icmp_code, IS_ICMP, TRANSPORT(1), 1)

static unsigned
ip_ttl(const struct ffpf_headers *h, uint64_t *out)
{
	return IS_IPV4 ? load(h, NETWORK(8), 1, out) : IS_IPV6 ? load(h, NETWORK(7), 1, out) : 0;
}

static unsigned
ip_dscp(const struct ffpf_headers *h, uint64_t *out)
{
	if (!IS_IPV4 && !IS_IPV6)
		return 0;
	out[0] = IS_IPV4 ? h->data[NETWORK(1)] >> 2 : (h->data[h->network] << 4 | h->data[NETWORK(1)] >> 4) >> 2 & 0x3f;
	return 1;
}

/* Header included. What a segment that hardware will cut does not say is taken from its length on the wire. */
static unsigned
ip_len(const struct ffpf_headers *h, uint64_t *out)
{
	uint64_t stated = 0;

	if (IS_IPV4) {
		load(h, NETWORK(2), 2, &stated);
	} else if (IS_IPV6) {
		load(h, NETWORK(4), 2, &stated);
		stated += stated ? 40 : 0;
	} else {
		return 0;
	}
	out[0] = stated ? stated : h->pkt->wire_len > h->network ? h->pkt->wire_len - h->network : 0;
	return 1;
}

static unsigned
tcp_payload(const struct ffpf_headers *h, uint64_t *out)
{
	uint64_t total, offset, headers;

	if (!IS_TCP || !load(h, TRANSPORT(12), 1, &offset) || !ip_len(h, &total))
		return 0;
	headers = h->transport - h->network + (offset >> 4) * 4;
	out[0] = total > headers ? total - headers : 0;
	return 1;
}

/* Addresses. */

static struct ffpf_tuple
address(uint8_t kind, const uint8_t *octets, size_t len)
{
	struct ffpf_tuple t = { .kind = kind };

	memcpy(t.src, octets, len);
	return t;
}

static unsigned
ip_src(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	if (IS_IPV4)
		out[0] = address(FFPF_TUPLE_IPV4, h->data + NETWORK(12), 4);
	else if (IS_IPV6)
		out[0] = address(FFPF_TUPLE_IPV6, h->data + NETWORK(8), 16);
	return IS_IPV4 || IS_IPV6;
}

static unsigned
ip_dst(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	if (IS_IPV4)
		out[0] = address(FFPF_TUPLE_IPV4, h->data + NETWORK(16), 4);
	else if (IS_IPV6)
		out[0] = address(FFPF_TUPLE_IPV6, h->data + NETWORK(24), 16);
	return IS_IPV4 || IS_IPV6;
}

static unsigned
ip_addr(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	return ip_src(h, out) + ip_dst(h, out + 1);
}

static unsigned
ether_src(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	if (!is(h, FFPF_FOUND_ETHERNET))
		return 0;
	out[0] = address(FFPF_TUPLE_ETHER, h->data + 6, 6);
	return 1;
}

static unsigned
ether_dst(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	if (!is(h, FFPF_FOUND_ETHERNET))
		return 0;
	out[0] = address(FFPF_TUPLE_ETHER, h->data, 6);
	return 1;
}

static unsigned
flow(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	ffpf_tuple_of(out, h);
	ffpf_tuple_canonical(out);
	return out->kind != FFPF_TUPLE_NONE;
}

/* Two hosts, whatever they say to each other. */
static unsigned
pair(const struct ffpf_headers *h, struct ffpf_tuple *out)
{
	struct ffpf_tuple t;

	ffpf_tuple_of(&t, h);
	t.sport = t.dport = t.ether_type = 0;
	t.protocol = 0;
	ffpf_tuple_canonical(&t);
	*out = t;
	return t.kind != FFPF_TUPLE_NONE;
}

static const struct ffpf_field fields[] = {
	{ "len", "octets on the wire", wire_len, NULL },
	{ "caplen", "octets captured", cap_len, NULL },
	{ "ifindex", "interface", ifindex, NULL },
	{ "result", "what the filter of the source returned", result, NULL },
	{ "eth.src", "Ethernet source", NULL, ether_src },
	{ "eth.dst", "Ethernet destination", NULL, ether_dst },
	{ "eth.type", "Ethernet type, behind VLAN tags", ether_type, NULL },
	{ "vlan.id", "of the outer tag", vlan_id, NULL },
	{ "vlan.priority", "of the outer tag, 0 to 7", vlan_priority, NULL },
	{ "ip.version", "4 or 6", ip_version, NULL },
	{ "ip.src", "IPv4 or IPv6 source", NULL, ip_src },
	{ "ip.dst", "IPv4 or IPv6 destination", NULL, ip_dst },
	{ "ip.addr", "both, each counted", NULL, ip_addr },
	{ "ip.len", "octets, IP header included", ip_len, NULL },
	{ "ip.ttl", "time to live, or hop limit", ip_ttl, NULL },
	{ "ip.dscp", "differentiated services code point", ip_dscp, NULL },
	{ "ip.proto", "protocol, behind extension headers", ip_protocol, NULL },
	{ "ip.fragment", "1 for a piece of a datagram, else 0", ip_fragment, NULL },
	{ "sport", "source port of TCP, UDP, SCTP, DCCP", sport, NULL },
	{ "dport", "destination port", dport, NULL },
	{ "port", "both, each counted", ports, NULL },
	{ "tcp.sport", "source port", tcp_sport, NULL },
	{ "tcp.dport", "destination port", tcp_dport, NULL },
	{ "tcp.port", "both, each counted", tcp_ports, NULL },
	{ "tcp.seq", "sequence number", tcp_seq, NULL },
	{ "tcp.ack", "acknowledgement number", tcp_ack, NULL },
	{ "tcp.flags", "octet of flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16", tcp_flags, NULL },
	{ "tcp.window", "not scaled", tcp_window, NULL },
	{ "tcp.len", "octets of payload", tcp_payload, NULL },
	{ "udp.sport", "source port", udp_sport, NULL },
	{ "udp.dport", "destination port", udp_dport, NULL },
	{ "udp.port", "both, each counted", udp_ports, NULL },
	{ "udp.len", "octets, UDP header included", udp_len, NULL },
	{ "sctp.sport", "source port", sctp_sport, NULL },
	{ "sctp.dport", "destination port", sctp_dport, NULL },
	{ "icmp.type", "of ICMP and ICMPv6", icmp_type, NULL },
	{ "icmp.code", "of ICMP and ICMPv6", icmp_code, NULL },
	{ "flow", "both directions of a conversation", NULL, flow },
	{ "pair", "two hosts, in either direction", NULL, pair },
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

const struct ffpf_field *
ffpf_field_find(const char *name)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

const struct ffpf_field *
ffpf_field_at(unsigned index)
{
	return index < FIELD_COUNT ? &fields[index] : NULL;
}

void
ffpf_field_names(char *text, size_t bytes, bool numbers_only)
{
	size_t used = 0;

	text[0] = 0;
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		int n;

		if (numbers_only && !fields[i].numbers)
			continue;
		n = snprintf(text + used, bytes - used, "%s%s", used ? " " : "", fields[i].name);
		if (n < 0 || (size_t)n >= bytes - used) {
			text[used] = 0;
			return;
		}
		used += (size_t)n;
	}
}

unsigned
ffpf_field_keys(const struct ffpf_field *field, const struct ffpf_headers *h,
		struct ffpf_tuple out[FFPF_FIELD_MOST_VALUES])
{
	uint64_t numbers[FFPF_FIELD_MOST_VALUES];
	unsigned count;

	if (field->addresses)
		return field->addresses(h, out);
	count = field->numbers(h, numbers);
	for (unsigned i = 0; i < count; i++) {
		out[i] = (struct ffpf_tuple){ .kind = FFPF_TUPLE_NUMBER };
		memcpy(out[i].src, &numbers[i], sizeof(numbers[i]));
	}
	return count;
}
