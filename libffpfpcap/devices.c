/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of devices, as the system's library gives it: it asks the kernel, and the kinds of devices that we do not
 * capture on, in an order and with flags that programs show to people. Behind them stand the boards that run.
 */
#include "handle.h"
#include "host/boards.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void
pcap_freealldevs(pcap_if_t *alldevs)
{
	while (alldevs) {
		pcap_if_t *device = alldevs;

		alldevs = device->next;
		while (device->addresses) {
			struct pcap_addr *address = device->addresses;

			device->addresses = address->next;
			free(address->addr);
			free(address->netmask);
			free(address->broadaddr);
			free(address->dstaddr);
			free(address);
		}
		free(device->name);
		free(device->description);
		free(device);
	}
}

/* Octets that an address of this family has, as libpcap counts them when it makes the list. */
static size_t
address_len(const struct sockaddr *address)
{
	switch (address->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	case AF_PACKET:
		return sizeof(struct sockaddr_ll);
	default:
		return sizeof(struct sockaddr);
	}
}

/* False without memory. NULL is copied as NULL. */
static bool
copy_sockaddr(struct sockaddr **copy, const struct sockaddr *from)
{
	size_t len;

	*copy = NULL;
	if (!from)
		return true;
	len = address_len(from);
	*copy = calloc(1, sizeof(struct sockaddr_storage));
	if (!*copy)
		return false;
	memcpy(*copy, from, len);
	return true;
}

static bool
copy_text(char **copy, const char *from)
{
	*copy = from ? strdup(from) : NULL;
	return *copy || !from;
}

static bool
copy_addresses(struct pcap_addr **end, const struct pcap_addr *from)
{
	for (; from; from = from->next) {
		struct pcap_addr *address = calloc(1, sizeof(*address));

		if (!address)
			return false;
		*end = address;
		end = &address->next;
		if (!copy_sockaddr(&address->addr, from->addr) || !copy_sockaddr(&address->netmask, from->netmask) ||
		    !copy_sockaddr(&address->broadaddr, from->broadaddr) ||
		    !copy_sockaddr(&address->dstaddr, from->dstaddr))
			return false;
	}
	return true;
}

/* On failure *end leads to what was copied so far. */
static bool
copy_devices(pcap_if_t **end, const pcap_if_t *from)
{
	for (; from; from = from->next) {
		pcap_if_t *device = calloc(1, sizeof(*device));

		if (!device)
			return false;
		*end = device;
		end = &device->next;
		device->flags = from->flags;
		if (!copy_text(&device->name, from->name) || !copy_text(&device->description, from->description) ||
		    !copy_addresses(&device->addresses, from->addresses))
			return false;
	}
	return true;
}

struct board_list {
	pcap_if_t **end;
	bool failed;
};

static bool
add_board(void *arg, const char *name)
{
	struct board_list *list = arg;
	pcap_if_t *device;

	if (if_nametoindex(name)) /* that one is captured on */
		return true;
	device = calloc(1, sizeof(*device));
	if (device) {
		*list->end = device;
		list->end = &device->next;
		device->flags = PCAP_IF_UP | PCAP_IF_RUNNING | PCAP_IF_CONNECTION_STATUS_CONNECTED;
	}
	list->failed =
	    !device || !copy_text(&device->name, name) || !copy_text(&device->description, "IXP1200 network processor");
	return !list->failed;
}

static bool
add_boards(pcap_if_t **alldevs)
{
	struct board_list list = { .end = alldevs };

	while (*list.end)
		list.end = &(*list.end)->next;
	ffpf_ixp_each(add_board, &list);
	return !list.failed;
}

int
pcap_findalldevs(pcap_if_t **alldevs, char *errbuf)
{
	struct ffpf_error err;
	__typeof__(&pcap_findalldevs) find = FFPF_SYSPCAP(pcap_findalldevs, &err);
	__typeof__(&pcap_freealldevs) free_found = FFPF_SYSPCAP(pcap_freealldevs, &err);
	pcap_if_t *found;
	bool copied;

	*alldevs = NULL;
	if (!find || !free_found) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", err.text);
		return PCAP_ERROR;
	}
	if (find(&found, errbuf) != 0)
		return PCAP_ERROR;
	copied = copy_devices(alldevs, found) && add_boards(alldevs);
	free_found(found);
	if (copied)
		return 0;
	pcap_freealldevs(*alldevs);
	*alldevs = NULL;
	snprintf(errbuf, PCAP_ERRBUF_SIZE, "malloc: no memory for the list of devices");
	return PCAP_ERROR;
}

/* The first device, in memory of this library, until the next call: not thread-safe by its definition. A loopback
 * device is listed last but for the pseudo devices, so when it comes first there is no other to capture on. */
char *
pcap_lookupdev(char *errbuf)
{
	static char device[IF_NAMESIZE + 1];
	pcap_if_t *alldevs;
	char *found = NULL;

	if (ffpf_new_api) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE,
			 "pcap_lookupdev() is deprecated and is not supported in programs "
			 "calling pcap_init()");
		return NULL;
	}
	if (pcap_findalldevs(&alldevs, errbuf) != 0)
		return NULL;
	if (!alldevs || (alldevs->flags & PCAP_IF_LOOPBACK)) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "no suitable device found");
	} else {
		snprintf(device, sizeof(device), "%s", alldevs->name);
		found = device;
	}
	pcap_freealldevs(alldevs);
	return found;
}
