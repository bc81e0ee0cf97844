/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     ring (newest) -> before -> before     each an IBuf, and for each of its entries the position in `from`'s
 *       |                                   IBuf: what `from` must hold while the entry is unread
 *       first_pos: the reader comes here when it has read all of `before`, which is freed then
 */
#include "relay/relay.h"
#include "common/clock.h"

#include "bms/bms.h"
#include "hook/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LAP_LOG2    32       /* an IBuf begins at a multiple of this many entries */
#define SWEEP_LOG2  31       /* cells between two sweeps: bms/frp.c */
#define LOOK_NS     1000000u /* until R is looked at again, at first ... */
#define LOOK_NS_MAX 100000000u

struct ring {
	struct ffpf_ibuf *ibuf;
	uint64_t *origins; /* by place, of each entry */
	uint32_t move;     /* of the lane of `from` */
	uint64_t epoch;    /* sweeps that the lane has had */
	struct ring *before;
};

struct relay_lane {
	struct ring *newest;
	uint64_t held_up_since; /* CLOCK_MONOTONIC; 0: it does not hold up */
	uint64_t lost_before;   /* what the hook had lost by then */
};

struct ffpf_relay {
	struct ffpf_lanes_holder holder; /* first */
	struct ffpf_reader *from;
	const struct ffpf_bms *bms;
	struct ffpf_relay_config cfg;
	struct ffpf_region reader;
	int event_fd;
	int64_t latest_ns; /* of what was added */
	uint64_t look_ns;  /* UINT64_MAX: nothing is held */
	uint64_t seen;     /* by the look before: sum of all R and W */
	bool left, ended;
	uint32_t lane_count;
	struct relay_lane lanes[];
};

/* ---- rings ---- */

static void
destroy_rings(struct ring *ring)
{
	while (ring) {
		struct ring *before = ring->before;

		ring->ibuf->before = NULL; /* freed by itself */
		ffpf_ibuf_destroy(ring->ibuf);
		free(ring->origins);
		free(ring);
		ring = before;
	}
}

static int
make_ring(struct ring **out, const struct ffpf_relay *relay, const struct ffpf_lanes_at *at, uint64_t first_pos,
	  struct ffpf_error *err)
{
	const struct ffpf_ibuf_config cfg = {
		.slots = relay->cfg.slots,
		.lane = at->number,
		.first_pos = first_pos,
		.memory = relay->cfg.memory,
		.reader = relay->reader.base,
		.event_fd = relay->event_fd,
		.waker = FFPF_WAKER_TIMERFD,
	};
	struct ring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (ring)
		ring->origins = malloc(cfg.slots * sizeof(*ring->origins));
	if (!ring || !ring->origins) {
		free(ring);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for an IBuf");
	}
	rc = ffpf_ibuf_create(&ring->ibuf, &cfg, err);
	if (rc) {
		free(ring->origins);
		free(ring);
		return rc;
	}
	ring->move = at->moves;
	ring->epoch = ffpf_counted(&at->lane->w) >> SWEEP_LOG2;
	ring->ibuf->page->flags = FFPF_IBUF_SECOND_HAND;
	/* relaxed: nobody else has the memory yet */
	atomic_store_explicit(&ring->ibuf->page->floor_ns, relay->latest_ns, memory_order_relaxed);
	*out = ring;
	return 0;
}

static void
set_state(const struct ring *ring, enum ffpf_ibuf_state state)
{
	/* seq_cst: the reader loads it by acquire, and before it sleeps; ffpf_wake looks at that behind this */
	atomic_store(&ring->ibuf->page->state, state);
}

/* ---- readers that hold up ---- */

static void
leave(struct ffpf_relay *relay)
{
	relay->left = true;
	for (uint32_t i = 0; i < relay->lane_count; i++) {
		struct ring *newest = relay->lanes[i].newest;

		newest->ibuf->evicted = true;
		for (const struct ring *ring = newest; ring; ring = ring->before)
			set_state(ring, FFPF_IBUF_LEFT);
		ffpf_wake(newest->ibuf);
	}
}

