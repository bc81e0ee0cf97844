/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_EXTERNS_OCTETS_H
#define FFPF_EXTERNS_OCTETS_H
/*
 * Which octets a function looks at. Functions that let users choose have the argument `of=`:
 *
 *     of=range    {u32 offset, u32 octets} stand at read_at, and say which of the packet; what was not captured is left
 * out of=packet   all that was captured of=payload  what TCP or UDP carries; nothing in other packets, nor in any piece
 * of a datagram but the first of=mbuf:N   N octets of MBuf, at read_at
 */
#include "externs/externs.h"

enum octets_of { OCTETS_RANGE, OCTETS_PACKET, OCTETS_PAYLOAD, OCTETS_MBUF };

struct octets {
	const uint8_t *data;
	uint32_t len;
	uint32_t at; /* of the packet; 0 when they are of MBuf */
};

#define OCTETS_MBUF_MAX (1u << 20)

/* The value of `of=`; use->reads becomes what it needs. */
int octets_parse(enum octets_of *out, struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_arg *arg,
		 struct ffpf_error *err);
struct octets octets_get(enum octets_of of, const struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len,
			 const uint8_t *mbuf, uint64_t read_at);
/* What TCP or UDP carries. */
struct octets octets_payload(const struct ffpf_node_pkt *in);

/* Numbers at any octet. */
static inline uint32_t
octets_u32(const uint8_t *p)
{
	uint32_t value;

	__builtin_memcpy(&value, p, sizeof(value));
	return value;
}

static inline void
octets_put_u32(uint8_t *p, uint32_t value)
{
	__builtin_memcpy(p, &value, sizeof(value));
}

#endif
