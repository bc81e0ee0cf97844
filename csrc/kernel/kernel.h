/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_KERNEL_H
#define FFPF_KERNEL_KERNEL_H
/*
 * A source in the kernel: one AF_PACKET socket, or a place in netfilter, the programs attached to it, their maps.
 * Control plane; packets never come here. Not part of libffpfpcap.
 *
 * All state is in the kernel, behind descriptors: who holds a copy of those of struct ffpf_kernel_fds, and of those
 * that group and flow calls return, can adopt the source after its maker died. A map cannot be found by anything but a
 * descriptor. Calls for one source are made by one thread at a time. Those marked (grace) wait until every packet that
 * is being handled has been, some ten milliseconds; (graces) a few times that.
 *
 *     create -> group_create -> flow_create -> column_set -> prog_set -> activate -> ...
 *         activate without the flow's columns -> flow_remove -> group_remove -> close
 *
 * Descriptors that are returned belong to the caller. Every failure leaves things as they were.
 */
#include "common/error.h"
#include "kernel/kernel_layout.h"
#include "kernel/node_layout.h"
#include "reader/reader.h"

#include <stdbool.h>
#include <stdint.h>

enum ffpf_kernel_fd {
	FFPF_KERNEL_FD_SOCKET, /* of a netfilter source -1 */
	FFPF_KERNEL_FD_PROG_MAIN,
	FFPF_KERNEL_FD_PROG_STORE,
	FFPF_KERNEL_FD_PROG_CONTROL,
	FFPF_KERNEL_FD_PROGS, /* emptied by the kernel when nobody holds it any more */
	FFPF_KERNEL_FD_CONTROL,
	FFPF_KERNEL_FD_SCRATCH,
	FFPF_KERNEL_FD_COLUMNS,
	FFPF_KERNEL_FD_FLOWS,
	FFPF_KERNEL_FD_GROUPS,
	FFPF_KERNEL_FD_LANES,
	FFPF_KERNEL_FD_IBUFS,
	FFPF_KERNEL_FD_READERS,
	FFPF_KERNEL_FD_WAKES,
	FFPF_KERNEL_FD_LANE_STATE,
	FFPF_KERNEL_FD_FLOW_STATE,
	FFPF_KERNEL_FD_COUNTS,  /* for readers, of every group */
	FFPF_KERNEL_FD_GRACE,   /* an array of maps that nobody reads: an update waits for a grace period */
	FFPF_KERNEL_FD_LINK_IP, /* of a netfilter source, each of its families; else -1 */
	FFPF_KERNEL_FD_LINK_IP6,
	FFPF_KERNEL_FD_COUNT
};

struct ffpf_kernel_fds {
	int fd[FFPF_KERNEL_FD_COUNT];
};

const char *ffpf_kernel_fd_name(enum ffpf_kernel_fd which); /* "socket", "prog_main", ...; NULL: there is none */

struct ffpf_kernel;

/*
 * Loads the programs, makes the socket, in the caller's network namespace, and captures: nobody wants anything yet.
 * cpus 0: all that are possible. *out is untouched on failure. A netfilter source takes CAP_NET_ADMIN, and Linux 6.4.
 * Its programs, classify ones too, are of type 32, attach type 45, and return 1.
 */
int ffpf_kernel_create(struct ffpf_kernel **out, const struct ffpf_kernel_source *source, struct ffpf_error *err);
/* On success the descriptors belong to *out. */
int ffpf_kernel_adopt(struct ffpf_kernel **out, const struct ffpf_kernel_fds *fds, struct ffpf_error *err);
/* The source goes on while somebody else holds its descriptors. NULL is legal. */
void ffpf_kernel_close(struct ffpf_kernel *kernel);

const struct ffpf_kernel_fds *ffpf_kernel_fds(const struct ffpf_kernel *kernel);
const struct ffpf_kernel_source *ffpf_kernel_source(const struct ffpf_kernel *kernel);
/* Why the kernel did not take the best form of the hook; "" when it did, or the source was adopted. The handle's. */
const char *ffpf_kernel_refusal(const struct ffpf_kernel *kernel);

/* ---- what a predecessor left ----
 *
 * It may have been killed within any call: a flow may be half removed (in use, and not whole), and the memories that
 * are written may be others than those it had told anybody about. Removing what is in use is legal whatever its state.
 */

