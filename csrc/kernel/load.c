/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading the programs, which are part of this file, and with them the maps. A socket's hook comes in several forms,
 * of which the first is taken that the kernel takes.
 */
#include "kernel/kernel_internal.h"

#include "gen_control_bpf.h"
#include "gen_hook_context_bpf.h"
#include "gen_hook_plain_bpf.h"
#include "gen_hook_probed_bpf.h"
#include "gen_netfilter_bpf.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define LOG_BYTES 65536

/* include/uapi/linux/bpf.h, Linux 6.4: older headers and libraries have no names for them. */
#define PROG_TYPE_NETFILTER   32
#define ATTACH_TYPE_NETFILTER 45

#if defined(__x86_64__)
#define STORES_ARE_ORDERED 1
#else
#define STORES_ARE_ORDERED 0
#endif

static const struct {
	enum ffpf_kernel_fd which;
	const char *name;
} map_rows[] = {
	{ FFPF_KERNEL_FD_PROGS, "progs" },           { FFPF_KERNEL_FD_CONTROL, "control" },
	{ FFPF_KERNEL_FD_SCRATCH, "scratch" },       { FFPF_KERNEL_FD_COLUMNS, "columns" },
	{ FFPF_KERNEL_FD_FLOWS, "flows" },           { FFPF_KERNEL_FD_GROUPS, "groups" },
	{ FFPF_KERNEL_FD_LANES, "lanes" },           { FFPF_KERNEL_FD_IBUFS, "ibufs" },
	{ FFPF_KERNEL_FD_READERS, "readers" },       { FFPF_KERNEL_FD_WAKES, "wakes" },
	{ FFPF_KERNEL_FD_LANE_STATE, "lane_state" }, { FFPF_KERNEL_FD_FLOW_STATE, "flow_state" },
	{ FFPF_KERNEL_FD_COUNTS, "counts" },
};

#define MAP_ROWS (sizeof(map_rows) / sizeof(map_rows[0]))

struct form {
	const unsigned char *program;
	size_t len;
	uint32_t number; /* FFPF_KERNEL_FORM_* */
	const char *name;
};

static const struct form netfilter = { netfilter_bpf, sizeof(netfilter_bpf), 0, "the hook" };

static const struct form forms[] = {
	{ hook_context_bpf, sizeof(hook_context_bpf), FFPF_KERNEL_FORM_CONTEXT, "the hook with bpf_cast_to_kern_ctx" },
	{ hook_probed_bpf, sizeof(hook_probed_bpf), FFPF_KERNEL_FORM_PROBED, "the hook with bpf_probe_read_kernel" },
	{ hook_plain_bpf, sizeof(hook_plain_bpf), FFPF_KERNEL_FORM_PLAIN, "the plain hook" },
};

#define FORMS (sizeof(forms) / sizeof(forms[0]))

static int
silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* What libbpf says of a failure is the verifier's log, whose end tells; the verifier also refuses with EACCES. */
static int
refused(struct ffpf_error *err, int error, const char *what, const char *log)
{
	size_t len = strlen(log);
	const size_t shown = 120;
	const bool permission = error == EPERM || (error == EACCES && !len);

	ffpf_error_set_errno(err, permission ? FFPF_E_PERMISSION : FFPF_E_SYSTEM, error, "the kernel does not take %s",
			     what);
	if (len)
		ffpf_error_append(err, ": ...%s", len > shown ? log + len - shown : log);
	return -(int)err->code;
}

static int
open_object(struct bpf_object **out, const void *bytes, size_t len, const char *name, char *log, struct ffpf_error *err)
{
	struct bpf_object_open_opts opts = {
		.sz = sizeof(opts),
		.object_name = name,
		.kernel_log_buf = log,
		.kernel_log_size = LOG_BYTES,
	};

	libbpf_set_print(silent);
	*out = bpf_object__open_mem(bytes, len, &opts);
	if (!*out)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't open the program %s", name);
	return 0;
}

static struct bpf_map *
map_of(struct bpf_object *object, const char *name)
{
	return bpf_object__find_map_by_name(object, name);
}

static int
size_maps(struct bpf_object *object, const struct ffpf_kernel_source *source, const struct ffpf_kernel_constants *k)
{
	struct bpf_map *lanes = map_of(object, "lanes");
	int rc =
	    bpf_map__set_value_size(bpf_map__inner_map(lanes), (uint32_t)ffpf_kernel_lane_bytes(source->cells_log2));
	const uint32_t lane_count = FFPF_KERNEL_LANE_AT(FFPF_KERNEL_BANKS, 0, k->cpus, 0);
	const uint32_t ibuf_count = FFPF_KERNEL_IBUF_AT(FFPF_KERNEL_BANKS, 0, k->cpus, 0);

	rc = rc ? rc : bpf_map__set_max_entries(lanes, lane_count);
	rc = rc ? rc : bpf_map__set_max_entries(map_of(object, "lane_state"), lane_count);
	rc = rc ? rc : bpf_map__set_max_entries(map_of(object, "ibufs"), ibuf_count);
	rc = rc ? rc : bpf_map__set_max_entries(map_of(object, "flow_state"), ibuf_count);
	rc = rc ? rc : bpf_map__set_max_entries(map_of(object, "scratch"), k->cpus);
	return rc;
}

static int
set_constants(struct bpf_object *object, const struct ffpf_kernel_constants *k)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		if (!strstr(bpf_map__name(map), "constants"))
			continue;
		return bpf_map__set_initial_value(map, k, sizeof(*k));
	}
	return -ENOENT;
}

