/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/classes.h"

#include <string.h>

// clang-format off
const struct ffpf_class *const ffpf_classes[] = {
	&ffpf_class_bpf, &ffpf_class_fpl1, &ffpf_class_fpl2, &ffpf_class_bytecount, &ffpf_class_dedup, &ffpf_class_delivered, &ffpf_class_device, &ffpf_class_distinct, &ffpf_class_file, &ffpf_class_first_n, &ffpf_class_flow_hash, &ffpf_class_flow_table, &ffpf_class_histogram, &ffpf_class_packetcount, &ffpf_class_rate, &ffpf_class_sampler, &ffpf_class_topk,
};
// clang-format on
const uint32_t ffpf_class_count = sizeof(ffpf_classes) / sizeof(ffpf_classes[0]);

const struct ffpf_class *
ffpf_class_find(const char *name, size_t name_len)
{
	for (uint32_t i = 0; i < ffpf_class_count; i++) {
		if (strlen(ffpf_classes[i]->name) == name_len && memcmp(ffpf_classes[i]->name, name, name_len) == 0)
			return ffpf_classes[i];
	}
	return NULL;
}
