/* SPDX-License-Identifier: BSD-3-Clause */
#include "feed/feed.h"

#include "feed/feed_internal.h"
#include "source/live_link_type.h"
#include "source/savefile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pcap/dlt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUIET_WAIT_NS 50000 /* the thread is inside for a batch at most */

/* ---- create, destroy ---- */

static int
check_config(const struct ffpf_feed_config *cfg, bool savefile, struct ffpf_error *err)
{
	if (cfg->pace != FFPF_PACE_NONE && !(isfinite(cfg->rate) && cfg->rate > 0))
		return ffpf_error_set(err, FFPF_E_INVALID, "rate: %g is not a positive number", cfg->rate);
	if (cfg->loops == 0 || (cfg->loops > 1 && !savefile))
		return ffpf_error_set(err, FFPF_E_INVALID, "loops: a savefile is played at least once, %s",
				      savefile ? "not 0 times" : "and only savefiles are played again");
	return 0;
}

static int
make(struct ffpf_feed **out, struct ffpf_reader *reader, FILE *fp, const struct ffpf_feed_config *cfg,
     struct ffpf_error *err)
{
	struct ffpf_feed *feed = calloc(1, sizeof(*feed));
	int rc = 0;

	if (!feed)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a feed");
	feed->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	feed->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (feed->stop_fd == -1 || feed->end_fd == -1)
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "eventfd");
	if (!rc && reader->ops->set_nonblock && reader->ops->set_nonblock(reader, true)) {
		*err = reader->err;
		rc = -(int)err->code;
	}
	feed->cfg = *cfg;
	feed->info = reader->info;
	/* a savefile's packets are what they are: nobody sees them otherwise */
	feed->cooked = !fp && reader->info.link_type == DLT_LINUX_SLL2;
	feed->vlan_offset = ffpf_link_type_vlan_offset(reader->info.link_type);
	feed->pacer.pace = cfg->pace;
	feed->pacer.rate = cfg->rate;
	feed->latest_ns = INT64_MIN;
	pthread_mutex_init(&feed->control, NULL);
	if (rc) {
		ffpf_feed_destroy(feed);
		return rc;
	}
	feed->reader = reader;
	feed->fp = fp;
	*out = feed;
	return 0;
}

int
ffpf_feed_create(struct ffpf_feed **out, struct ffpf_reader *reader, const struct ffpf_feed_config *cfg,
		 struct ffpf_error *err)
{
	int rc = check_config(cfg, false, err);

	return rc ? rc : make(out, reader, NULL, cfg, err);
}

int
feed_open_savefile(struct ffpf_reader **out, FILE *fp, struct ffpf_error *err)
{
	const struct ffpf_savefile_config cfg = { .tick = FFPF_WANT_NS };

	clearerr(fp);
	if (fseeko(fp, 0, SEEK_SET) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "fseeko");
	return ffpf_savefile_open(out, fp, &cfg, err);
}

static int
open_stream(FILE **out, int fd, struct ffpf_error *err)
{
	struct stat st;
	int own;

	if (fstat(fd, &st) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "fstat");
	if (!S_ISREG(st.st_mode))
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "not a regular file");
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "F_DUPFD_CLOEXEC");
	*out = fdopen(own, "rb");
	if (*out)
		return 0;
	close(own);
	return ffpf_error_set_errno(err, FFPF_E_NO_MEMORY, ENOMEM, "fdopen");
}

int
ffpf_feed_create_savefile(struct ffpf_feed **out, int fd, const struct ffpf_feed_config *cfg, struct ffpf_error *err)
{
	struct ffpf_reader *reader = NULL;
	FILE *fp;
	int rc = check_config(cfg, true, err);

	if (rc)
		return rc;
	rc = open_stream(&fp, fd, err);
	if (rc)
		return rc;
	rc = feed_open_savefile(&reader, fp, err);
	if (!rc)
		rc = make(out, reader, fp, cfg, err);
	if (rc) {
		if (reader)
			reader->ops->close(reader);
		fclose(fp);
	}
	return rc;
}

void
ffpf_feed_destroy(struct ffpf_feed *feed)
{
	if (!feed)
		return;
	ffpf_feed_stop(feed);
	ffpf_feed_join(feed);
	if (feed->reader)
		feed->reader->ops->close(feed->reader);
	if (feed->fp)
		fclose(feed->fp);
	if (feed->stop_fd != -1)
		close(feed->stop_fd);
	if (feed->end_fd != -1)
		close(feed->end_fd);
	pthread_mutex_destroy(&feed->control);
	free(feed->untagged);
	free(feed);
}

/* ---- what it is ---- */

void
ffpf_feed_describe(const struct ffpf_feed *feed, struct ffpf_hook_config *cfg)
{
	cfg->link_type = (uint32_t)feed->info.link_type;
	cfg->vlan_offset = feed->vlan_offset;
	cfg->cooked = feed->cooked;
}

const struct ffpf_reader_info *
ffpf_feed_info(const struct ffpf_feed *feed)
{
	return &feed->info;
}

enum ffpf_feed_state
ffpf_feed_state(const struct ffpf_feed *feed)
{
	/* acquire: pairs with finish in feed_run.c */
	return atomic_load_explicit(&feed->now, memory_order_acquire);
}

const struct ffpf_error *
ffpf_feed_error(const struct ffpf_feed *feed)
{
	return &feed->err;
}

int
ffpf_feed_end_fd(const struct ffpf_feed *feed)
{
	return feed->end_fd;
}

