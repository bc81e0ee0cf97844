/* SPDX-License-Identifier: BSD-3-Clause */
/* Who stamps packets: the kernel, or the interface's hardware. Documentation/networking/timestamping.rst of Linux. */
#include "source/live_internal.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
	uint32_t capability; /* SOF_TIMESTAMPING_* as ethtool reports it */
	int type;
} stampers[FFPF_LIVE_TSTAMP_TYPES_MAX] = {
	{ SOF_TIMESTAMPING_SOFTWARE, FFPF_TSTAMP_HOST },
	{ SOF_TIMESTAMPING_SYS_HARDWARE, FFPF_TSTAMP_ADAPTER },
	{ SOF_TIMESTAMPING_RAW_HARDWARE, FFPF_TSTAMP_ADAPTER_UNSYNCED },
};

static int
types_of(uint32_t capabilities, int types[FFPF_LIVE_TSTAMP_TYPES_MAX])
{
	int count = 0;

	for (unsigned i = 0; i < FFPF_LIVE_TSTAMP_TYPES_MAX; i++)
		if (capabilities & stampers[i].capability)
			types[count++] = stampers[i].type;
	return count;
}

int
ffpf_live_tstamp_types(const char *device, int types[FFPF_LIVE_TSTAMP_TYPES_MAX], struct ffpf_error *err)
{
	struct ethtool_ts_info info = { .cmd = ETHTOOL_GET_TS_INFO };
	struct ifreq ifr = { .ifr_data = (char *)&info };
	int error, fd;

	if (strcmp(device, "any") == 0 || strlen(device) >= sizeof(ifr.ifr_name))
		return 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "socket for SIOCETHTOOL(ETHTOOL_GET_TS_INFO)");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	error = ioctl(fd, SIOCETHTOOL, &ifr) == -1 ? errno : 0;
	close(fd);
	if (error == ENODEV)
		return 0;
	if (error == EOPNOTSUPP || error == EINVAL) /* the driver does not say: anything may be tried */
		return types_of(UINT32_MAX, types);
	if (error)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error,
					    "%s: SIOCETHTOOL(ETHTOOL_GET_TS_INFO) ioctl failed", device);
	if (!(info.rx_filters & (1u << HWTSTAMP_FILTER_ALL))) /* stamps some packets only */
		return 0;
	return types_of(info.so_timestamping, types);
}

int
ffpf_timestamp_enable(int fd, const char *device, enum ffpf_tstamp_type type, struct ffpf_error *err)
{
	struct hwtstamp_config config = { .tx_type = HWTSTAMP_TX_ON, .rx_filter = HWTSTAMP_FILTER_ALL };
	struct ifreq ifr = { .ifr_data = (char *)&config };
	int source = type == FFPF_TSTAMP_ADAPTER ? SOF_TIMESTAMPING_SYS_HARDWARE : SOF_TIMESTAMPING_RAW_HARDWARE;

	if (type != FFPF_TSTAMP_ADAPTER && type != FFPF_TSTAMP_ADAPTER_UNSYNCED)
		return FFPF_LIVE_OK;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	if (ioctl(fd, SIOCSHWTSTAMP, &ifr) < 0) {
		if (errno == EPERM)
			return ffpf_error_set(
			    err, FFPF_E_PERMISSION,
			    "Attempt to set hardware timestamp failed - CAP_NET_ADMIN may be required");
		if (errno == EOPNOTSUPP || errno == ERANGE) /* the kernel's stamps do instead */
			return FFPF_LIVE_TSTAMP_TYPE_NOT_SUPPORTED;
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "SIOCSHWTSTAMP failed");
	}
	if (setsockopt(fd, SOL_PACKET, PACKET_TIMESTAMP, &source, sizeof(source)))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't set PACKET_TIMESTAMP");
	return FFPF_LIVE_OK;
}
