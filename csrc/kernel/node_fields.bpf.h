/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_NODE_FIELDS_BPF_H
#define FFPF_KERNEL_NODE_FIELDS_BPF_H
/* Numeric fields of a packet, by number (FFPF_NODE_FIELD_*): what graph/fields.c says of those names. */
#include "kernel/node_headers.bpf.h"

inline_always bool
found(const struct ffpf_node_headers *h, uint32_t what)
{
	return (h->found & what) == what;
}

inline_always bool
is_ip(const struct ffpf_node_headers *h)
{
	return h->found & (FOUND_IPV4 | FOUND_IPV6);
}

inline_always bool
is_transport(const struct ffpf_node_headers *h, uint32_t protocol)
{
	return found(h, FOUND_TRANSPORT) && h->protocol == protocol &&
	       (found(h, FOUND_PORTS) || !found(h, FOUND_FRAGMENT));
}

inline_always bool
is_icmp(const struct ffpf_node_headers *h)
{
	return is_transport(h, PROTO_ICMP) || is_transport(h, PROTO_ICMPV6);
}

inline_always bool
names_ports(const struct ffpf_node_headers *h)
{
	return found(h, FOUND_PORTS) && h->protocol != PROTO_ICMP && h->protocol != PROTO_ICMPV6;
}

/* Octets behind the transport header's begin, in network order; how many values: 1 or 0. */
inline_always uint32_t
load(const struct ffpf_scratch *s, const struct ffpf_node_headers *h, uint32_t offset, uint32_t bytes, uint64_t *out)
{
	const uint8_t *p = octets_at(s, h->transport + offset);
	uint64_t value = 0;

	if (!has(h, h->transport + offset, bytes))
		return 0;
	for (uint32_t i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	*out = value;
	return 1;
}

inline_always uint64_t
ip_len(const struct ffpf_scratch *s, const struct ffpf_node_headers *h)
{
	const uint8_t *p = octets_at(s, h->network);
	uint32_t stated = be16(p + (found(h, FOUND_IPV4) ? 2 : 4));

	if (found(h, FOUND_IPV6) && stated)
		stated += IPV6_BYTES;
	return stated ? stated : s->wire_len > h->network ? s->wire_len - h->network : 0;
}

inline_always uint32_t
tcp_payload(const struct ffpf_scratch *s, const struct ffpf_node_headers *h, uint64_t *out)
{
	uint64_t total, offset, headers;

	if (!is_transport(h, PROTO_TCP) || !load(s, h, 12, 1, &offset))
		return 0;
	total = ip_len(s, h);
	headers = h->transport - h->network + (offset >> 4) * 4;
	*out = total > headers ? total - headers : 0;
	return 1;
}

inline_always uint32_t
one(bool there, uint64_t value, uint64_t *out)
{
	*out = value;
	return there;
}

inline_always uint32_t
ports(const struct ffpf_node_headers *h, bool there, uint64_t *out)
{
	out[0] = h->sport;
	out[1] = h->dport;
	return there && found(h, FOUND_PORTS) ? 2 : 0;
}

/* Room for two values; how many there are. `field` and `wire_len` are constants to the compiler. */
inline_always uint32_t
values_of(const struct ffpf_scratch *s, const struct ffpf_node_headers *h, uint32_t field, uint32_t wire_len,
	  uint64_t *out)
{
	const uint8_t *net = octets_at(s, h->network);
	const bool v4 = found(h, FOUND_IPV4), ip = is_ip(h), ends = names_ports(h);
	const bool tcp = is_transport(h, PROTO_TCP), udp = is_transport(h, PROTO_UDP);

	switch (field) {
	case FFPF_NODE_FIELD_LEN:
		return one(true, wire_len, out);
	case FFPF_NODE_FIELD_IFINDEX:
		return one(s->ifindex != 0, s->ifindex, out);
	case FFPF_NODE_FIELD_ETH_TYPE:
		return one(h->ether_type != 0, h->ether_type, out);
	case FFPF_NODE_FIELD_VLAN_ID:
		return one(found(h, FOUND_VLAN), h->vlan_tci & 0xfff, out);
	case FFPF_NODE_FIELD_VLAN_PRIORITY:
		return one(found(h, FOUND_VLAN), h->vlan_tci >> 13, out);
	case FFPF_NODE_FIELD_IP_VERSION:
		return one(ip, v4 ? 4 : 6, out);
	case FFPF_NODE_FIELD_IP_LEN:
		return one(ip, ip_len(s, h), out);
	case FFPF_NODE_FIELD_IP_TTL:
		return one(ip, v4 ? net[8] : net[7], out);
	case FFPF_NODE_FIELD_IP_DSCP:
		return one(ip, v4 ? net[1] >> 2 : (net[0] << 4 | net[1] >> 4) >> 2 & 0x3f, out);
	case FFPF_NODE_FIELD_IP_PROTO:
		return one(ip, h->protocol, out);
	case FFPF_NODE_FIELD_IP_FRAGMENT:
		return one(ip, found(h, FOUND_FRAGMENT), out);
	case FFPF_NODE_FIELD_SPORT:
		return one(ends, h->sport, out);
	case FFPF_NODE_FIELD_DPORT:
		return one(ends, h->dport, out);
	case FFPF_NODE_FIELD_PORT:
		return ports(h, ends, out);
	case FFPF_NODE_FIELD_TCP_SPORT:
		return one(tcp && ends, h->sport, out);
	case FFPF_NODE_FIELD_TCP_DPORT:
		return one(tcp && ends, h->dport, out);
	case FFPF_NODE_FIELD_TCP_PORT:
		return ports(h, tcp, out);
	case FFPF_NODE_FIELD_TCP_SEQ:
		return tcp ? load(s, h, 4, 4, out) : 0;
	case FFPF_NODE_FIELD_TCP_ACK:
		return tcp ? load(s, h, 8, 4, out) : 0;
	case FFPF_NODE_FIELD_TCP_FLAGS:
		return tcp ? load(s, h, 13, 1, out) : 0;
	case FFPF_NODE_FIELD_TCP_WINDOW:
		return tcp ? load(s, h, 14, 2, out) : 0;
	case FFPF_NODE_FIELD_TCP_LEN:
		return tcp_payload(s, h, out);
	case FFPF_NODE_FIELD_UDP_SPORT:
		return one(udp && ends, h->sport, out);
	case FFPF_NODE_FIELD_UDP_DPORT:
		return one(udp && ends, h->dport, out);
	case FFPF_NODE_FIELD_UDP_PORT:
		return ports(h, udp, out);
	case FFPF_NODE_FIELD_UDP_LEN:
		return udp ? load(s, h, 4, 2, out) : 0;
	case FFPF_NODE_FIELD_ICMP_TYPE:
		return is_icmp(h) ? load(s, h, 0, 1, out) : 0;
	case FFPF_NODE_FIELD_ICMP_CODE:
		return is_icmp(h) ? load(s, h, 1, 1, out) : 0;
	default:
		return 0;
	}
}

#endif
