/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live_device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST_OFFLOADED 65535 /* an IP packet before segmentation or after aggregation */
#define ETHERNET_EXTRA    18    /* header and FCS */

static struct ifreq
named(const char *device)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	return ifr;
}

int
ffpf_device_index(int fd, const char *device, struct ffpf_error *err)
{
	struct ifreq ifr = named(device);

	if (ioctl(fd, SIOCGIFINDEX, &ifr) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "SIOCGIFINDEX");
	return ifr.ifr_ifindex;
}

int
ffpf_device_hardware_type(int fd, const char *device, struct ffpf_error *err)
{
	struct ifreq ifr = named(device);

	if (ioctl(fd, SIOCGIFHWADDR, &ifr) == -1) {
		if (errno == ENODEV)
			return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "%s", "");
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "SIOCGIFHWADDR");
	}
	return ifr.ifr_hwaddr.sa_family;
}

/* A feature that the driver does not know, or does not let us ask for, is off. */
static int
ethtool_flags(int fd, const char *device, uint32_t command, const char *name, struct ffpf_error *err)
{
	struct ethtool_value value = { .cmd = command };
	struct ifreq ifr = named(device);

	ifr.ifr_data = (char *)&value;
	if (ioctl(fd, SIOCETHTOOL, &ifr) == -1) {
		if (errno == EOPNOTSUPP || errno == EINVAL || errno == EPERM)
			return 0;
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s: SIOCETHTOOL(%s) ioctl failed", device,
					    name);
	}
	return (int)(value.data & INT32_MAX);
}

/* Whether packets larger than the MTU pass the interface: segmentation or aggregation is left to somebody else. */
static int
has_offload(int fd, const char *device, struct ffpf_error *err)
{
	static const struct {
		uint32_t command, mask;
		const char *name;
	} features[] = {
		{ ETHTOOL_GTSO, UINT32_MAX, "ETHTOOL_GTSO" },
		{ ETHTOOL_GGSO, UINT32_MAX, "ETHTOOL_GGSO" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_LRO, "ETHTOOL_GFLAGS" },
		{ ETHTOOL_GGRO, UINT32_MAX, "ETHTOOL_GGRO" },
	};

	for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		int flags = ethtool_flags(fd, device, features[i].command, features[i].name, err);

		if (flags < 0)
			return flags;
		if ((uint32_t)flags & features[i].mask)
			return 1;
	}
	return 0;
}

int
ffpf_device_largest_frame(int fd, const char *device, struct ffpf_error *err)
{
	struct ifreq ifr = named(device);
	int offload, mtu;

	if (ioctl(fd, SIOCGIFMTU, &ifr) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "SIOCGIFMTU");
	mtu = ifr.ifr_mtu;
	offload = has_offload(fd, device, err);
	if (offload < 0)
		return offload;
	return ETHERNET_EXTRA + (offload && mtu < LARGEST_OFFLOADED ? LARGEST_OFFLOADED : mtu);
}

int
ffpf_device_bind(int fd, int ifindex, uint16_t protocol, struct ffpf_error *err)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET, .sll_ifindex = ifindex, .sll_protocol = htons(protocol) };
	int pending;
	socklen_t len = sizeof(pending);

	if (bind(fd, (struct sockaddr *)&sll, sizeof(sll)) == -1) {
		if (errno == ENETDOWN)
			return ffpf_error_set(err, FFPF_E_DEVICE_DOWN, "%s", "");
		if (errno == ENODEV)
			return ffpf_error_set(err, FFPF_E_NO_SUCH_DEVICE, "%s", "");
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "bind");
	}
	/* bind() succeeds on an interface that is down and says so here */
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "getsockopt (SO_ERROR)");
	if (pending == ENETDOWN)
		return ffpf_error_set(err, FFPF_E_DEVICE_DOWN, "%s", "");
	if (pending > 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, pending, "bind");
	return 0;
}

int
ffpf_device_state(int fd, int ifindex, struct ffpf_error *err)
{
	struct sockaddr_ll addr = { 0 };
	socklen_t len = sizeof(addr);
	struct ifreq ifr = { 0 };

	if (getsockname(fd, (struct sockaddr *)&addr, &len) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "getsockname failed");
	if (addr.sll_ifindex == -1)
		return DEVICE_IS_GONE;
	/* the index leads to the name of the moment; a rename between the two calls looks like a loss, so ask twice */
	for (int attempt = 0; attempt < 2; attempt++) {
		ifr.ifr_ifindex = ifindex;
		if (ioctl(fd, SIOCGIFNAME, &ifr) == -1)
			return DEVICE_IS_GONE;
		if (ioctl(fd, SIOCGIFFLAGS, &ifr) == 0)
			return ifr.ifr_flags & IFF_UP ? DEVICE_IS_UP : DEVICE_IS_DOWN;
		if (errno != ENXIO && errno != ENODEV)
			return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s: Can't get flags", ifr.ifr_name);
	}
	return DEVICE_IS_GONE;
}

int
ffpf_device_attribute(const char *device, const char *attribute, char *buf, int size)
{
	char path[IFNAMSIZ + 64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", device, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	len = read(fd, buf, (size_t)size - 1);
	close(fd);
	if (len < 0)
		return -1;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return (int)strlen(buf);
}

static uint64_t
attribute_count(const char *device, const char *attribute)
{
	char buf[32];

	return ffpf_device_attribute(device, attribute, buf, sizeof(buf)) > 0 ? strtoull(buf, NULL, 10) : 0;
}

uint64_t
ffpf_device_lost(const char *device)
{
	return attribute_count(device, "statistics/rx_missed_errors") +
	       attribute_count(device, "statistics/rx_fifo_errors");
}

bool
ffpf_device_is_wifi(const char *device)
{
	char path[IFNAMSIZ + 64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/wireless", device);
	return access(path, F_OK) == 0;
}
