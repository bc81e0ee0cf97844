/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_HOOK_HOOK_H
#define FFPF_HOOK_HOOK_H
/*
 * hook_handle_packet: the one way into the framework for every packet source. Paper, section 3.6.
 *
 * A hook is the writer of one lane: one capture thread.
 *
 *   call                       by
 *   handle_packet, flush,      the source's thread. From within handle_packet (a signal handler), or while another
 *   tick, floor, has_room,     thread is in it, handle_packet drops the packet and counts it as nested
 *   lost, close
 *   attach, detach, and        control plane: any other thread, at any time; or the source's, outside of the above
 *   ffpf_flow_set_filter
 *   create, destroy            control plane, while there is no source
 */
#include "bms/bms.h"
#include "hook/flow.h"
#include "ring/lane.h"

struct ffpf_hook_config {
	uint64_t pbuf_bytes; /* see ring/lane.h */
	enum ffpf_memory memory;
	enum ffpf_bms_id bms;
	enum ffpf_store_kind store; /* AUTO unless measuring; FRP always stores words */
	uint32_t link_type;         /* DLT_* */
	int vlan_offset;            /* where a tag is put back: 12 for Ethernet; -1: nowhere */
	bool cooked;                /* packets begin with a header of LINUX_SLL2, which filters do not see */
	uint32_t snap_len;          /* see ring/lane.h */
	uint32_t
	    publish_batch;  /* publish after so many stored packets, at flush, and when a buffer is full; at least 1 */
	uint64_t first_lap; /* see ring/lane.h */
};

#define FFPF_HOOK_VLAN       0x01 /* vlan_tci and vlan_tpid are set: a tag that was taken out of the packet */
#define FFPF_HOOK_TIME_GIVEN 0x02 /* time_ns is set; else the hook reads the clock. See ffpf_hook_floor */
#define FFPF_HOOK_JUDGED     0x04 /* result is set, not 0: that of flows without a filter; else it is UINT32_MAX */

#define FFPF_HOOK_VLAN_OFFSET_MAX 28

/* A packet on its way in: the untagged octets as the source has them, and what the kernel knows besides them. Host
 * order. Only borrowed. */
struct ffpf_hook_packet {
	const uint8_t *data;
	int64_t time_ns; /* since 1970, UTC */
	uint32_t cap_len, wire_len;
	uint32_t ifindex;
	uint16_t vlan_tci, vlan_tpid;
	uint16_t protocol, hatype;
	uint32_t result;
	uint8_t pkt_type;
	uint8_t flags; /* FFPF_HOOK_* */
};

int ffpf_hook_create(struct ffpf_hook **out, const struct ffpf_hook_config *cfg, struct ffpf_error *err);
void ffpf_hook_destroy(struct ffpf_hook *hook); /* every flow must be detached; NULL is legal */

/*
 * fetch -> classify -> claim -> store -> index -> publish -> wake. Returns how many flows the packet was indexed for. A
 * packet that no flow wants does not touch PBuf.
 */
uint32_t ffpf_hook_handle_packet(struct ffpf_hook *hook, const struct ffpf_hook_packet *pkt);

/* Publishes what is stored. A source calls it before it waits, and at the end of a burst. */
void ffpf_hook_flush(struct ffpf_hook *hook);

/*
 * Wakes the readers whose timeout is due. now_ns: CLOCK_MONOTONIC. Returns when the next one will be, UINT64_MAX when
 * none: a source that waits calls it again then. Publishes too.
 */
uint64_t ffpf_hook_tick(struct ffpf_hook *hook, uint64_t now_ns);

/*
 * For sources that give the time: no packet still to come is older than ns (FFPF_FLOOR_IDLE: than the moment of this
 * call). A lane whose packets carry given times holds readers of several lanes back at the time of its last packet,
 * until the source says more. Lanes whose hook reads the clock need no such call.
 */
void ffpf_hook_floor(struct ffpf_hook *hook, int64_t ns);

/*
 * For sources that can wait instead of losing packets: could each flow have a packet of cap_len octets now, whatever
 * its filter says of it? If not (SRP), what is stored is published, and whoever has something to read is woken: the
 * source asks again after a while. The source's thread.
 */
bool ffpf_hook_has_room(struct ffpf_hook *hook, uint32_t cap_len);

/* n packets were lost on their way to the hook, before any filter saw them: each flow counts them as dropped for
 * `cause`. */
void ffpf_hook_lost(struct ffpf_hook *hook, enum ffpf_drop cause, uint64_t n);

/* No packet will come: readers see the end once they have read the rest. */
void ffpf_hook_close(struct ffpf_hook *hook);

/* What is stored of a packet at most, from one of the next packets on. Any thread. */
void ffpf_hook_set_snap_len(struct ffpf_hook *hook, uint32_t snap_len);

/* From the next packet on the flow is served. A flow is attached once to a hook; all its hooks have the same BMS and
 * link type. */
int ffpf_hook_attach(struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_error *err);
/* When this returns the hook cannot reach the flow any more, and what it had indexed for it is published. */
int ffpf_hook_detach(struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_error *err);

const struct ffpf_lane *ffpf_hook_lane(const struct ffpf_hook *hook);

#endif
