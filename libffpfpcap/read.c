/* SPDX-License-Identifier: BSD-3-Clause */
#include "read.h"

#include "sampling.h"
#include "source/savefile.h"
#include "stats.h"

#include <limits.h>
#include <stdatomic.h>

/* Why refill() gave no packet. Never mixed with pcap's integers, where 0 is both end of file and timeout. */
enum refill { REFILLED, NOTHING_NOW, AT_END, BROKEN, FAILED };

static inline bool
break_wanted(struct pcap *p)
{
	/* relaxed; pairs with the store in pcap_breakloop: wake(), not this flag, orders what happened before */
	return __builtin_expect(atomic_load_explicit(&p->break_loop, memory_order_relaxed) != 0, 0);
}

static inline bool
sampled(struct pcap *p, const struct ffpf_packet *pkt)
{
	return __builtin_expect(!p->sampling, 1) || ffpf_sampling_keeps(p, pkt);
}

static inline void
fill_header(struct pcap *p, struct pcap_pkthdr *header, const struct ffpf_packet *pkt)
{
	header->ts.tv_sec = pkt->ts_sec;
	header->ts.tv_usec = pkt->ts_frac;
	if (__builtin_expect(pkt->flags & FFPF_PACKET_FRAC_WIDE, 0))
		header->ts.tv_usec = ffpf_savefile_wide_frac(p->reader, pkt);
	header->caplen = pkt->cap_len;
	header->len = pkt->wire_len;
}

/* The next batch, when the one before is used up. Waits as the handle was told to; signals that were not meant for us
 * do not end the wait. */
__attribute__((noinline)) static enum refill
refill(struct pcap *p)
{
	ffpf_handle_finish(p);
	ffpf_handle_settle(p);
	if (!p->stats_attached)
		ffpf_stats_attach(p);
	for (;;) {
		enum ffpf_outcome outcome;

		p->batch.count = p->next = p->released = 0;
		outcome = p->reader->ops->next(p->reader, &p->batch);
		switch (outcome) {
		case FFPF_BATCH:
			return REFILLED;
		case FFPF_INTERRUPTED:
			if (break_wanted(p))
				return BROKEN;
			break;
		case FFPF_LAPPED:
			break;
		case FFPF_WOULD_BLOCK:
		case FFPF_TIMEOUT:
			p->batch.count = 0;
			return NOTHING_NOW;
		case FFPF_END:
			p->batch.count = 0;
			return AT_END;
		case FFPF_FAILED:
			p->batch.count = 0;
			return FAILED;
		}
	}
}

static int
break_off(struct pcap *p)
{
	atomic_store_explicit(&p->break_loop, 0, memory_order_relaxed);
	return PCAP_ERROR_BREAK;
}

/* Before and after a read call, for programs that hold the savefile's FILE: they may have moved it, or may ask where it
 * stands. */
static void
share_file_position(struct pcap *p)
{
	ffpf_handle_settle(p);
	if (ffpf_savefile_sync_position(p->reader))
		p->batch.count = p->next = p->released = 0;
}

/* The program gets control back and may wait for the selectable descriptor: what it has read must not make that
 * readable, and what is left of the batch must. The memory of the packet handed over last stays. */
static inline void
leave(struct pcap *p)
{
	if (!p->reader->ops->settle)
		return;
	if (p->next == p->batch.count)
		ffpf_handle_settle(p);
	p->reader->ops->settle(p->reader);
}

/*
 * Hands the packets of the current batch to the callback, at most `limit` of them. The callback may do what it likes
 * with the handle, so nothing of it is kept in locals; see struct pcap. Returns the number of packets handed over.
 */
static inline __attribute__((always_inline)) int
hand_over(struct pcap *p, int limit, pcap_handler callback, u_char *user)
{
	struct pcap_pkthdr header;
	int n = 0;

	while (p->next < p->batch.count) {
		const struct ffpf_packet *pkt;

		if (break_wanted(p))
			break;
		pkt = &p->batch.pkts[p->next++];
		if (!sampled(p, pkt))
			continue;
		p->current = pkt;
		fill_header(p, &header, pkt);
		callback(user, &header, pkt->data);
		if (++n == limit)
			break;
	}
	return n;
}

/*
 * The loop. How a call ends, and what it returns:
 *
 *                               dispatch                  loop
 *   count packets               their number              0
 *   buffer used up              number of packets         goes on
 *   timeout, would block        number of packets, or 0   goes on
 *   end of the savefile         number of packets, or 0   0
 *   pcap_breakloop              number, or -2 when none   -2
 *   failure                     -1 or another error       the same
 *
 * A number that is returned where the loop was broken leaves the flag set: the following call returns -2 at once.
 */
