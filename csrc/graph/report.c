/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/report.h"

#include <inttypes.h>
#include <math.h>

void
ffpf_report_begin(struct ffpf_report *report, enum ffpf_report_form form)
{
	*report = (struct ffpf_report){ .form = form, .first = true };
	if (form == FFPF_REPORT_JSON)
		ffpf_text_add(&report->out, "{");
}

void
ffpf_report_finish(struct ffpf_report *report)
{
	if (report->form == FFPF_REPORT_JSON)
		ffpf_text_add(&report->out, "}");
}

static void
string(struct ffpf_report *report, const char *value)
{
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
			ffpf_text_add_octets(&report->out, value, 1);
		else if (report->form == FFPF_REPORT_TEXT)
			ffpf_text_add_octets(&report->out, c == '"' || c == '\\' ? value : ".", 1);
		else
			ffpf_text_add(&report->out, "\\u%04x", c);
	}
}

static void
name_of(struct ffpf_report *report, const char *name)
{
	if (report->form == FFPF_REPORT_JSON)
		ffpf_text_add(&report->out, "%s\"%s\":", report->first ? "" : ",", name);
	else
		ffpf_text_add(&report->out, "%s%s", report->in_item && !report->first ? " " : "", name);
	report->first = false;
}

static void
value_done(struct ffpf_report *report)
{
	if (report->form == FFPF_REPORT_TEXT && !report->in_item)
		ffpf_text_add(&report->out, "\n");
}

static const char *
gap(const struct ffpf_report *report)
{
	return report->form == FFPF_REPORT_TEXT ? " " : "";
}

void
ffpf_report_uint(struct ffpf_report *report, const char *name, uint64_t value)
{
	name_of(report, name);
	ffpf_text_add(&report->out, "%s%" PRIu64, gap(report), value);
	value_done(report);
}

void
ffpf_report_real(struct ffpf_report *report, const char *name, double value)
{
	name_of(report, name);
	if (isfinite(value))
		ffpf_text_add(&report->out, "%s%.15g", gap(report), value);
	else
		ffpf_text_add(&report->out, "%snull", gap(report));
	value_done(report);
}

void
ffpf_report_text(struct ffpf_report *report, const char *name, const char *value)
{
	const char *quote = report->form == FFPF_REPORT_JSON ? "\"" : "";

	name_of(report, name);
	ffpf_text_add(&report->out, "%s%s", gap(report), quote);
	string(report, value);
	ffpf_text_add(&report->out, "%s", quote);
	value_done(report);
}

void
ffpf_report_list(struct ffpf_report *report, const char *name)
{
	name_of(report, name);
	ffpf_text_add(&report->out, report->form == FFPF_REPORT_JSON ? "[" : "\n");
	report->in_list = true;
	report->first = true;
}

void
ffpf_report_item(struct ffpf_report *report)
{
	if (report->form == FFPF_REPORT_JSON)
		ffpf_text_add(&report->out, "%s{", report->first ? "" : ",");
	else
		ffpf_text_add(&report->out, "  ");
	report->in_item = true;
	report->first = true;
}

void
ffpf_report_end(struct ffpf_report *report)
{
	bool item = report->in_item;

	if (report->form == FFPF_REPORT_JSON)
		ffpf_text_add(&report->out, item ? "}" : "]");
	else if (item)
		ffpf_text_add(&report->out, "\n");
	if (item)
		report->in_item = false;
	else
		report->in_list = false;
	report->first = false;
}
