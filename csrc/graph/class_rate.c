/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_rate.h"
#include "graph/classes.h"

#include <inttypes.h>

#define DEFAULT_WINDOW_NS 1000000000u
#define LEAST_WINDOW_NS   1000u
#define DEFAULT_HISTORY   64u
#define MOST_HISTORY      (1u << 20)
#define A_SECOND          1e9

/* Everything is kept here, and copied to the MBuf: an application cannot disturb it. */
struct rate {
	struct ffpf_mbuf_rate *mbuf;
	uint64_t window_ns, history; /* windows in the ring */
	bool begun;
	uint64_t closed, packets, bytes, first_ns, last_ns;
	struct ffpf_mbuf_rate_window open, peak_packets, peak_bytes;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct rate *self = instance;
	struct ffpf_arg arg;
	int status = 0;

	self->window_ns = DEFAULT_WINDOW_NS;
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "window"))
			status = ffpf_arg_duration(args, &arg, &self->window_ns, err);
		else if (ffpf_arg_is(&arg, "history"))
			status = ffpf_arg_uint(args, &arg, 1, MOST_HISTORY, &self->history, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_rate.arguments, err);
		if (status)
			return status;
		if (self->window_ns < LEAST_WINDOW_NS)
			return ffpf_args_fail(args, (size_t)(arg.value - args->text), err,
					      "a window has one microsecond at least");
	}
	if (err->code)
		return -(int)err->code;
	if (!args->mbuf_bytes) {
		self->history = self->history ? self->history : DEFAULT_HISTORY;
		args->mbuf_bytes = sizeof(*self->mbuf) + self->history * sizeof(self->mbuf->history[0]);
	}
	if (args->mbuf_bytes <
	    sizeof(*self->mbuf) + (self->history ? self->history : 1) * sizeof(self->mbuf->history[0]))
		return ffpf_args_fail(args, 0, err,
				      "an MBuf of %" PRIu64 " octets: 144, and 32 for each window of history",
				      args->mbuf_bytes);
	self->history = (args->mbuf_bytes - sizeof(*self->mbuf)) / sizeof(self->mbuf->history[0]);
	ffpf_text_add(&args->canonical, "window=%" PRIu64 "ns history=%" PRIu64, self->window_ns, self->history);
	return 0;
}

static int
open_windows(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct rate *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	self->mbuf->window_ns = self->window_ns;
	return 0;
}

static void
copy_window(struct ffpf_mbuf_rate_window *to, const struct ffpf_mbuf_rate_window *from)
{
	ffpf_word_store(&to->begin_ns, from->begin_ns);
	ffpf_word_store(&to->packets, from->packets);
	ffpf_word_store(&to->bytes, from->bytes);
}

static void
close_window(struct rate *self)
{
	copy_window(&self->mbuf->history[self->closed % self->history], &self->open);
	if (self->open.packets > self->peak_packets.packets)
		self->peak_packets = self->open;
	if (self->open.bytes > self->peak_bytes.bytes)
		self->peak_bytes = self->open;
	self->closed++;
	self->open = (struct ffpf_mbuf_rate_window){ .begin_ns = self->open.begin_ns + self->window_ns };
}

/* Closes windows up to the one that now_ns lies in. Of many empty ones only those are written that the ring holds. */
static void
advance(struct rate *self, uint64_t now_ns)
{
	uint64_t behind, skipped;

	if (now_ns > self->last_ns)
		self->last_ns = now_ns;
	if (now_ns < self->open.begin_ns || now_ns - self->open.begin_ns < self->window_ns)
		return;
	behind = (now_ns - self->open.begin_ns) / self->window_ns;
	close_window(self);
	behind--;
	if (behind > self->history) {
		skipped = behind - self->history;
		self->closed += skipped;
		self->open.begin_ns += skipped * self->window_ns;
		behind = self->history;
	}
	while (behind--)
		close_window(self);
}

static void
publish(struct rate *self)
{
	struct ffpf_mbuf_rate *mbuf = self->mbuf;

	ffpf_word_store(&mbuf->packets, self->packets);
	ffpf_word_store(&mbuf->bytes, self->bytes);
	ffpf_word_store(&mbuf->first_ns, self->first_ns);
	ffpf_word_store(&mbuf->last_ns, self->last_ns);
	copy_window(&mbuf->open, &self->open);
	copy_window(&mbuf->peak_packets, &self->peak_packets);
	copy_window(&mbuf->peak_bytes, &self->peak_bytes);
	__atomic_store_n(&mbuf->closed, self->closed, __ATOMIC_RELEASE); /* the windows before their number */
}

static void
count(void *instance, const struct ffpf_node_pkt *in, uint32_t n, uint32_t *results)
{
	struct rate *self = instance;

	for (uint32_t i = 0; i < n; i++) {
		const uint64_t ts_ns = in[i].ts_ns;

		results[i] = in[i].result;
		if (!self->begun) {
			self->begun = true;
			self->first_ns = self->last_ns = ts_ns;
			self->open.begin_ns = ts_ns - ts_ns % self->window_ns;
		}
		advance(self, ts_ns);
		self->open.packets++;
		self->open.bytes += in[i].pkt->wire_len;
		self->packets++;
		self->bytes += in[i].pkt->wire_len;
	}
	publish(self);
}

static void
tick(void *instance, uint64_t now_ns)
{
	struct rate *self = instance;

	if (!self->begun)
		return;
	advance(self, now_ns);
	publish(self);
}

/* A peak counts the window that is still open too: a short capture may have no other. */
static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct rate *self = instance;
	const double per_window = A_SECOND / (double)self->window_ns;
	const double seconds = (double)(self->last_ns - self->first_ns) / A_SECOND;
	const struct ffpf_mbuf_rate_window *packets = &self->peak_packets, *bytes = &self->peak_bytes;

	if (self->open.packets > packets->packets)
		packets = &self->open;
	if (self->open.bytes > bytes->bytes)
		bytes = &self->open;
	ffpf_report_uint(report, "packets", self->packets);
	ffpf_report_uint(report, "bytes", self->bytes);
	ffpf_report_real(report, "seconds", seconds);
	ffpf_report_uint(report, "windows", self->closed);
	if (seconds > 0) {
		ffpf_report_real(report, "mean_packets_per_second", (double)self->packets / seconds);
		ffpf_report_real(report, "mean_bits_per_second", 8 * (double)self->bytes / seconds);
	}
	ffpf_report_real(report, "peak_packets_per_second", (double)packets->packets * per_window);
	ffpf_report_real(report, "peak_bits_per_second", 8 * (double)bytes->bytes * per_window);
}

const struct ffpf_class ffpf_class_rate = {
	.name = "rate",
	.summary = "packets and bits per second in windows of time, their mean and peak",
	.arguments = "[window=TIME] [history=N]",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct rate),
	.parse = parse,
	.open = open_windows,
	.filter_batch = count,
	.tick = tick,
	.describe = describe,
};