/* What the hook could not store for `from`. */
static uint64_t
lost(const struct ffpf_lanes_at *at)
{
	return ffpf_counted(&at->ibuf->dropped[FFPF_DROP_PBUF]) + ffpf_counted(&at->ibuf->dropped[FFPF_DROP_IBUF]);
}

static bool
holds_up(const struct ffpf_lanes_at *at, const struct ring *oldest)
{
	const struct ffpf_ibuf *ibuf = oldest->ibuf;
	uint64_t place = ibuf->r & ibuf->mask, w = ffpf_counted(&at->lane->w);
	uint32_t index = atomic_load_explicit(&ibuf->entries[place].index, memory_order_relaxed); /* our own store */

	if (oldest->move != at->moves) /* the record lies in another lane, perhaps; `from` goes on when this was read */
		return true;
	return w - ffpf_index_position(w, index) >= 1ull << at->lane->cells_log2 >> 1 ||
	       ffpf_counted(&at->ibuf->w) - oldest->origins[place] >= 1ull << at->ibuf->slots_log2 >> 1;
}

/* True: it is to be left. oldest: the ring with the oldest unread entry; NULL: all was read. */
static bool
is_over(const struct ffpf_relay *relay, struct relay_lane *lane, const struct ffpf_lanes_at *at,
	const struct ring *oldest)
{
	uint64_t now;

	if (!relay->cfg.limit_ns || !oldest || !holds_up(at, oldest)) {
		lane->held_up_since = 0;
		return false;
	}
	now = ffpf_clock_ns(CLOCK_MONOTONIC);
	if (!lane->held_up_since || lost(at) < lane->lost_before) { /* less: of a fresh IBuf */
		lane->held_up_since = now;
		lane->lost_before = lost(at);
	}
	return now - lane->held_up_since >= relay->cfg.limit_ns && lost(at) > lane->lost_before;
}

/* ---- what `from` asks ---- */

/* The oldest ring with an unread entry; NULL: all was read. */
static struct ring *
oldest_unread(struct relay_lane *lane)
{
	struct ring *found = NULL;

	for (struct ring *ring = lane->newest; ring; ring = ring->before) {
		if (ring->ibuf->r != ring->ibuf->w)
			found = ring;
	}
	return found;
}

/* Rings that the reader has left: it is in a later one. */
static void
free_behind(struct relay_lane *lane)
{
	for (struct ring *ring = lane->newest; ring; ring = ring->before) {
		if (ffpf_ibuf_reader_r(ring->ibuf) == ring->ibuf->page->first_pos)
			continue; /* it may not have come here yet */
		ring->ibuf->before = NULL;
		destroy_rings(ring->before);
		ring->before = NULL;
	}
}

static void
hold(struct ffpf_lanes_holder *holder, uint64_t *r)
{
	struct ffpf_relay *relay = (struct ffpf_relay *)holder;
	uint64_t sum = 0;
	bool holds = false;

	for (uint32_t i = 0; i < relay->lane_count && relay->bms->id == FFPF_BMS_SRP && !relay->left; i++) {
		struct relay_lane *lane = &relay->lanes[i];
		const struct ffpf_lanes_at at = ffpf_lanes_at(relay->from, i);
		struct ring *oldest;

		ffpf_bms_srp_take_r(lane->newest->ibuf);
		if (lane->newest->ibuf->evicted) {
			relay->left = true;
			return;
		}
		free_behind(lane);
		oldest = oldest_unread(lane);
		if (is_over(relay, lane, &at, oldest)) {
			leave(relay);
			return;
		}
		if (oldest && oldest->origins[oldest->ibuf->r & oldest->ibuf->mask] < r[i])
			r[i] = oldest->origins[oldest->ibuf->r & oldest->ibuf->mask];
		holds |= oldest != NULL;
		sum += (oldest ? oldest : lane->newest)->ibuf->r + lane->newest->ibuf->w;
	}
	if (!holds)
		relay->look_ns = UINT64_MAX;
	else if (sum != relay->seen)
		relay->look_ns = LOOK_NS;
	else
		relay->look_ns = relay->look_ns < LOOK_NS_MAX / 2 ? 2 * relay->look_ns : LOOK_NS_MAX;
	relay->seen = sum;
}

