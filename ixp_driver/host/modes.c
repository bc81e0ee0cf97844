/* SPDX-License-Identifier: BSD-3-Clause */
/* The change from one copy mode to another, and what is counted over such changes. */
#include "host/ixp_internal.h"

#include <errno.h>

int
ixp_serve(struct ixp *x, bool on)
{
	const struct ffpf_reader *r = ixp_served(x);

	if (ixp_watch(x, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->ops->poll_fd(r), EPOLLIN))
		return ffpf_error_set_errno(&x->reader.err, FFPF_E_SYSTEM, errno, "can't watch the lanes");
	return 0;
}

static void
add_counts(struct ffpf_counters *sum, const struct ffpf_counters *more)
{
	sum->delivered += more->delivered;
	sum->filtered += more->filtered;
	sum->misdirected += more->misdirected;
	for (unsigned cause = 0; cause < FFPF_DROP_CAUSES; cause++)
		sum->dropped[cause] += more->dropped[cause];
}

static void
add_stored(const struct copier *copier, struct ffpf_ixp_accesses *sum)
{
	uint64_t packets, bytes;

	copier_stored(copier, &packets, &bytes);
	sum->copied += packets;
	sum->copied_bytes += bytes;
}

/* What the window's reader has delivered, to us and to copiers: packets that turn out to be overwritten, having been
 * read in place, are taken back. No copier runs. */
static uint64_t
window_delivered(const struct ixp *x)
{
	struct ffpf_counters counted;

	x->window.lanes->ops->counters(x->window.lanes, &counted);
	return counted.delivered;
}

/* The window's reader serves the consumer: as it asked, and was told, before a copier took over. */
static void
read_window(struct ixp *x)
{
	struct ffpf_reader *window = x->window.lanes;

	if (x->in_place)
		window->ops->set_in_place(window, true);
	window->ops->set_filter(window, x->prog);
	window->ops->set_direction(window, x->direction);
}

int
ixp_end_copier(struct ixp *x)
{
	struct ffpf_counters counted;
	int rc = ixp_serve(x, false);

	x->copier->reader->ops->counters(x->copier->reader, &counted);
	add_counts(&x->past, &counted);
	add_stored(x->copier, &x->stored);
	copier_destroy(x->copier);
	x->copier = NULL;
	x->lent = window_delivered(x) - x->own;
	x->mode = FFPF_IXP_COPY_ZERO;
	read_window(x);
	return ixp_serve(x, true) ? -FFPF_E_SYSTEM : rc;
}

/* The thread copies for the consumer, whatever its filter takes. */
static int
begin_copier(struct ixp *x, enum ffpf_ixp_copy_mode mode)
{
	struct ffpf_reader *window = x->window.lanes;
	int rc = ixp_serve(x, false);

	if (rc)
		return rc;
	window->ops->set_in_place(window, false); /* the copier takes what was checked */
	x->own = window_delivered(x) - x->lent;
	window->ops->set_filter(window, NULL);
	window->ops->set_direction(window, FFPF_DIR_INOUT);
	rc = copier_create(&x->copier, &x->window, &x->lanes, mode, x->prog, &x->reader.err);
	if (rc) {
		read_window(x);
	} else {
		x->mode = mode;
		x->copier->reader->ops->set_direction(x->copier->reader, x->direction);
	}
	return ixp_serve(x, true) ? -FFPF_E_SYSTEM : rc;
}

int
ixp_follow_mode(struct ixp *x)
{
	enum ffpf_ixp_copy_mode wanted = ffpf_ixp_copy_mode(x->window.session);

	if (wanted == x->mode)
		return 0;
	if (!x->copier)
		return begin_copier(x, wanted);
	copier_stop(x->copier);
	return 0;
}

void
ixp_count(struct ixp *x, struct ffpf_counters *out)
{
	struct ffpf_counters window, host = { 0 };

	if (x->copier) {
		window_reader_counters(&x->window, &window);
		x->copier->reader->ops->counters(x->copier->reader, &host);
		window.delivered = x->own;
	} else {
		x->window.lanes->ops->counters(x->window.lanes, &window);
		window.delivered -= x->lent;
	}
	*out = (struct ffpf_counters){ 0 };
	add_counts(out, &x->past);
	add_counts(out, &window);
	add_counts(out, &host);
	out->seen = out->delivered + out->filtered + ffpf_counters_dropped(out);
	out->waiting = window.waiting + host.waiting;
}

void
ixp_count_copied(const struct ixp *x, struct ffpf_ixp_accesses *out)
{
	out->copied = x->stored.copied;
	out->copied_bytes = x->stored.copied_bytes;
	if (x->copier)
		add_stored(x->copier, out);
}
