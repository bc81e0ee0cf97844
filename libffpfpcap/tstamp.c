/* SPDX-License-Identifier: BSD-3-Clause */
/* Time stamp types: their names, and which of them a device has. */
#include "handle.h"

#include "source/live.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

static const struct {
	int type;
	const char *name, *description;
} types[] = {
	{ PCAP_TSTAMP_HOST, "host", "Host" },
	{ PCAP_TSTAMP_HOST_LOWPREC, "host_lowprec", "Host, low precision" },
	{ PCAP_TSTAMP_HOST_HIPREC, "host_hiprec", "Host, high precision" },
	{ PCAP_TSTAMP_ADAPTER, "adapter", "Adapter" },
	{ PCAP_TSTAMP_ADAPTER_UNSYNCED, "adapter_unsynced", "Adapter, not synced with system time" },
	{ PCAP_TSTAMP_HOST_HIPREC_UNSYNCED, "host_hiprec_unsynced",
	  "Host, high precision, not synced with system time" },
};

#define TYPES (sizeof(types) / sizeof(types[0]))

int
pcap_tstamp_type_name_to_val(const char *name)
{
	for (size_t i = 0; i < TYPES; i++)
		if (strcasecmp(types[i].name, name) == 0)
			return types[i].type;
	return PCAP_ERROR;
}

const char *
pcap_tstamp_type_val_to_name(int tstamp_type)
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == tstamp_type)
			return types[i].name;
	return NULL;
}

const char *
pcap_tstamp_type_val_to_description(int tstamp_type)
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == tstamp_type)
			return types[i].description;
	return NULL;
}

int
pcap_list_tstamp_types(pcap_t *p, int **tstamp_typesp)
{
	int *list = malloc(FFPF_LIVE_TSTAMP_TYPES_MAX * sizeof(*list));
	struct ffpf_error err;
	int count = 0;

	if (!list)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "malloc");
	if (p->opt.device && !ffpf_foreign_device(p->opt.device))
		count = ffpf_live_tstamp_types(p->opt.device, list, &err);
	if (count < 0) {
		free(list);
		ffpf_handle_fail_error(p, &err);
		return PCAP_ERROR;
	}
	if (count == 0)
		list[count++] = PCAP_TSTAMP_HOST;
	*tstamp_typesp = list;
	return count;
}

void
pcap_free_tstamp_types(int *tstamp_types)
{
	free(tstamp_types);
}

int
pcap_get_tstamp_precision(pcap_t *p)
{
	return p->opt.tstamp_precision;
}
