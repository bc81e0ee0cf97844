/* SPDX-License-Identifier: BSD-3-Clause */
#include "columns/rows.h"

#include "source/savefile.h"

#include <string.h>

#define NS_PER_S 1000000000

const uint8_t *
ffpf_rows_base(const struct ffpf_batch *batch)
{
	const uint8_t *lowest = batch->pkts[0].data;

	if (batch->mem_lo)
		return batch->mem_lo;
	for (uint32_t i = 1; i < batch->count; i++)
		if (batch->pkts[i].data < lowest)
			lowest = batch->pkts[i].data;
	return lowest;
}

static int64_t
nanoseconds(const struct ffpf_packet *p, const struct ffpf_reader *reader)
{
	int64_t frac = p->ts_frac, ns;

	if (__builtin_expect(p->flags & FFPF_PACKET_FRAC_WIDE, 0))
		frac = ffpf_savefile_wide_frac(reader, p);
	if (__builtin_mul_overflow(frac, reader->info.tick == FFPF_TICK_NS ? 1 : 1000, &frac))
		return frac < 0 ? INT64_MAX : INT64_MIN; /* the sign of what did not fit was lost with it */
	if (__builtin_mul_overflow(p->ts_sec, (int64_t)NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		return p->ts_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static struct ffpf_row
row_of(const struct ffpf_packet *p, int64_t ts_ns, uint64_t offset)
{
	const uint8_t tag = p->flags & (FFPF_PACKET_VLAN | FFPF_PACKET_VLAN_BESIDE);

	return (struct ffpf_row){
		.ts_ns = ts_ns,
		.offset = offset,
		.caplen = p->cap_len,
		.len = p->wire_len,
		.result = p->result,
		.ifindex = p->ifindex,
		.vlan = tag ? (uint32_t)p->vlan_tpid << 16 | p->vlan_tci : 0,
		.protocol = p->protocol,
		.pkt_type = p->pkt_type,
		.flags = tag,
	};
}

void
ffpf_rows_describe(struct ffpf_row *rows, const struct ffpf_packet *pkts, uint32_t n, const uint8_t *base,
		   const struct ffpf_reader *reader)
{
	for (uint32_t i = 0; i < n; i++)
		rows[i] = row_of(&pkts[i], nanoseconds(&pkts[i], reader),
				 (uint64_t)((uintptr_t)pkts[i].data - (uintptr_t)base));
}

uint64_t
ffpf_rows_octets(const struct ffpf_packet *pkts, uint32_t n)
{
	uint64_t octets = 0;

	for (uint32_t i = 0; i < n; i++)
		octets += pkts[i].cap_len;
	return octets;
}

void
ffpf_rows_gather(struct ffpf_row *rows, uint8_t *octets, const struct ffpf_packet *pkts, uint32_t n)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct ffpf_packet *p = &pkts[i];

		if (i + FFPF_ROWS_AHEAD < n)
			__builtin_prefetch(pkts[i + FFPF_ROWS_AHEAD].data);
		rows[i] = row_of(p, p->ts_sec * NS_PER_S + p->ts_frac, at);
		if (p->cap_len)
			memcpy(octets + at, p->data, p->cap_len);
		at += p->cap_len;
	}
}

/* The common case apart: a length that the compiler need not ask for at each row, where the packet is long enough. */
#define COPY_ROWS(bytes)                                                                                               \
	for (uint32_t i = 0; i < n; i++) {                                                                             \
		uint8_t *to = heads + (size_t)i * (bytes);                                                             \
		ffpf_rows_prefetch(rows, i, n, base, (bytes));                                                         \
		if (__builtin_expect(rows[i].caplen >= (bytes), 1)) {                                                  \
			memcpy(to, base + rows[i].offset, (bytes));                                                    \
		} else {                                                                                               \
			memcpy(to, base + rows[i].offset, rows[i].caplen);                                             \
			memset(to + rows[i].caplen, 0, (bytes) - (size_t)rows[i].caplen);                              \
		}                                                                                                      \
	}

void
ffpf_rows_heads(uint8_t *heads, uint32_t head_bytes, const struct ffpf_row *rows, uint32_t n, const uint8_t *base)
{
	switch (head_bytes) {
	case 32:
		COPY_ROWS(32u);
		break;
	case 54: /* Ethernet, IPv4, TCP */
		COPY_ROWS(54u);
		break;
	case 64:
		COPY_ROWS(64u);
		break;
	default:
		COPY_ROWS(head_bytes);
	}
}
