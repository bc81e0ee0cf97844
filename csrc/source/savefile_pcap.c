/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *   file   = magic 4, major 2, minor 2, zone 4, digits 4, snaplen 4, link type 4, { record }
 *   record = seconds 4, fraction 4, captured 4, on the wire 4, [ interface 4, protocol 2, type 1, - 1 ], data
 *
 * All in the byte order of the magic number. The six high bits of the link type tell of the frame check sequence.
 * Until version 2.3 the two lengths were the other way round, and some files of version 2.3 still are.
 */
#include "source/savefile_internal.h"
#include "source/savefile_linktype.h"

#include <errno.h>
#include <limits.h>
#include <pcap/dlt.h>

#define MAGIC_US        0xa1b2c3d4u
#define MAGIC_NS        0xa1b23c4du
#define MAGIC_KUZNETZOV 0xa1b2cd34u

#define FILE_HEADER_LEN      24u
#define RECORD_LEN           16u
#define RECORD_LEN_KUZNETZOV 24u

#define VERSION_MAJOR       2
#define VERSION_MINOR       4
#define VERSION_MAJOR_DG_UX 543 /* DG/UX tcpdump's 543.0, with the lengths of before 2.3 */

#define LINK_TYPE_BITS 0x03ffffffu

/* Where a record that is longer than the snapshot length says it is, or than any packet may be. */
static enum walk_state
refuse_length(struct savefile *sf, uint32_t cap_len)
{
	if (cap_len > sf->reader.info.snap_len)
		ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
			       "invalid packet capture length %u, bigger than snaplen of %d", cap_len,
			       (int)sf->reader.info.snap_len);
	else
		ffpf_error_set(&sf->reader.err, FFPF_E_FORMAT,
			       "invalid packet capture length %u, bigger than maximum of %u", cap_len,
			       sf->pcap.max_len);
	return WALK_FAILED;
}

static inline void
order_lengths(enum lengths_order order, uint32_t *cap_len, uint32_t *wire_len)
{
	uint32_t t = *cap_len;

	if (order == LENGTHS_WIRE_FIRST || (order == LENGTHS_UNSURE && *cap_len > *wire_len)) {
		*cap_len = *wire_len;
		*wire_len = t;
	}
}

static inline int64_t
scale_fraction(enum time_scale scale, int64_t frac)
{
	if (scale == SCALE_UP)
		return frac * 1000;
	return scale == SCALE_DOWN ? frac / 1000 : frac;
}

static inline void
read_time(const struct savefile *sf, const uint8_t *record, struct ffpf_packet *pkt)
{
	bool swapped = sf->reader.info.swapped;
	uint32_t sec = get32(record, swapped), raw = get32(record + 4, swapped);
	int64_t frac = scale_fraction(sf->pcap.scale, swapped ? (int64_t)raw : (int32_t)raw);

	pkt->ts_sec = swapped ? (int64_t)sec : (int32_t)sec;
	pkt->ts_frac = (int32_t)frac;
	if (frac != pkt->ts_frac)
		pkt->flags |= FFPF_PACKET_FRAC_WIDE;
}

/*
 * Records from lo on become descriptors. `plain` (a constant) is the common file: this host's byte order, 16-octet
 * records, time as wanted, no pseudo headers; the compiler drops what it does not need.
 */
static inline __attribute__((always_inline)) enum walk_state
walk(struct savefile *sf, const bool plain)
{
	const struct ffpf_bpf_prog *prog = sf->prog;
	const bool swapped = !plain && sf->reader.info.swapped;
	const uint32_t header_len = plain ? RECORD_LEN : sf->pcap.header_len;
	const uint32_t sure_len = sf->pcap.sure_len;
	const struct window *w = &sf->win;
	size_t lo = w->lo, hi = w->hi;
	struct walked so_far = { 0 };
	enum walk_state state = WALK_FULL;

	while (so_far.count < SAVEFILE_BATCH) {
		struct ffpf_packet *pkt = &sf->pkts[so_far.count];
		uint8_t *record = w->mem + lo;
		uint32_t cap_len, wire_len, stored_len;

		if (hi - lo < header_len) {
			sf->need = header_len;
			state = WALK_NEED;
			break;
		}
		cap_len = get32(record + 8, swapped);
		wire_len = get32(record + 12, swapped);
		if (!plain)
			order_lengths(sf->pcap.lengths, &cap_len, &wire_len);
		stored_len = cap_len;
		if (__builtin_expect(cap_len > sure_len, 0)) {
			if (cap_len > sf->pcap.max_len) {
				if (so_far.count == 0) {
					state = refuse_length(sf, cap_len);
					lo += header_len;
				}
				break;
			}
			cap_len = sf->reader.info.snap_len;
		}
		if (hi - lo - header_len < stored_len) {
			sf->need = (size_t)header_len + stored_len;
			state = WALK_NEED;
			break;
		}
		lo += header_len + stored_len;
		__builtin_prefetch(w->mem + lo);

		*pkt = (struct ffpf_packet){
			.data = record + header_len,
			.cap_len = cap_len,
			.wire_len = wire_len,
			.flags = FFPF_PACKET_HEAD_READABLE,
		};
		if (plain) {
			pkt->ts_sec = (int32_t)get32(record, false);
			pkt->ts_frac = (int32_t)get32(record + 4, false);
		} else {
			read_time(sf, record, pkt);
			if (sf->pseudo)
				savefile_fix_pseudo(sf, pkt, lo);
		}
		savefile_classify(sf, prog, &so_far, pkt, lo);
	}
	savefile_walked(sf, &so_far, lo);
	return state;
}

