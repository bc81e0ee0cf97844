/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *   file    = section { section }
 *   section = section header block, { interface description, packet or other block }
 *   block   = type 4, total length 4, body, total length 4; lengths are multiples of 4
 *
 * The first section header and what precedes the first interface are read through stdio, like a pcap file's header;
 * the walk does the rest. Blocks that change the reader's state (sections, interfaces) are taken only when no
 * descriptor waits, so that set_filter may go back within a batch.
 */
#include "source/savefile_internal.h"
#include "source/savefile_linktype.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK_SECTION         0x0a0d0d0au
#define BLOCK_INTERFACE       1u
#define BLOCK_PACKET          2u /* obsolete */
#define BLOCK_SIMPLE_PACKET   3u
#define BLOCK_ENHANCED_PACKET 6u

#define BYTE_ORDER_MAGIC 0x1a2b3c4du

#define BLOCK_HEADER_LEN   8u
#define BLOCK_TRAILER_LEN  4u
#define SECTION_BODY_LEN   16u /* byte order magic 4, major 2, minor 2, section length 8 */
#define INTERFACE_BODY_LEN 8u  /* link type 2, reserved 2, snapshot length 4 */
#define ENHANCED_BODY_LEN  20u /* interface 4, time high 4, low 4, captured 4, on the wire 4 */
#define PACKET_BODY_LEN    20u /* interface 2, drops 2, the rest as above */
#define SIMPLE_BODY_LEN    4u  /* on the wire 4 */

#define MAX_SECTION_BLOCK_LEN (1024u * 1024)
#define MAX_BLOCK_LEN         (16u * 1024 * 1024)
#define MAX_OPTIONS_LEN       131072u

struct block {
	uint32_t type;
	const uint8_t *body;
	size_t body_len;
};

/* What the lengths of a block must obey before it is read. */
static int
check_length(const struct savefile *sf, uint32_t len, struct ffpf_error *err)
{
	if (len < BLOCK_HEADER_LEN + BLOCK_TRAILER_LEN)
		return ffpf_error_set(err, FFPF_E_FORMAT, "block in pcapng dump file has a length of %u < %u", len,
				      BLOCK_HEADER_LEN + BLOCK_TRAILER_LEN);
	if (len % 4)
		return ffpf_error_set(err, FFPF_E_FORMAT,
				      "block in pcapng dump file has a length of %u that is not a multiple of 4", len);
	if (len > sf->pcapng.max_block_len)
		return ffpf_error_set(err, FFPF_E_FORMAT, "pcapng block size %u > maximum %u", len,
				      sf->pcapng.max_block_len);
	return 0;
}

static int
check_trailer(const uint8_t *block, uint32_t len, bool swapped, struct ffpf_error *err)
{
	if (get32(block + len - BLOCK_TRAILER_LEN, swapped) != len)
		return ffpf_error_set(err, FFPF_E_FORMAT, "block total length in header and trailer don't match");
	return 0;
}

static int
truncated(size_t wanted, size_t got, struct ffpf_error *err)
{
	return ffpf_error_set(err, FFPF_E_TRUNCATED,
			      "truncated pcapng dump file; tried to read %zu bytes, only got %zu", wanted, got);
}

static int
add_interface(struct savefile *sf, const struct block *b, struct ffpf_error *err)
{
	return ffpf_pcapng_interface_add(&sf->pcapng, b->body + INTERFACE_BODY_LEN, b->body_len - INTERFACE_BODY_LEN,
					 sf->reader.info.swapped, err);
}

/* An interface after the first: its link type is compared unmapped, its snapshot length adjusted, as libpcap does. */
static int
take_interface(struct savefile *sf, const struct block *b)
{
	const struct ffpf_reader_info *info = &sf->reader.info;
	uint32_t link_type, snap_len;

	if (b->body_len < INTERFACE_BODY_LEN)
		return ffpf_pcapng_block_short(b->type, &sf->reader.err);
	link_type = get16(b->body, info->swapped);
	snap_len = get32(b->body + 4, info->swapped);
	if ((uint32_t)info->link_type != link_type)
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
				      "an interface has a type %u different from the type of the first interface",
				      link_type);
	if (info->snap_len != ffpf_dlt_adjust_snap_len(info->link_type, snap_len))
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
				      "an interface has a snapshot length %u different from the snapshot length of the "
				      "first interface",
				      snap_len);
	return add_interface(sf, b, &sf->reader.err);
}

