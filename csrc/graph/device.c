/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device's arguments, in the form that class_device.c gives them, open. */
#include "bpf/bpf.h"
#include "common/clock.h"
#include "graph/engine_internal.h"
#include "source/live.h"
#include "source/savefile.h"
#include "syspcap/syspcap.h"

#include <errno.h>
#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 10

static bool
is_savefile(const struct ffpf_reader *reader)
{
	return strcmp(reader->ops->name, "savefile") == 0;
}

bool
device_is_file(const struct device *device)
{
	return device->reader && is_savefile(device->reader);
}

/* A header stands before the packet that says what the kernel knew (source/cooked.h). */
static bool
is_cooked(int dlt)
{
	return dlt == DLT_LINUX_SLL || dlt == DLT_LINUX_SLL2 || dlt == DLT_NETLINK || dlt == DLT_LINUX_IRDA ||
	       dlt == DLT_LINUX_LAPD;
}

/* Filters see a cooked header where there is one; else what the socket saw: the tag beside the packet. */
static uint16_t
form_of(const struct ffpf_reader *reader)
{
	if (is_savefile(reader))
		return reader->info.swapped ? FFPF_FORM_SAVEFILE_SWAPPED : FFPF_FORM_SAVEFILE;
	return is_cooked(reader->info.link_type) ? FFPF_FORM_DEAD : FFPF_FORM_LIVE;
}

static void
take_reader(struct device *device, struct ffpf_reader *reader)
{
	device->reader = reader;
	device->link_type = (uint16_t)reader->info.link_type;
	device->snap_len = reader->info.snap_len;
	device->form = form_of(reader);
}

static int
open_file(struct device *device, struct ffpf_engine *engine, const char *path, struct ffpf_error *err)
{
	const struct ffpf_savefile_config cfg = { .tick = FFPF_WANT_NS };
	struct ffpf_reader *reader;
	int status, fd;

	(void)engine;
	device->kind = DEVICE_FILE;
	fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : -1;
	device->fp = fd >= 0 ? fdopen(fd, "rb") : fopen(path, "rbe");
	if (!device->fp)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", path);
	status = ffpf_savefile_open(&reader, device->fp, &cfg, err);
	if (status)
		return status;
	take_reader(device, reader);
	return 0;
}

static int
open_live(struct device *device, struct ffpf_engine *engine, const char *name, struct ffpf_error *err)
{
	const struct ffpf_engine_config *cfg = &engine->cfg;
	const struct ffpf_live_config live = {
		.device = name,
		.snap_len = cfg->snap_len,
		.timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : DEFAULT_TIMEOUT_MS,
		.buffer_bytes = cfg->buffer_bytes,
		.promisc = cfg->promisc,
		.immediate = cfg->immediate,
		.nonblock = true,
		.tstamp_type = FFPF_TSTAMP_DEFAULT,
		.tick = FFPF_TICK_NS,
		.stamp_in_ring = true,
	};
	struct ffpf_reader *reader;
	int status = ffpf_live_open(&reader, &live, NULL, err);

	if (status == -FFPF_E_NO_SUCH_DEVICE && err && !err->text[0])
		return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "there is no interface or file \"%s\"", name);
	if (status == -FFPF_E_DEVICE_DOWN && err && !err->text[0])
		return ffpf_error_set(err, FFPF_E_DEVICE_DOWN, "interface \"%s\" is down", name);
	if (status)
		return status;
	device->kind = DEVICE_LIVE;
	take_reader(device, reader);
	return 0;
}

static int
open_hook(struct device *device, struct ffpf_engine *engine, const char *name, struct ffpf_error *err)
{
	struct ffpf_engine_hook *hook = engine->hooks;

	while (hook && strcmp(hook->name, name) != 0)
		hook = hook->next;
	if (!hook)
		return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "the application has opened no hook \"%s\"", name);
	device->kind = DEVICE_HOOK;
	device->hook = hook;
	device->link_type = (uint16_t)hook->link_type;
	device->form = FFPF_FORM_DEAD;
	device->snap_len = engine->cfg.snap_len;
	device->ended = hook->closed;
	return 0;
}

static int
take_given(struct device *device, struct ffpf_engine *engine, const char *name, struct ffpf_error *err)
{
	struct given **at = &engine->given, *given;
	struct ffpf_reader *reader;
	int status = 0;

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	given = *at;
	if (!given)
		return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE,
				      "the application has given no reader \"%s\", or it is read already", name);
	reader = given->reader;
	if (!is_savefile(reader) && reader->ops->set_nonblock)
		status = reader->ops->set_nonblock(reader, true);
	if (status) {
		if (err)
			*err = reader->err;
		return status;
	}
	*at = given->next;
	device->kind = DEVICE_GIVEN;
	device->given = given;
	device->results = true;
	take_reader(device, reader);
	return 0;
}

/* What a device's arguments begin with: each kind of source is a row. */
static const struct source {
	const char *prefix;
	int (*open)(struct device *device, struct ffpf_engine *engine, const char *rest, struct ffpf_error *err);
} sources[] = {
	{ "file:", open_file },   { "live:", open_live }, { "hook:", open_hook },
	{ "given:", take_given }, { "ixp:", board_open },
};

int
device_open(struct device **out, struct ffpf_engine *engine, const char *arguments, struct ffpf_error *err)
{
	struct device *device = calloc(1, sizeof(*device));
	const struct source *source = sources;
	int status;

	if (!device)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	while (strncmp(arguments, source->prefix, strlen(source->prefix)) != 0)
		source++; /* class_device.c writes no other prefix */
	status = source->open(device, engine, arguments + strlen(source->prefix), err);
	if (status) {
		device_close(device);
		return status;
	}
	*out = device;
	return 0;
}

/* A board's packets have the times of its port, which may be a capture's: it is told itself. */
void
device_wanted(struct device *device, bool on)
{
	if (!device || !device->reader)
		return;
	if (device->kind == DEVICE_BOARD)
		board_run(device, on);
	else if (on && !is_savefile(device->reader) && !device->reader->info.switched)
		device->active_since_ns = ffpf_clock_ns(CLOCK_REALTIME);
}

void
device_close(struct device *device)
{
	if (!device)
		return;
	if (device->reader)
		device->reader->ops->close(device->reader);
	board_close(device);
	ffpf_bpf_prog_destroy(device->filter);
	if (device->fp)
		fclose(device->fp);
	if (device->given) {
		if (device->given->close)
			device->given->close(device->given->arg);
		free(device->given->name);
		free(device->given);
	}
	free(device);
}