static enum walk_state
walk_plain(struct savefile *sf)
{
	return walk(sf, true);
}

static enum walk_state
walk_any(struct savefile *sf)
{
	return walk(sf, false);
}

static void
cut_short(struct savefile *sf)
{
	uint32_t header_len = sf->pcap.header_len;
	size_t there = sf->win.hi - sf->win.lo;

	if (there < header_len) {
		ffpf_error_set(&sf->reader.err, FFPF_E_TRUNCATED,
			       "truncated dump file; tried to read %u header bytes, only got %zu", header_len, there);
		return;
	}
	/* A packet longer than the snapshot length is read in two parts, and the first part may fall short. */
	there -= header_len;
	if (sf->need - header_len > sf->reader.info.snap_len && there < sf->reader.info.snap_len)
		ffpf_error_set(&sf->reader.err, FFPF_E_TRUNCATED,
			       "truncated dump file; tried to read %d captured bytes, only got %zu",
			       (int)sf->reader.info.snap_len, there);
	else
		ffpf_error_set(&sf->reader.err, FFPF_E_TRUNCATED,
			       "truncated dump file; tried to read %u captured bytes, only got %zu",
			       (uint32_t)(sf->need - header_len), there);
}

static bool
is_magic(uint32_t magic)
{
	return magic == MAGIC_US || magic == MAGIC_NS || magic == MAGIC_KUZNETZOV;
}

static enum lengths_order
lengths_of_version(int major, int minor)
{
	if (major == VERSION_MAJOR_DG_UX || minor < 3)
		return LENGTHS_WIRE_FIRST;
	return minor == 3 ? LENGTHS_UNSURE : LENGTHS_CAP_FIRST;
}

int
ffpf_savefile_pcap_open(struct savefile *sf, uint32_t magic, enum ffpf_tick_wanted tick, struct ffpf_error *err)
{
	struct ffpf_reader_info *info = &sf->reader.info;
	struct pcap_format *pcap = &sf->pcap;
	uint8_t header[FILE_HEADER_LEN - 4]; /* without the magic number */
	size_t got;
	uint32_t link_type;

	if (!is_magic(magic)) {
		magic = bswap_32(magic);
		if (!is_magic(magic))
			return 0;
		info->swapped = true;
	}
	got = fread(header, 1, sizeof(header), sf->fp);
	if (got != sizeof(header)) {
		int rc = ffpf_savefile_read_failed(sf->fp, errno, err);

		return rc ? rc
			  : ffpf_error_set(err, FFPF_E_TRUNCATED,
					   "truncated dump file; tried to read %u file header bytes, only got %zu",
					   FILE_HEADER_LEN, got);
	}
	info->version_major = get16(header, info->swapped);
	info->version_minor = get16(header + 2, info->swapped);
	if (info->version_major < VERSION_MAJOR)
		return ffpf_error_set(err, FFPF_E_FORMAT, "archaic pcap savefile format");
	if (!(info->version_major == VERSION_MAJOR && info->version_minor <= VERSION_MINOR) &&
	    !(info->version_major == VERSION_MAJOR_DG_UX && info->version_minor == 0))
		return ffpf_error_set(err, FFPF_E_FORMAT, "unsupported pcap savefile version %d.%d",
				      info->version_major, info->version_minor);

	link_type = get32(header + 16, info->swapped);
	info->link_type = ffpf_linktype_to_dlt((int)(link_type & LINK_TYPE_BITS));
	info->link_type_ext = (int)(link_type & ~LINK_TYPE_BITS);
	info->snap_len = ffpf_dlt_adjust_snap_len(info->link_type, get32(header + 12, info->swapped));

	pcap->lengths = lengths_of_version(info->version_major, info->version_minor);
	pcap->header_len = magic == MAGIC_KUZNETZOV ? RECORD_LEN_KUZNETZOV : RECORD_LEN;
	/* Kuznetzov's cooked captures put an Ethernet header before as many octets as the snapshot length says. */
	if (magic == MAGIC_KUZNETZOV && info->link_type == DLT_EN10MB)
		info->snap_len = info->snap_len <= INT_MAX - 14 ? info->snap_len + 14 : INT_MAX;
	if (magic == MAGIC_NS)
		pcap->scale = tick == FFPF_WANT_NS ? SCALE_NONE : SCALE_DOWN;
	else
		pcap->scale = tick == FFPF_WANT_NS ? SCALE_UP : SCALE_NONE;
	pcap->max_len = ffpf_dlt_max_snap_len(info->link_type);
	pcap->sure_len = pcap->max_len < info->snap_len ? pcap->max_len : info->snap_len;

	sf->pseudo = ffpf_savefile_pseudo_for(info->link_type, info->swapped);
	sf->cut = cut_short;
	sf->walk = !info->swapped && pcap->header_len == RECORD_LEN && pcap->lengths == LENGTHS_CAP_FIRST &&
			   pcap->scale == SCALE_NONE && !sf->pseudo
		       ? walk_plain
		       : walk_any;
	return 1;
}

int64_t
ffpf_savefile_wide_frac(const struct ffpf_reader *r, const struct ffpf_packet *pkt)
{
	const struct savefile *sf = (const struct savefile *)r;
	uint32_t raw = get32(pkt->data - sf->pcap.header_len + 4, r->info.swapped);

	return scale_fraction(sf->pcap.scale, r->info.swapped ? (int64_t)raw : (int32_t)raw);
}