static int
take_section(struct savefile *sf, const struct block *b)
{
	bool swapped = sf->reader.info.swapped;
	uint32_t order, major;

	if (b->body_len < SECTION_BODY_LEN)
		return ffpf_pcapng_block_short(b->type, &sf->reader.err);
	order = get32(b->body, swapped);
	major = get16(b->body + 4, swapped);
	if (order == bswap_32(BYTE_ORDER_MAGIC))
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
				      "the file has sections with different byte orders");
	if (order != BYTE_ORDER_MAGIC)
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
				      "the file has a section with a bad byte order magic field");
	if (major != 1)
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT, "unknown pcapng savefile major version number %u",
				      major);
	sf->pcapng.interface_count = 0;
	return 0;
}

/* Fills *pkt from a block of one of the three packet types. 0 or -code. */
static inline int
take_packet(struct savefile *sf, const struct block *b, struct ffpf_packet *pkt)
{
	const struct ffpf_reader_info *info = &sf->reader.info;
	const bool swapped = info->swapped;
	const size_t fixed_len = b->type == BLOCK_SIMPLE_PACKET ? SIMPLE_BODY_LEN : ENHANCED_BODY_LEN;
	uint64_t ticks = 0; /* simple packets have no time */
	uint32_t interface_id = 0, cap_len, wire_len;

	_Static_assert(ENHANCED_BODY_LEN == PACKET_BODY_LEN, "they differ only in the interface's width");
	if (b->body_len < fixed_len)
		return ffpf_pcapng_block_short(b->type, &sf->reader.err);
	if (b->type == BLOCK_SIMPLE_PACKET) {
		wire_len = get32(b->body, swapped);
		cap_len = wire_len < info->snap_len ? wire_len : info->snap_len;
	} else {
		interface_id = b->type == BLOCK_PACKET ? get16(b->body, swapped) : get32(b->body, swapped);
		ticks = (uint64_t)get32(b->body + 4, swapped) << 32 | get32(b->body + 8, swapped);
		cap_len = get32(b->body + 12, swapped);
		wire_len = get32(b->body + 16, swapped);
	}
	if (interface_id >= sf->pcapng.interface_count)
		return ffpf_error_set(
		    &sf->reader.err, FFPF_E_FORMAT,
		    "a packet arrived on interface %u, but there's no Interface Description Block for "
		    "that interface",
		    interface_id);
	if (cap_len > info->snap_len)
		return ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
				      "invalid packet capture length %u, bigger than snaplen of %d", cap_len,
				      (int)info->snap_len);
	if (cap_len > b->body_len - fixed_len)
		return ffpf_pcapng_block_short(b->type, &sf->reader.err);

	*pkt = (struct ffpf_packet){
		.data = b->body + fixed_len,
		.cap_len = cap_len,
		.wire_len = wire_len,
		.ifindex = interface_id,
		.flags = FFPF_PACKET_HEAD_READABLE,
	};
	ffpf_pcapng_time(&sf->pcapng, interface_id, ticks, pkt);
	return 0;
}

enum taken {
	TAKEN_PACKET,
	TAKEN_NOTHING, /* skipped, or state was changed */
	TAKEN_LATER,   /* would change state, and may not now */
	TAKEN_WRONG,
};

static inline enum taken
take_block(struct savefile *sf, const struct block *b, bool may_change, struct ffpf_packet *pkt)
{
	int rc;

	switch (b->type) {
	case BLOCK_ENHANCED_PACKET:
	case BLOCK_SIMPLE_PACKET:
	case BLOCK_PACKET:
		return take_packet(sf, b, pkt) ? TAKEN_WRONG : TAKEN_PACKET;
	case BLOCK_INTERFACE:
	case BLOCK_SECTION:
		if (!may_change)
			return TAKEN_LATER;
		rc = b->type == BLOCK_INTERFACE ? take_interface(sf, b) : take_section(sf, b);
		return rc ? TAKEN_WRONG : TAKEN_NOTHING;
	default:
		return TAKEN_NOTHING;
	}
}

