/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_file.h"
#include "graph/classes.h"
#include "graph/file_format.h"
#include "source/savefile_linktype.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGE_BYTES  (1u << 20) /* packets are gathered up to here, then written at once */
#define RETRY_NS     1000000000u
#define NUMBER_BYTES 24 /* of a file's number in its name */
#define LEAST_SIZE   1024u

struct file {
	struct ffpf_mbuf_file *mbuf;
	uint64_t *dropped;
	struct ffpf_file_format format;
	uint32_t link_types[FFPF_FILE_MOST_LINK_TYPES];
	char *path;
	uint64_t size, time_ns; /* 0: no limit */
	uint64_t files;         /* to keep; 0: all */
	uint64_t number;        /* of the file that is open */
	int fd;                 /* -1: the last attempt failed */
	uint64_t file_bytes;    /* of it, on disk: ends with a whole packet */
	uint64_t begin_ns;      /* of its first packet */
	bool empty;             /* it has no packet, staged ones included */
	uint64_t failed_ns;     /* of the last attempt: when it failed, not again before RETRY_NS later */
	int error;              /* of that attempt; 0: the last one succeeded */
	uint8_t *stage;
	size_t stage_room, staged;
};

static bool
ends_in(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* What the words say. The path, once copied, is freed by the caller on failure. */
static int
parse_words(struct file *self, struct ffpf_class_args *args, size_t *format, size_t *precision, struct ffpf_error *err)
{
	static const char *const formats[] = { "pcap", "pcapng" };
	static const char *const precisions[] = { "ns", "us" };
	struct ffpf_arg arg;
	int status = 0;

	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "path") && !self->path && arg.value_len)
			status = (self->path = ffpf_arg_copy(&arg))
				     ? 0
				     : ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a path");
		else if (ffpf_arg_is(&arg, "format"))
			status = ffpf_arg_choice(args, &arg, formats, 2, format, err);
		else if (ffpf_arg_is(&arg, "precision"))
			status = ffpf_arg_choice(args, &arg, precisions, 2, precision, err);
		else if (ffpf_arg_is(&arg, "size"))
			status = ffpf_arg_bytes(args, &arg, LEAST_SIZE, INT64_MAX, &self->size, err);
		else if (ffpf_arg_is(&arg, "time"))
			status = ffpf_arg_duration(args, &arg, &self->time_ns, err);
		else if (ffpf_arg_is(&arg, "files"))
			status = ffpf_arg_uint(args, &arg, 1, UINT32_MAX, &self->files, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_file.arguments, err);
		if (status)
			return status;
	}
	return err->code ? -(int)err->code : 0;
}

static int
check(struct file *self, struct ffpf_class_args *args, struct ffpf_error *err)
{
	if (!self->path)
		return ffpf_args_fail(args, 0, err, "which path? Arguments: %s", ffpf_class_file.arguments);
	if (self->files && !self->size && !self->time_ns)
		return ffpf_args_fail(args, 0, err, "files=%" PRIu64 " needs size or time, which begin new files",
				      self->files);
	if (args->mbuf_bytes < sizeof(*self->mbuf))
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: %zu or more", args->mbuf_bytes,
				      sizeof(*self->mbuf));
	return 0;
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct file *self = instance;
	size_t format = SIZE_MAX, precision = 0;
	int status;

	self->fd = -1;
	status = parse_words(self, args, &format, &precision, err);
	if (!status)
		status = check(self, args, err);
	if (status) {
		free(self->path);
		self->path = NULL;
		return status;
	}
	self->format.pcapng = format == SIZE_MAX ? ends_in(self->path, ".pcapng") : format == 1;
	self->format.nanoseconds = precision == 0;
	ffpf_text_add(&args->canonical, "path='%s' format=%s precision=%s", self->path,
		      self->format.pcapng ? "pcapng" : "pcap", precision ? "us" : "ns");
	if (self->size)
		ffpf_text_add(&args->canonical, " size=%" PRIu64, self->size);
	if (self->time_ns)
		ffpf_text_add(&args->canonical, " time=%" PRIu64 "ns", self->time_ns);
	if (self->files)
		ffpf_text_add(&args->canonical, " files=%" PRIu64, self->files);
	return 0;
}

static bool
rotates(const struct file *self)
{
	return self->size || self->time_ns;
}

