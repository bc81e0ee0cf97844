/* SPDX-License-Identifier: BSD-3-Clause */
#include "reader/reader.h"

static const char *const drop_names[FFPF_DROP_CAUSES] = {
	[FFPF_DROP_KERNEL] = "kernel",   [FFPF_DROP_PBUF] = "pbuf",         [FFPF_DROP_IBUF] = "ibuf",
	[FFPF_DROP_LAPPED] = "lapped",   [FFPF_DROP_OVERSIZE] = "oversize", [FFPF_DROP_NESTED] = "nested",
	[FFPF_DROP_INVALID] = "invalid", [FFPF_DROP_EVICTED] = "evicted",   [FFPF_DROP_LEFT] = "left",
};

const char *
ffpf_drop_name(enum ffpf_drop cause)
{
	return cause < FFPF_DROP_CAUSES ? drop_names[cause] : "unknown";
}

uint64_t
ffpf_counters_dropped(const struct ffpf_counters *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < FFPF_DROP_CAUSES; i++)
		sum += c->dropped[i];
	return sum;
}