bool ffpf_kernel_group_in_use(const struct ffpf_kernel *kernel, uint32_t group);
bool ffpf_kernel_flow_in_use(const struct ffpf_kernel *kernel, uint32_t slot);
bool ffpf_kernel_flow_is_whole(const struct ffpf_kernel *kernel, uint32_t slot, uint32_t group);
/* Whether the lanes (IBufs) that are written now are these; fds: cpus of them. */
int ffpf_kernel_group_holds(const struct ffpf_kernel *kernel, uint32_t group, const int *lane_fds, bool *same,
			    struct ffpf_error *err);
int ffpf_kernel_flow_holds(const struct ffpf_kernel *kernel, uint32_t slot, const int *ibuf_fds, bool *same,
			   struct ffpf_error *err);

/* ---- groups ---- */

/* bms: enum ffpf_bms_id. lane_fds: room for `cpus`; read-only and frozen, to be given to the group's members. (grace)
 */
int ffpf_kernel_group_create(struct ffpf_kernel *kernel, uint32_t group, uint32_t bms, int *lane_fds,
			     struct ffpf_error *err);
/* Of a group without flows. (grace) */
int ffpf_kernel_group_remove(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err);
/*
 * Moves the group to fresh lanes, and those of its flows that are named to fresh IBufs of ibuf_slots[i] entries; the
 * others must not be active, and are left behind, where no packet comes any more. Every IBuf so far becomes
 * FFPF_IBUF_MOVED, and its reader is woken. lane_fds: room for cpus; ibuf_fds: for count * cpus. (graces)
 *
 * Three parts, for who keeps the fresh memories' descriptors safe before anything is written there. fresh makes them:
 * until enter nothing has changed. enter moves the group to those that were made last, in one store, and settles.
 * Who adopts a source whose maker died after fresh does it all: group_holds() tells whether the store was made, then
 * settle finishes, or else enter does. Both may be done again, at any point where they were given up.
 */
int ffpf_kernel_group_fresh(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots,
			    const uint32_t *ibuf_slots, uint32_t count, int *lane_fds, int *ibuf_fds,
			    struct ffpf_error *err);
int ffpf_kernel_group_enter(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count,
			    struct ffpf_error *err);
int ffpf_kernel_group_settle(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots, uint32_t count,
			     struct ffpf_error *err);
/* Lets go of fresh lanes that were made for a move that will not be. (grace) */
int ffpf_kernel_group_tidy(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err);
int ffpf_kernel_group_move(struct ffpf_kernel *kernel, uint32_t group, const uint32_t *slots,
			   const uint32_t *ibuf_slots, uint32_t count, int *lane_fds, int *ibuf_fds,
			   struct ffpf_error *err);

/* ---- flows ---- */

struct ffpf_kernel_flow_config {
	uint32_t slot;
	uint32_t group;
	uint32_t ibuf_slots; /* power of two; a page has room for 512 */
	uint32_t snap_len;
};

/* reader_fd: to be mapped writable by the flow's reader, and nobody else. wake_fd: its event descriptor, a ring buffer.
 * ibuf_fds: room for cpus. Both of the flow's columns must be inactive. (graces) */
int ffpf_kernel_flow_create(struct ffpf_kernel *kernel, const struct ffpf_kernel_flow_config *cfg, int *reader_fd,
			    int *wake_fd, int *ibuf_fds, struct ffpf_error *err);
/* Both columns must be inactive. The IBufs become FFPF_IBUF_DETACHED, and the reader is woken. (graces) */
int ffpf_kernel_flow_remove(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err);
/* Moves one flow to fresh IBufs, on the group's lanes: as group_move. Also one that was left behind: it comes back.
 * -FFPF_E_GENERIC, here and there: its reader has not come from the move before yet, and what it has not read would be
 * lost. (graces) */
int ffpf_kernel_flow_grow(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
			  struct ffpf_error *err);
/* Its two halves, for who keeps the fresh IBufs' descriptors safe before anything is written there: fresh makes them,
 * enter moves the flow to those that were made last. */
int ffpf_kernel_flow_fresh(struct ffpf_kernel *kernel, uint32_t slot, uint32_t ibuf_slots, int *ibuf_fds,
			   struct ffpf_error *err);
