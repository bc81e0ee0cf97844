/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/copier.h"

#include <stdlib.h>

#define PBUF_BYTES    (8u << 20)
#define IBUF_SLOTS    65536u
#define PUBLISH_BATCH 32

static int
make_lane(struct copier *c, const struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	struct ffpf_hook_config hook = {
		.pbuf_bytes = PBUF_BYTES,
		.memory = FFPF_MEMORY_ANONYMOUS,
		.bms = FFPF_BMS_SRP,
		.publish_batch = PUBLISH_BATCH,
	};
	const struct ffpf_flow_config flow = { .ibuf_slots = IBUF_SLOTS, .prog = prog, .waker = FFPF_WAKER_EVENTFD };
	int rc;

	ffpf_feed_describe(c->feed, &hook);
	hook.cooked = false; /* whatever they begin with, packets are what was on the wire */
	rc = ffpf_hook_create(&c->hook, &hook, err);
	if (!rc)
		rc = ffpf_flow_create(&c->flow, &flow, err);
	if (!rc)
		rc = ffpf_hook_attach(c->hook, c->flow, err);
	if (!rc)
		return 0;
	ffpf_flow_destroy(c->flow);
	c->flow = NULL;
	return rc;
}

/* Who copies all runs the filter behind the copy; else the hook has it, and swaps it with the reader's. */
static int
open_reader(struct copier *c, const struct ffpf_lanes_config *lanes, enum ffpf_ixp_copy_mode mode,
	    const struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	const struct ffpf_lanes_part part = { c->flow->lanes[0].lane, c->flow->lanes[0].ibuf->region };
	const struct ffpf_lanes_parts parts = {
		.lanes = &part,
		.count = 1,
		.reader = c->flow->reader,
		.event_fd = c->flow->event_fd,
		.event = FFPF_LANES_EVENT_EVENTFD,
		.prog = prog,
	};

	if (mode == FFPF_IXP_COPY_INTERESTING)
		return ffpf_lanes_open_flow(&c->reader, c->flow, lanes, err);
	return ffpf_lanes_open(&c->reader, &parts, lanes, err);
}

int
copier_create(struct copier **out, struct window_reader *w, const struct ffpf_lanes_config *lanes,
	      enum ffpf_ixp_copy_mode mode, const struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	const struct ffpf_feed_config feed = { .full = FFPF_FEED_WAITS, .patience_ns = UINT64_MAX, .loops = 1 };
	struct copier *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a lane of this host");
	rc = ffpf_feed_create(&c->feed, &w->reader, &feed, err);
	if (!rc)
		rc = make_lane(c, mode == FFPF_IXP_COPY_INTERESTING ? prog : NULL, err);
	if (!rc)
		rc = open_reader(c, lanes, mode, prog, err);
	if (!rc)
		rc = ffpf_feed_add(c->feed, c->hook, err);
	if (!rc)
		rc = ffpf_feed_start(c->feed, err);
	if (rc)
		copier_destroy(c);
	else
		*out = c;
	return rc;
}

void
copier_stop(struct copier *c)
{
	if (c->stopped)
		return;
	c->stopped = true;
	ffpf_feed_stop(c->feed);
	ffpf_feed_join(c->feed);
	ffpf_hook_close(c->hook); /* there is no thread: we are its source */
}

void
copier_destroy(struct copier *c)
{
	if (!c)
		return;
	if (c->feed) {
		ffpf_feed_stop(c->feed);
		ffpf_feed_join(c->feed);
		if (c->hook)
			ffpf_feed_remove(c->feed, c->hook);
	}
	if (c->reader)
		c->reader->ops->close(c->reader);
	if (c->flow) {
		ffpf_hook_detach(c->hook, c->flow, NULL);
		ffpf_flow_destroy(c->flow);
	}
	ffpf_hook_destroy(c->hook);
	ffpf_feed_destroy(c->feed);
	free(c);
}

enum ffpf_outcome
copier_why(const struct copier *c, struct ffpf_error *err)
{
	switch (ffpf_feed_state(c->feed)) {
	case FFPF_FEED_FAILED:
		*err = *ffpf_feed_error(c->feed);
		return FFPF_FAILED;
	case FFPF_FEED_ENDED:
		return FFPF_END;
	default:
		return FFPF_INTERRUPTED;
	}
}

void
copier_stored(const struct copier *c, uint64_t *packets, uint64_t *bytes)
{
	const struct ffpf_lane_page *page = ffpf_hook_lane(c->hook)->page;

	*packets = ffpf_counted(&page->records);
	*bytes = (ffpf_counted(&page->w) - page->first_w) * FFPF_CELL_BYTES;
}