/* The name of file `number`, to be freed; NULL when memory runs out. */
static char *
name_of(const struct file *self, uint64_t number)
{
	const char *slash = strrchr(self->path, '/'), *dot = strrchr(self->path, '.');
	char *name;
	int stem;

	if (!rotates(self))
		return strdup(self->path);
	if (!dot || (slash && dot < slash) || dot == self->path || (slash && dot == slash + 1))
		dot = self->path + strlen(self->path);
	stem = (int)(dot - self->path);
	if (asprintf(&name, "%.*s-%05" PRIu64 "%s", stem, self->path, number, dot) < 0)
		return NULL;
	return name;
}

/* All or nothing: what a write did not finish is cut off. 0 or errno. */
static int
write_whole(struct file *self, const uint8_t *octets, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(self->fd, octets + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int saved = n ? errno : ENOSPC;

			/* a device or a pipe cannot be cut: what was written of a packet stays there */
			if (ftruncate(self->fd, (off_t)self->file_bytes) == 0)
				lseek(self->fd, (off_t)self->file_bytes, SEEK_SET);
			return saved;
		}
		done += (size_t)n;
	}
	self->file_bytes += len;
	ffpf_word_add(&self->mbuf->bytes, len);
	return 0;
}

static void
close_file(struct file *self)
{
	if (self->fd >= 0)
		close(self->fd);
	self->fd = -1;
}

/* 0 or errno, and then no file is open. */
static int
begin_file(struct file *self)
{
	uint8_t header[FFPF_FILE_HEADER_MOST];
	char *name = name_of(self, self->number + 1);
	int status;

	if (!name)
		return ENOMEM;
	close_file(self);
	self->fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	status = self->fd < 0 ? errno : 0;
	free(name);
	if (status)
		return status;
	self->file_bytes = 0;
	self->empty = true;
	status = write_whole(self, header, ffpf_file_write_header(&self->format, header));
	if (status) {
		close_file(self);
		return status;
	}
	self->number++;
	ffpf_word_add(&self->mbuf->files, 1);
	if (self->files && self->number > self->files && (name = name_of(self, self->number - self->files))) {
		unlink(name);
		free(name);
	}
	return 0;
}

/* Each link type once: the environment may say one twice. */
static int
take_link_types(struct file *self, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < env->link_type_count; i++) {
		uint32_t known = 0;

		while (known < count && self->link_types[known] != env->link_types[i])
			known++;
		if (known < count)
			continue;
		if (ffpf_dlt_to_linktype((int)env->link_types[i]) < 0)
			return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "no savefile can say link type %" PRIu32,
					      env->link_types[i]);
		if (count == FFPF_FILE_MOST_LINK_TYPES)
			return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "packets of more than %u link types",
					      FFPF_FILE_MOST_LINK_TYPES);
		self->link_types[count++] = env->link_types[i];
	}
	if (!count)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "no device says which link type the packets have");
	if (count > 1 && !self->format.pcapng)
		return ffpf_error_set(
		    err, FFPF_E_NOT_SUPPORTED,
		    "a pcap file has one link type, and packets of %" PRIu32 " come here: use format=pcapng", count);
	self->format.link_types = self->link_types;
	self->format.link_type_count = count;
	return 0;
}

static int
open_sink(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct file *self = instance;
	int status;

	self->mbuf = env->mbuf;
	self->dropped = env->dropped;
	status = take_link_types(self, env, err);
	if (status)
		return status;
	self->format.snap_len = env->snap_len;
	self->stage = malloc(STAGE_BYTES);
	self->stage_room = STAGE_BYTES;
	if (!self->stage)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for packets on their way to a file");
	status = begin_file(self);
	if (status)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, status, "%s cannot be written", self->path);
	return 0;
}

static void
close_sink(void *instance)
{
	struct file *self = instance;

	close_file(self);
	free(self->path);
	free(self->stage);
}

/* An attempt failed, or succeeded, at this packet's time. */
static void
attempted(struct file *self, int error, uint64_t ts_ns)
{
	self->error = error;
	self->failed_ns = ts_ns;
	__atomic_store_n(&self->mbuf->error, (uint32_t)error, __ATOMIC_RELAXED);
}

/* Packets first .. end - 1 of the batch are lost for the present reason. */
static void
drop(struct file *self, uint32_t first, uint32_t end, uint32_t *results)
{
	const bool full = self->error == ENOSPC || self->error == EDQUOT;

	for (uint32_t i = first; i < end; i++)
		results[i] = 0;
	*self->dropped += end - first;
	ffpf_word_add(full ? &self->mbuf->dropped_full : &self->mbuf->dropped_failed, end - first);
}