void
ffpf_feed_counters(const struct ffpf_feed *feed, struct ffpf_feed_counters *out)
{
	*out = (struct ffpf_feed_counters){
		.packets = ffpf_counted(&feed->packets),
		.bytes = ffpf_counted(&feed->bytes),
		.loops = ffpf_counted(&feed->loops),
		.late_ns = ffpf_counted(&feed->late_ns),
		.late_max_ns = ffpf_counted(&feed->late_max_ns),
		.waits = ffpf_counted(&feed->waits),
		.wait_ns = ffpf_counted(&feed->wait_ns),
		.lost = ffpf_counted(&feed->lost),
	};
}

/* ---- start, stop ---- */

int
ffpf_feed_start(struct ffpf_feed *feed, struct ffpf_error *err)
{
	sigset_t all, before;
	int rc;

	if (ffpf_feed_state(feed) != FFPF_FEED_READY)
		return ffpf_error_set(err, FFPF_E_INVALID, "the feed was started before");
	/* relaxed: creating the thread publishes it */
	atomic_store_explicit(&feed->now, FFPF_FEED_RUNNING, memory_order_relaxed);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&feed->thread, NULL, feed_run, feed);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		atomic_store_explicit(&feed->now, FFPF_FEED_READY, memory_order_relaxed);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, rc, "can't make a thread");
	}
	feed->to_join = true;
	return 0;
}

void
ffpf_feed_stop(struct ffpf_feed *feed)
{
	const uint64_t one = 1;
	int saved_errno = errno;
	ssize_t rc;

	/* release: pairs with stopping in feed_run.c; before the descriptor, which ends a wait that is followed by a
	 * look at it */
	atomic_store_explicit(&feed->stopping, true, memory_order_release);
	rc = write(feed->stop_fd, &one, sizeof(one));
	(void)rc; /* a full counter is readable too */
	errno = saved_errno;
}

void
ffpf_feed_join(struct ffpf_feed *feed)
{
	if (feed->to_join)
		pthread_join(feed->thread, NULL);
	feed->to_join = false;
}

/* ---- hooks ---- */

/* Returns when the thread has left, at least once, the packets that it may have been giving. */
static void
wait_until_quiet(struct ffpf_feed *feed)
{
	/* acquire: pairs with the release store in leave */
	uint64_t before = atomic_load_explicit(&feed->passes, memory_order_acquire);

	/* seq_cst: pairs with the exchange in enter, see feed_internal.h */
	while (atomic_load(&feed->inside) && atomic_load_explicit(&feed->passes, memory_order_acquire) == before)
		nanosleep(&(struct timespec){ .tv_nsec = QUIET_WAIT_NS }, NULL);
}

static bool
is_over(const struct ffpf_feed *feed)
{
	enum ffpf_feed_state state = ffpf_feed_state(feed);

	return state == FFPF_FEED_ENDED || state == FFPF_FEED_FAILED;
}

int
ffpf_feed_add(struct ffpf_feed *feed, struct ffpf_hook *hook, struct ffpf_error *err)
{
	uint32_t free_slot = FFPF_FEED_HOOKS_MAX;
	int rc = 0;

	pthread_mutex_lock(&feed->control);
	for (uint32_t i = FFPF_FEED_HOOKS_MAX; i-- > 0;) {
		/* relaxed: only we store to the slots, with `control` held */
		struct ffpf_hook *there = atomic_load_explicit(&feed->hooks[i], memory_order_relaxed);

		if (!there)
			free_slot = i;
		else if (there == hook)
			rc = ffpf_error_set(err, FFPF_E_INVALID, "the hook is this feed's already");
	}
	if (!rc && free_slot == FFPF_FEED_HOOKS_MAX)
		rc = ffpf_error_set(err, FFPF_E_INVALID, "a feed has at most %d hooks", FFPF_FEED_HOOKS_MAX);
	if (!rc) {
		if (is_over(feed)) /* there is no thread any more: we are the hook's source */
			ffpf_hook_close(hook);
		atomic_store(&feed->hooks[free_slot], hook); /* seq_cst: pairs with next_hook in feed_run.c */
		/* release: pairs with next_hook */
		if (free_slot >= atomic_load_explicit(&feed->slots, memory_order_relaxed))
			atomic_store_explicit(&feed->slots, free_slot + 1, memory_order_release);
	}
	pthread_mutex_unlock(&feed->control);
	return rc;
}

int
ffpf_feed_replace(struct ffpf_feed *feed, struct ffpf_hook *hook, struct ffpf_hook *successor, struct ffpf_error *err)
{
	int rc = ffpf_error_set(err, FFPF_E_INVALID, "the hook is not this feed's");

	pthread_mutex_lock(&feed->control);
	for (uint32_t i = 0; i < FFPF_FEED_HOOKS_MAX; i++) {
		if (atomic_load_explicit(&feed->hooks[i], memory_order_relaxed) != hook)
			continue;
		if (is_over(feed))
			ffpf_hook_close(successor);
		atomic_store(&feed->hooks[i], successor); /* seq_cst: see feed_internal.h */
		wait_until_quiet(feed);
		ffpf_hook_flush(hook);
		rc = 0;
	}
	pthread_mutex_unlock(&feed->control);
	return rc;
}

void
ffpf_feed_remove(struct ffpf_feed *feed, struct ffpf_hook *hook)
{
	pthread_mutex_lock(&feed->control);
	for (uint32_t i = 0; i < FFPF_FEED_HOOKS_MAX; i++) {
		if (atomic_load_explicit(&feed->hooks[i], memory_order_relaxed) != hook)
			continue;
		atomic_store(&feed->hooks[i], NULL); /* seq_cst: see feed_internal.h */
		wait_until_quiet(feed);
		ffpf_hook_flush(hook);
	}
	pthread_mutex_unlock(&feed->control);
}
