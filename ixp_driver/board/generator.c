/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/generator.h"

#include <net/ethernet.h>
#include <string.h>

#define IP_AT   14
#define UDP_AT  34
#define DATA_AT 42
#define FLOWS   65536 /* flow numbers that addresses and ports tell apart */
#define START_S 1000000000

static void
put16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static uint32_t
checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)header[i] << 8 | header[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16)) & 0xffff;
}

void
generator_begin(struct generator *generator, const struct board_source_config *cfg)
{
	static const uint8_t head[DATA_AT] = {
		2,    0, 0, 0, 0, 2, 2, 0, 0,  0,  0, 1, 8,   0,                        /* Ethernet */
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 0, 198, 51, 100, 1, /* IPv4 */
		0,    0, 0, 9, 0, 0, 0, 0,                                              /* UDP */
	};

	memset(generator, 0, sizeof(*generator));
	generator->count = cfg->count;
	generator->gap_ns = cfg->gap_ns;
	generator->flows = cfg->flows;
	generator->size = cfg->size;
	memcpy(generator->octets, head, sizeof(head));
	put16(generator->octets + IP_AT + 2, cfg->size - IP_AT);
	put16(generator->octets + UDP_AT + 4, cfg->size - UDP_AT);
}

bool
generator_next(struct generator *generator, struct board_packet *out)
{
	uint64_t number = generator->number;
	uint32_t flow = (uint32_t)(number % generator->flows) % FLOWS;
	uint8_t *octets = generator->octets;

	if (generator->count && number == generator->count)
		return false;
	generator->number++;
	octets[IP_AT + 15] = (uint8_t)(flow >> 8);
	put16(octets + UDP_AT, 1024 + (flow & 0xff));
	put16(octets + IP_AT + 10, 0);
	put16(octets + IP_AT + 10, checksum(octets + IP_AT));
	for (int i = 0; i < 8; i++)
		octets[DATA_AT + i] = (uint8_t)(number >> (56 - 8 * i));
	*out = (struct board_packet){
		.data = octets,
		.time_ns = START_S * INT64_C(1000000000) + (int64_t)(number * generator->gap_ns),
		.cap_len = generator->size,
		.wire_len = generator->size,
		.protocol = ETHERTYPE_IP,
	};
	return true;
}
