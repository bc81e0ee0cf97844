/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EXTERN(checksum, r, w): the Internet checksum (RFC 1071) of octets, as it stands in headers, in host order.
 * EXTERN("checksum of=ip", 0, 0) judges the IPv4 header's, EXTERN("checksum of=l4", 0, 0) that of TCP, UDP, ICMP and
 * ICMPv6 with its pseudo header (RFC 768, 9293, 792, 4443, 8200): 1 right, 0 wrong, 2 cannot be judged.
 */
#include "externs/octets.h"
#include "externs/table.h"
#include "graph/tuple.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define STEPS         2000
#define UDP_SUM_AT    6
#define IPV4_ADDRS_AT 12
#define IPV6_ADDRS_AT 8

enum judged { WRONG, RIGHT, UNKNOWN };
enum what { OF_OCTETS, OF_IP, OF_L4 };

struct checksum {
	enum what what;
	enum octets_of of;
};

static int
parse(struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct checksum *self = use->state;
	struct ffpf_arg arg;

	while (ffpf_args_next(args, &arg, err)) {
		int status = 0;

		if (!ffpf_arg_is(&arg, "of"))
			return ffpf_arg_unknown(args, &arg, ffpf_extern_checksum.arguments, err);
		self->what = OF_OCTETS;
		if (arg.value_len == 2 && memcmp(arg.value, "ip", 2) == 0)
			self->what = OF_IP;
		else if (arg.value_len == 2 && memcmp(arg.value, "l4", 2) == 0)
			self->what = OF_L4;
		else
			status = octets_parse(&self->of, use, args, &arg, err);
		if (status)
			return status;
		if (self->what != OF_OCTETS)
			use->reads = 0;
	}
	return -(int)err->code;
}

/* The sum of 16-bit words in memory's order, with an octet 0 behind an odd number of octets. Parts other than the last
 * have an even number. */
static uint64_t
sum(uint64_t total, const uint8_t *p, uint32_t len)
{
	uint32_t word;
	uint16_t half;

	for (; len >= 4; len -= 4, p += 4) {
		memcpy(&word, p, 4);
		total += word;
	}
	if (len >= 2) {
		memcpy(&half, p, 2);
		total += half;
		p += 2;
	}
	if (len & 1) {
		const uint8_t last[2] = { *p, 0 };

		memcpy(&half, last, 2);
		total += half;
	}
	return total;
}

static uint16_t
folded(uint64_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

static enum judged
judge(uint64_t total)
{
	return folded(total) == 0xffff ? RIGHT : WRONG;
}

static enum judged
judge_ip(const struct ffpf_headers *h)
{
	const uint8_t *ip = h->data + h->network;
	uint32_t len;

	if (!(h->found & FFPF_FOUND_IPV4))
		return UNKNOWN;
	len = (uint32_t)(ip[0] & 15) * 4;
	if (len < 20 || len > h->len - h->network)
		return UNKNOWN;
	return judge(sum(0, ip, len));
}

/* Octets of the datagram behind the network header as IP states them, which must all be there. 0: they are not. */
static uint32_t
stated_len(const struct ffpf_headers *h)
{
	const uint8_t *ip = h->data + h->network;
	uint32_t end =
	    h->found & FFPF_FOUND_IPV4 ? (uint32_t)(ip[2] << 8 | ip[3]) : 40u + (uint32_t)(ip[4] << 8 | ip[5]);

	end += h->network;
	return end > h->len || end <= h->transport ? 0 : end - h->transport;
}

static bool
has_no_sum(const struct ffpf_headers *h, uint32_t len)
{
	const uint8_t *l4 = h->data + h->transport;

	switch (h->protocol) {
	case IPPROTO_TCP:
		return len < 20;
	case IPPROTO_UDP: /* 0: the sender made none, which IPv4 permits */
		return len < 8 || (h->found & FFPF_FOUND_IPV4 && !l4[UDP_SUM_AT] && !l4[UDP_SUM_AT + 1]);
	case IPPROTO_ICMP:
		return len < 8 || !(h->found & FFPF_FOUND_IPV4);
	case IPPROTO_ICMPV6:
		return len < 8 || !(h->found & FFPF_FOUND_IPV6);
	default:
		return true;
	}
}

static enum judged
judge_l4(const struct ffpf_headers *h)
{
	uint64_t total = 0;
	uint32_t len;

	if (!(h->found & FFPF_FOUND_TRANSPORT) || h->found & FFPF_FOUND_FRAGMENT ||
	    !(h->found & (FFPF_FOUND_IPV4 | FFPF_FOUND_IPV6)))
		return UNKNOWN;
	len = stated_len(h);
	if (!len || has_no_sum(h, len))
		return UNKNOWN;
	if (h->protocol != IPPROTO_ICMP) {
		total = (uint64_t)htons(h->protocol) + htonl(len);
		if (h->found & FFPF_FOUND_IPV4)
			total = sum(total, h->data + h->network + IPV4_ADDRS_AT, 8);
		else
			total = sum(total, h->data + h->network + IPV6_ADDRS_AT, 32);
	}
	return judge(sum(total, h->data + h->transport, len));
}

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	const struct checksum *self = use->state;
	const struct ffpf_node_pkt *in = use->set->in;
	struct ffpf_headers h;
	struct octets octets;

	(void)write_at;
	if (self->what == OF_OCTETS) {
		octets = octets_get(self->of, use, pkt, cap_len, mbuf, read_at);
		return ntohs((uint16_t)~folded(sum(0, octets.data, octets.len)));
	}
	ffpf_headers_find(&h, in->pkt, in->link_type);
	return self->what == OF_IP ? judge_ip(&h) : judge_l4(&h);
}

const struct ffpf_extern ffpf_extern_checksum = {
	.name = "checksum",
	.summary = "the Internet checksum of octets, or whether a packet's is right",
	.arguments = "[of=range|packet|payload|mbuf:N|ip|l4]",
	.value = "the sum; of=ip and of=l4: 1 right, 0 wrong, 2 cannot be judged",
	.reads_what = "of=range: u32 offset, u32 octets; of=mbuf:N: N octets",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE,
	.reads = 8,
	.steps = STEPS,
	.state_bytes = sizeof(struct checksum),
	.parse = parse,
	.call = call,
};
