/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASSES_H
#define FFPF_GRAPH_CLASSES_H
/* The rows of the table in classes.c: one a class, in the order of their names. */
#include "graph/class.h"

extern const struct ffpf_class ffpf_class_bytecount;
extern const struct ffpf_class ffpf_class_packetcount;

#endif
