/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RFC 791 and 8200 (IP), 826 (ARP), 9293, 768, 9260 (transports), 4302 (AH), 6275 and 7401 (extension headers);
 * IEEE 802.1Q and 802.1ad; the link types as on tcpdump.org/linktypes.html.
 */
#include "columns/dissect.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <pcap/dlt.h>
#include <string.h>

#define TAGS_MAX       8  /* one in another */
#define EXTENSIONS_MAX 32 /* headers between IPv6 and what it carries */
#define QINQ_OLD       0x9100
#define NO_TRANSPORT   255 /* reserved by IANA */
#define HIP            139
#define SHIM6          140

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool
has(const struct ffpf_dissected *d, uint32_t at, uint32_t octets)
{
	return at <= d->end && d->end - at >= octets;
}

static void
found(struct ffpf_dissected *d, enum ffpf_layer layer, uint32_t at)
{
	d->present |= 1u << layer;
	d->at[layer] = at;
}

static void
transport(struct ffpf_dissected *d, const uint8_t *data, uint32_t at, uint8_t protocol)
{
	enum ffpf_layer layer;
	uint32_t header = 0;

	d->transport = protocol;
	if (!has(d, at, 1))
		return;
	switch (protocol) {
	case IPPROTO_TCP:
		layer = FFPF_LAYER_TCP;
		if (has(d, at, 20) && (data[at + 12] >> 4) >= 5)
			header = 4u * (data[at + 12] >> 4);
		break;
	case IPPROTO_UDP:
		layer = FFPF_LAYER_UDP;
		header = 8;
		break;
	case IPPROTO_SCTP:
		layer = FFPF_LAYER_SCTP;
		header = 12;
		break;
	case IPPROTO_ICMP:
		found(d, FFPF_LAYER_ICMP, at);
		return;
	case IPPROTO_ICMPV6:
		found(d, FFPF_LAYER_ICMP6, at);
		return;
	default:
		return;
	}
	found(d, layer, at);
	found(d, FFPF_LAYER_PORTS, at);
	if (header && has(d, at, header))
		d->payload = at + header;
}

static void
ip4(struct ffpf_dissected *d, const uint8_t *data, uint32_t at)
{
	uint32_t header, total;

	if (!has(d, at, 1) || data[at] >> 4 != 4)
		return;
	found(d, FFPF_LAYER_IP, at);
	header = 4u * (data[at] & 15);
	if (header < 20 || !has(d, at, header))
		return;
	total = get16(data + at + 2); /* 0: segmented by the network card, later */
	if (total && total < header)
		return;
	if (total && d->end - at > total)
		d->end = at + total;
	if (get16(data + at + 6) & 0x1fff) { /* not the first fragment */
		d->transport = data[at + 9];
		return;
	}
	transport(d, data, at + header, data[at + 9]);
}

static void
ip6(struct ffpf_dissected *d, const uint8_t *data, uint32_t at)
{
	uint32_t payload;
	uint8_t next;

	if (!has(d, at, 1) || data[at] >> 4 != 6)
		return;
	found(d, FFPF_LAYER_IP6, at);
	if (!has(d, at, 40))
		return;
	payload = get16(data + at + 4); /* 0: larger than 65,535, or segmented later */
	next = data[at + 6];
	at += 40;
	if (payload && d->end - at > payload)
		d->end = at + payload;
	for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_MH:
		case HIP:
		case SHIM6:
			if (!has(d, at, 8))
				return;
			next = data[at];
			at += 8u * (data[at + 1] + 1u);
			continue;
		case IPPROTO_AH:
			if (!has(d, at, 8))
				return;
			next = data[at];
			at += 4u * (data[at + 1] + 2u);
			continue;
		case IPPROTO_FRAGMENT:
			if (!has(d, at, 8))
				return;
			next = data[at];
			if (get16(data + at + 2) & 0xfff8) {
				d->transport = next;
				return;
			}
			at += 8;
			continue;
		case IPPROTO_NONE:
			d->transport = next;
			return;
		default:
			transport(d, data, at, next);
			return;
		}
	}
}

static void
network(struct ffpf_dissected *d, const uint8_t *data, uint32_t at, uint16_t ethertype)
{
	for (unsigned i = 0; i < TAGS_MAX; i++) {
		if (ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD && ethertype != QINQ_OLD)
			break;
		if (!has(d, at, 4))
			return;
		if (!(d->present & 1u << FFPF_LAYER_VLAN)) {
			found(d, FFPF_LAYER_VLAN, at);
			d->vlan_tci = get16(data + at);
		}
		ethertype = get16(data + at + 2);
		at += 4;
	}
	if (ethertype < ETH_P_802_3_MIN)
		return;
	d->ethertype = ethertype;
	if (ethertype == ETH_P_IP)
		ip4(d, data, at);
	else if (ethertype == ETH_P_IPV6)
		ip6(d, data, at);
	else if (ethertype == ETH_P_ARP && has(d, at, 1))
		found(d, FFPF_LAYER_ARP, at);
}

/* Link types that carry IP of either version and say no more. */
static void
bare_ip(struct ffpf_dissected *d, const uint8_t *data, uint32_t at)
{
	if (!has(d, at, 1))
		return;
	d->ethertype = data[at] >> 4 == 4 ? ETH_P_IP : data[at] >> 4 == 6 ? ETH_P_IPV6 : 0;
	ip4(d, data, at);
	ip6(d, data, at);
}

void
ffpf_dissect(struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, int dlt)
{
	d->present = 1u << FFPF_LAYER_ROW;
	d->at[FFPF_LAYER_ROW] = 0;
	d->end = row->caplen;
	d->ethertype = d->vlan_tci = 0;
	d->transport = NO_TRANSPORT;
	d->payload = 0;
	if (row->flags & FFPF_PACKET_VLAN_BESIDE) {
		d->present |= 1u << FFPF_LAYER_VLAN;
		d->at[FFPF_LAYER_VLAN] = 0;
		d->vlan_tci = (uint16_t)row->vlan;
	}
	switch (dlt) {
	case DLT_EN10MB:
		if (has(d, 0, 1))
			found(d, FFPF_LAYER_ETH, 0);
		if (has(d, 0, 14))
			network(d, data, 14, get16(data + 12));
		break;
	case DLT_LINUX_SLL:
		if (has(d, 0, 16))
			network(d, data, 16, get16(data + 14));
		break;
	case DLT_LINUX_SLL2:
		if (has(d, 0, 20))
			network(d, data, 20, get16(data));
		break;
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_IPV6:
		bare_ip(d, data, 0);
		break;
	case DLT_NULL: /* an address family in the byte order of whoever captured; IP's version tells as well */
	case DLT_LOOP:
		bare_ip(d, data, 4);
		break;
	default:
		break;
	}
}
