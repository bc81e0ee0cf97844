/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_distinct.h"
#include "graph/classes.h"
#include "graph/field_arg.h"

#include <inttypes.h>

#define DEFAULT_PRECISION 14u
#define LEAST_PRECISION   4u
#define MOST_PRECISION    18u
#define SEED              0xd157u
#define EVERY_NS          1000000000u
#define ALPHA             0.721347520444481703680 /* 1 / (2 ln 2): of the raw estimator for many registers */

struct distinct {
	struct ffpf_mbuf_distinct *mbuf;
	const struct ffpf_field *field;
	uint32_t precision;
	bool changed; /* since the estimate was made */
	uint64_t now_ns;
};

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	struct distinct *self = instance;
	uint64_t precision = DEFAULT_PRECISION, least;
	struct ffpf_arg arg;
	int status = 0;

	self->field = ffpf_field_find("flow");
	while (ffpf_args_next(args, &arg, err)) {
		if (ffpf_arg_is(&arg, "of"))
			status = (self->field = ffpf_arg_field(args, &arg, false, err)) ? 0 : -FFPF_E_INVALID;
		else if (ffpf_arg_is(&arg, "precision"))
			status = ffpf_arg_uint(args, &arg, LEAST_PRECISION, MOST_PRECISION, &precision, err);
		else
			status = ffpf_arg_unknown(args, &arg, ffpf_class_distinct.arguments, err);
		if (status)
			return status;
	}
	if (err->code)
		return -(int)err->code;
	least = sizeof(*self->mbuf) + ((uint64_t)1 << precision);
	if (!args->mbuf_bytes)
		args->mbuf_bytes = least;
	if (args->mbuf_bytes < least)
		return ffpf_args_fail(args, 0, err,
				      "an MBuf of %" PRIu64 " octets: precision=%" PRIu64 " takes %" PRIu64,
				      args->mbuf_bytes, precision, least);
	self->precision = (uint32_t)precision;
	ffpf_text_add(&args->canonical, "of=%s precision=%" PRIu64, self->field->name, precision);
	return 0;
}

static int
open_registers(void *instance, const struct ffpf_class_env *env, struct ffpf_error *err)
{
	struct distinct *self = instance;

	(void)err;
	self->mbuf = env->mbuf;
	self->mbuf->precision = self->precision;
	return 0;
}

/* For x between 0 and 1, by Newton: the library of mathematics is not asked for one root. */
static double
root(double x)
{
	double y = (1 + x) / 2, before;

	do {
		before = y;
		y = (y + x / y) / 2;
	} while (y < before);
	return before;
}

/* Ertl's sigma: of the share of registers that are empty. */
static double
sigma(double x)
{
	double y = 1, z = x, before;

	if (x >= 1)
		return __builtin_inf();
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z > before);
	return z;
}

/* Ertl's tau: of the share of registers that are not full. */
static double
tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x <= 0 || x >= 1)
		return 0;
	do {
		x = root(x);
		before = z;
		y /= 2;
		z -= (1 - x) * (1 - x) * y;
	} while (z < before);
	return z / 3;
}

double
ffpf_distinct_estimate(const uint8_t *registers, uint32_t precision)
{
	const uint32_t m = (uint32_t)1 << precision, most = 64 - precision; /* of bits behind the register's number */
	uint32_t with[66] = { 0 };                                          /* registers by what they hold */
	double z;

	for (uint32_t i = 0; i < m; i++)
		with[registers[i] > most + 1 ? most + 1 : registers[i]]++;
	z = m * tau(1 - (double)with[most + 1] / m);
	for (uint32_t k = most; k >= 1; k--)
		z = (z + with[k]) / 2;
	z += m * sigma((double)with[0] / m);
	return ALPHA * m * (m / z); /* all empty: 1 / infinity */
}

static void
publish(struct distinct *self, uint64_t now_ns)
{
	double estimate = ffpf_distinct_estimate(self->mbuf->registers, self->precision);

	__atomic_store(&self->mbuf->estimate, &estimate, __ATOMIC_RELAXED);
	ffpf_word_store(&self->mbuf->at_ns, now_ns);
	self->changed = false;
}

static void
tick(void *instance, uint64_t now_ns)
{
	struct distinct *self = instance;

	self->now_ns = now_ns;
	if (self->changed && now_ns - ffpf_word_load(&self->mbuf->at_ns) >= EVERY_NS)
		publish(self, now_ns);
}

static int
flush(void *instance, struct ffpf_error *err)
{
	struct distinct *self = instance;

	(void)err;
	publish(self, self->now_ns);
	return 0;
}

static void
see(struct distinct *self, uint64_t hash)
{
	uint8_t *reg = &self->mbuf->registers[hash >> (64 - self->precision)];
	const uint64_t rest = hash << self->precision | (uint64_t)1 << (self->precision - 1); /* an end, if all is 0 */
	const uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);

	if (rank > *reg) {
		*reg = rank;
		self->changed = true;
	}
}

static uint32_t
pass(void *instance, const struct ffpf_node_pkt *in)
{
	struct distinct *self = instance;
	struct ffpf_tuple keys[FFPF_FIELD_MOST_VALUES];
	struct ffpf_headers h;
	unsigned n;

	ffpf_headers_find(&h, in->pkt, in->link_type);
	n = ffpf_field_keys(self->field, &h, keys);
	if (!n)
		ffpf_word_add(&self->mbuf->none, 1);
	for (unsigned i = 0; i < n; i++)
		see(self, ffpf_tuple_hash(&keys[i], SEED));
	return in->result;
}

static void
describe(const void *instance, struct ffpf_report *report)
{
	const struct distinct *self = instance;
	double estimate = ffpf_distinct_estimate(self->mbuf->registers, self->precision);
	const double error =
	    1.04 / (double)((uint64_t)1 << self->precision / 2) * (self->precision & 1 ? 0.70710678118654752 : 1);

	ffpf_report_text(report, "of", self->field->name);
	ffpf_report_uint(report, "distinct", (uint64_t)(estimate + 0.5));
	ffpf_report_real(report, "standard_error", (double)(uint64_t)(error * 1e5 + 0.5) / 1e5);
	ffpf_report_uint(report, "none", ffpf_word_load(&self->mbuf->none));
}

const struct ffpf_class ffpf_class_distinct = {
	.name = "distinct",
	.summary = "estimates how many different values a field has had",
	.arguments = "[of=FIELD] [precision=P]",
	.levels = FFPF_LEVEL_USERSPACE,
	.instance_bytes = sizeof(struct distinct),
	.parse = parse,
	.open = open_registers,
	.filter = pass,
	.tick = tick,
	.flush = flush,
	.describe = describe,
};
