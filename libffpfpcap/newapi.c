/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcap_open() and pcap_findalldevs_ex() of libpcap 1.11, for files and devices of this machine. Remote capture (rpcap)
 * is refused with a message, as by a libpcap built without it.
 */
#include "handle.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char no_remote[] = "Remote capture (rpcap) is not supported by this library.";

static pcap_t *
open_device(const char *device, int snaplen, int flags, int timeout_ms, char *errbuf)
{
	pcap_t *p = pcap_create(device, errbuf);
	int status;

	if (!p)
		return NULL;
	pcap_set_snaplen(p, snaplen);
	pcap_set_promisc(p, (flags & PCAP_OPENFLAG_PROMISCUOUS) != 0);
	pcap_set_immediate_mode(p, (flags & PCAP_OPENFLAG_MAX_RESPONSIVENESS) != 0);
	pcap_set_timeout(p, timeout_ms);
	status = pcap_activate(p);
	if (status >= 0)
		return p;
	ffpf_handle_describe_failure(p, device, status, errbuf);
	pcap_close(p);
	return NULL;
}

/* timeout_ms as in pcap_set_timeout(). auth is for remote sources and not looked at. */
pcap_t *
pcap_open(const char *source, int snaplen, int flags, int timeout_ms, struct pcap_rmtauth *auth, char *errbuf)
{
	char name[PCAP_BUF_SIZE];
	int type;

	(void)auth;
	if (!source)
		source = "any";
	if (strlen(source) >= PCAP_BUF_SIZE) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "The source string is too long. Cannot handle it correctly.");
		return NULL;
	}
	if (pcap_parsesrcstr(source, &type, NULL, NULL, name, errbuf) < 0)
		return NULL;
	switch (type) {
	case PCAP_SRC_FILE:
		return pcap_open_offline(name, errbuf);
	case PCAP_SRC_IFLOCAL:
		return open_device(name, snaplen, flags, timeout_ms, errbuf);
	default:
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", no_remote);
		return NULL;
	}
}

static int
out_of_memory(pcap_if_t **list, char *errbuf)
{
	pcap_freealldevs(*list);
	*list = NULL;
	snprintf(errbuf, PCAP_ERRBUF_SIZE, "malloc() failed: %s", strerror(ENOMEM));
	return PCAP_ERROR;
}

/* The local list, its names as source strings and its descriptions in words. */
static int
list_devices(pcap_if_t **list, char *errbuf)
{
	if (pcap_findalldevs(list, errbuf) < 0)
		return PCAP_ERROR;
	if (!*list) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "No interfaces found on the local machine.");
		return PCAP_ERROR;
	}
	for (pcap_if_t *device = *list; device; device = device->next) {
		const char *words = device->description && *device->description ? device->description : device->name;
		char *name, *description;

		if (asprintf(&description, "Network adapter '%s' on local host", words) < 0)
			return out_of_memory(list, errbuf);
		free(device->description);
		device->description = description;
		if (asprintf(&name, PCAP_SRC_IF_STRING "%s", device->name) < 0)
			return out_of_memory(list, errbuf);
		free(device->name);
		device->name = name;
	}
	return 0;
}

static bool
is_savefile(const char *path)
{
	char errbuf[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline(path, errbuf);

	if (p)
		pcap_close(p);
	return p != NULL;
}

/* One entry for a savefile, at the end of the list; NULL without memory. */
static pcap_if_t *
add_file(pcap_if_t **end, const char *path)
{
	pcap_if_t *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	*end = device;
	if (asprintf(&device->name, PCAP_SRC_FILE_STRING "%s", path) < 0) {
		device->name = NULL;
		return NULL;
	}
	if (asprintf(&device->description, "File '%s' on local host", path) < 0) {
		device->description = NULL;
		return NULL;
	}
	return device;
}

static int
list_files(const char *folder, pcap_if_t **list, char *errbuf)
{
	size_t len = strlen(folder);
	const char *slash = len > 0 && folder[len - 1] == '/' ? "" : "/";
	pcap_if_t **end = list;
	struct dirent *entry;
	DIR *directory;

	if (len == 0) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "To list local files, the source string must include a directory.");
		return PCAP_ERROR;
	}
	directory = opendir(folder);
	if (!directory) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "Error when listing files in '%.160s%s': %.60s", folder, slash,
			 strerror(errno));
		return PCAP_ERROR;
	}
	while ((entry = readdir(directory))) {
		char path[PCAP_BUF_SIZE];
		pcap_if_t *added;

		/* A FIFO would wait for its writer: only plain files and links to something are opened. */
		if ((entry->d_type != DT_REG && entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) ||
		    snprintf(path, sizeof(path), "%s%s%s", folder, slash, entry->d_name) >= (int)sizeof(path) ||
		    !is_savefile(path))
			continue;
		added = add_file(end, path);
		if (!added) {
			closedir(directory);
			return out_of_memory(list, errbuf);
		}
		end = &added->next;
	}
	closedir(directory);
	return 0;
}

/* A list for pcap_freealldevs(); names are source strings for pcap_open(). */
int
pcap_findalldevs_ex(const char *source, struct pcap_rmtauth *auth, pcap_if_t **alldevs, char *errbuf)
{
	char name[PCAP_BUF_SIZE];
	int type;

	(void)auth;
	*alldevs = NULL;
	if (!source || strlen(source) >= PCAP_BUF_SIZE) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s",
			 source ? "The source string is too long. Cannot handle it correctly."
				: "The source string must not be NULL.");
		return PCAP_ERROR;
	}
	if (pcap_parsesrcstr(source, &type, NULL, NULL, name, errbuf) < 0)
		return PCAP_ERROR;
	if (type == PCAP_SRC_FILE)
		return list_files(name, alldevs, errbuf);
	if (type == PCAP_SRC_IFREMOTE) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", no_remote);
		return PCAP_ERROR;
	}
	if (*name) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE,
			 "To list local capture devices, the source string must not include a device name.");
		return PCAP_ERROR;
	}
	return list_devices(alldevs, errbuf);
}
