/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_GENERATOR_H
#define IXP_BOARD_GENERATOR_H
/* Packets that are made up: UDP over IPv4 over Ethernet, with right checksums of IPv4, always the same ones. Addresses
 * are of the networks for documentation; packet n is of flow n modulo the number of flows, and its payload begins with
 * n, 64 bits in network order. */
#include "board/port_source.h"

#define GENERATOR_SIZE_MIN 60
#define GENERATOR_SIZE_MAX 9000

struct generator {
	uint64_t number, count; /* of the next packet; 0: without end */
	uint64_t gap_ns;
	uint32_t flows;
	uint32_t size;
	uint8_t octets[GENERATOR_SIZE_MAX];
};

void generator_begin(struct generator *generator, const struct board_source_config *cfg);
/* False: that was all. *out: until the next call. */
bool generator_next(struct generator *generator, struct board_packet *out);

#endif
