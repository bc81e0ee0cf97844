/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lanes merged by time.
 *
 * Of a lane with packets at hand the oldest is known. Of an empty one only a bound: its floor_ns. The order of the
 * loads is what makes it good: all stages are filled; then the floor of each empty lane is loaded, and then its w
 * again. Still empty and idle: its writer announces its next packet (hook.c) after our load, and reads the clock after
 * that, so that packet is not older than any that lies in a stage.
 *
 * Entries that are second hand come later than their records, in the order in which their writer read them. Its floor
 * is the time of the last of them, stored when every lane's w has been: what comes later is not older.
 */
#include "lanes/lanes_internal.h"

#define STAMP_LAG_NS 100000000
#define FETCH_ROUNDS 4 /* of one lane at a time, when all that is fetched has been lapped */

static bool
is_empty(const struct lane *lane)
{
	return lane->stage.head == lane->stage.count;
}

static void
fill(struct lanes *l, struct lane *lane)
{
	for (unsigned i = 0; i < FETCH_ROUNDS && is_empty(lane) && ffpf_view_pending(&lane->view); i++) {
		l->bms->fetch(&lane->view, &lane->stage);
		l->lapped += lane->stage.lapped;
		l->invalid += lane->stage.invalid;
		l->lapped_news |= lane->stage.lapped != 0;
		lane->stage.lapped = lane->stage.invalid = 0;
	}
}

/* False: packets came in the meantime. */
static bool
bound_empty_lanes(struct lanes *l)
{
	for (uint32_t i = 0; i < l->lane_count; i++) {
		struct lane *lane = &l->lanes[i];
		bool closed;

		if (!is_empty(lane))
			continue;
		/* pairs with ffpf_hook_close; what the writer published before it closed is seen below */
		closed = lane_is_closed(l, lane);
		/* seq_cst: pairs with announce, and as acquire with rest, in hook.c; or with ffpf_relay_publish */
		lane->bound =
		    l->second_hand ? atomic_load(&lane->view.ibuf->floor_ns) : atomic_load(&lane->view.lane->floor_ns);
		if (closed || lane->ended || l->orphaned)
			lane->bound = FFPF_FLOOR_IDLE;
		else if (lane_has_moved(lane))
			lane->bound = INT64_MIN; /* succeed.c has the argument */
		if (ffpf_view_pending(&lane->view))
			return false;
	}
	return true;
}

static int64_t
key_of(const struct lane *lane)
{
	int64_t ns = lane->stage.items[lane->stage.head].rec.time_ns;

	return ns > lane->key ? ns : lane->key;
}

/* The lane whose turn it is, or NULL; *held: some lane has packets, but it may be another's turn. Until its packets
 * reach *until, its turn it stays. */
static struct lane *
choose(struct lanes *l, bool *held, int64_t *until)
{
	struct lane *oldest = NULL;
	int64_t bound = FFPF_FLOOR_IDLE, second = FFPF_FLOOR_IDLE;

	*held = false;
	for (uint32_t i = 0; i < l->lane_count; i++) {
		struct lane *lane = &l->lanes[i];

		if (is_empty(lane)) {
			if (lane->bound < bound)
				bound = lane->bound;
		} else if (!oldest || key_of(lane) < key_of(oldest)) {
			if (oldest)
				second = key_of(oldest);
			oldest = lane;
		} else if (key_of(lane) < second) {
			second = key_of(lane);
		}
	}
	if (oldest && key_of(oldest) > bound) {
		*held = true;
		return NULL;
	}
	*until = second < bound ? second : bound;
	return oldest;
}

/*
 * The kernel stamps some packets, if somebody asks it to, before its hook announces them: then a stamp may be a little
 * older than what another lane had meanwhile. The order is what it is; the time shown is not less than the one before.
 * A clock that was set back is set back by more.
 */
static void
never_back(struct lanes *l, int64_t *time_ns)
{
	if (*time_ns < l->latest_ns && l->latest_ns - *time_ns < STAMP_LAG_NS)
		*time_ns = l->latest_ns;
	l->latest_ns = *time_ns;
}

static void
take(struct lanes *l, struct lane *lane)
{
	struct item *item = &l->items[l->count++];

	item->key = lane->key;
	lane->key = key_of(lane);
	item->fetched = &lane->stage.items[lane->stage.head++];
	item->lane = (uint32_t)(lane - l->lanes);
	item->passes = item->lapped = false;
	if (l->counts || l->second_hand)
		never_back(l, &item->fetched->rec.time_ns);
	if (is_empty(lane))
		lane->bound = lane->key;
}

void
lanes_merge(struct lanes *l)
{
	bool bounded = false;

	l->count = l->open = l->served = l->checked = 0;
	l->latest_before_ns = l->latest_ns;
	if (l->lane_count == 1) {
		fill(l, &l->lanes[0]);
		while (l->count < LANES_BATCH && !is_empty(&l->lanes[0]))
			take(l, &l->lanes[0]);
		return;
	}
	/* each round but the last fills a lane that was empty; losses alone can make it fail */
	for (uint32_t round = 0; round <= l->lane_count && !bounded; round++) {
		for (uint32_t i = 0; i < l->lane_count; i++)
			if (is_empty(&l->lanes[i]))
				fill(l, &l->lanes[i]);
		bounded = bound_empty_lanes(l);
	}
	for (uint32_t i = 0; i < l->lane_count && !bounded; i++)
		l->lanes[i].bound = INT64_MIN;
	while (l->count < LANES_BATCH) {
		bool held;
		int64_t until;
		struct lane *lane = choose(l, &held, &until);

		l->held |= held;
		if (!lane)
			break;
		do {
			take(l, lane);
		} while (l->count < LANES_BATCH && !is_empty(lane) && key_of(lane) < until);
	}
}

bool
lanes_go_on(struct lanes *l)
{
	bool held;
	int64_t until;

	return !bound_empty_lanes(l) || choose(l, &held, &until);
}

uint64_t
lanes_waiting(const struct lanes *l)
{
	uint64_t n = l->count - l->open;

	for (uint32_t i = 0; i < l->lane_count; i++)
		n += ffpf_view_pending(&l->lanes[i].view) + l->lanes[i].stage.count - l->lanes[i].stage.head;
	return n;
}
