/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/live_link_type.h"

#include "source/cooked.h"
#include "source/live_device.h"

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <pcap/dlt.h>
#include <string.h>

#define HARDWARE_FC_RFC4338 18   /* assigned for IP over Fibre Channel, unknown to linux/if_arp.h */
#define HARDWARE_LAPD       8445 /* of the vISDN drivers */

static const int ethernet_choices[] = { DLT_EN10MB, DLT_DOCSIS };
static const int fibre_channel_choices[] = { DLT_FC_2, DLT_FC_2_WITH_FRAME_DELIMS, DLT_IP_OVER_FC };
static const int cooked_choices[] = { DLT_LINUX_SLL, DLT_LINUX_SLL2 };

enum { RAW, COOKED }; /* with the link header as it is, or without */

/* Ethernet and Fibre Channel need more than a row: see below. What is not in the table is captured cooked. */
static const struct row {
	uint16_t hardware_type;
	uint8_t mode;
	int dlt;
} rows[] = {
	{ ARPHRD_ETHER, RAW, DLT_EN10MB },
	{ ARPHRD_METRICOM, RAW, DLT_EN10MB },
	{ ARPHRD_LOOPBACK, RAW, DLT_EN10MB },
	{ ARPHRD_EETHER, RAW, DLT_EN3MB },
	{ ARPHRD_AX25, RAW, DLT_AX25_KISS },
	{ ARPHRD_PRONET, RAW, DLT_PRONET },
	{ ARPHRD_CHAOS, RAW, DLT_CHAOS },
	{ ARPHRD_CAN, RAW, DLT_CAN_SOCKETCAN },
	{ ARPHRD_IEEE802_TR, RAW, DLT_IEEE802 },
	{ ARPHRD_IEEE802, RAW, DLT_IEEE802 },
	{ ARPHRD_ARCNET, RAW, DLT_ARCNET_LINUX },
	{ ARPHRD_FDDI, RAW, DLT_FDDI },
	{ ARPHRD_ATM, COOKED, DLT_LINUX_SLL }, /* an LLC header or none: the kernel does not tell */
	{ ARPHRD_IEEE80211, RAW, DLT_IEEE802_11 },
	{ ARPHRD_IEEE80211_PRISM, RAW, DLT_PRISM_HEADER },
	{ ARPHRD_IEEE80211_RADIOTAP, RAW, DLT_IEEE802_11_RADIO },
	{ ARPHRD_PPP, COOKED, DLT_LINUX_SLL }, /* drivers differ in what header they give, if any */
	{ ARPHRD_CISCO, RAW, DLT_C_HDLC },
	{ ARPHRD_TUNNEL, RAW, DLT_RAW },
	{ ARPHRD_SIT, RAW, DLT_RAW },
	{ ARPHRD_CSLIP, RAW, DLT_RAW },
	{ ARPHRD_SLIP6, RAW, DLT_RAW },
	{ ARPHRD_CSLIP6, RAW, DLT_RAW },
	{ ARPHRD_ADAPT, RAW, DLT_RAW },
	{ ARPHRD_SLIP, RAW, DLT_RAW },
	{ ARPHRD_RAWHDLC, RAW, DLT_RAW },
	{ ARPHRD_DLCI, RAW, DLT_RAW },
	{ ARPHRD_NONE, RAW, DLT_RAW },
	{ ARPHRD_FRAD, RAW, DLT_FRELAY },
	{ ARPHRD_LOCALTLK, RAW, DLT_LTALK },
	{ HARDWARE_FC_RFC4338, RAW, DLT_IP_OVER_FC },
	{ ARPHRD_FCPP, RAW, DLT_FC_2 },
	{ ARPHRD_FCAL, RAW, DLT_FC_2 },
	{ ARPHRD_FCPL, RAW, DLT_FC_2 },
	{ ARPHRD_FCFABRIC, RAW, DLT_FC_2 },
	{ ARPHRD_IRDA, COOKED, DLT_LINUX_IRDA },
	{ HARDWARE_LAPD, COOKED, DLT_LINUX_LAPD },
	{ ARPHRD_IEEE802154, RAW, DLT_IEEE802_15_4_NOFCS },
	{ ARPHRD_NETLINK, COOKED, DLT_NETLINK }, /* the cooked header's protocol is the netlink family */
	{ ARPHRD_VSOCKMON, RAW, DLT_VSOCK },
};

