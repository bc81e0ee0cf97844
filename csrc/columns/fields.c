/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/fields.h"

#include <endian.h>
#include <string.h>

#define HEADERS_BYTES 128 /* what of a packet is worth fetching ahead */

/* ---- computed ones ---- */

static bool
present(const struct ffpf_dissected *d, enum ffpf_layer layer)
{
	return d->present >> layer & 1;
}

static bool
eth_type(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->ethertype;
	return d->ethertype != 0;
}

static bool
vlan_id(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->vlan_tci & 0xfff;
	return present(d, FFPF_LAYER_VLAN);
}

static bool
vlan_prio(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->vlan_tci >> 13;
	return present(d, FFPF_LAYER_VLAN);
}

static bool
l4_proto(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->transport;
	return d->transport != 255;
}

static bool
payload_offset(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->payload;
	return d->payload != 0;
}

static bool
payload_len(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)data;
	(void)row;
	*out = d->payload ? d->end - d->payload : 0;
	return d->payload != 0;
}

static bool
row_caplen(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)d;
	(void)data;
	*out = row->caplen;
	return true;
}

static bool
row_len(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)d;
	(void)data;
	*out = row->len;
	return true;
}

static bool
row_ts(const struct ffpf_dissected *d, const uint8_t *data, const struct ffpf_row *row, uint64_t *out)
{
	(void)d;
	(void)data;
	*out = (uint64_t)row->ts_ns;
	return row->ts_ns >= 0;
}

/* ---- the table ---- */

#define U8_(name, layer, at, shift, mask, text)                                                                        \
	{                                                                                                              \
		name, FFPF_COLUMN_U8, FFPF_LAYER_##layer, at, 1, shift, mask, NULL, text                               \
	}
#define U16_(name, layer, at, shift, mask, text)                                                                       \
	{                                                                                                              \
		name, FFPF_COLUMN_U16, FFPF_LAYER_##layer, at, 2, shift, mask, NULL, text                              \
	}
#define U32_(name, layer, at, shift, mask, text)                                                                       \
	{                                                                                                              \
		name, FFPF_COLUMN_U32, FFPF_LAYER_##layer, at, 4, shift, mask, NULL, text                              \
	}
#define MAC_(name, layer, at, text)                                                                                    \
	{                                                                                                              \
		name, FFPF_COLUMN_U64, FFPF_LAYER_##layer, at, 6, 0, 0xffffffffffff, NULL, text                        \
	}
#define IP6_(name, at, text)                                                                                           \
	{                                                                                                              \
		name, FFPF_COLUMN_OCTETS16, FFPF_LAYER_IP6, at, 16, 0, 0, NULL, text                                   \
	}
#define MADE(name, kind, function, text)                                                                               \
	{                                                                                                              \
		name, FFPF_COLUMN_##kind, FFPF_LAYER_ROW, 0, 0, 0, 0, function, text                                   \
	}

