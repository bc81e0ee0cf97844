/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTERN(drop,0,0): this packet is lost here, and said to be: `dropped` in the node's counters, not `filtered`. */
#include "externs/table.h"

static uint64_t
call(struct ffpf_extern_use *use, const uint8_t *pkt, uint32_t cap_len, uint8_t *mbuf, uint64_t read_at,
     uint64_t write_at)
{
	(void)pkt, (void)cap_len, (void)mbuf, (void)read_at, (void)write_at;
	use->set->drop = true;
	return 0;
}

const struct ffpf_extern ffpf_extern_drop = {
	.name = "drop",
	.summary = "counts the packet as dropped, whatever the program returns",
	.arguments = "",
	.value = "0",
	.reads_what = "",
	.writes_what = "",
	.levels = FFPF_LEVEL_USERSPACE,
	.steps = 1,
	.call = call,
};
