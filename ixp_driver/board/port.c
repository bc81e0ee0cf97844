/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/port.h"

#include <stdlib.h>
#include <string.h>

#define NS             1000000000.0
#define WIRE_OVERHEAD  24 /* octets of preamble, checksum and gap between frames */
#define WIRE_LEAST     60 /* octets of the shortest frame, without its checksum */
#define FULL_AHEAD     4  /* packets that are kept when the board sets the pace */
#define ELEMENT_OCTETS 64
#define LEAST_CAPACITY 2048
#define LONGEST_S      1e9 /* 30 years: captures may say anything */

int
board_port_create(struct board_port **out, const struct board_port_config *cfg, struct ffpf_error *err)
{
	struct board_port *port = calloc(1, sizeof(*port));
	int rc;

	if (!port)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a port");
	port->cfg = *cfg;
	rc = board_source_open(&port->source, &cfg->source, err);
	if (rc) {
		free(port);
		return rc;
	}
	*out = port;
	return 0;
}

void
board_port_destroy(struct board_port *port)
{
	if (!port)
		return;
	for (uint32_t i = 0; i < BOARD_MAC_PACKETS; i++)
		free(port->mac[i].octets);
	board_source_close(port->source);
	free(port);
}

static void
fail(struct board_port *port, const struct ffpf_error *err)
{
	port->state = BOARD_PORT_FAILED;
	port->err = *err;
}

void
board_port_hold(struct board_port *port)
{
	port->state = BOARD_PORT_HOLDS;
	port->head = port->count = port->mac_octets = port->fetched = 0;
	port->open = port->has_next = false;
	port->offered = port->offered_octets = port->lost = 0; /* as engines' cycles do, they begin anew */
}

void
board_port_begin(struct board_port *port, uint64_t cycle)
{
	struct ffpf_error err;

	board_port_hold(port);
	port->first = true;
	port->base = port->wire_free = cycle;
	port->sent = port->octets = 0;
	port->loops_left = port->cfg.loops;
	port->err = (struct ffpf_error){ 0 };
	port->state = BOARD_PORT_RUNS;
	if (board_source_rewind(port->source, &err) != 0)
		fail(port, &err);
}

static uint64_t
wire_cycles(const struct board_params *params, uint32_t len)
{
	uint32_t framed = (len < WIRE_LEAST ? WIRE_LEAST : len) + WIRE_OVERHEAD;

	return (uint64_t)((double)framed * 8 * params->clock_hz / params->line_bits);
}

/* When the packet would come if nothing but its port's pace mattered. */
static uint64_t
paced(struct board_port *port, const struct board_params *params, const struct board_packet *packet, uint64_t now)
{
	double seconds = 0;

	switch (port->cfg.pace) {
	case BOARD_PACE_RECORDED:
		if (packet->time_ns > port->first_ns)
			seconds = (double)((uint64_t)packet->time_ns - (uint64_t)port->first_ns) / NS;
		break;
	case BOARD_PACE_PPS:
		seconds = (double)port->sent / (double)port->cfg.rate;
		break;
	case BOARD_PACE_BITS:
		seconds = (double)port->octets * 8 / (double)port->cfg.rate;
		break;
	default:
		return now;
	}
	return port->base + (uint64_t)((seconds < LONGEST_S ? seconds : LONGEST_S) * params->clock_hz);
}

static void
time_next(struct board_port *port, const struct board_params *params, uint64_t now)
{
	if (port->first) {
		port->first_ns = port->next.time_ns;
		port->first = false;
	}
	port->next_arrival = paced(port, params, &port->next, now);
	if (port->cfg.pace != BOARD_PACE_FULL && port->cfg.pace != BOARD_PACE_LIVE) {
		if (port->next_arrival < port->wire_free)
			port->next_arrival = port->wire_free;
		port->wire_free = port->next_arrival + wire_cycles(params, port->next.wire_len);
	}
	port->sent++;
	port->octets += port->next.wire_len;
}