/* Tag formats of Ethernet switches behind a management interface (DSA), as its attribute dsa/tagging names them. */
static const struct {
	const char *tagging;
	int dlt;
} switch_tags[] = {
	{ "none", DLT_EN10MB },     { "brcm", DLT_DSA_TAG_BRCM }, { "brcm-prepend", DLT_DSA_TAG_BRCM_PREPEND },
	{ "dsa", DLT_DSA_TAG_DSA }, { "edsa", DLT_DSA_TAG_EDSA },
};

static bool
has_prefix(const char *device, const char *prefix)
{
	return strncmp(device, prefix, strlen(prefix)) == 0;
}

static int
ethernet(struct link_type *out, const char *device, struct ffpf_error *err)
{
	char tagging[128];

	if (has_prefix(device, "cdma_rmnet")) { /* a mobile phone's interface: says Ethernet, gives IP */
		out->dlt = DLT_RAW;
		return 0;
	}
	if (has_prefix(device, "isdn") || has_prefix(device, "isdY")) {
		*out = (struct link_type){ DLT_LINUX_SLL, true, cooked_choices, 2 };
		return 0;
	}
	if (ffpf_device_is_wifi(device))
		return 0;
	if (ffpf_device_attribute(device, "dsa/tagging", tagging, sizeof(tagging)) > 0) {
		unsigned i = 0;

		while (i < sizeof(switch_tags) / sizeof(switch_tags[0]) && strcmp(tagging, switch_tags[i].tagging))
			i++;
		if (i == sizeof(switch_tags) / sizeof(switch_tags[0]))
			return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "unsupported DSA tag: %s", tagging);
		out->dlt = switch_tags[i].dlt;
		if (out->dlt != DLT_EN10MB)
			return 0;
	}
	/* a cable modem's head end puts bare DOCSIS frames on an Ethernet */
	out->choices = ethernet_choices;
	out->choice_count = sizeof(ethernet_choices) / sizeof(ethernet_choices[0]);
	return 0;
}

int
ffpf_link_type_of(struct link_type *out, const char *device, int hardware_type, struct ffpf_error *err)
{
	*out = (struct link_type){ DLT_LINUX_SLL, true, NULL, 0 };
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].hardware_type == hardware_type) {
			out->dlt = rows[i].dlt;
			out->cooked = rows[i].mode == COOKED;
			break;
		}
	}
	if (hardware_type == ARPHRD_ETHER)
		return ethernet(out, device, err);
	if (out->dlt == DLT_FC_2) {
		out->choices = fibre_channel_choices;
		out->choice_count = sizeof(fibre_channel_choices) / sizeof(fibre_channel_choices[0]);
	}
	return 0;
}

struct link_type
ffpf_link_type_of_any(void)
{
	return (struct link_type){ DLT_LINUX_SLL, true, cooked_choices,
				   sizeof(cooked_choices) / sizeof(cooked_choices[0]) };
}

int
ffpf_link_type_vlan_offset(int dlt)
{
	switch (dlt) {
	case DLT_EN10MB:
	case DLT_DOCSIS:             /* offered on Ethernet only, where libpcap changes nothing but the name */
		return 2 * ETH_ALEN; /* before the type, behind the addresses */
	case DLT_LINUX_SLL:
		return COOKED_V1_BYTES - 2; /* before the protocol */
	default:
		return -1;
	}
}
