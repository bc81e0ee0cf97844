/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/savefile_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define INTERRUPTIBLE_WAIT_MS 250

static struct savefile *
savefile_of(struct ffpf_reader *r)
{
	return (struct savefile *)r; /* its first member */
}

int
ffpf_savefile_read_failed(FILE *fp, int sys_errno, struct ffpf_error *err)
{
	if (!ferror(fp))
		return 0;
	return ffpf_error_set_errno(err, FFPF_E_SYSTEM, sys_errno, "error reading dump file");
}

static void
count_skipped(struct savefile *sf, uint32_t skipped)
{
	sf->counters.filtered += skipped;
	sf->counters.seen += skipped;
}

/* Offset of the first record that is not done with: neither delivered nor, with nothing delivered since, skipped. */
static size_t
undone(const struct savefile *sf)
{
	if (!sf->count)
		return sf->win.lo;
	return sf->released ? sf->ends[sf->released - 1] : sf->batch_lo;
}

/* Moves a regular FILE to where libpcap would have left it. */
static void
leave_position(struct savefile *sf)
{
	off_t position = sf->file_end - (off_t)(sf->win.hi - undone(sf));
	int at_end = sf->fp->_flags & _IO_EOF_SEEN; /* which seeking clears */

	if (sf->source != SOURCE_PREAD || position == sf->fp_position)
		return;
	if (fseeko(sf->fp, position, SEEK_SET) == 0)
		sf->fp_position = position;
	sf->fp->_flags |= at_end;
}

/* The octets there are do not make a whole record, and more cannot be had. What is there is used up, as by fread(3). */
static enum ffpf_outcome
end_of_octets(struct savefile *sf, ssize_t filled)
{
	enum ffpf_outcome outcome = FFPF_FAILED;

	if (filled < 0 && !sf->last_errno)
		ffpf_error_set(&sf->reader.err, FFPF_E_NO_MEMORY, "out of memory");
	else if (ffpf_savefile_read_failed(sf->fp, sf->last_errno, &sf->reader.err))
		;
	else if (sf->win.lo < sf->win.hi)
		sf->cut(sf);
	else
		outcome = FFPF_END;
	sf->win.lo = sf->win.hi;
	/* A program that now ends without closing leaves its descriptor where libpcap does. */
	if (ftello(sf->fp) == sf->fp_position)
		leave_position(sf);
	return outcome;
}

/* FFPF_BATCH: read(2) has something to say. Only for readers that are interruptible. */
static enum ffpf_outcome
wait_for_octets(const struct savefile *sf)
{
	struct pollfd fd = { .fd = sf->fd, .events = POLLIN };
	int ready = sf->source == SOURCE_READ ? poll(&fd, 1, INTERRUPTIBLE_WAIT_MS) : 1;

	if (ready > 0)
		return FFPF_BATCH;
	return ready == 0 ? FFPF_TIMEOUT : FFPF_INTERRUPTED;
}

static enum ffpf_outcome
savefile_next(struct ffpf_reader *r, struct ffpf_batch *batch)
{
	struct savefile *sf = savefile_of(r);

	count_skipped(sf, sf->tail_skipped);
	sf->count = sf->released = sf->tail_skipped = 0;
	for (;;) {
		enum walk_state state;
		ssize_t filled;

		if (atomic_load_explicit(&sf->woken, memory_order_relaxed) && atomic_exchange(&sf->woken, false))
			return FFPF_INTERRUPTED;
		sf->batch_lo = sf->win.lo;
		state = sf->walk(sf);
		if (sf->count) {
			*batch = (struct ffpf_batch){
				.pkts = sf->pkts,
				.count = sf->count,
				.mem_lo = sf->win.mem,
				.mem_hi = sf->win.mem + sf->win.len,
			};
			return FFPF_BATCH;
		}
		count_skipped(sf, sf->tail_skipped);
		sf->tail_skipped = 0;
		if (state == WALK_FAILED)
			return FFPF_FAILED;
		if (sf->interruptible) {
			enum ffpf_outcome outcome = wait_for_octets(sf);

			if (outcome != FFPF_BATCH)
				return outcome;
		}
		filled = ffpf_savefile_window_fill(sf);
		if (filled < 0 && sf->interruptible && sf->last_errno == EINTR) {
			sf->fp->_flags &= ~_IO_ERR_SEEN;
			return FFPF_INTERRUPTED;
		}
		if (filled <= 0)
			return end_of_octets(sf, filled);
	}
}

