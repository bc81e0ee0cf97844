/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASSES_H
#define FFPF_GRAPH_CLASSES_H
/* The rows of the table in classes.c: one a class, in the order of their names. */
#include "graph/class.h"

extern const struct ffpf_class ffpf_class_bpf;
extern const struct ffpf_class ffpf_class_bytecount;
extern const struct ffpf_class ffpf_class_dedup;
extern const struct ffpf_class ffpf_class_device;
extern const struct ffpf_class ffpf_class_distinct;
extern const struct ffpf_class ffpf_class_file;
extern const struct ffpf_class ffpf_class_first_n;
extern const struct ffpf_class ffpf_class_flow_hash;
extern const struct ffpf_class ffpf_class_flow_table;
extern const struct ffpf_class ffpf_class_fpl2;
extern const struct ffpf_class ffpf_class_histogram;
extern const struct ffpf_class ffpf_class_packetcount;
extern const struct ffpf_class ffpf_class_rate;
extern const struct ffpf_class ffpf_class_sampler;
extern const struct ffpf_class ffpf_class_topk;

#endif