static int
keep(int fd, int *out, struct ffpf_error *err)
{
	*out = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (*out < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "F_DUPFD_CLOEXEC");
	return 0;
}

static int
keep_prog(struct bpf_object *object, const char *name, int *out, struct ffpf_error *err)
{
	return keep(bpf_program__fd(bpf_object__find_program_by_name(object, name)), out, err);
}

static int
set_types(struct bpf_object *object)
{
	struct bpf_program *prog;
	int rc = 0;

	bpf_object__for_each_program(prog, object)
	{
		rc = rc ? rc : bpf_program__set_type(prog, (enum bpf_prog_type)PROG_TYPE_NETFILTER);
		rc = rc ? rc : bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)ATTACH_TYPE_NETFILTER);
	}
	return rc;
}

static int
load_form(struct ffpf_kernel_fds *fds, const struct form *form, const struct ffpf_kernel_source *source,
	  const struct ffpf_kernel_constants *k, struct ffpf_error *err)
{
	char log[LOG_BYTES] = "";
	struct bpf_object *object;
	int rc = open_object(&object, form->program, form->len, "ffpf_hook", log, err);

	if (rc)
		return rc;
	rc = size_maps(object, source, k);
	rc = rc ? rc : set_constants(object, k);
	if (source->kind == FFPF_KERNEL_NETFILTER)
		rc = rc ? rc : set_types(object);
	rc = rc ? rc : bpf_object__load(object);
	if (rc) {
		rc = refused(err, -rc, form->name, log);
		bpf_object__close(object);
		return rc;
	}
	for (size_t i = 0; i < MAP_ROWS && !rc; i++)
		rc = keep(bpf_map__fd(map_of(object, map_rows[i].name)), &fds->fd[map_rows[i].which], err);
	rc = rc ? rc : keep_prog(object, "hook_main", &fds->fd[FFPF_KERNEL_FD_PROG_MAIN], err);
	rc = rc ? rc : keep_prog(object, "hook_store", &fds->fd[FFPF_KERNEL_FD_PROG_STORE], err);
	bpf_object__close(object);
	return rc;
}

/* refusal: of the best form that the kernel did not take, if it takes another. */
static int
load_hook(struct ffpf_kernel_fds *fds, struct ffpf_kernel_source *source, const struct ffpf_kernel_constants *k,
	  struct ffpf_error *refusal, struct ffpf_error *err)
{
	int rc = -FFPF_E_NOT_SUPPORTED;

	source->form = 0;
	if (source->kind == FFPF_KERNEL_NETFILTER)
		return load_form(fds, &netfilter, source, k, err);
	for (size_t i = 0; i < FORMS && rc; i++) {
		if (forms[i].number < source->first_form)
			continue;
		rc = load_form(fds, &forms[i], source, k, err);
		if (!rc)
			source->form = forms[i].number;
		else if (!refusal->code)
			*refusal = *err;
	}
	return rc;
}

static int
load_control(struct ffpf_kernel_fds *fds, struct ffpf_error *err)
{
	char log[LOG_BYTES] = "";
	struct bpf_object *object;
	int rc = open_object(&object, control_bpf, sizeof(control_bpf), "ffpf_control", log, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < MAP_ROWS && !rc; i++) {
		struct bpf_map *map = map_of(object, map_rows[i].name);

		if (map)
			rc = bpf_map__reuse_fd(map, fds->fd[map_rows[i].which]);
	}
	rc = rc ? rc : bpf_object__load(object);
	if (rc)
		rc = refused(err, -rc, "the program of the control plane", log);
	else
		rc = keep_prog(object, "control_run", &fds->fd[FFPF_KERNEL_FD_PROG_CONTROL], err);
	bpf_object__close(object);
	return rc;
}

static int
make_grace(struct ffpf_kernel_fds *fds, struct ffpf_error *err)
{
	struct bpf_map_create_opts opts = { .sz = sizeof(opts) };
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ffpf_dummy", 4, 4, 1, NULL);

	if (inner < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make a BPF map");
	opts.inner_map_fd = (uint32_t)inner;
	fds->fd[FFPF_KERNEL_FD_GRACE] = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "ffpf_grace", 4, 4, 1, &opts);
	if (fds->fd[FFPF_KERNEL_FD_GRACE] < 0)
		ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make an array of BPF maps");
	close(inner);
	return fds->fd[FFPF_KERNEL_FD_GRACE] < 0 ? -FFPF_E_SYSTEM : 0;
}

int
ffpf_kernel_load(struct ffpf_kernel_fds *fds, struct ffpf_kernel_source *source, uint32_t lo_ifindex,
		 struct ffpf_error *refusal, struct ffpf_error *err)
{
	const struct ffpf_kernel_constants k = {
		.cpus = source->cpus,
		.cells_log2 = source->cells_log2,
		.cooked = source->cooked,
		.hatype = source->hatype,
		.lo_ifindex = lo_ifindex,
		.ordered_stores = STORES_ARE_ORDERED,
	};
	const uint32_t store = FFPF_KERNEL_PROG_STORE;
	int rc = load_hook(fds, source, &k, refusal, err);

	rc = rc ? rc : load_control(fds, err);
	rc = rc ? rc : make_grace(fds, err);
	if (rc)
		return rc;
	return ffpf_kernel_put(fds->fd[FFPF_KERNEL_FD_PROGS], store, &fds->fd[FFPF_KERNEL_FD_PROG_STORE], err);
}

void
ffpf_kernel_fds_close(struct ffpf_kernel_fds *fds)
{
	ffpf_kernel_close_all(fds->fd, FFPF_KERNEL_FD_COUNT);
}
