/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of a pull's reader, and what it says of itself. */
#include "columns/pull_internal.h"

static int
done(struct ffpf_pull *pull, int rc, struct ffpf_error *err)
{
	if (rc < 0)
		*err = pull->reader->err;
	pull_leave(pull);
	return rc;
}

static int
cannot(struct ffpf_pull *pull, const char *what, struct ffpf_error *err)
{
	pull_leave(pull);
	return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s is not supported by this source", what);
}

/* The reader serves again what was not released. */
static int
again(struct ffpf_pull *pull, struct ffpf_bpf_prog *prog)
{
	int rc = pull->reader->ops->set_filter(pull->reader, prog);

	if (rc == 0)
		pull_forget_batch(pull);
	return rc;
}

int
ffpf_pull_set_filter(struct ffpf_pull *pull, struct ffpf_bpf_prog *prog, struct ffpf_error *err)
{
	int rc = pull_enter_without_views(pull, err);

	if (rc)
		return rc;
	rc = again(pull, prog);
	if (rc == 0) {
		ffpf_bpf_prog_destroy(pull->prog);
		pull->prog = prog;
	}
	return done(pull, rc, err);
}

int
ffpf_pull_set_direction(struct ffpf_pull *pull, enum ffpf_direction direction, struct ffpf_error *err)
{
	int rc = pull_enter_without_views(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_direction)
		return cannot(pull, "a direction", err);
	rc = pull->reader->ops->set_direction(pull->reader, direction);
	return done(pull, rc ? rc : again(pull, pull->prog), err);
}

int
ffpf_pull_set_link_type(struct ffpf_pull *pull, int dlt, struct ffpf_error *err)
{
	int rc = pull_enter_without_views(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_link_type)
		return cannot(pull, "another link type", err);
	pull_serve_in_place(pull, false); /* of another link type, packets may be made anew from copies */
	rc = pull->reader->ops->set_link_type(pull->reader, dlt);
	return done(pull, rc ? rc : again(pull, pull->prog), err);
}

int
ffpf_pull_set_nonblock(struct ffpf_pull *pull, bool on, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->set_nonblock)
		return cannot(pull, "reading without waiting", err);
	rc = pull->reader->ops->set_nonblock(pull->reader, on);
	if (rc == 0)
		pull->nonblock = on;
	return done(pull, rc, err);
}

int
ffpf_pull_inject(struct ffpf_pull *pull, const void *data, size_t len, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->inject)
		return cannot(pull, "sending packets", err);
	return done(pull, pull->reader->ops->inject(pull->reader, data, len), err);
}

int
ffpf_pull_counters(struct ffpf_pull *pull, struct ffpf_counters *out, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	if (!pull->reader->ops->counters)
		return cannot(pull, "counting", err);
	return done(pull, pull->reader->ops->counters(pull->reader, out), err);
}

int
ffpf_pull_info(struct ffpf_pull *pull, struct ffpf_reader_info *out, struct ffpf_error *err)
{
	int rc = pull_enter(pull, err);

	if (rc)
		return rc;
	*out = pull->reader->info;
	pull_leave(pull);
	return 0;
}

int
ffpf_pull_poll_fd(struct ffpf_pull *pull)
{
	if (atomic_load(&pull->closed) || !pull->reader->ops->poll_fd)
		return -1;
	return pull->reader->ops->poll_fd(pull->reader);
}
