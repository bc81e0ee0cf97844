/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASSES_H
#define FFPF_GRAPH_CLASSES_H
/* The rows of the table in classes.c: one a class, in the order of their names. */
#include "graph/class.h"

struct ffpf_bpf_prog;

extern const struct ffpf_class ffpf_class_bpf;
extern const struct ffpf_class ffpf_class_bytecount;
extern const struct ffpf_class ffpf_class_dedup;
extern const struct ffpf_class ffpf_class_delivered;
extern const struct ffpf_class ffpf_class_device;
extern const struct ffpf_class ffpf_class_distinct;
extern const struct ffpf_class ffpf_class_file;
extern const struct ffpf_class ffpf_class_first_n;
extern const struct ffpf_class ffpf_class_flow_hash;
extern const struct ffpf_class ffpf_class_flow_table;
extern const struct ffpf_class ffpf_class_fpl1;
extern const struct ffpf_class ffpf_class_fpl2;
extern const struct ffpf_class ffpf_class_histogram;
extern const struct ffpf_class ffpf_class_packetcount;
extern const struct ffpf_class ffpf_class_rate;
extern const struct ffpf_class ffpf_class_sampler;
extern const struct ffpf_class ffpf_class_topk;

/* The program of a BPF instance for packets of this link type and form, of which some can come to it; the instance's.
 */
const struct ffpf_bpf_prog *ffpf_bpf_of(const void *instance, uint16_t link_type, uint16_t form);

#endif
