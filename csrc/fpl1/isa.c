/* SPDX-License-Identifier: BSD-3-Clause */
#include "fpl1/isa.h"

#include <stddef.h>

const struct ffpf_fpl1_op_info *
ffpf_fpl1_op_info(uint8_t op)
{
#define ROW(code, id, op_name, op_form, op_takes, op_gives)                                                            \
	[code] = { .name = op_name, .form = FFPF_FPL1_##op_form, .takes = op_takes, .gives = op_gives },
	static const struct ffpf_fpl1_op_info ops[256] = { FFPF_FPL1_OPS(ROW) };
#undef ROW

	return ops[op].name ? &ops[op] : NULL;
}
