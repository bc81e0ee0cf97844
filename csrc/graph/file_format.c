/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/file_format.h"
#include "source/savefile_linktype.h"

#include <string.h>

#define PCAP_MAGIC_US 0xa1b2c3d4u
#define PCAP_MAGIC_NS 0xa1b23c4du
#define SECTION_BLOCK 0x0a0d0d0au
#define BYTE_ORDER_IS 0x1a2b3c4du
#define INTERFACE     1u
#define PACKET        6u

#define PCAP_RECORD_BYTES   16u
#define PCAPNG_RECORD_BYTES 32u /* around the packet, trailing length included */

static uint8_t *
put16(uint8_t *p, uint16_t value)
{
	memcpy(p, &value, sizeof(value));
	return p + sizeof(value);
}

static uint8_t *
put32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
	return p + sizeof(value);
}

static uint32_t
padded(uint32_t len)
{
	return (len + 3u) & ~3u;
}

static uint32_t
linktype_of(uint32_t dlt)
{
	int linktype = ffpf_dlt_to_linktype((int)dlt);

	return linktype < 0 ? dlt : (uint32_t)linktype;
}

static uint8_t *
section(uint8_t *p)
{
	p = put32(p, SECTION_BLOCK);
	p = put32(p, 28);
	p = put32(p, BYTE_ORDER_IS);
	p = put16(p, 1);
	p = put16(p, 0);
	p = put32(p, UINT32_MAX); /* the section's length is not stated: 64 bits */
	p = put32(p, UINT32_MAX);
	return put32(p, 28);
}

static uint8_t *
interface(uint8_t *p, const struct ffpf_file_format *format, uint32_t dlt)
{
	static const uint8_t resolution[2][4] = { { 6 }, { 9 } };

	p = put32(p, INTERFACE);
	p = put32(p, 32);
	p = put16(p, (uint16_t)linktype_of(dlt));
	p = put16(p, 0);
	p = put32(p, format->snap_len);
	p = put16(p, 9); /* if_tsresol, one octet */
	p = put16(p, 1);
	memcpy(p, resolution[format->nanoseconds], 4);
	p = put32(p + 4, 0); /* end of options */
	return put32(p, 32);
}

size_t
ffpf_file_write_header(const struct ffpf_file_format *format, uint8_t *out)
{
	uint8_t *p = out;

	if (format->pcapng) {
		p = section(p);
		for (uint32_t i = 0; i < format->link_type_count; i++)
			p = interface(p, format, format->link_types[i]);
		return (size_t)(p - out);
	}
	p = put32(p, format->nanoseconds ? PCAP_MAGIC_NS : PCAP_MAGIC_US);
	p = put16(p, 2);
	p = put16(p, 4);
	p = put32(p, 0);
	p = put32(p, 0);
	p = put32(p, format->snap_len);
	p = put32(p, linktype_of(format->link_types[0]));
	return (size_t)(p - out);
}

size_t
ffpf_file_record_bytes(const struct ffpf_file_format *format, uint32_t cap_len)
{
	return format->pcapng ? PCAPNG_RECORD_BYTES + padded(cap_len) : PCAP_RECORD_BYTES + cap_len;
}

static uint32_t
interface_of(const struct ffpf_file_format *format, uint32_t link_type)
{
	uint32_t i = 0;

	while (i + 1 < format->link_type_count && format->link_types[i] != link_type)
		i++;
	return i;
}

size_t
ffpf_file_write_record(const struct ffpf_file_format *format, uint8_t *out, const struct ffpf_packet *pkt,
		       uint64_t ts_ns, uint32_t link_type)
{
	const uint64_t ticks = format->nanoseconds ? ts_ns : ts_ns / 1000;
	const uint32_t bytes = (uint32_t)ffpf_file_record_bytes(format, pkt->cap_len);
	uint8_t *p = out;

	if (format->pcapng) {
		p = put32(p, PACKET);
		p = put32(p, bytes);
		p = put32(p, interface_of(format, link_type));
		p = put32(p, (uint32_t)(ticks >> 32));
		p = put32(p, (uint32_t)ticks);
	} else {
		const uint32_t a_second = format->nanoseconds ? 1000000000u : 1000000u;

		p = put32(p, (uint32_t)(ticks / a_second));
		p = put32(p, (uint32_t)(ticks % a_second));
	}
	p = put32(p, pkt->cap_len);
	p = put32(p, pkt->wire_len);
	if (pkt->cap_len) /* else data may be nothing at all */
		memcpy(p, pkt->data, pkt->cap_len);
	p += pkt->cap_len;
	if (format->pcapng) {
		memset(p, 0, padded(pkt->cap_len) - pkt->cap_len);
		p = put32(p + (padded(pkt->cap_len) - pkt->cap_len), bytes);
	}
	return (size_t)(p - out);
}
