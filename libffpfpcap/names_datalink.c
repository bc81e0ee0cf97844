/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names and descriptions of link types. The table is made by gen_names.py when the library is built, by asking the
 * system's libpcap: users see its words, and none of them stands in our sources.
 */
#include "abi.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct datalink_name {
	int dlt;
	const char *name;
	const char *description; /* NULL: a second name of a link type that is in the table already */
};

static const struct datalink_name datalink_names[] = {
#include "gen_datalink_names.h"
};

enum { NAME_COUNT = sizeof(datalink_names) / sizeof(datalink_names[0]) };

static const struct datalink_name *
find_datalink(int dlt)
{
	for (unsigned i = 0; i < NAME_COUNT; i++)
		if (datalink_names[i].dlt == dlt && datalink_names[i].description)
			return &datalink_names[i];
	return NULL;
}

int
pcap_datalink_name_to_val(const char *name)
{
	for (unsigned i = 0; i < NAME_COUNT; i++)
		if (strcasecmp(datalink_names[i].name, name) == 0)
			return datalink_names[i].dlt;
	return -1;
}

const char *
pcap_datalink_val_to_name(int dlt)
{
	const struct datalink_name *found = find_datalink(dlt);

	return found ? found->name : NULL;
}

const char *
pcap_datalink_val_to_description(int dlt)
{
	const struct datalink_name *found = find_datalink(dlt);

	return found ? found->description : NULL;
}

/* Static memory for a link type without a name: the ABI's promise. */
const char *
pcap_datalink_val_to_description_or_dlt(int dlt)
{
	static char text[40];
	const char *found = pcap_datalink_val_to_description(dlt);

	if (found)
		return found;
	snprintf(text, sizeof(text), "DLT %d", dlt);
	return text;
}
