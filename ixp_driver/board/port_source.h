/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_PORT_SOURCE_H
#define IXP_BOARD_PORT_SOURCE_H
/* What a port plays: the packets of a savefile, of an interface, or made up. */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

enum board_source_kind { BOARD_SOURCE_FILE = 1, BOARD_SOURCE_LIVE = 2, BOARD_SOURCE_GENERATOR = 3 };

#define BOARD_SOURCE_NAME 1024

struct board_source_config {
	enum board_source_kind kind;
	char name[BOARD_SOURCE_NAME]; /* of the file, or the interface */
	uint32_t size;                /* generator: octets of a packet, 60 to 9000 */
	uint64_t count;               /* generator: packets; 0: without end */
	uint32_t flows;               /* generator: so many pairs of addresses and ports take turns */
	uint64_t gap_ns;              /* generator: between the times of two packets */
};

/* Octets as they were on the wire. Borrowed: until the next call. */
struct board_packet {
	const uint8_t *data;
	int64_t time_ns; /* since 1970, UTC */
	uint32_t cap_len, wire_len;
	uint32_t ifindex;
	uint16_t protocol; /* as in struct ffpf_record */
	uint8_t pkt_type;
};

struct board_source;

enum board_got { BOARD_GOT, BOARD_GOT_NONE_YET, BOARD_GOT_END, BOARD_GOT_FAILURE };

/* *out is untouched on failure. */
int board_source_open(struct board_source **out, const struct board_source_config *cfg, struct ffpf_error *err);
void board_source_close(struct board_source *source); /* NULL is legal */

/* err: of BOARD_GOT_FAILURE. Never waits. */
enum board_got board_source_next(struct board_source *source, struct board_packet *out, struct ffpf_error *err);
/* To the first packet again; a live one forgets what came until now. */
int board_source_rewind(struct board_source *source, struct ffpf_error *err);

uint32_t board_source_link_type(const struct board_source *source); /* DLT_* */
uint32_t board_source_ifindex(const struct board_source *source);   /* 0: no interface */
int board_source_poll_fd(const struct board_source *source);        /* readable when a live packet came; -1 */
uint64_t board_source_lost(struct board_source *source);            /* by the kernel's socket */

#endif
