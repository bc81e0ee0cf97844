/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/ancillary.h"

#include <linux/filter.h>
#include <string.h>

#define FIELD(number, member)                                                                                          \
	{                                                                                                              \
		(uint32_t)(SKF_AD_OFF + (number)), sizeof(((struct ffpf_bpf_aux *)NULL)->member),                      \
		    offsetof(struct ffpf_bpf_aux, member)                                                              \
	}

static const struct ffpf_bpf_ancillary fields[] = {
	FIELD(SKF_AD_PROTOCOL, protocol),   FIELD(SKF_AD_PKTTYPE, pkt_type),
	FIELD(SKF_AD_IFINDEX, ifindex),     FIELD(SKF_AD_HATYPE, hatype),
	FIELD(SKF_AD_VLAN_TAG, vlan_tci),   FIELD(SKF_AD_VLAN_TAG_PRESENT, vlan_present),
	FIELD(SKF_AD_VLAN_TPID, vlan_tpid),
};

const struct ffpf_bpf_ancillary *
ffpf_bpf_ancillary_find(const struct ffpf_bpf_insn *insn)
{
	if (insn->code != (BPF_LD | BPF_W | BPF_ABS) && insn->code != (BPF_LD | BPF_H | BPF_ABS) &&
	    insn->code != (BPF_LD | BPF_B | BPF_ABS))
		return NULL;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (insn->k == fields[i].k)
			return &fields[i];
	return NULL;
}

uint32_t
ffpf_bpf_ancillary_load(const struct ffpf_bpf_ancillary *field, const struct ffpf_bpf_aux *aux)
{
	const uint8_t *at = (const uint8_t *)aux + field->offset;
	uint16_t half;
	uint32_t word;

	switch (field->size) {
	case sizeof(word):
		memcpy(&word, at, sizeof(word));
		return word;
	case sizeof(half):
		memcpy(&half, at, sizeof(half));
		return half;
	default:
		return *at;
	}
}