/* Writes what is staged: packets first .. end - 1 of the batch. */
static void
write_staged(struct file *self, const struct ffpf_node_pkt *in, uint32_t first, uint32_t end, uint32_t *results)
{
	if (first == end)
		return;
	attempted(self, write_whole(self, self->stage, self->staged), in[end - 1].ts_ns);
	self->staged = 0;
	if (self->error)
		drop(self, first, end, results);
	else
		ffpf_word_add(&self->mbuf->packets, end - first);
}

static bool
is_over(const struct file *self, uint64_t ts_ns, size_t bytes)
{
	if (self->empty)
		return false;
	return (self->size && self->file_bytes + self->staged + bytes > self->size) ||
	       (self->time_ns && ts_ns >= self->begin_ns && ts_ns - self->begin_ns >= self->time_ns);
}

/* A packet larger than any before. Nothing is staged. */
static bool
make_room(struct file *self, size_t bytes)
{
	uint8_t *larger;

	if (bytes <= self->stage_room)
		return true;
	larger = realloc(self->stage, bytes);
	if (!larger)
		return false;
	self->stage = larger;
	self->stage_room = bytes;
	return true;
}

/* It failed less than a second ago. Time that went back counts as time that passed. */
static bool
must_wait(const struct file *self, uint64_t ts_ns)
{
	return self->error && ts_ns >= self->failed_ns && ts_ns - self->failed_ns < RETRY_NS;
}

/* Makes an open file and room in the stage for packet i; *first is the first that is staged. False: it is dropped, and
 * nothing is staged. */
static bool
prepare(struct file *self, const struct ffpf_node_pkt *in, uint32_t i, size_t bytes, uint32_t *first, uint32_t *results)
{
	const bool over = self->fd >= 0 && is_over(self, in[i].ts_ns, bytes);

	if (over || self->staged + bytes > self->stage_room) {
		write_staged(self, in, *first, i, results);
		*first = i;
	}
	if (must_wait(self, in[i].ts_ns))
		return false;
	if (over || self->fd < 0)
		attempted(self, begin_file(self), in[i].ts_ns);
	if (self->fd >= 0 && !make_room(self, bytes))
		attempted(self, ENOMEM, in[i].ts_ns);
	return self->fd >= 0 && self->error != ENOMEM;
}

static void
sink(void *instance, const struct ffpf_node_pkt *in, uint32_t count, uint32_t *results)
{
	struct file *self = instance;
	uint32_t first = 0;

	for (uint32_t i = 0; i < count; i++) {
		const size_t bytes = ffpf_file_record_bytes(&self->format, in[i].pkt->cap_len);

		if (!prepare(self, in, i, bytes, &first, results)) {
			drop(self, i, i + 1, results);
			first = i + 1;
			continue;
		}
		if (self->empty)
			self->begin_ns = in[i].ts_ns;
		self->empty = false;
		results[i] = in[i].result;
		self->staged += ffpf_file_write_record(&self->format, self->stage + self->staged, in[i].pkt,
						       in[i].ts_ns, in[i].link_type);
	}
	write_staged(self, in, first, count, results);
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct file *self = instance;
	char *name = name_of(self, self->number);

	ffpf_report_text(report, "path", name ? name : self->path);
	free(name);
	ffpf_report_uint(report, "packets", ffpf_word_load(&self->mbuf->packets));
	ffpf_report_uint(report, "bytes", ffpf_word_load(&self->mbuf->bytes));
	ffpf_report_uint(report, "files", ffpf_word_load(&self->mbuf->files));
	ffpf_report_uint(report, "dropped_full", ffpf_word_load(&self->mbuf->dropped_full));
	ffpf_report_uint(report, "dropped_failed", ffpf_word_load(&self->mbuf->dropped_failed));
	if (self->error)
		ffpf_report_text(report, "error", strerror(self->error));
}

const struct ffpf_class ffpf_class_file = {
	.name = "file",
	.summary = "writes packets to pcap or pcapng files, with rotation, and lets them pass",
	.arguments = "path=PATH [format=pcap|pcapng] [precision=ns|us] [size=BYTES] [time=TIME] [files=N]",
	.levels = FFPF_LEVEL_USERSPACE,
	.of_process = true,
	.instance_bytes = sizeof(struct file),
	.mbuf_bytes = sizeof(struct ffpf_mbuf_file),
	.parse = parse,
	.open = open_sink,
	.filter_batch = sink,
	.describe = describe,
	.close = close_sink,
};