int ffpf_kernel_flow_enter(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err);
/* Finishes it, for who adopts a source whose maker died after the flow had entered: flow_holds() tells. (graces) */
int ffpf_kernel_flow_finish(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err);
int ffpf_kernel_flow_snap(struct ffpf_kernel *kernel, uint32_t slot, uint32_t snap_len, struct ffpf_error *err);
int ffpf_kernel_flow_wake(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_error *err);

/* One of the flow's IBufs, as it stands. */
struct ffpf_kernel_ibuf_status {
	uint32_t state; /* enum ffpf_ibuf_state */
	uint32_t slots;
	uint64_t first_pos, w;
	uint64_t r; /* as the reader's page says it, not checked; below first_pos while it reads IBufs before this */
	uint64_t behind; /* cells from the oldest record that was not read, of those that R protects, to the lane's W */
	uint64_t generation, generation_pos;
	uint64_t packets, nested; /* of the lane, since the flow came */
	uint64_t dropped[FFPF_COUNTED_DROPS_MAX];
};

int ffpf_kernel_ibuf_status(struct ffpf_kernel *kernel, uint32_t slot, uint32_t cpu,
			    struct ffpf_kernel_ibuf_status *out, struct ffpf_error *err);
/* Of all lanes and of IBufs that came before: seen, filtered, dropped; `delivered` is what was indexed. What the reader
 * itself turns away is not in it. */
int ffpf_kernel_flow_counters(struct ffpf_kernel *kernel, uint32_t slot, struct ffpf_counters *out,
			      struct ffpf_error *err);
/* The first position of each lane's IBuf that the filter `generation` decides, once it has been activated and a grace
 * period is over. positions: room for cpus. */
int ffpf_kernel_flow_positions(struct ffpf_kernel *kernel, uint32_t slot, uint32_t generation, uint64_t *positions,
			       struct ffpf_error *err);

/* ---- filters ---- */

int ffpf_kernel_column_set(struct ffpf_kernel *kernel, uint32_t column, uint32_t result, uint32_t generation,
			   struct ffpf_error *err);
/* One 64-bit store: the columns in force of this word. */
int ffpf_kernel_activate(struct ffpf_kernel *kernel, uint32_t word, uint64_t columns, struct ffpf_error *err);
/* The flow is not in force any more, and what the column, one of its two, accepts is counted as FFPF_DROP_LEFT:
 * exactly, each packet is the flow's or lost to it. Until one of its columns is activated. For a flow that is to be
 * left behind, or is so already and has another filter. */
int ffpf_kernel_flow_leave(struct ffpf_kernel *kernel, uint32_t slot, uint32_t column, struct ffpf_error *err);
uint64_t ffpf_kernel_active(const struct ffpf_kernel *kernel, uint32_t word);
/* Slot of the program array; prog_fd -1: empties it. */
int ffpf_kernel_prog_set(struct ffpf_kernel *kernel, uint32_t slot, int prog_fd, struct ffpf_error *err);
int ffpf_kernel_set_fetch_len(struct ffpf_kernel *kernel, uint32_t octets, struct ffpf_error *err);
int ffpf_kernel_set_words(struct ffpf_kernel *kernel, uint32_t words, struct ffpf_error *err);
/* Every packet that was being handled when this was called has been. (grace) */
int ffpf_kernel_synchronize(struct ffpf_kernel *kernel, struct ffpf_error *err);

/* For tests: step(context, name) is called between the steps of a move; when it is not 0 the move ends there, as if
 * its process did. */
void ffpf_kernel_on_step(struct ffpf_kernel *kernel, int (*step)(void *context, const char *name), void *context);

/* ---- the source ---- */

/* Asks the kernel for TAI - UTC, and tells the hook. To be called now and then: it changes with a leap second. */
int ffpf_kernel_update_tai(struct ffpf_kernel *kernel, struct ffpf_error *err);
/* For readers to see; wakes every flow. enum ffpf_source_state */
int ffpf_kernel_set_state(struct ffpf_kernel *kernel, uint32_t state, struct ffpf_error *err);
/* No packet will come: readers see the end once they have read the rest. The socket is to be closed, or unbound, first.
 */
int ffpf_kernel_group_end(struct ffpf_kernel *kernel, uint32_t group, struct ffpf_error *err);

/* ---- nodes of graphs: LLVM bitcode of nodes.bpf.c, for who makes the program (fpl/graph) ---- */

const void *ffpf_kernel_nodes_bitcode(size_t *bytes);

#endif