static uint32_t
count_rings(const struct relay_lane *lane)
{
	uint32_t n = 0;

	for (const struct ring *ring = lane->newest; ring; ring = ring->before)
		n++;
	return n;
}

/* Positions go on: at the next multiple of 2^32. Without memory for the next one its reader is left. */
static void
moved(struct ffpf_lanes_holder *holder, uint32_t number)
{
	struct ffpf_relay *relay = (struct ffpf_relay *)holder;
	struct relay_lane *lane = &relay->lanes[number];
	const struct ffpf_lanes_at at = ffpf_lanes_at(relay->from, number);
	struct ring *old = lane->newest, *ring;

	if (relay->left)
		return;
	free_behind(lane);
	if (count_rings(lane) > RELAY_BEHIND_MAX ||
	    make_ring(&ring, relay, &at, ((old->ibuf->w >> LAP_LOG2) + 1) << LAP_LOG2, NULL)) {
		leave(relay);
		return;
	}
	ring->before = old;
	ring->ibuf->before = old->ibuf;
	lane->newest = ring;
	set_state(old, FFPF_IBUF_MOVED);
	ffpf_wake(old->ibuf);
}

/* ---- the relay ---- */

void
ffpf_relay_destroy(struct ffpf_relay *relay)
{
	if (!relay)
		return;
	if (relay->from)
		ffpf_lanes_release(relay->from, &relay->holder);
	for (uint32_t i = 0; i < relay->lane_count; i++) {
		if (relay->lanes[i].newest && !relay->left) {
			set_state(relay->lanes[i].newest, FFPF_IBUF_DETACHED);
			ffpf_wake(relay->lanes[i].newest->ibuf);
		}
		destroy_rings(relay->lanes[i].newest);
	}
	ffpf_region_close(&relay->reader);
	if (relay->event_fd != -1)
		close(relay->event_fd);
	free(relay);
}

static int
make_memories(struct ffpf_relay *relay, struct ffpf_reader *from, struct ffpf_error *err)
{
	int rc = ffpf_region_create(&relay->reader, FFPF_KIND_READER, sizeof(struct ffpf_reader_page),
				    relay->cfg.memory, FFPF_PEER_WRITES, err);

	relay->event_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (!rc && relay->event_fd == -1)
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make an event descriptor");
	for (uint32_t i = 0; i < relay->lane_count && !rc; i++) {
		const struct ffpf_lanes_at at = ffpf_lanes_at(from, i);

		if (at.ibuf->flags & FFPF_IBUF_SECOND_HAND)
			rc = ffpf_error_set(err, FFPF_E_INVALID, "second hand is not handed on");
		else
			rc = make_ring(&relay->lanes[i].newest, relay, &at, 0, err);
	}
	return rc;
}

int
ffpf_relay_create(struct ffpf_relay **out, struct ffpf_reader *from, const struct ffpf_relay_config *cfg,
		  struct ffpf_error *err)
{
	struct ffpf_relay *relay;
	uint32_t lanes;
	int rc;

	if (!ffpf_lanes_is(from))
		return ffpf_error_set(err, FFPF_E_INVALID, "only packets of lanes can be handed on");
	lanes = ffpf_lanes_count(from);
	relay = calloc(1, sizeof(*relay) + lanes * sizeof(relay->lanes[0]));
	if (!relay)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a relay");
	*relay = (struct ffpf_relay){
		.holder = { .hold = hold, .moved = moved },
		.bms = ffpf_bms_find(ffpf_lanes_at(from, 0).lane->bms),
		.cfg = *cfg,
		.reader = { .fd = -1 },
		.event_fd = -1,
		.latest_ns = INT64_MIN,
		.look_ns = UINT64_MAX,
		.lane_count = lanes,
	};
	rc = make_memories(relay, from, err);
	if (rc) {
		ffpf_relay_destroy(relay);
		return rc;
	}
	relay->from = from;
	ffpf_lanes_hold(from, &relay->holder);
	*out = relay;
	return 0;
}

