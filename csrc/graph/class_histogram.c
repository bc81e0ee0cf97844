/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_histogram.h"
#include "graph/classes.h"
#include "graph/field_arg.h"

#include <inttypes.h>

#define DEFAULT_BINS 64u
#define DEFAULT_TO   65536u
#define LOG_BINS     65u
#define MOST_BINS    (1u << 20)

enum scale { LINEAR, LOG };

struct histogram {
	struct ffpf_mbuf_histogram *mbuf;
	const struct ffpf_field *field;
	uint64_t from, to;
	uint32_t bins;
	enum scale scale;
};

/* What the words say; 0 bins, and to 0: not said. */
static int
parse_words(struct histogram *self, struct ffpf_class_args *args, bool *ranged, struct ffpf_error *err)
{
	static const char *const scales[] = { "linear", "log" };
	struct ffpf_arg arg;
	uint64_t bins = 0;
	size_t scale = 0;
	int status = 0;

	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "of"))
			status = (self->field = ffpf_arg_field(args, &arg, true, err)) ? 0 : -FFPF_E_INVALID;
		else if (ffpf_arg_is(&arg, "bins"))
			status = ffpf_arg_uint(args, &arg, 1, MOST_BINS, &bins, err);
		else if (ffpf_arg_is(&arg, "from"))
			status = ffpf_arg_uint(args, &arg, 0, UINT64_MAX - 1, &self->from, err);
		else if (ffpf_arg_is(&arg, "to"))
			status = ffpf_arg_uint(args, &arg, 1, UINT64_MAX, &self->to, err);
		else if (ffpf_arg_is(&arg, "scale"))
			status = ffpf_arg_choice(args, &arg, scales, 2, &scale, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_histogram.arguments, err);
		if (status)
			return status;
		*ranged |= ffpf_arg_is(&arg, "from") || ffpf_arg_is(&arg, "to");
	}
	self->bins = (uint32_t)bins;
	self->scale = scale ? LOG : LINEAR;
	return err->code ? -(int)err->code : 0;
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct histogram *self = instance;
	bool ranged = false;
	uint64_t least;
	int status;

	self->field = ffpf_field_find("len");
	status = parse_words(self, args, &ranged, err);
	if (status)
		return status;
	if (self->scale == LOG && ranged)
		return ffpf_args_fail(args, 0, err, "scale=log has no from and to: its bins are 0, 1, 2..3, 4..7 ...");
	if (self->scale == LOG && self->bins > LOG_BINS)
		return ffpf_args_fail(args, 0, err, "scale=log has at most %u bins", LOG_BINS);
	if (!self->bins)
		self->bins = self->scale == LOG ? LOG_BINS : DEFAULT_BINS;
	if (self->scale == LOG)
		self->to = self->bins >= LOG_BINS ? UINT64_MAX : (uint64_t)1 << (self->bins - 1);
	else if (!self->to)
		self->to = DEFAULT_TO;
	if (self->scale == LINEAR && (self->from >= self->to || self->to - self->from < self->bins))
		return ffpf_args_fail(args, 0, err,
				      "%" PRIu32 " bins from %" PRIu64 " to %" PRIu64 ": each must hold a whole number",
				      self->bins, self->from, self->to);
	least = sizeof(*self->mbuf) + self->bins * sizeof(self->mbuf->counts[0]);
	if (!args->mbuf_bytes)
		args->mbuf_bytes = least;
	if (args->mbuf_bytes < least)
		return ffpf_args_fail(args, 0, err, "an MBuf of %" PRIu64 " octets: %" PRIu32 " bins take %" PRIu64,
				      args->mbuf_bytes, self->bins, least);
	ffpf_text_add(&args->canonical, "of=%s bins=%" PRIu32, self->field->name, self->bins);
	if (self->scale == LOG)
		ffpf_text_add(&args->canonical, " scale=log");
	else
		ffpf_text_add(&args->canonical, " from=%" PRIu64 " to=%" PRIu64, self->from, self->to);
	return 0;
}

static int
open_bins(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct histogram *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	self->mbuf->from = self->from;
	self->mbuf->to = self->to;
	self->mbuf->bins = self->bins;
	self->mbuf->scale = self->scale;
	return 0;
}

/* The first whole number of bin i; of `bins` the end of the range. */
static uint64_t
bin_begin(const struct histogram *self, uint32_t i)
{
	if (self->scale == LOG)
		return i == 0 ? 0 : i >= LOG_BINS ? UINT64_MAX : (uint64_t)1 << (i - 1);
	/* rounded up: the least whole number that is not below the edge */
	return self->from + (uint64_t)(((unsigned __int128)(self->to - self->from) * i + self->bins - 1) / self->bins);
}

/* x * bins / range, for x below range. */
static uint32_t
bin_of(const struct histogram *self, uint64_t x)
{
	const uint64_t range = self->to - self->from;

	if (range <= UINT32_MAX) /* a division of 128 bits costs more than all the rest */
		return (uint32_t)(x * self->bins / range);
	return (uint32_t)((unsigned __int128)x * self->bins / range);
}

static void
count(struct histogram *self, uint64_t value)
{
	uint64_t *word;
	uint32_t bin;

	if (self->scale == LOG) {
		bin = value ? 64 - (uint32_t)__builtin_clzll(value) : 0;
		word = &self->mbuf->counts[bin < self->bins ? bin : self->bins - 1];
	} else if (value < self->from) {
		word = &self->mbuf->below;
	} else if (value >= self->to) {
		word = &self->mbuf->above;
	} else {
		word = &self->mbuf->counts[bin_of(self, value - self->from)];
	}
	ffpf_word_add(word, 1);
}

static uint32_t
pass(void *instance, const struct ffpf_node_pkt *in)
{
	struct histogram *self = instance;
	uint64_t values[FFPF_FIELD_MOST_VALUES];
	struct ffpf_headers h;
	unsigned n;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	n = self->field->numbers(&h, values);
	if (!n)
		ffpf_word_add(&self->mbuf->none, 1);
	for (unsigned i = 0; i < n; i++)
		count(self, values[i]);
	return in->result;
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct histogram *self = instance;

	ffpf_report_text(report, "of", self->field->name);
	ffpf_report_uint(report, "below", ffpf_word_load(&self->mbuf->below));
	ffpf_report_uint(report, "above", ffpf_word_load(&self->mbuf->above));
	ffpf_report_uint(report, "none", ffpf_word_load(&self->mbuf->none));
	ffpf_report_list(report, "bins");
	for (uint32_t i = 0; i < self->bins; i++) {
		uint64_t n = ffpf_word_load(&self->mbuf->counts[i]);

		if (!n)
			continue;
		ffpf_report_item(report);
		ffpf_report_uint(report, "from", bin_begin(self, i));
		/* the last whole number in it */
		ffpf_report_uint(report, "to",
				 self->scale == LOG && i + 1 == self->bins ? UINT64_MAX : bin_begin(self, i + 1) - 1);
		ffpf_report_uint(report, "count", n);
		ffpf_report_end(report);
	}
	ffpf_report_end(report);
}

const struct ffpf_class ffpf_class_histogram = {
	.name = "histogram",
	.summary = "how often a field has which values, in bins of equal width or that double",
	.arguments = "[of=FIELD] [bins=N] [from=A] [to=B] [scale=linear|log]",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL,
	.instance_bytes = sizeof(struct histogram),
	.parse = parse,
	.open = open_bins,
	.filter = pass,
	.describe = describe,
};
