/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The name functions of the pcap ABI: hosts, networks, ports, protocols. They are done here, with this process's libc,
 * and not by the system's libpcap in its own namespace: what they return belongs to the caller's libc (freeaddrinfo,
 * free).
 */
#include "abi.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Octets that a netdb entry of /etc/networks or /etc/protocols may need. */
#define NETDB_BUFFER_LEN 1024

/* libpcap exports this table, and old programs import it by copy relocation: name and size are part of the ABI. */
struct eproto {
	const char *s;
	u_short p;
};

extern struct eproto eproto_db[];

/* Values: IEEE 802 numbers, "Ethertypes". */
struct eproto eproto_db[] __attribute__((visibility("default"))) = {
	{ "aarp", 0x80f3 },  { "arp", 0x0806 },   { "atalk", 0x809b }, { "decnet", 0x6003 },
	{ "ip", 0x0800 },    { "ip6", 0x86dd },   { "lat", 0x6004 },   { "loopback", 0x9000 },
	{ "mopdl", 0x6001 }, { "moprc", 0x6002 }, { "rarp", 0x8035 },  { "sca", 0x6007 },
	{ NULL, 0 },
};

/* Service access points of IEEE 802.2. */
static const struct eproto llc_saps[] = {
	{ "iso", 0xfe }, { "stp", 0x42 }, { "ipx", 0xe0 }, { "netbeui", 0xf0 }, { NULL, 0 },
};

static int
find_protocol(const struct eproto *table, const char *name)
{
	for (; table->s; table++)
		if (strcmp(table->s, name) == 0)
			return table->p;
	return PROTO_UNDEF;
}

/* IPv4 addresses in host order; memory of the C library until its next look-up of a host. NULL: no such host. */
bpf_u_int32 **
pcap_nametoaddr(const char *name)
{
	struct hostent *host = gethostbyname(name);

	if (!host)
		return NULL;
	for (char **address = host->h_addr_list; *address; address++) {
		uint32_t value;

		memcpy(&value, *address, sizeof(value));
		value = ntohl(value);
		memcpy(*address, &value, sizeof(value));
	}
	return (bpf_u_int32 **)(void *)host->h_addr_list;
}

/* One result per address; the caller frees it with freeaddrinfo(). */
static struct addrinfo *
look_up(const char *host, const char *service, int type, int protocol, int *error)
{
	struct addrinfo hints = { .ai_family = PF_UNSPEC, .ai_socktype = type, .ai_protocol = protocol };
	struct addrinfo *found = NULL;

	*error = getaddrinfo(host, service, &hints, &found);
	return *error ? NULL : found;
}

struct addrinfo *
pcap_nametoaddrinfo(const char *name)
{
	int error;

	return look_up(name, NULL, SOCK_STREAM, IPPROTO_TCP, &error);
}

/* Network number in host order; 0: no such network. */
bpf_u_int32
pcap_nametonetaddr(const char *name)
{
	char buffer[NETDB_BUFFER_LEN];
	struct netent entry, *found = NULL;
	int problem;

	if (getnetbyname_r(name, &entry, buffer, sizeof(buffer), &found, &problem) != 0 || !found)
		return 0;
	return found->n_net;
}

/*
 * Port of a service with one protocol: a port, -1 when there is no such service, -2 when it cannot be known (the name
 * service failed).
 */
static int
port_of(const char *name, int type, int protocol)
{
	int error, port = -1;
	struct addrinfo *found = look_up(NULL, name, type, protocol, &error);

	if (!found)
		return error == EAI_NONAME || error == EAI_SERVICE ? -1 : -2;
	for (const struct addrinfo *one = found; one && port < 0; one = one->ai_next) {
		if (one->ai_addr && one->ai_family == AF_INET)
			port = ntohs(((const struct sockaddr_in *)(const void *)one->ai_addr)->sin_port);
		else if (one->ai_addr && one->ai_family == AF_INET6)
			port = ntohs(((const struct sockaddr_in6 *)(const void *)one->ai_addr)->sin6_port);
	}
	freeaddrinfo(found);
	return port;
}

/* 1 and *port, *proto (PROTO_UNDEF: the same port with TCP and UDP), or 0. TCP goes first when the ports differ. */
int
pcap_nametoport(const char *name, int *port, int *proto)
{
	int tcp = port_of(name, SOCK_STREAM, IPPROTO_TCP);
	int udp;

	if (tcp == -2)
		return 0;
	udp = port_of(name, SOCK_DGRAM, IPPROTO_UDP);
	if (udp == -2 || (tcp < 0 && udp < 0))
		return 0;
	*port = tcp >= 0 ? tcp : udp;
	if (tcp >= 0 && udp == tcp)
		*proto = PROTO_UNDEF;
	else
		*proto = tcp >= 0 ? IPPROTO_TCP : IPPROTO_UDP;
	return 1;
}

/* "1000-2000" or "ftp-http": 1 and both ends, or 0. */
int
pcap_nametoportrange(const char *name, int *port1, int *port2, int *proto)
{
	const char *dash = strchr(name, '-');
	int first_proto, found;
	char *first;

	if (sscanf(name, "%d-%d", port1, port2) == 2) {
		*proto = PROTO_UNDEF;
		return 1;
	}
	first = dash ? strndup(name, (size_t)(dash - name)) : NULL;
	if (!first)
		return 0;
	found = pcap_nametoport(first, port1, proto);
	free(first);
	if (!found)
		return 0;
	first_proto = *proto;
	if (!pcap_nametoport(dash + 1, port2, proto))
		return 0;
	if (*proto != first_proto)
		*proto = PROTO_UNDEF;
	return 1;
}

/* Number of an IP protocol, or PROTO_UNDEF. */
int
pcap_nametoproto(const char *name)
{
	char buffer[NETDB_BUFFER_LEN];
	struct protoent entry, *found = NULL;

	if (getprotobyname_r(name, &entry, buffer, sizeof(buffer), &found) != 0)
		return 0;
	return found ? found->p_proto : PROTO_UNDEF;
}

int
pcap_nametoeproto(const char *name)
{
	return find_protocol(eproto_db, name);
}

int
pcap_nametollc(const char *name)
{
	return find_protocol(llc_saps, name);
}