/* The block at lo, whole: WALK_FULL. Its length is wrong: WALK_FAILED, with *len what libpcap reads of it. */
static inline enum walk_state
find_block(struct savefile *sf, const uint8_t *at, size_t left, struct block *b, uint32_t *len)
{
	const bool swapped = sf->reader.info.swapped;

	sf->need = BLOCK_HEADER_LEN;
	if (left < BLOCK_HEADER_LEN)
		return WALK_NEED;
	*len = get32(at + 4, swapped);
	if (check_length(sf, *len, &sf->reader.err)) {
		*len = BLOCK_HEADER_LEN;
		return WALK_FAILED;
	}
	sf->need = *len;
	if (left < *len)
		return WALK_NEED;
	if (check_trailer(at, *len, swapped, &sf->reader.err))
		return WALK_FAILED;
	b->type = get32(at, swapped);
	b->body = at + BLOCK_HEADER_LEN;
	b->body_len = *len - BLOCK_HEADER_LEN - BLOCK_TRAILER_LEN;
	return WALK_FULL;
}

static enum walk_state
walk_blocks(struct savefile *sf)
{
	const struct ffpf_bpf_prog *prog = sf->prog;
	const struct window *w = &sf->win;
	size_t lo = w->lo;
	struct walked so_far = { 0 };
	enum walk_state state = WALK_FULL;

	while (so_far.count < SAVEFILE_BATCH) {
		struct ffpf_packet *pkt = &sf->pkts[so_far.count];
		struct block b;
		uint32_t len;
		enum taken taken;

		state = find_block(sf, w->mem + lo, w->hi - lo, &b, &len);
		if (state == WALK_NEED)
			break;
		taken = state == WALK_FAILED ? TAKEN_WRONG : take_block(sf, &b, so_far.count == 0, pkt);
		if (so_far.count > 0 && (taken == TAKEN_WRONG || taken == TAKEN_LATER)) {
			state = WALK_FULL; /* at the next call, with an empty batch */
			break;
		}
		lo += len;
		if (taken == TAKEN_WRONG) {
			state = WALK_FAILED;
			break;
		}
		if (taken == TAKEN_NOTHING)
			continue;
		if (sf->pseudo)
			savefile_fix_pseudo(sf, pkt, lo);
		savefile_classify(sf, prog, &so_far, pkt, lo);
	}
	savefile_walked(sf, &so_far, lo);
	return state;
}

static void
cut_short(struct savefile *sf)
{
	size_t there = sf->win.hi - sf->win.lo;

	if (there < BLOCK_HEADER_LEN)
		truncated(BLOCK_HEADER_LEN, there, &sf->reader.err);
	else
		truncated(sf->need - BLOCK_HEADER_LEN, there - BLOCK_HEADER_LEN, &sf->reader.err);
}

/* fread(3) of all octets. 1; 0 at a clean end of file; -code. */
static int
read_all(FILE *fp, uint8_t *to, size_t len, bool end_is_clean, struct ffpf_error *err)
{
	size_t got = fread(to, 1, len, fp);
	int rc;

	if (got == len)
		return 1;
	rc = ffpf_savefile_read_failed(fp, errno, err);
	if (rc)
		return rc;
	return got == 0 && end_is_clean ? 0 : truncated(len, got, err);
}

/* Reads one block through stdio into *mem, which grows. 1, 0 at the end of the file, -code. */
static int
read_block(struct savefile *sf, uint8_t **mem, struct block *b, struct ffpf_error *err)
{
	uint8_t header[BLOCK_HEADER_LEN], *bigger;
	uint32_t len;
	int rc = read_all(sf->fp, header, sizeof(header), true, err);

	if (rc <= 0)
		return rc;
	len = get32(header + 4, sf->reader.info.swapped);
	rc = check_length(sf, len, err);
	if (rc)
		return rc;
	bigger = realloc(*mem, len);
	if (!bigger)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	*mem = bigger;
	rc = read_all(sf->fp, *mem + BLOCK_HEADER_LEN, len - BLOCK_HEADER_LEN, false, err);
	if (rc < 0)
		return rc;
	rc = check_trailer(*mem, len, sf->reader.info.swapped, err);
	if (rc)
		return rc;
	b->type = get32(header, sf->reader.info.swapped);
	b->body = *mem + BLOCK_HEADER_LEN;
	b->body_len = len - BLOCK_HEADER_LEN - BLOCK_TRAILER_LEN;
	return 1;
}

