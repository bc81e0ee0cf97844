/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IXP_BOARD_PORT_H
#define IXP_BOARD_PORT_H
/*
 * A port: where packets come from, when each arrives in the board's time, and what is kept of them until the receive
 * engine fetches it.
 *
 *     source (port_source.h) --> arrival cycle --> MAC: whole packets, in their order --> receive FIFO, by 64 octets
 *
 * Pace: recorded (as the time stamps of a capture are apart), a rate, or as fast as the board takes packets; none comes
 * faster than the wire allows, but by the last, which is for measuring what the board could do. Live ports take what
 * their interface brings when it brings it.
 */
#include "board/params.h"
#include "board/port_source.h"

#include <stdbool.h>

#define BOARD_MAC_PACKETS 256

enum board_pace {
	BOARD_PACE_RECORDED,
	BOARD_PACE_PPS,  /* packets a second */
	BOARD_PACE_BITS, /* octets of packets, as bits a second */
	BOARD_PACE_FULL, /* nothing is lost: the port waits while the board has no room */
	BOARD_PACE_LIVE,
};

/* "KIND:WHAT[,name=value...]"; KIND is pcap (a file, pcap or pcapng), if (an interface) or generator. */
struct board_port_config {
	char text[64]; /* as it was given, cut */
	struct board_source_config source;
	enum board_pace pace;
	uint64_t rate;  /* of PPS and BITS */
	uint32_t hold;  /* begins when so many filters run; 0: at once */
	uint32_t loops; /* a file is read so many times */
};

/* 0, or -FFPF_E_INVALID that names what is wrong. */
int board_port_parse(struct board_port_config *out, const char *text, struct ffpf_error *err);

struct board_mac_packet {
	struct board_packet packet; /* data points into octets */
	uint64_t arrival;           /* cycle */
	uint8_t *octets;
	uint32_t capacity;
};

enum board_port_state { BOARD_PORT_HOLDS, BOARD_PORT_RUNS, BOARD_PORT_DRY, BOARD_PORT_FAILED };

struct board_port {
	struct board_port_config cfg;
	struct board_source *source;
	enum board_port_state state; /* DRY: the source has ended; the MAC may still hold packets */
	struct ffpf_error err;       /* FAILED */

	struct board_mac_packet mac[BOARD_MAC_PACKETS];
	uint32_t head, count; /* of mac */
	uint32_t mac_octets;
	uint32_t fetched; /* octets of the first packet that are in the FIFO already */
	bool open;        /* the first packet has begun to be fetched */

	bool has_next; /* `next` has come from the source, and waits for its time */
	struct board_packet next;
	uint64_t next_arrival;
	bool first;            /* no packet has been timed yet */
	int64_t first_ns;      /* recorded time of the first packet ... */
	uint64_t base;         /* ... and its cycle */
	uint64_t sent, octets; /* since base: packets, octets of them */
	uint64_t wire_free;    /* cycle from which the wire can carry the next packet */
	uint32_t loops_left;

	uint64_t offered, offered_octets, lost; /* lost: the MAC was full */
	uint64_t taken;                         /* packets that the engine began to fetch since its rings are empty */
	uint64_t socket_lost;                   /* live: by the kernel's socket, as when last asked */
};

/* *out is untouched on failure. */
int board_port_create(struct board_port **out, const struct board_port_config *cfg, struct ffpf_error *err);
void board_port_destroy(struct board_port *port); /* NULL is legal */

/* From the first packet on, at this cycle; counts begin anew. A failure shows in state and err. */
void board_port_begin(struct board_port *port, uint64_t cycle);
/* Back to HOLDS; packets under way are forgotten. */
void board_port_hold(struct board_port *port);

/* Takes into the MAC what arrives until `cycle`. */
void board_port_fill(struct board_port *port, const struct board_params *params, uint64_t cycle);

/* The cycle at which the next packet arrives, or has; UINT64_MAX: nobody knows, or never. */
uint64_t board_port_next(const struct board_port *port);

/* The packet that is to be fetched, if it has arrived by then; else NULL. */
const struct board_packet *board_port_front(const struct board_port *port, uint64_t cycle);
/* Moves the next octets of the front packet to an element of the FIFO: how many, at most 64. */
uint32_t board_port_fetch(struct board_port *port, uint8_t *element);
void board_port_discard(struct board_port *port); /* what is left of it */

/* No packet will come any more. */
static inline bool
board_port_is_over(const struct board_port *port)
{
	return (port->state == BOARD_PORT_DRY || port->state == BOARD_PORT_FAILED) && port->count == 0;
}

#endif
