/* SPDX-License-Identifier: BSD-3-Clause */
/* The IPv4 network of a device: for filters that speak of broadcast addresses. */
#include "handle.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Devices that are no network interface have no address; these two are known by a part of their name. */
static bool
has_no_network(const char *device)
{
	return !device || strcmp(device, "any") == 0 || strstr(device, "bluetooth") || strstr(device, "usbmon");
}

/* False with errno set. */
static bool
ask(int fd, unsigned long request, const char *device, bpf_u_int32 *address)
{
	struct ifreq ifr = { .ifr_addr.sa_family = AF_INET };
	struct sockaddr_in in;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	if (ioctl(fd, request, &ifr) < 0)
		return false;
	memcpy(&in, &ifr.ifr_addr, sizeof(in));
	*address = in.sin_addr.s_addr;
	return true;
}

/* What an address without a mask has, by its class. 0 when it has none. As libpcap has it, the octets are looked at in
 * network order but the masks are in host order: on a little-endian machine the last octet decides. */
static bpf_u_int32
mask_of_class(bpf_u_int32 net)
{
	if (IN_CLASSA(net))
		return IN_CLASSA_NET;
	if (IN_CLASSB(net))
		return IN_CLASSB_NET;
	return IN_CLASSC(net) ? IN_CLASSC_NET : 0;
}

int
pcap_lookupnet(const char *device, bpf_u_int32 *netp, bpf_u_int32 *maskp, char *errbuf)
{
	const char *failed = NULL;
	int fd, sys_errno;

	if (has_no_network(device)) {
		*netp = *maskp = 0;
		return 0;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "socket: %s", strerror(errno));
		return PCAP_ERROR;
	}
	if (!ask(fd, SIOCGIFADDR, device, netp))
		failed = "SIOCGIFADDR";
	else if (!ask(fd, SIOCGIFNETMASK, device, maskp))
		failed = "SIOCGIFNETMASK";
	sys_errno = errno;
	close(fd);
	if (failed) {
		if (sys_errno == EADDRNOTAVAIL && strcmp(failed, "SIOCGIFADDR") == 0)
			snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: no IPv4 address assigned", device);
		else
			snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: %s: %s", failed, device, strerror(sys_errno));
		return PCAP_ERROR;
	}
	if (*maskp == 0)
		*maskp = mask_of_class(*netp);
	if (*maskp == 0) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "inet class for 0x%x unknown", *netp);
		return PCAP_ERROR;
	}
	*netp &= *maskp;
	return 0;
}
