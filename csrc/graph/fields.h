/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FIELDS_H
#define FFPF_GRAPH_FIELDS_H
/*
 * Fields of a packet by name: one table, for classes and for whoever gathers columns. A new field is one row.
 *
 * A field has no value in a packet that does not hold it (tcp.dport of a datagram, anything cut off by the snap
 * length); one value; or two, when the name leaves the side open: ip.addr, port, tcp.port, udp.port say both ends.
 */
#include "graph/tuple.h"

#define FFPF_FIELD_MOST_VALUES 2

struct ffpf_field {
	const char *name;
	const char *meaning; /* one line, with the unit */
	/* One of the two is set. Each writes its values and returns how many there are. */
	unsigned (*numbers)(const struct ffpf_headers *h, uint64_t out[FFPF_FIELD_MOST_VALUES]);
	unsigned (*addresses)(const struct ffpf_headers *h, struct ffpf_tuple out[FFPF_FIELD_MOST_VALUES]);
};

/* NULL when there is no field of that name. */
const struct ffpf_field *ffpf_field_find(const char *name);
/* Row `index`, in the order of names for people; NULL behind the last. */
const struct ffpf_field *ffpf_field_at(unsigned index);
/* All names (numbers only, when asked), blank separated and cut to fit, for messages. */
void ffpf_field_names(char *text, size_t bytes, bool numbers_only);

/* Any field's values as keys of one form: a number becomes FFPF_TUPLE_NUMBER, the flow is canonical. */
unsigned ffpf_field_keys(const struct ffpf_field *field, const struct ffpf_headers *h,
			 struct ffpf_tuple out[FFPF_FIELD_MOST_VALUES]);

#endif
