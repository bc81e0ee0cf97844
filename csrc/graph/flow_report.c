/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/flow_report.h"

const char *
ffpf_flow_state_name(uint8_t state)
{
	static const char *const names[FFPF_FLOW_STATES] = {
		[FFPF_FLOW_OPEN] = "open",       [FFPF_FLOW_SYN] = "syn",
		[FFPF_FLOW_SYN_ACK] = "syn_ack", [FFPF_FLOW_ESTABLISHED] = "established",
		[FFPF_FLOW_FIN] = "fin",         [FFPF_FLOW_CLOSED] = "closed",
		[FFPF_FLOW_RESET] = "reset",
	};

	return state < FFPF_FLOW_STATES ? names[state] : "?";
}

const char *
ffpf_flow_reason_name(uint8_t reason)
{
	static const char *const names[FFPF_FLOW_REASONS] = {
		[FFPF_FLOW_LIVES] = "lives",       [FFPF_FLOW_IDLE] = "idle", [FFPF_FLOW_ACTIVE] = "active",
		[FFPF_FLOW_LINGERED] = "lingered", [FFPF_FLOW_FULL] = "full", [FFPF_FLOW_END] = "end",
	};

	return reason < FFPF_FLOW_REASONS ? names[reason] : "?";
}

static void
flags_text(uint8_t flags, char text[9])
{
	static const char letters[] = "FSRPAUEC"; /* as tcpdump has them, of RFC 9293 and RFC 3168 */
	char *p = text;

	for (unsigned i = 0; i < 8; i++)
		if (flags >> i & 1)
			*p++ = letters[i];
	*p = 0;
}

void
ffpf_flow_report(struct ffpf_report *report, const struct ffpf_mbuf_flow_record *record)
{
	char text[FFPF_TUPLE_TEXT_BYTES], flags[9];
	const uint64_t first = record->first_ns, last = record->last_ns;

	ffpf_report_item(report);
	ffpf_tuple_text(&record->key, text, sizeof(text));
	ffpf_report_text(report, "flow", text);
	ffpf_report_real(report, "seconds", last > first ? (double)(last - first) / 1e9 : 0);
	ffpf_report_uint(report, "packets_there", record->packets[0]);
	ffpf_report_uint(report, "packets_back", record->packets[1]);
	ffpf_report_uint(report, "bytes_there", record->bytes[0]);
	ffpf_report_uint(report, "bytes_back", record->bytes[1]);
	flags_text(record->flags[0] | record->flags[1], flags);
	if (flags[0])
		ffpf_report_text(report, "flags", flags);
	ffpf_report_text(report, "state", ffpf_flow_state_name(record->state));
	ffpf_report_text(report, "reason", ffpf_flow_reason_name(record->reason));
	ffpf_report_end(report);
}
