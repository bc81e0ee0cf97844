/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any octets as a packet of any link type: every field of it. The packet lies at the end of memory of its own, so that
 * a load behind it is found; what is told must lie within it, and be told again when octets behind its end differ.
 */
#include "columns/fields.h"
#include "common/fuzzing.h"

#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 64

static const int link_types[] = {
	DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_RAW, DLT_IPV4, DLT_IPV6, DLT_NULL, DLT_LOOP, DLT_IEEE802_11,
};

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static uint64_t values[FIELDS_MAX][2], again[FIELDS_MAX][2];
	static uint8_t valid[FIELDS_MAX], valid_again[FIELDS_MAX];
	struct ffpf_column columns[FIELDS_MAX];
	struct ffpf_dissected d;
	struct ffpf_row row;
	uint8_t *packet, *longer;
	uint32_t count = 0;
	int dlt;

	if (size < 2)
		return 0;
	dlt = link_types[input[0] % (sizeof(link_types) / sizeof(link_types[0]))];
	row = (struct ffpf_row){ .caplen = (uint32_t)size - 2, .len = (uint32_t)size, .vlan = 0x81000000u | input[1] };
	row.flags = input[1] & FFPF_PACKET_VLAN_BESIDE;
	packet = malloc(row.caplen ? row.caplen : 1);
	longer = malloc(row.caplen + 64);
	MUST(packet && longer);
	memcpy(packet, input + 2, row.caplen);
	memcpy(longer, input + 2, row.caplen);
	memset(longer + row.caplen, 0xa5, 64);

	for (const struct ffpf_column_field *f; (f = ffpf_column_field_number(count)); count++) {
		MUST(count < FIELDS_MAX && ffpf_column_field_find(f->name) == f);
		columns[count] = (struct ffpf_column){ f, values[count], &valid[count] };
	}
	memset(values, 0, sizeof(values));
	memset(again, 0, sizeof(again));
	ffpf_columns_extract(columns, count, 0, &row, 1, packet, dlt);
	for (uint32_t i = 0; i < count; i++)
		columns[i] = (struct ffpf_column){ columns[i].field, again[i], &valid_again[i] };
	ffpf_columns_extract(columns, count, 0, &row, 1, longer, dlt);
	MUST(memcmp(values, again, sizeof(values)) == 0 && memcmp(valid, valid_again, count) == 0);

	ffpf_dissect(&d, packet, &row, dlt);
	MUST(d.end <= row.caplen && d.payload <= d.end);
	for (unsigned layer = FFPF_LAYER_ETH; layer < FFPF_LAYERS; layer++)
		if (d.present & 1u << layer && !(row.flags && layer == FFPF_LAYER_VLAN))
			MUST(d.at[layer] <= row.caplen);
	free(packet);
	free(longer);
	return 0;
}