void
ffpf_relay_add(struct ffpf_relay *relay, uint32_t at, uint32_t result)
{
	const struct ffpf_lanes_place place = ffpf_lanes_place(relay->from, at);
	struct ring *ring = relay->lanes[place.lane].newest;
	struct ffpf_ibuf *ibuf = ring->ibuf;

	ffpf_count(&ibuf->page->seen, 1);
	if (ibuf->evicted || !relay->bms->grant_index(ibuf)) {
		ffpf_count(&ibuf->page->dropped[ibuf->evicted ? FFPF_DROP_EVICTED : FFPF_DROP_IBUF], 1);
		return;
	}
	ring->origins[ibuf->w & ibuf->mask] = place.entry;
	ffpf_ibuf_append(ibuf, place.record, result);
	if (place.time_ns > relay->latest_ns)
		relay->latest_ns = place.time_ns;
}

/* FRP: as bms/frp.c does for the hook's. More than one since the last look: nothing that is there is known to be young.
 */
static void
sweep(struct ring *ring, uint64_t epoch)
{
	struct ffpf_ibuf *ibuf = ring->ibuf;

	if (epoch == ring->epoch)
		return;
	/* relaxed: published with the next W, by release, as there */
	atomic_store_explicit(&ibuf->page->stale, epoch == ring->epoch + 1 ? ibuf->sweep : ibuf->w,
			      memory_order_relaxed);
	ibuf->sweep = ibuf->w;
	ring->epoch = epoch;
}

void
ffpf_relay_publish(struct ffpf_relay *relay)
{
	bool news = false;

	for (uint32_t i = 0; i < relay->lane_count; i++) {
		if (relay->bms->readers_race)
			sweep(relay->lanes[i].newest,
			      ffpf_counted(&ffpf_lanes_at(relay->from, i).lane->w) >> SWEEP_LOG2);
		news |= ffpf_ibuf_publish(relay->lanes[i].newest->ibuf);
	}
	if (!news)
		return;
	/* seq_cst, behind every lane's W: pairs with bound_empty_lanes in lanes/merge.c, which loads this first */
	for (uint32_t i = 0; i < relay->lane_count; i++)
		atomic_store(&relay->lanes[i].newest->ibuf->page->floor_ns, relay->latest_ns);
	for (uint32_t i = 0; i < relay->lane_count; i++)
		ffpf_wake_if_due(relay->lanes[i].newest->ibuf);
}

uint64_t
ffpf_relay_look_ns(const struct ffpf_relay *relay)
{
	return relay->left ? UINT64_MAX : relay->look_ns;
}

void
ffpf_relay_end(struct ffpf_relay *relay, bool gone)
{
	for (uint32_t i = 0; i < relay->lane_count && !relay->left && !relay->ended; i++) {
		set_state(relay->lanes[i].newest, gone ? FFPF_IBUF_GONE : FFPF_IBUF_CLOSED);
		ffpf_wake(relay->lanes[i].newest->ibuf);
	}
	relay->ended = true;
}

const struct ffpf_region *
ffpf_relay_reader(const struct ffpf_relay *relay)
{
	return &relay->reader;
}

int
ffpf_relay_event_fd(const struct ffpf_relay *relay)
{
	return relay->event_fd;
}

const struct ffpf_region *
ffpf_relay_ibuf(const struct ffpf_relay *relay, uint32_t lane, uint32_t least, uint32_t *move)
{
	const struct ring *found = NULL;

	if (lane >= relay->lane_count)
		return NULL;
	for (const struct ring *ring = relay->lanes[lane].newest; ring && ring->move >= least; ring = ring->before)
		found = ring;
	if (!found)
		return NULL;
	*move = found->move;
	return &found->ibuf->region;
}
