/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_REPORT_H
#define FFPF_GRAPH_REPORT_H
/*
 * What a filter has found out, for people and for programs: a class says it once, and it comes out as lines of text or
 * as one JSON object (RFC 8259).
 *
 *     uint("packets", 12)                      packets 12                    {"packets":12,
 *     list("top"); item();                     top                            "top":[{"host":"10.0.0.1","bytes":7},
 *       text("host", "10.0.0.1"); ...            host 10.0.0.1 bytes 7                {...}]}
 *     end(); end();
 *
 * Names are lower case words. Lists hold items, items hold anything but lists.
 */
#include "common/text.h"

#include <stdbool.h>
#include <stdint.h>

enum ffpf_report_form { FFPF_REPORT_TEXT, FFPF_REPORT_JSON };

struct ffpf_report {
	struct ffpf_text out;
	enum ffpf_report_form form;
	bool in_list, in_item;
	bool first; /* of the object or list that is open */
};

void ffpf_report_begin(struct ffpf_report *report, enum ffpf_report_form form);
void ffpf_report_finish(struct ffpf_report *report); /* `out` is complete; the caller frees it */

void ffpf_report_uint(struct ffpf_report *report, const char *name, uint64_t value);
void ffpf_report_real(struct ffpf_report *report, const char *name, double value); /* not a number: null */
/* Octets beyond printable ASCII come out as \u00xx (JSON) or '.' (text). */
void ffpf_report_text(struct ffpf_report *report, const char *name, const char *value);
void ffpf_report_list(struct ffpf_report *report, const char *name);
void ffpf_report_item(struct ffpf_report *report);
void ffpf_report_end(struct ffpf_report *report); /* of the item, or else of the list */

#endif