static void
savefile_release(struct ffpf_reader *r, uint32_t n)
{
	struct savefile *sf = savefile_of(r);
	uint64_t skipped = 0;

	if (n > sf->count - sf->released)
		n = sf->count - sf->released;
	for (uint32_t i = 0; i < n; i++)
		skipped += sf->pkts[sf->released + i].skipped;
	sf->released += n;
	sf->counters.delivered += n;
	sf->counters.filtered += skipped;
	sf->counters.seen += n + skipped;
}

static void
give_back(struct savefile *sf)
{
	sf->win.lo = undone(sf);
	sf->count = sf->released = sf->tail_skipped = 0;
}

static int
savefile_set_filter(struct ffpf_reader *r, const struct ffpf_bpf_prog *prog)
{
	struct savefile *sf = savefile_of(r);

	give_back(sf);
	sf->prog = prog;
	if (!prog)
		r->info.filter_kind = FFPF_FILTER_NONE;
	else
		r->info.filter_kind = prog->native ? FFPF_FILTER_JIT : FFPF_FILTER_INTERPRETER;
	return 0;
}

static int
savefile_counters(struct ffpf_reader *r, struct ffpf_counters *out)
{
	*out = savefile_of(r)->counters;
	return 0;
}

static int
savefile_poll_fd(const struct ffpf_reader *r)
{
	return ((const struct savefile *)r)->fd;
}

static void
savefile_wake(struct ffpf_reader *r)
{
	atomic_store(&savefile_of(r)->woken, true);
}

bool
ffpf_savefile_sync_position(struct ffpf_reader *r)
{
	struct savefile *sf = savefile_of(r);
	off_t now;

	if (sf->source != SOURCE_PREAD)
		return false;
	now = ftello(sf->fp);
	if (now >= 0 && now != sf->fp_position) {
		sf->count = sf->released = sf->tail_skipped = 0;
		ffpf_savefile_window_seek(sf, now);
		sf->fp_position = now;
		return true;
	}
	leave_position(sf);
	return false;
}

static void
savefile_free(struct savefile *sf)
{
	ffpf_savefile_window_close(sf);
	free(sf->pcapng.interfaces);
	free(sf);
}

static void
savefile_close(struct ffpf_reader *r)
{
	if (!r)
		return;
	ffpf_savefile_sync_position(r);
	savefile_free(savefile_of(r));
}

static const struct ffpf_reader_ops savefile_ops = {
	.name = "savefile",
	.next = savefile_next,
	.release = savefile_release,
	.set_filter = savefile_set_filter,
	.counters = savefile_counters,
	.poll_fd = savefile_poll_fd,
	.wake = savefile_wake,
	.close = savefile_close,
};

/* Reads the magic number and the header of the format that it tells. 0 or -code. */
static int
read_header(struct savefile *sf, enum ffpf_tick_wanted tick, struct ffpf_error *err)
{
	uint32_t magic;
	size_t got = fread(&magic, 1, sizeof(magic), sf->fp);
	int rc;

	if (got != sizeof(magic)) {
		rc = ffpf_savefile_read_failed(sf->fp, errno, err);
		return rc ? rc
			  : ffpf_error_set(err, FFPF_E_TRUNCATED,
					   "truncated dump file; tried to read %zu file header bytes, only got %zu",
					   sizeof(magic), got);
	}
	rc = ffpf_savefile_pcap_open(sf, magic, tick, err);
	if (rc == 0)
		rc = ffpf_savefile_pcapng_open(sf, magic, tick, err);
	if (rc == 0)
		return ffpf_error_set(err, FFPF_E_FORMAT, "unknown file format");
	return rc < 0 ? rc : 0;
}

int
ffpf_savefile_open(struct ffpf_reader **out, FILE *fp, const struct ffpf_savefile_config *cfg, struct ffpf_error *err)
{
	static const struct ffpf_savefile_config defaults = { .tick = FFPF_WANT_US };
	struct savefile *sf;
	int rc;

	if (!fp)
		return ffpf_error_set(err, FFPF_E_INVALID, "Null FILE * pointer provided to savefile open routine");
	if (!cfg)
		cfg = &defaults;
	sf = calloc(1, sizeof(*sf));
	if (!sf)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	sf->fp = fp;
	sf->interruptible = cfg->interruptible;
	sf->reader.ops = &savefile_ops;
	sf->reader.info.tick = cfg->tick == FFPF_WANT_NS ? FFPF_TICK_NS : FFPF_TICK_US;
	rc = read_header(sf, cfg->tick, err);
	if (!rc)
		rc = ffpf_savefile_window_open(sf, cfg->window_bytes, err);
	if (rc) {
		savefile_free(sf);
		return rc;
	}
	*out = &sf->reader;
	return 0;
}