static const struct ffpf_column_field fields[] = {
	MADE("frame.ts_ns", U64, row_ts, "time in ns since 1970, UTC"),
	MADE("frame.caplen", U32, row_caplen, "octets captured"),
	MADE("frame.len", U32, row_len, "octets on the wire"),
	MAC_("eth.dst", ETH, 0, "destination address, the first octet highest"),
	MAC_("eth.src", ETH, 6, "source address, the first octet highest"),
	MADE("eth.type", U16, eth_type, "Ethernet type of what is carried, behind all VLAN tags"),
	MADE("vlan.id", U16, vlan_id, "VLAN of the outermost tag"),
	MADE("vlan.prio", U8, vlan_prio, "priority of the outermost tag"),
	U16_("arp.op", ARP, 6, 0, 0xffff, "1 request, 2 reply"),
	U32_("arp.spa", ARP, 14, 0, 0xffffffff, "sender's IPv4 address"),
	U32_("arp.tpa", ARP, 24, 0, 0xffffffff, "target's IPv4 address"),
	U8_("ip.tos", IP, 1, 0, 0xff, "DSCP and ECN"),
	U16_("ip.len", IP, 2, 0, 0xffff, "total length"),
	U16_("ip.id", IP, 4, 0, 0xffff, "identification"),
	U8_("ip.df", IP, 6, 6, 1, "1: do not fragment"),
	U8_("ip.mf", IP, 6, 5, 1, "1: more fragments"),
	U16_("ip.frag", IP, 6, 0, 0x1fff, "fragment offset, in 8 octets"),
	U8_("ip.ttl", IP, 8, 0, 0xff, "time to live"),
	U8_("ip.proto", IP, 9, 0, 0xff, "protocol"),
	U32_("ip.src", IP, 12, 0, 0xffffffff, "source address"),
	U32_("ip.dst", IP, 16, 0, 0xffffffff, "destination address"),
	U32_("ip6.flow", IP6, 0, 0, 0xfffff, "flow label"),
	U16_("ip6.len", IP6, 4, 0, 0xffff, "payload length"),
	U8_("ip6.next", IP6, 6, 0, 0xff, "next header"),
	U8_("ip6.hlim", IP6, 7, 0, 0xff, "hop limit"),
	IP6_("ip6.src", 8, "source address"),
	IP6_("ip6.dst", 24, "destination address"),
	MADE("l4.proto", U8, l4_proto, "protocol behind IPv4, or IPv6 and its extension headers"),
	U16_("l4.sport", PORTS, 0, 0, 0xffff, "source port of TCP, UDP or SCTP"),
	U16_("l4.dport", PORTS, 2, 0, 0xffff, "destination port of TCP, UDP or SCTP"),
	MADE("l4.payload_offset", U32, payload_offset, "where the payload of TCP, UDP or SCTP begins in the packet"),
	MADE("l4.payload_len", U32, payload_len, "captured octets of that payload"),
	U16_("tcp.sport", TCP, 0, 0, 0xffff, "source port"),
	U16_("tcp.dport", TCP, 2, 0, 0xffff, "destination port"),
	U32_("tcp.seq", TCP, 4, 0, 0xffffffff, "sequence number"),
	U32_("tcp.ack", TCP, 8, 0, 0xffffffff, "acknowledgement number"),
	U8_("tcp.hlen", TCP, 12, 4, 15, "header length, in 4 octets"),
	U8_("tcp.flags", TCP, 13, 0, 0xff, "1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR"),
	U16_("tcp.window", TCP, 14, 0, 0xffff, "window, not scaled"),
	U16_("udp.sport", UDP, 0, 0, 0xffff, "source port"),
	U16_("udp.dport", UDP, 2, 0, 0xffff, "destination port"),
	U16_("udp.len", UDP, 4, 0, 0xffff, "length, header included"),
	U16_("sctp.sport", SCTP, 0, 0, 0xffff, "source port"),
	U16_("sctp.dport", SCTP, 2, 0, 0xffff, "destination port"),
	U8_("icmp.type", ICMP, 0, 0, 0xff, "type"),
	U8_("icmp.code", ICMP, 1, 0, 0xff, "code"),
	U8_("icmp6.type", ICMP6, 0, 0, 0xff, "type"),
	U8_("icmp6.code", ICMP6, 1, 0, 0xff, "code"),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

const struct ffpf_column_field *
ffpf_column_field_number(uint32_t number)
{
	return number < FIELDS ? &fields[number] : NULL;
}

const struct ffpf_column_field *
ffpf_column_field_find(const char *name)
{
	for (uint32_t i = 0; i < FIELDS; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

uint32_t
ffpf_column_field_bytes(const struct ffpf_column_field *field)
{
	static const uint8_t bytes[] = {
		[FFPF_COLUMN_U8] = 1,  [FFPF_COLUMN_U16] = 2,       [FFPF_COLUMN_U32] = 4,
		[FFPF_COLUMN_U64] = 8, [FFPF_COLUMN_OCTETS16] = 16,
	};

	return bytes[field->kind];
}

/* ---- extraction ---- */

static uint64_t
load(const uint8_t *p, uint8_t octets)
{
	uint64_t v = 0;
	uint32_t w;
	uint16_t h;

	switch (octets) {
	case 1:
		return p[0];
	case 2:
		memcpy(&h, p, sizeof(h));
		return be16toh(h);
	case 4:
		memcpy(&w, p, sizeof(w));
		return be32toh(w);
	default:
		for (uint8_t i = 0; i < octets; i++)
			v = v << 8 | p[i];
		return v;
	}
}

static void
store(const struct ffpf_column *c, uint32_t row, uint64_t v)
{
	switch (c->field->kind) {
	case FFPF_COLUMN_U8:
		((uint8_t *)c->values)[row] = (uint8_t)v;
		break;
	case FFPF_COLUMN_U16:
		((uint16_t *)c->values)[row] = (uint16_t)v;
		break;
	case FFPF_COLUMN_U32:
		((uint32_t *)c->values)[row] = (uint32_t)v;
		break;
	case FFPF_COLUMN_U64:
	case FFPF_COLUMN_OCTETS16:
		((uint64_t *)c->values)[row] = v;
		break;
	}
}

static void
put(const struct ffpf_column *c, uint32_t row, const struct ffpf_dissected *d, const uint8_t *data,
    const struct ffpf_row *of)
{
	const struct ffpf_column_field *f = c->field;
	uint64_t at, v = 0;
	bool valid;

	if (f->compute) {
		valid = f->compute(d, data, of, &v);
		store(c, row, valid ? v : 0);
		c->valid[row] = valid;
		return;
	}
	at = (uint64_t)d->at[f->layer] + f->offset;
	valid = present(d, f->layer) && at + f->octets <= d->end;
	c->valid[row] = valid;
	if (f->kind == FFPF_COLUMN_OCTETS16) {
		uint8_t *to = (uint8_t *)c->values + (size_t)row * 16;

		if (valid)
			memcpy(to, data + at, 16);
		else
			memset(to, 0, 16);
		return;
	}
	if (valid)
		v = load(data + at, f->octets) >> f->shift & f->mask;
	store(c, row, v);
}

void
ffpf_columns_extract(const struct ffpf_column *columns, uint32_t column_count, uint32_t first,
		     const struct ffpf_row *rows, uint32_t n, const uint8_t *base, int dlt)
{
	struct ffpf_dissected d;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *data = base + rows[i].offset;

		ffpf_rows_prefetch(rows, i, n, base, HEADERS_BYTES);
		ffpf_dissect(&d, data, &rows[i], dlt);
		for (uint32_t c = 0; c < column_count; c++)
			put(&columns[c], first + i, &d, data, &rows[i]);
	}
}
