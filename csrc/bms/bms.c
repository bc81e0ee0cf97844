/* SPDX-License-Identifier: BSD-3-Clause */
#include "bms/bms.h"

#include <string.h>

static const struct ffpf_bms *const table[] = {
	&ffpf_bms_srp,
	&ffpf_bms_frp,
};

#define TABLE_ROWS (sizeof(table) / sizeof(table[0]))

const struct ffpf_bms *
ffpf_bms_find(uint32_t id)
{
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (table[i]->id == id)
			return table[i];
	return NULL;
}

const struct ffpf_bms *
ffpf_bms_find_name(const char *name)
{
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (!strcmp(table[i]->name, name))
			return table[i];
	return NULL;
}
