/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_FLOW_REPORT_H
#define FFPF_GRAPH_FLOW_REPORT_H
/* Flow records for people. */
#include "graph/class_flow_table.h"
#include "graph/report.h"

const char *ffpf_flow_state_name(uint8_t state);   /* "syn", ...; of what is no state "?" */
const char *ffpf_flow_reason_name(uint8_t reason); /* "idle", ...; of what is no reason "?" */
/* One item of a list that is open. */
void ffpf_flow_report(struct ffpf_report *report, const struct ffpf_mbuf_flow_record *record);

#endif
