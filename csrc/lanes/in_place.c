/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FRP without copies: packets are served where they lie, and the consumer asks, when he is done with them, which of
 * them the writer has overwritten in the meantime.
 *
 *     next()  header copied and checked -> descriptor into PBuf -> used -> released -> overwritten(): intent looked at
 *
 * Headers are copies, so no length, time or result ever changes under the consumer's eyes: octets may, within their
 * bounds. docs/memory.md says why a look that comes behind the use is enough.
 *
 *     items   | checked: delivered or lapped, for good | released, not checked | open | count
 *             0                                     checked                  open
 */
#include "lanes/lanes_internal.h"

static bool
is_whole(const struct lanes *l, const struct item *item)
{
	return !item->fetched->in_place || l->bms->still_whole(&l->lanes[item->lane].view, item->fetched);
}

bool
lanes_item_is_whole(const struct lanes *l, const struct item *item)
{
	if (!item->fetched->in_place)
		return true;
	/* all loads of the packet come before that of the intent, whoever made them: see frp.c */
	atomic_thread_fence(memory_order_acquire);
	return is_whole(l, item);
}

void
lanes_check(struct lanes *l)
{
	if (!l->in_place || l->checked >= l->open)
		return;
	atomic_thread_fence(memory_order_acquire); /* as above, for all of them at once */
	for (uint32_t i = l->checked; i < l->open; i++) {
		struct item *item = &l->items[i];

		if (!item->passes || is_whole(l, item))
			continue;
		item->lapped = true;
		l->delivered--;
		l->lapped++;
	}
	l->checked = l->open;
}

uint32_t
lanes_overwritten(struct ffpf_reader *r, uint32_t first, uint32_t n, uint8_t *marks)
{
	struct lanes *l = (struct lanes *)r;
	uint32_t descriptor = 0, found = 0;

	lanes_check(l);
	for (uint32_t i = l->served; i < l->open; i++) {
		const struct item *item = &l->items[i];

		if (!item->passes)
			continue;
		if (descriptor >= first && descriptor - first < n) {
			marks[descriptor - first] = item->lapped;
			found += item->lapped;
		}
		descriptor++;
	}
	return found;
}

/* What was fetched and not released is fetched again, in the other way. It may have been lapped by then. */
static void
fetch_again(struct lanes *l)
{
	uint64_t r[FFPF_FLOW_LANES_MAX];

	lanes_unread(l, r);
	for (uint32_t i = l->count; i-- > l->open;)
		l->lanes[l->items[i].lane].key = l->items[i].key;
	if (l->open < l->count)
		l->latest_ns = l->open ? l->items[l->open - 1].fetched->rec.time_ns : l->latest_before_ns;
	for (uint32_t i = 0; i < l->lane_count; i++) {
		l->lanes[i].view.next = r[i];
		l->lanes[i].stage.head = l->lanes[i].stage.count = 0;
	}
	l->owed += l->count - l->open;
	l->count = l->open = l->served = l->checked = 0;
	l->again = false;
}

bool
lanes_set_in_place(struct ffpf_reader *r, bool on)
{
	struct lanes *l = (struct lanes *)r;

	if (!l->bms->readers_race)
		return false;
	lanes_check(l);
	fetch_again(l);
	l->in_place = on;
	for (uint32_t i = 0; i < l->lane_count; i++)
		l->lanes[i].stage.in_place = on;
	return true;
}
