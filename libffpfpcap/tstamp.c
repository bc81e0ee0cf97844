/* SPDX-License-Identifier: BSD-3-Clause */
/* Time stamp types: their names, and which of them a device has. */
#include "handle.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* linux/net_tstamp.h: what a device can do -> what programs ask for */
static const struct {
	uint32_t capability;
	int type;
} capabilities[] = {
	{ SOF_TIMESTAMPING_SOFTWARE, PCAP_TSTAMP_HOST },
	{ SOF_TIMESTAMPING_SYS_HARDWARE, PCAP_TSTAMP_ADAPTER },
	{ SOF_TIMESTAMPING_RAW_HARDWARE, PCAP_TSTAMP_ADAPTER_UNSYNCED },
};

#define CAPABILITIES (sizeof(capabilities) / sizeof(capabilities[0]))

/*
 * The capabilities of the handle's device as a set of SOF_TIMESTAMPING_*, 0 when it has no choice to offer; -1 with a text
 * on failure. A device that cannot stamp all packets offers none, whatever it says about single kinds.
 */
static int
device_capabilities(struct pcap *p, uint32_t *set)
{
	struct ethtool_ts_info info = { .cmd = ETHTOOL_GET_TS_INFO };
	struct ifreq ifr = { 0 };
	int fd, err;

	*set = 0;
	if (strcmp(p->opt.device, "any") == 0 || ffpf_foreign_device(p->opt.device))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "socket for SIOCETHTOOL(ETHTOOL_GET_TS_INFO)");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->opt.device);
	ifr.ifr_data = (void *)&info;
	err = ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? errno : 0;
	close(fd);
	switch (err) {
	case 0:
		if (info.rx_filters & (1U << HWTSTAMP_FILTER_ALL))
			*set = info.so_timestamping;
		return 0;
	case EOPNOTSUPP:
	case EINVAL: /* the driver cannot be asked: let programs try */
		*set = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_SYS_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
		return 0;
	case ENODEV: /* activation will say so */
		return 0;
	default:
		return ffpf_handle_fail_errno(p, PCAP_ERROR, err,
					      "%s: SIOCETHTOOL(ETHTOOL_GET_TS_INFO) ioctl failed", p->opt.device);
	}
}

int
pcap_list_tstamp_types(pcap_t *p, int **tstamp_typesp)
{
	uint32_t set = 0;
	int count = 0, *list;

	if (p->opt.device && device_capabilities(p, &set) < 0)
		return PCAP_ERROR;
	list = malloc(CAPABILITIES * sizeof(*list));
	if (!list)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "malloc");
	for (size_t i = 0; i < CAPABILITIES; i++)
		if (set & capabilities[i].capability)
			list[count++] = capabilities[i].type;
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
