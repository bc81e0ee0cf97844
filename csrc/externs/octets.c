/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/octets.h"
#include "graph/tuple.h"

#include <netinet/in.h>
#include <string.h>

#define RANGE_BYTES   8
#define UDP_BYTES     8
#define TCP_MIN       20
#define TCP_LENGTH_AT 12

int
octets_parse(enum octets_of *out, struct ffpf_extern_use *use, struct ffpf_class_args *args, struct ffpf_arg *arg,
	     struct ffpf_error *err)
{
	static const char *const names[] = { "range", "packet", "payload" };
	static const char mbuf[] = "mbuf:";
	uint64_t bytes;
	size_t choice;
	int status;

	if (arg->value_len > sizeof(mbuf) - 1 && memcmp(arg->value, mbuf, sizeof(mbuf) - 1) == 0) {
		arg->value += sizeof(mbuf) - 1;
		arg->value_len -= sizeof(mbuf) - 1;
		status = ffpf_arg_bytes(args, arg, 1, OCTETS_MBUF_MAX, &bytes, err);
		if (status)
			return status;
		*out = OCTETS_MBUF;
		use->reads = (uint32_t)bytes;
		return 0;
	}
	status = ffpf_arg_choice(args, arg, names, sizeof(names) / sizeof(names[0]), &choice, err);
	if (status) {
		ffpf_error_append(err, ", nor mbuf:N");
		return status;
	}
	*out = (enum octets_of)choice;
	use->reads = *out == OCTETS_RANGE ? RANGE_BYTES : 0;
	return 0;
}

struct octets
octets_payload(const struct ffpf_node_pkt *in)
{
	const struct octets nothing = { .data = in->pkt->data, .at = in->pkt->cap_len };
	struct ffpf_headers h;
	uint32_t header = UDP_BYTES;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	if (!(h.found & FFPF_FOUND_PORTS))
		return nothing;
	if (h.protocol == IPPROTO_TCP) {
		if (h.len - h.transport < TCP_MIN)
			return nothing;
		header = (uint32_t)(h.data[h.transport + TCP_LENGTH_AT] >> 4) * 4;
		if (header < TCP_MIN)
			return nothing;
	} else if (h.protocol != IPPROTO_UDP && h.protocol != IPPROTO_UDPLITE) {
		return nothing;
	}
	if (h.len - h.transport < header)
		return nothing;
	return (struct octets){ h.data + h.transport + header, h.len - h.transport - header, h.transport + header };
}

static struct octets
range_of(const uint8_t *pkt, uint32_t cap_len, const uint8_t *range)
{
	uint32_t at = octets_u32(range), len = octets_u32(range + 4);

	if (at > cap_len)
		at = cap_len;
	if (len > cap_len - at)
		len = cap_len - at;
	return (struct octets){ pkt + at, len, at };
}

struct octets
octets_get(enum octets_of of, const struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len,
	   const uint8_t *mbuf, uint64_t read_at)
{
	switch (of) {
	case OCTETS_RANGE:
		return range_of(pkt, cap_len, mbuf + read_at);
	case OCTETS_PAYLOAD:
		return octets_payload(use->set->in);
	case OCTETS_MBUF:
		return (struct octets){ mbuf + read_at, use->reads, 0 };
	default:
		return (struct octets){ pkt, cap_len, 0 };
	}
}
