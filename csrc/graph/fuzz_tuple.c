/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as a packet: no read beyond its end (it lies at the end of its own allocation), what is found lies inside,
 * a canonical tuple is a fixed point and the same for both directions, and every field gives what it says.
 *
 * Input: link type, flags of the descriptor, then the packet.
 */
#include "common/fuzzing.h"
#include "graph/fields.h"

#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>

static void
check_headers(const struct ffpf_headers *h)
{
	MUST(h->len <= h->pkt->cap_len);
	MUST(h->network <= h->pkt->cap_len);
	MUST(!(h->found & FFPF_FOUND_IPV4) || h->network + 20 <= h->len);
	MUST(!(h->found & FFPF_FOUND_IPV6) || h->network + 40 <= h->len);
	MUST(!(h->found & FFPF_FOUND_TRANSPORT) || h->transport <= h->len);
	MUST(!(h->found & FFPF_FOUND_PORTS) || h->found & FFPF_FOUND_TRANSPORT);
}

static void
check_tuple(const struct ffpf_headers *h)
{
	struct ffpf_tuple t, back;

	ffpf_tuple_of(&t, h);
	back = t;
	memcpy(back.src, t.dst, sizeof(t.src));
	memcpy(back.dst, t.src, sizeof(t.src));
	back.sport = t.dport;
	back.dport = t.sport;
	ffpf_tuple_canonical(&t);
	ffpf_tuple_canonical(&back);
	MUST(ffpf_tuple_equal(&t, &back));
	MUST(!ffpf_tuple_canonical(&t));
	MUST(ffpf_tuple_hash(&t, 1) == ffpf_tuple_hash(&back, 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static const uint32_t link_types[] = { DLT_EN10MB,     DLT_RAW,  DLT_IPV4, DLT_IPV6,      DLT_LINUX_SLL,
					       DLT_LINUX_SLL2, DLT_NULL, DLT_LOOP, DLT_IEEE802_11 };
	struct ffpf_tuple keys[FFPF_FIELD_MOST_VALUES];
	char text[FFPF_TUPLE_TEXT_BYTES];
	struct ffpf_packet pkt = { 0 };
	const struct ffpf_field *field;
	struct ffpf_headers h;
	uint8_t *copy;

	if (size < 2)
		return 0;
	copy = malloc(size - 2 + (size == 2));
	MUST(copy);
	memcpy(copy, input + 2, size - 2);
	pkt.data = copy;
	pkt.cap_len = (uint32_t)size - 2;
	pkt.wire_len = pkt.cap_len;
	pkt.flags = input[1];
	ffpf_headers_find(&h, &pkt, link_types[input[0] % (sizeof(link_types) / sizeof(link_types[0]))]);
	check_headers(&h);
	check_tuple(&h);
	for (unsigned i = 0; (field = ffpf_field_at(i)); i++) {
		unsigned count = ffpf_field_keys(field, &h, keys);

		MUST(count <= FFPF_FIELD_MOST_VALUES);
		for (unsigned k = 0; k < count; k++) {
			MUST(keys[k].kind != FFPF_TUPLE_NONE);
			MUST(ffpf_tuple_text(&keys[k], text, sizeof(text)) == strlen(text));
		}
	}
	free(copy);
	return 0;
}
