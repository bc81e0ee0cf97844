/* SPDX-License-Identifier: BSD-3-Clause */
/* The slot of a filter that takes every packet, with the result that stands for no filter. Microengine C. */
static uint32_t
ffpf_filter(uint32_t record, uint32_t captured)
{
	return 0xffffffff;
}