static inline __attribute__((always_inline)) int
read_packets(struct pcap *p, int count, pcap_handler callback, u_char *user, bool to_end, bool savefile)
{
	struct pcap *outer = ffpf_current;
	int left = count > 0 ? count : INT_MAX;
	unsigned n = 0; /* wraps in an endless loop, where nobody asks for it */
	int status;

	if (outer && outer != p)
		ffpf_handle_finish(outer);
	if (savefile && __builtin_expect(p->file_shared, 0))
		share_file_position(p);
	ffpf_current = p;
	for (;;) {
		int given;

		given = hand_over(p, left, callback, user);
		n += (unsigned)given;
		left -= given;
		if (left == 0) {
			if (!to_end || count > 0) {
				status = to_end ? 0 : (int)n;
				break;
			}
			left = INT_MAX;
		}
		if (break_wanted(p)) {
			status = n && !to_end ? (int)n : break_off(p);
			break;
		}
		if (p->next < p->batch.count)
			continue;
		/* A buffer of a live handle is used up. Waiting for another is for loops; but where nothing waits, what
		 * has come in the meantime belongs to this call. */
		if (!savefile && !to_end && n && !p->nonblock) {
			status = (int)n;
			break;
		}
		switch (refill(p)) {
		case REFILLED:
			continue;
		case NOTHING_NOW:
			if (to_end)
				continue;
			status = (int)n;
			break;
		case AT_END:
			status = to_end ? 0 : (int)n;
			break;
		case BROKEN:
			status = n && !to_end ? (int)n : break_off(p);
			break;
		default:
			status = ffpf_handle_fail_error(p, &p->reader->err);
			break;
		}
		break;
	}
	ffpf_handle_finish(p);
	ffpf_current = outer;
	if (!savefile)
		leave(p);
	if (savefile && __builtin_expect(p->file_shared, 0))
		share_file_position(p);
	return status;
}

int
ffpf_live_dispatch(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, count, callback, user, false, false);
}

int
ffpf_live_loop(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, count, callback, user, true, false);
}

int
ffpf_savefile_dispatch(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, count, callback, user, false, true);
}

int
ffpf_savefile_loop(struct pcap *p, int count, pcap_handler callback, u_char *user)
{
	return read_packets(p, count, callback, user, true, true);
}

/* One packet without a callback: 1, 0 nothing now, -2 end or broken off, else an error. */
static inline __attribute__((always_inline)) int
next_packet(struct pcap *p, struct pcap_pkthdr **header, const u_char **data, bool savefile)
{
	const struct ffpf_packet *pkt;

	*header = &p->header;
	if (savefile && __builtin_expect(p->file_shared, 0))
		share_file_position(p);
	if (break_wanted(p))
		return break_off(p);
	for (;;) {
		if (p->next < p->batch.count) {
			pkt = &p->batch.pkts[p->next++];
			if (sampled(p, pkt))
				break;
			continue;
		}
		switch (refill(p)) {
		case REFILLED:
			break;
		case NOTHING_NOW:
			if (!savefile)
				leave(p);
			return 0;
		case AT_END:
			return PCAP_ERROR_BREAK;
		case BROKEN:
			return break_off(p);
		default:
			return ffpf_handle_fail_error(p, &p->reader->err);
		}
	}
	fill_header(p, &p->header, pkt);
	*data = pkt->data;
	if (!savefile)
		leave(p);
	if (savefile && __builtin_expect(p->file_shared, 0))
		share_file_position(p);
	return 1;
}

int
ffpf_live_next_ex(struct pcap *p, struct pcap_pkthdr **header, const u_char **data)
{
	return next_packet(p, header, data, false);
}

int
ffpf_savefile_next_ex(struct pcap *p, struct pcap_pkthdr **header, const u_char **data)
{
	return next_packet(p, header, data, true);
}

int
pcap_dispatch(pcap_t *p, int cnt, pcap_handler callback, u_char *user)
{
	return p->ops->dispatch(p, cnt, callback, user);
}

int
pcap_loop(pcap_t *p, int cnt, pcap_handler callback, u_char *user)
{
	return p->ops->loop(p, cnt, callback, user);
}

int
pcap_next_ex(pcap_t *p, struct pcap_pkthdr **pkt_header, const u_char **pkt_data)
{
	return p->ops->next_ex(p, pkt_header, pkt_data);
}

const u_char *
pcap_next(pcap_t *p, struct pcap_pkthdr *h)
{
	struct pcap_pkthdr *header;
	const u_char *data;

	if (p->ops->next_ex(p, &header, &data) <= 0)
		return NULL;
	*h = *header;
	return data;
}

void
pcap_breakloop(pcap_t *p)
{
	/* relaxed; pairs with break_wanted(). The wake that follows makes a waiting reader look. */
	atomic_store_explicit(&p->break_loop, 1, memory_order_relaxed);
	p->ops->breakloop(p);
}