/* The source again from its start, for as many times as it is to be played. */
static bool
play_again(struct board_port *port, uint64_t now)
{
	struct ffpf_error err;

	if (port->loops_left <= 1)
		return false;
	port->loops_left--;
	port->first = true;
	port->base = port->wire_free > now ? port->wire_free : now;
	port->sent = port->octets = 0;
	if (board_source_rewind(port->source, &err) != 0)
		fail(port, &err);
	return true;
}

static bool
get_next(struct board_port *port, const struct board_params *params, uint64_t now)
{
	struct ffpf_error err = { 0 };

	if (port->has_next)
		return true;
	if (port->state != BOARD_PORT_RUNS)
		return false;
	switch (board_source_next(port->source, &port->next, &err)) {
	case BOARD_GOT:
		port->has_next = true;
		time_next(port, params, now);
		return true;
	case BOARD_GOT_NONE_YET:
		return false;
	case BOARD_GOT_END:
		if (!play_again(port, now))
			port->state = BOARD_PORT_DRY;
		return false;
	default:
		fail(port, &err);
		return false;
	}
}

static bool
has_room(const struct board_port *port, const struct board_params *params, uint32_t len)
{
	if (port->count == BOARD_MAC_PACKETS)
		return false;
	return port->count == 0 || port->mac_octets + len <= params->mac_bytes;
}

/* Copies `next` into the MAC, cut to what is stored of it. False: no memory. */
static bool
keep_next(struct board_port *port, const struct board_params *params)
{
	struct board_mac_packet *to = &port->mac[(port->head + port->count) % BOARD_MAC_PACKETS];
	uint32_t len = port->next.cap_len < params->snap_len ? port->next.cap_len : params->snap_len;

	if (len > to->capacity) {
		uint32_t capacity = len < LEAST_CAPACITY ? LEAST_CAPACITY : len;
		uint8_t *octets = realloc(to->octets, capacity);

		if (!octets)
			return false;
		to->octets = octets;
		to->capacity = capacity;
	}
	if (len)
		memcpy(to->octets, port->next.data, len);
	to->packet = port->next;
	to->packet.data = to->octets;
	to->packet.cap_len = len;
	to->arrival = port->next_arrival;
	port->count++;
	port->mac_octets += len;
	return true;
}

void
board_port_fill(struct board_port *port, const struct board_params *params, uint64_t cycle)
{
	bool waits = port->cfg.pace == BOARD_PACE_FULL || port->cfg.pace == BOARD_PACE_LIVE;

	while ((port->cfg.pace != BOARD_PACE_FULL || port->count < FULL_AHEAD) && get_next(port, params, cycle)) {
		bool room = has_room(port, params, port->next.cap_len);

		if (port->next_arrival > cycle || (waits && !room))
			return;
		port->has_next = false;
		port->offered++;
		port->offered_octets += port->next.wire_len;
		if (!room || !keep_next(port, params))
			port->lost++;
	}
}

uint64_t
board_port_next(const struct board_port *port)
{
	if (port->count)
		return port->mac[port->head].arrival;
	return port->has_next ? port->next_arrival : UINT64_MAX;
}

const struct board_packet *
board_port_front(const struct board_port *port, uint64_t cycle)
{
	const struct board_mac_packet *front = &port->mac[port->head];

	return port->count && front->arrival <= cycle ? &front->packet : NULL;
}

static void
drop_front(struct board_port *port)
{
	port->mac_octets -= port->mac[port->head].packet.cap_len;
	port->head = (port->head + 1) % BOARD_MAC_PACKETS;
	port->count--;
	port->fetched = 0;
	port->open = false;
}

uint32_t
board_port_fetch(struct board_port *port, uint8_t *element)
{
	const struct board_packet *packet = &port->mac[port->head].packet;
	uint32_t left = packet->cap_len - port->fetched;
	uint32_t n = left < ELEMENT_OCTETS ? left : ELEMENT_OCTETS;

	memset(element, 0, ELEMENT_OCTETS);
	if (n)
		memcpy(element, packet->data + port->fetched, n);
	port->taken += !port->open;
	port->fetched += n;
	port->open = true;
	if (port->fetched == packet->cap_len)
		drop_front(port);
	return n;
}

void
board_port_discard(struct board_port *port)
{
	if (port->open)
		drop_front(port);
}