/* The first section's header behind its type. 1, 0 when this is no pcapng file, -code. */
static int
read_first_section(struct savefile *sf, struct ffpf_error *err)
{
	const uint32_t least = BLOCK_HEADER_LEN + SECTION_BODY_LEN + BLOCK_TRAILER_LEN;
	struct ffpf_reader_info *info = &sf->reader.info;
	uint8_t start[8]; /* total length, byte order magic */
	uint8_t *rest;
	uint32_t len;
	int rc;

	for (int i = 0; i < 8; i += 4) /* one by one: a file that ends here is told from one that fails here */
		if (fread(start + i, 1, 4, sf->fp) != 4)
			return ffpf_savefile_read_failed(sf->fp, errno, err);
	if (get32(start + 4, false) != BYTE_ORDER_MAGIC) {
		if (get32(start + 4, true) != BYTE_ORDER_MAGIC)
			return 0;
		info->swapped = true;
	}
	len = get32(start, info->swapped);
	if (len < least || len > MAX_SECTION_BLOCK_LEN)
		return ffpf_error_set(
		    err, FFPF_E_FORMAT,
		    "Section Header Block in pcapng dump file has invalid length %u < _%u_ < %u (BT_SHB_INSANE_MAX)",
		    least, len, MAX_SECTION_BLOCK_LEN);
	rest = malloc(len);
	if (!rest)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	rc = read_all(sf->fp, rest, len - 12, false, err);
	info->version_major = rc > 0 ? get16(rest, info->swapped) : 0;
	info->version_minor = rc > 0 ? get16(rest + 2, info->swapped) : 0;
	free(rest);
	if (rc < 0)
		return rc;
	if (info->version_major != 1 || (info->version_minor != 0 && info->version_minor != 2))
		return ffpf_error_set(err, FFPF_E_FORMAT, "unsupported pcapng savefile version %d.%d",
				      info->version_major, info->version_minor);
	return 1;
}

/* Blocks up to the first interface, which says what the handle's link type and snapshot length are. 1 or -code. */
static int
read_first_interface(struct savefile *sf, uint8_t **mem, struct ffpf_error *err)
{
	struct ffpf_reader_info *info = &sf->reader.info;
	struct block b = { 0 };
	int rc;

	do {
		rc = read_block(sf, mem, &b, err);
		if (rc == 0)
			return ffpf_error_set(err, FFPF_E_FORMAT,
					      "the capture file has no Interface Description Blocks");
		if (rc < 0)
			return rc;
		if (b.type == BLOCK_ENHANCED_PACKET || b.type == BLOCK_SIMPLE_PACKET || b.type == BLOCK_PACKET)
			return ffpf_error_set(err, FFPF_E_FORMAT,
					      "the capture file has a packet block before any Interface Description "
					      "Blocks");
	} while (b.type != BLOCK_INTERFACE);

	if (b.body_len < INTERFACE_BODY_LEN)
		return ffpf_pcapng_block_short(b.type, err);
	rc = add_interface(sf, &b, err);
	if (rc)
		return rc;
	info->link_type = ffpf_linktype_to_dlt(get16(b.body, info->swapped));
	info->snap_len = ffpf_dlt_adjust_snap_len(info->link_type, get32(b.body + 4, info->swapped));
	return 1;
}

int
ffpf_savefile_pcapng_open(struct savefile *sf, uint32_t magic, enum ffpf_tick_wanted tick, struct ffpf_error *err)
{
	uint8_t *mem = NULL;
	uint32_t largest;
	int rc;

	if (magic != BLOCK_SECTION)
		return 0;
	sf->pcapng.max_block_len = MAX_BLOCK_LEN;
	sf->pcapng.ticks_wanted = tick == FFPF_WANT_NS ? 1000000000 : 1000000;
	rc = read_first_section(sf, err);
	if (rc <= 0)
		return rc;
	rc = read_first_interface(sf, &mem, err);
	free(mem);
	if (rc < 0)
		return rc;

	largest = BLOCK_HEADER_LEN + ENHANCED_BODY_LEN + ffpf_dlt_max_snap_len(sf->reader.info.link_type) +
		  MAX_OPTIONS_LEN + BLOCK_TRAILER_LEN;
	if (largest > sf->pcapng.max_block_len)
		sf->pcapng.max_block_len = largest;
	sf->pseudo = ffpf_savefile_pseudo_for(sf->reader.info.link_type, sf->reader.info.swapped);
	sf->walk = walk_blocks;
	sf->cut = cut_short;
	return 1;
}
