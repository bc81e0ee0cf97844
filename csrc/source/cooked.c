/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/cooked.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <pcap/dlt.h>
#include <string.h>

uint32_t
ffpf_cooked_bytes(int dlt)
{
	return dlt == DLT_LINUX_SLL2 ? COOKED_V2_BYTES : COOKED_V1_BYTES;
}

static void
put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* `from` may overlap the header's octets when the frame is tight: read all of it first. */
void
ffpf_cooked_write(uint8_t *header, int dlt, const struct sockaddr_ll *from)
{
	struct sockaddr_ll sll = *from;

	if (dlt == DLT_LINUX_SLL2) {
		uint32_t ifindex = htonl((uint32_t)sll.sll_ifindex);

		memcpy(header, &sll.sll_protocol, 2);
		put16(header + 2, 0);
		memcpy(header + 4, &ifindex, 4);
		put16(header + 8, sll.sll_hatype);
		header[10] = sll.sll_pkttype;
		header[11] = sll.sll_halen;
		memcpy(header + 12, sll.sll_addr, 8);
	} else {
		put16(header, sll.sll_pkttype);
		put16(header + 2, sll.sll_hatype);
		put16(header + 4, sll.sll_halen);
		memcpy(header + 6, sll.sll_addr, 8);
		memcpy(header + 14, &sll.sll_protocol, 2);
	}
}

/* Header fields that the kernel's filter machine knows by another name. */
static const struct {
	bool v2;
	uint16_t code;
	uint32_t offset, ancillary;
} fields[] = {
	{ false, BPF_LD | BPF_ABS | BPF_H, 0, SKF_AD_PKTTYPE },
	{ false, BPF_LD | BPF_ABS | BPF_H, 14, SKF_AD_PROTOCOL },
	{ true, BPF_LD | BPF_ABS | BPF_H, 0, SKF_AD_PROTOCOL },
	{ true, BPF_LD | BPF_ABS | BPF_W, 4, SKF_AD_IFINDEX },
	{ true, BPF_LD | BPF_ABS | BPF_B, 10, SKF_AD_PKTTYPE },
};

bool
ffpf_cooked_fix_load(struct ffpf_bpf_insn *load, int dlt)
{
	uint32_t header = ffpf_cooked_bytes(dlt);
	uint32_t ancillary = (uint32_t)SKF_AD_OFF;
	bool v2 = dlt == DLT_LINUX_SLL2;

	if (load->k >= ancillary)
		return true;
	if (load->k >= header && (int32_t)load->k > 0) {
		load->k -= header;
		return true;
	}
	/* The kernel's values stand for whole fields: an indirect, shorter or shifted load reads something else. */
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].v2 == v2 && fields[i].code == load->code && fields[i].offset == load->k) {
			load->k = ancillary + fields[i].ancillary;
			return true;
		}
	}
	return false;
}
