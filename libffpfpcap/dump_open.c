/* SPDX-License-Identifier: BSD-3-Clause */
/* Savefiles to be written: their header, and what an existing one must say to be appended to. */
#include "dump.h"

#include "source/savefile_linktype.h"

#include <byteswap.h>
#include <errno.h>
#include <string.h>

#define MAGIC_MICRO     0xa1b2c3d4U
#define MAGIC_NANO      0xa1b23c4dU
#define MAGIC_KUZNETZOV 0xa1b2cd34U /* patched Linux libpcaps of the nineties */
#define MAGIC_NAVTEL    0xa12b3c4dU

static bool
is_nano(const struct pcap *p)
{
	return p->opt.tstamp_precision == PCAP_TSTAMP_PRECISION_NANO;
}

static bool
write_header(const struct pcap *p, FILE *fp, int link_type)
{
	const struct pcap_file_header header = {
		.magic = is_nano(p) ? MAGIC_NANO : MAGIC_MICRO,
		.version_major = PCAP_VERSION_MAJOR,
		.version_minor = PCAP_VERSION_MINOR,
		.snaplen = (bpf_u_int32)p->snapshot,
		.linktype = (bpf_u_int32)link_type,
	};

	return fwrite(&header, sizeof(header), 1, fp) == 1;
}

/* Closes fp unless it is standard output; NULL, so that a function can end in it. */
static pcap_dumper_t *
give_up(FILE *fp)
{
	if (fp != stdout)
		(void)fclose(fp);
	return NULL;
}

static pcap_dumper_t *
begin_file(struct pcap *p, int link_type, FILE *fp, const char *name)
{
	if (write_header(p, fp, link_type))
		return (pcap_dumper_t *)fp;
	ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "Can't write to %s", name);
	return give_up(fp);
}

pcap_dumper_t *
pcap_dump_open(pcap_t *p, const char *fname)
{
	pcap_dumper_t *dumper;
	int link_type;
	FILE *fp;

	if (!p->activated) {
		ffpf_handle_fail(p, PCAP_ERROR, "%s: not-yet-activated pcap_t passed to pcap_dump_open",
				 fname ? fname : "(null)");
		return NULL;
	}
	link_type = ffpf_dlt_to_linktype(p->link_type);
	if (link_type == -1) {
		ffpf_handle_fail(p, PCAP_ERROR, "%s: link-layer type %d isn't supported in savefiles",
				 fname ? fname : "(null)", p->link_type);
		return NULL;
	}
	if (!fname) {
		ffpf_handle_fail(p, PCAP_ERROR, "A null pointer was supplied as the file name");
		return NULL;
	}
	link_type |= p->link_type_ext;
	if (strcmp(fname, "-") == 0)
		return begin_file(p, link_type, stdout, "standard output");
	fp = fopen(fname, "wb");
	if (!fp) {
		ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "%s", fname);
		return NULL;
	}
	dumper = begin_file(p, link_type, fp, fname);
	if (dumper)
		ffpf_dumper_register(fp);
	return dumper;
}

/* The FILE is the program's, which may write to it as it likes: nothing is gathered. */
pcap_dumper_t *
pcap_dump_fopen(pcap_t *p, FILE *fp)
{
	int link_type = ffpf_dlt_to_linktype(p->link_type);

	if (link_type == -1) {
		ffpf_handle_fail(p, PCAP_ERROR, "stream: link-layer type %d isn't supported in savefiles",
				 p->link_type);
		return NULL;
	}
	ffpf_dumper_forget(fp); /* one of that address may have been closed by fclose() */
	return begin_file(p, link_type | p->link_type_ext, fp, "stream");
}

/* What stands against appending p's packets to a file with this header; "" for nothing. */
static const char *
mismatch(const struct pcap *p, const struct pcap_file_header *header, int link_type)
{
	static _Thread_local char version[64];

	switch (header->magic) {
	case MAGIC_MICRO:
	case MAGIC_NANO:
		if (is_nano(p) != (header->magic == MAGIC_NANO))
			return "different time stamp precision, cannot append to file";
		break;
	case __bswap_constant_32(MAGIC_MICRO):
	case __bswap_constant_32(MAGIC_NANO):
		return "different byte order, cannot append to file";
	case MAGIC_KUZNETZOV:
	case __bswap_constant_32(MAGIC_KUZNETZOV):
	case MAGIC_NAVTEL:
	case __bswap_constant_32(MAGIC_NAVTEL):
		return "not a pcap file to which we can append";
	default:
		return "not a pcap file";
	}
	if (header->version_major != PCAP_VERSION_MAJOR || header->version_minor != PCAP_VERSION_MINOR) {
		snprintf(version, sizeof(version), "version is %u.%u, cannot append to file", header->version_major,
			 header->version_minor);
		return version;
	}
	if (header->linktype != (bpf_u_int32)link_type)
		return "different linktype, cannot append to file";
	if (header->snaplen != (bpf_u_int32)p->snapshot)
		return "different snaplen, cannot append to file";
	return "";
}

/* Leaves the FILE at its end, behind a header that fits p. False with p's text set. */
static bool
join_file(struct pcap *p, int link_type, FILE *fp, const char *fname)
{
	struct pcap_file_header header;
	const char *reason;
	size_t got;

	if (fseek(fp, 0, SEEK_SET) == -1) {
		ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "Can't seek to the beginning of %s", fname);
		return false;
	}
	got = fread(&header, 1, sizeof(header), fp);
	if (got != sizeof(header) && ferror(fp)) {
		ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "%s", fname);
		return false;
	}
	if (got != sizeof(header) && got > 0) {
		ffpf_handle_fail(p, PCAP_ERROR, "%s: truncated pcap file header", fname);
		return false;
	}
	if (got == 0) {
		if (!write_header(p, fp, link_type)) {
			ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "Can't write to %s", fname);
			return false;
		}
	} else {
		reason = mismatch(p, &header, link_type);
		if (*reason) {
			ffpf_handle_fail(p, PCAP_ERROR, "%s: %s", fname, reason);
			return false;
		}
	}
	if (fseek(fp, 0, SEEK_END) == -1) {
		ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "Can't seek to the end of %s", fname);
		return false;
	}
	return true;
}

/* As libpcap has it: the activation of the handle is not looked at, FCS lengths are not written, and the text about the
 * link type shows the number that could not be found. */
pcap_dumper_t *
pcap_dump_open_append(pcap_t *p, const char *fname)
{
	int link_type = ffpf_dlt_to_linktype(p->link_type);
	FILE *fp;

	if (link_type == -1) {
		ffpf_handle_fail(p, PCAP_ERROR, "%s: link-layer type %d isn't supported in savefiles",
				 fname ? fname : "(null)", link_type);
		return NULL;
	}
	if (!fname) {
		ffpf_handle_fail(p, PCAP_ERROR, "A null pointer was supplied as the file name");
		return NULL;
	}
	if (strcmp(fname, "-") == 0)
		return begin_file(p, link_type, stdout, "standard output");
	fp = fopen(fname, "ab+");
	if (!fp) {
		ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "%s", fname);
		return NULL;
	}
	return join_file(p, link_type, fp, fname) ? (pcap_dumper_t *)fp : give_up(fp);
}
