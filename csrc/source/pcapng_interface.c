/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *   options = { code 2, length 2, value, padding to four octets }, until opt_endofopt or the end of the block
 */
#include "source/pcapng_interface.h"
#include "source/savefile_internal.h"

#include <stdlib.h>

#define BLOCK_INTERFACE 1u

enum { OPT_ENDOFOPT = 0, OPT_IF_TSRESOL = 9, OPT_IF_TSOFFSET = 14 };

int
ffpf_pcapng_block_short(uint32_t block_type, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_FORMAT, "block of type %u in pcapng dump file is too short", block_type);
}

/* if_tsresol: a negative power of 2 when the high bit is set, else of 10. */
static int
read_resolution(uint8_t option, struct pcapng_interface *ifc, struct ffpf_error *err)
{
	ifc->binary = option & 0x80;
	option &= 0x7f;
	if (option > (ifc->binary ? 63 : 19)) /* what 64 bits can count in a second */
		return ffpf_error_set(err, FFPF_E_FORMAT,
				      "Interface Description Block if_tsresol option resolution %d^-%u is too high",
				      ifc->binary ? 2 : 10, option);
	ifc->ticks = 1;
	for (uint8_t i = 0; i < option; i++)
		ifc->ticks *= ifc->binary ? 2 : 10;
	return 0;
}

/* Only once, and of the right length. */
static int
check_option(const char *name, unsigned int len, unsigned int right_len, bool *seen, struct ffpf_error *err)
{
	if (len != right_len)
		return ffpf_error_set(err, FFPF_E_FORMAT,
				      "Interface Description Block has %s option with length %u != %u", name, len,
				      right_len);
	if (seen && *seen)
		return ffpf_error_set(err, FFPF_E_FORMAT, "Interface Description Block has more than one %s option",
				      name);
	if (seen)
		*seen = true;
	return 0;
}

static int
read_options(struct pcapng_interface *ifc, const uint8_t *options, size_t len, bool swapped, struct ffpf_error *err)
{
	bool seen_resolution = false, seen_offset = false;

	while (len) {
		uint16_t code, value_len;
		size_t padded_len;
		int rc = 0;

		if (len < 4)
			return ffpf_pcapng_block_short(BLOCK_INTERFACE, err);
		code = get16(options, swapped);
		value_len = get16(options + 2, swapped);
		options += 4;
		len -= 4;
		padded_len = ((size_t)value_len + 3) & ~(size_t)3;
		if (len < padded_len)
			return ffpf_pcapng_block_short(BLOCK_INTERFACE, err);

		switch (code) {
		case OPT_ENDOFOPT:
			return check_option("opt_endofopt", value_len, 0, NULL, err);
		case OPT_IF_TSRESOL:
			rc = check_option("if_tsresol", value_len, 1, &seen_resolution, err);
			if (!rc)
				rc = read_resolution(options[0], ifc, err);
			break;
		case OPT_IF_TSOFFSET:
			rc = check_option("if_tsoffset", value_len, 8, &seen_offset, err);
			if (!rc)
				ifc->offset = get64(options, swapped);
			break;
		default:
			break;
		}
		if (rc)
			return rc;
		options += padded_len;
		len -= padded_len;
	}
	return 0;
}

static int
make_room(struct pcapng_format *ng, struct ffpf_error *err)
{
	uint32_t room = ng->interfaces_room ? ng->interfaces_room * 2 : 4;
	struct pcapng_interface *bigger;

	if (ng->interface_count < ng->interfaces_room)
		return 0;
	if (room < ng->interfaces_room)
		return ffpf_error_set(err, FFPF_E_FORMAT, "more than %u interfaces in the file", 0x80000000u);
	bigger = realloc(ng->interfaces, room * sizeof(*bigger));
	if (!bigger)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY,
				      "out of memory for per-interface information (%u interfaces)",
				      ng->interface_count + 1);
	/* An interface whose options are broken is counted all the same: it must be safe to use. */
	for (uint32_t i = ng->interfaces_room; i < room; i++)
		bigger[i] = (struct pcapng_interface){ .ticks = 1000000 };
	ng->interfaces = bigger;
	ng->interfaces_room = room;
	return 0;
}

int
ffpf_pcapng_interface_add(struct pcapng_format *ng, const uint8_t *options, size_t len, bool swapped,
			  struct ffpf_error *err)
{
	struct pcapng_interface ifc = { .ticks = 1000000 };
	int rc = make_room(ng, err);

	if (rc)
		return rc;
	ng->interface_count++;
	rc = read_options(&ifc, options, len, swapped, err);
	if (rc)
		return rc;
	ng->interfaces[ng->interface_count - 1] = ifc;
	return 0;
}

/* Fractions in the file's ticks, to the ticks that were asked for. Products wrap, as libpcap's do. */
static uint64_t
scale(const struct pcapng_interface *ifc, uint64_t wanted, uint64_t frac)
{
	if (ifc->ticks == wanted)
		return frac;
	if (ifc->binary)
		return frac * wanted / ifc->ticks;
	return ifc->ticks > wanted ? frac / (ifc->ticks / wanted) : frac * (wanted / ifc->ticks);
}

void
ffpf_pcapng_time(struct pcapng_format *ng, uint32_t interface_id, uint64_t ticks, struct ffpf_packet *pkt)
{
	struct pcapng_interface *ifc = &ng->interfaces[interface_id];

	/* Most packets lie in the second of the one before: no division then. */
	if (ticks < ifc->second_start || ticks - ifc->second_start >= ifc->ticks) {
		ifc->second = ticks / ifc->ticks;
		ifc->second_start = ifc->second * ifc->ticks;
	}
	pkt->ts_sec = (int64_t)(ifc->second + ifc->offset);
	pkt->ts_frac = (int32_t)(uint32_t)scale(ifc, ng->ticks_wanted, ticks - ifc->second_start);
}
