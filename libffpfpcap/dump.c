/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets into a savefile, and what programs ask of one that is being written. Opening: dump_open.c. */
#include "dump.h"

#include <stdio_ext.h>

/* The packet lies in memory that stays until the batch ends. */
static inline bool
lies_in_batch(const struct pcap *p, const u_char *data, uint32_t len)
{
	return p && data >= p->batch.mem_lo && data <= p->batch.mem_hi && len <= (size_t)(p->batch.mem_hi - data);
}

static void
write_record(FILE *fp, const struct pcap_pkthdr *h, const u_char *data)
{
	const struct dump_record record = ffpf_dump_record(h);

	if (fwrite(&record, sizeof(record), 1, fp) == 1)
		(void)fwrite(data, h->caplen, 1, fp); /* the error stays in the FILE */
}

/*
 * True: the packet was written into the FILE's buffer, for the trial (dump.h). A large one may leave nothing there:
 * then the next one is tried.
 */
static bool
tried_with(struct dumper *d, const struct pcap_pkthdr *h, const u_char *data)
{
	if (d->trial == DUMP_WATCHED) {
		d->gathers = __fpending(d->file) > 0;
		d->trial = DUMP_TRIED;
	}
	if (d->trial == DUMP_TRIED)
		return false;
	write_record(d->file, h, data);
	d->since_flush += sizeof(struct dump_record) + h->caplen;
	if (__fpending(d->file) > 0)
		d->trial = DUMP_WATCHED;
	return true;
}

/* A packet must follow those gathered from another batch; and two handles, hence perhaps two threads, are too many. */
static bool
gather(struct dumper *d, struct pcap *p, const struct pcap_pkthdr *h, const u_char *data)
{
	bool gathered, in_batch = lies_in_batch(p, data, h->caplen);

	if (__builtin_expect(d->source && (d->source != p || !in_batch), 0)) {
		if (d->source != p)
			d->gathers = false;
		ffpf_dumper_write_out(d);
	}
	if (d->gathers && in_batch && tried_with(d, h, data))
		return true;
	gathered = d->gathers && in_batch && ffpf_dumper_gather(d, p, h, data);
	if (!gathered)
		d->since_flush += sizeof(struct dump_record) + h->caplen;
	return gathered || ferror(d->file);
}

/* Called with the FILE as pcap_loop's `user`, too. */
void
pcap_dump(u_char *user, const struct pcap_pkthdr *h, const u_char *sp)
{
	FILE *fp = (FILE *)(void *)user;
	struct dumper *d;

	if (ferror_unlocked(fp))
		return; /* a savefile with a hole is worse than one that ends */
	d = ffpf_dumper_find(fp);
	if (d) {
		bool locked = ffpf_dumper_lock(d);
		bool gathered = gather(d, ffpf_current, h, sp);

		ffpf_dumper_unlock(d, locked);
		if (gathered)
			return;
	}
	write_record(fp, h, sp);
}

FILE *
pcap_dump_file(pcap_dumper_t *p)
{
	FILE *fp = (FILE *)p;
	struct dumper *d = ffpf_dumper_find(fp);

	if (d) {
		bool locked = ffpf_dumper_lock(d);

		ffpf_dumper_write_out(d);
		d->gathers = false;
		ffpf_dumper_unlock(d, locked);
	}
	return fp;
}

/* What is gathered counts: programs rotate their files by it, perhaps asking after each packet. */
int64_t
pcap_dump_ftell64(pcap_dumper_t *p)
{
	FILE *fp = (FILE *)p;
	struct dumper *d = ffpf_dumper_find(fp);
	off_t position;
	bool locked;

	if (!d)
		return ftello(fp);
	locked = ffpf_dumper_lock(d);
	if (!d->source || d->begin < 0 || __fpending(fp) > 0) {
		position = ftello(fp);
		d->begin = __fpending(fp) > 0 ? -1 : position;
	} else {
		position = d->begin;
	}
	if (position >= 0)
		position += (off_t)ffpf_dumper_gathered(d);
	ffpf_dumper_unlock(d, locked);
	return position;
}

long
pcap_dump_ftell(pcap_dumper_t *p)
{
	return (long)pcap_dump_ftell64(p);
}

int
pcap_dump_flush(pcap_dumper_t *p)
{
	FILE *fp = (FILE *)p;
	struct dumper *d = ffpf_dumper_find(fp);

	if (d) {
		bool locked = ffpf_dumper_lock(d);

		ffpf_dumper_write_out(d);
		d->since_flush = 0;
		if (d->trial == DUMP_WATCHED)
			d->trial = DUMP_TRIED; /* the buffer is empty, but not by a flush that we do not see */
		ffpf_dumper_unlock(d, locked);
	}
	return fflush(fp) == EOF ? -1 : 0;
}

void
pcap_dump_close(pcap_dumper_t *p)
{
	FILE *fp = pcap_dump_file(p); /* all is written out, and nothing more gathered */

	ffpf_dumper_forget(fp);
	(void)fclose(fp);
}

/*
 * A child gets the FILE's buffer, but never what is gathered: its parent writes that. Other threads' batches end in the
 * parent only.
 */
static void
before_fork(void)
{
	if (ffpf_current)
		ffpf_handle_finish(ffpf_current);
}

__attribute__((constructor)) static void
watch_forks(void)
{
	pthread_atfork(before_fork, NULL, NULL);
}

static void
write_out_at_exit(struct dumper *d)
{
	/* One that a thread is writing at this moment is left to that thread, as the FILE would be. */
	if (pthread_mutex_trylock(&d->lock) != 0)
		return;
	ffpf_dumper_write_out(d);
	d->gathers = false;
	pthread_mutex_unlock(&d->lock);
}

/* A thread called exit() while another one is in a callback. Runs before the C library flushes its streams. */
__attribute__((destructor)) static void
at_exit(void)
{
	ffpf_dumper_each(write_out_at_exit);
}
