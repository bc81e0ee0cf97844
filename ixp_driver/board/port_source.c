/* SPDX-License-Identifier: BSD-3-Clause */
/* Savefiles and interfaces are the readers of csrc/source; the generator is ours. */
#include "board/port_source.h"

#include "board/generator.h"
#include "source/live.h"
#include "source/packet_time.h"
#include "source/savefile.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_BUFFER_BYTES ((size_t)16 << 20)
#define DLT_ETHERNET      1 /* DLT_EN10MB */

struct board_source {
	struct board_source_config cfg;
	struct generator generator;
	FILE *fp;
	struct ffpf_reader *reader; /* NULL: the generator */
	struct ffpf_batch batch;
	uint32_t taken; /* of the batch; the last of them is in use */
	uint32_t ifindex;
};

static void
close_reader(struct board_source *source)
{
	if (source->reader)
		source->reader->ops->close(source->reader);
	if (source->fp)
		fclose(source->fp);
	source->reader = NULL;
	source->fp = NULL;
	source->batch.count = source->taken = 0;
}

static int
open_file(struct board_source *source, struct ffpf_error *err)
{
	const struct ffpf_savefile_config cfg = { .tick = FFPF_WANT_NS };

	source->fp = fopen(source->cfg.name, "rbe");
	if (!source->fp)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%.200s", source->cfg.name);
	return ffpf_savefile_open(&source->reader, source->fp, &cfg, err);
}

static int
open_live(struct board_source *source, struct ffpf_error *err)
{
	const struct ffpf_live_config cfg = {
		.device = source->cfg.name,
		.snap_len = 262144,
		.buffer_bytes = LIVE_BUFFER_BYTES,
		.promisc = true,
		.immediate = true,
		.nonblock = true,
		.tstamp_type = FFPF_TSTAMP_DEFAULT,
		.tick = FFPF_TICK_NS,
	};
	int rc = ffpf_live_open(&source->reader, &cfg, NULL, err);

	source->ifindex = if_nametoindex(source->cfg.name);
	if (rc && err && !err->text[0])
		return ffpf_error_set(err, err->code, "%.60s: no such interface, or it is down", source->cfg.name);
	return rc;
}

int
board_source_open(struct board_source **out, const struct board_source_config *cfg, struct ffpf_error *err)
{
	struct board_source *source = calloc(1, sizeof(*source));
	int rc = 0;

	if (!source)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a port");
	source->cfg = *cfg;
	if (cfg->kind == BOARD_SOURCE_FILE)
		rc = open_file(source, err);
	else if (cfg->kind == BOARD_SOURCE_LIVE)
		rc = open_live(source, err);
	else
		generator_begin(&source->generator, cfg);
	if (rc) {
		close_reader(source);
		free(source);
		return rc;
	}
	*out = source;
	return 0;
}

void
board_source_close(struct board_source *source)
{
	if (!source)
		return;
	close_reader(source);
	free(source);
}

/* Broken files have fractions of any size; beyond what 64 bits of nanoseconds can tell a time wraps. */
static int64_t
time_of(const struct board_source *source, const struct ffpf_packet *pkt)
{
	int64_t frac = pkt->ts_frac;

	if (pkt->flags & FFPF_PACKET_FRAC_WIDE)
		frac = ffpf_savefile_wide_frac(source->reader, pkt);
	return (int64_t)((uint64_t)pkt->ts_sec * 1000000000u + (uint64_t)frac);
}

static void
describe(const struct board_source *source, const struct ffpf_packet *pkt, struct board_packet *out)
{
	*out = (struct board_packet){
		.data = pkt->data,
		.time_ns = time_of(source, pkt),
		.cap_len = pkt->cap_len,
		.wire_len = pkt->wire_len,
		.ifindex = source->cfg.kind == BOARD_SOURCE_LIVE ? pkt->ifindex : 0,
		.protocol = pkt->protocol,
		.pkt_type = pkt->pkt_type,
	};
}

enum board_got
board_source_next(struct board_source *source, struct board_packet *out, struct ffpf_error *err)
{
	struct ffpf_reader *reader = source->reader;

	if (!reader)
		return generator_next(&source->generator, out) ? BOARD_GOT : BOARD_GOT_END;
	if (source->taken == source->batch.count) {
		reader->ops->release(reader, source->taken);
		source->batch.count = source->taken = 0;
		switch (reader->ops->next(reader, &source->batch)) {
		case FFPF_BATCH:
			break;
		case FFPF_END:
			return BOARD_GOT_END;
		case FFPF_FAILED:
			if (err)
				*err = reader->err;
			return BOARD_GOT_FAILURE;
		default:
			return BOARD_GOT_NONE_YET;
		}
	}
	describe(source, &source->batch.pkts[source->taken++], out);
	return BOARD_GOT;
}

/* What has come until now is of before. */
static void
flush(struct board_source *source)
{
	struct board_packet packet;

	while (board_source_next(source, &packet, NULL) == BOARD_GOT)
		;
}

int
board_source_rewind(struct board_source *source, struct ffpf_error *err)
{
	switch (source->cfg.kind) {
	case BOARD_SOURCE_FILE:
		close_reader(source);
		return open_file(source, err);
	case BOARD_SOURCE_LIVE:
		flush(source);
		return 0;
	default:
		generator_begin(&source->generator, &source->cfg);
		return 0;
	}
}

uint32_t
board_source_link_type(const struct board_source *source)
{
	return source->reader ? (uint32_t)source->reader->info.link_type : DLT_ETHERNET;
}

uint32_t
board_source_ifindex(const struct board_source *source)
{
	return source->cfg.kind == BOARD_SOURCE_LIVE ? source->ifindex : 0;
}

int
board_source_poll_fd(const struct board_source *source)
{
	return source->cfg.kind == BOARD_SOURCE_LIVE ? source->reader->ops->poll_fd(source->reader) : -1;
}

uint64_t
board_source_lost(struct board_source *source)
{
	struct ffpf_counters counters;

	if (source->cfg.kind != BOARD_SOURCE_LIVE || source->reader->ops->counters(source->reader, &counters) != 0)
		return 0;
	return counters.dropped[FFPF_DROP_KERNEL];
}
