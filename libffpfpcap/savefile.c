/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles that read savefiles, or streams of that format. */
#include "source/savefile.h"

#include "filter.h"
#include "read.h"
#include "refuse.h"
#include "stats.h"

#include <errno.h>
#include <string.h>

static void
wake_reader(struct pcap *p)
{
	p->reader->ops->wake(p->reader);
}

static int
no_datalink(struct pcap *p, int dlt)
{
	(void)p, (void)dlt;
	return 0; /* only ever asked for the link type in force */
}

static int
getnonblock(struct pcap *p)
{
	(void)p;
	return 0;
}

static int
cannot_set_rfmon(struct pcap *p)
{
	(void)p;
	return 0;
}

static void
close_file(struct pcap *p)
{
	p->reader->ops->close(p->reader);
	p->reader = NULL;
	if (p->file != stdin)
		fclose(p->file);
}

static const struct ffpf_handle_refusals refusals = {
	.status = PCAP_ERROR,
	.direction = "Setting direction is not supported on savefiles",
	.nonblock = "Savefiles cannot be put into non-blocking mode",
	.inject = "Sending packets isn't supported on savefiles",
	.stats = "Statistics aren't available from savefiles",
};

const struct ffpf_handle_ops ffpf_savefile_ops = {
	.name = "savefile",
	.dispatch = ffpf_savefile_dispatch,
	.loop = ffpf_savefile_loop,
	.next_ex = ffpf_savefile_next_ex,
	.breakloop = wake_reader,
	.setfilter = ffpf_reader_setfilter,
	.setdirection = ffpf_refuse_direction,
	.set_datalink = no_datalink,
	.getnonblock = getnonblock,
	.setnonblock = ffpf_refuse_setnonblock,
	.inject = ffpf_refuse_inject,
	.stats = ffpf_refuse_stats,
	.can_set_rfmon = cannot_set_rfmon,
	.close = close_file,
	.refusals = &refusals,
};

pcap_t *
pcap_fopen_offline_with_tstamp_precision(FILE *fp, u_int precision, char *errbuf)
{
	struct ffpf_savefile_config cfg = { .tick = FFPF_WANT_US };
	const struct ffpf_reader_info *info;
	struct ffpf_reader *reader;
	struct ffpf_error err = { .text = "" };
	struct pcap *p;

	if (!fp) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "Null FILE * pointer provided to savefile open routine");
		return NULL;
	}
	if (precision == PCAP_TSTAMP_PRECISION_NANO) {
		cfg.tick = FFPF_WANT_NS;
	} else if (precision != PCAP_TSTAMP_PRECISION_MICRO) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "unknown time stamp resolution %u", precision);
		return NULL;
	}
	p = ffpf_handle_create(&ffpf_savefile_ops, errbuf);
	if (!p)
		return NULL;
	if (ffpf_savefile_open(&reader, fp, &cfg, &err) < 0) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", err.text);
		p->ops = &ffpf_dead_ops; /* the FILE stays the caller's */
		ffpf_handle_destroy(p);
		return NULL;
	}
	info = &reader->info;
	p->reader = reader;
	p->file = fp;
	p->activated = true;
	p->form = FFPF_FORM_SAVEFILE;
	p->selectable_fd = fileno(fp);
	p->snapshot = (int)info->snap_len;
	p->buffer_bytes = p->snapshot < 2048 ? p->snapshot : 2048; /* where libpcap's buffer begins to grow */
	p->link_type = info->link_type;
	p->link_type_ext = info->link_type_ext;
	p->swapped = info->swapped;
	p->version_major = info->version_major;
	p->version_minor = info->version_minor;
	p->opt.tstamp_precision = (int)precision;
	ffpf_stats_attach(p);
	return p;
}

pcap_t *
pcap_fopen_offline(FILE *fp, char *errbuf)
{
	return pcap_fopen_offline_with_tstamp_precision(fp, PCAP_TSTAMP_PRECISION_MICRO, errbuf);
}

pcap_t *
pcap_open_offline_with_tstamp_precision(const char *fname, u_int precision, char *errbuf)
{
	struct pcap *p;
	FILE *fp;

	if (!fname) {
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "A null pointer was supplied as the file name");
		return NULL;
	}
	if (strcmp(fname, "-") == 0) {
		fp = stdin;
		if (!fp) {
			snprintf(errbuf, PCAP_ERRBUF_SIZE, "The standard input is not open");
			return NULL;
		}
	} else {
		fp = fopen(fname, "rb");
		if (!fp) {
			snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s: %s", fname, strerror(errno));
			return NULL;
		}
	}
	p = pcap_fopen_offline_with_tstamp_precision(fp, precision, errbuf);
	if (!p && fp != stdin)
		fclose(fp);
	return p;
}

pcap_t *
pcap_open_offline(const char *fname, char *errbuf)
{
	return pcap_open_offline_with_tstamp_precision(fname, PCAP_TSTAMP_PRECISION_MICRO, errbuf);
}

FILE *
pcap_file(pcap_t *p)
{
	if (p->file && !p->file_shared) {
		p->file_shared = true;
		ffpf_handle_settle(p);
		ffpf_savefile_sync_position(p->reader);
	}
	return p->file;
}
