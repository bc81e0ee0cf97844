/* SPDX-License-Identifier: BSD-3-Clause */
#include "dump.h"

#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES sizeof(struct dump_record)

static bool
make_room(struct dumper *d)
{
	if (d->stage)
		return true;
	d->stage = malloc(DUMP_STAGE_BYTES + DUMP_PIECES * sizeof(*d->pieces));
	d->pieces = (struct iovec *)(void *)(d->stage + DUMP_STAGE_BYTES);
	return d->stage != NULL;
}

static void
forget_gathered(struct dumper *d)
{
	d->run = d->run_end = NULL;
	d->stage_used = 0;
	d->piece_count = 0;
	d->since_flush += d->piece_bytes;
	d->piece_bytes = 0;
	d->begin = -1;
}

/* The pieces without their first `done` octets, as libpcap writes packets: stdio meets the error, if there is one, and
 * the FILE keeps it. */
static void
write_plainly(struct dumper *d, size_t done)
{
	FILE *fp = d->file;

	for (unsigned i = 0; i < d->piece_count; i++) {
		const uint8_t *octets = d->pieces[i].iov_base;
		size_t len = d->pieces[i].iov_len;
		size_t skip = done < len ? done : len;

		done -= skip;
		if (len > skip && fwrite(octets + skip, len - skip, 1, fp) != 1)
			return;
	}
}

/*
 * After a failure the error must be where libpcap would have it: in the FILE at once for octets that stdio would have
 * written by now, whole buffers since the last flush; with pcap_dump_flush() for the others.
 */
static bool
stdio_had_written(const struct dumper *d, size_t done)
{
	uint64_t end = d->since_flush + d->piece_bytes;

	return d->since_flush + done < end - end % __fbufsize(d->file);
}

/*
 * The FILE does not know its position: it was flushed when gathering began (glibc 2.36, fileops.c, _IO_new_file_sync),
 * so the descriptor may be written to. What the program wrote into the FILE since then comes after; and it must be
 * empty when more is gathered.
 */
static void
write_pieces(struct dumper *d, bool more)
{
	ssize_t written = writev(d->fd, d->pieces, (int)d->piece_count);
	size_t done = written > 0 ? (size_t)written : 0;
	bool failed = done < d->piece_bytes;

	if (failed)
		write_plainly(d, done);
	if (more || (failed && stdio_had_written(d, done)))
		fflush(d->file);
	forget_gathered(d);
}

/* One more piece, unless it continues the one before. There is room for it: see end_run(). */
static void
add_piece(struct dumper *d, const uint8_t *octets, size_t len)
{
	struct iovec *last = &d->pieces[d->piece_count];

	if (d->piece_count > 0 && (const uint8_t *)last[-1].iov_base + last[-1].iov_len == octets) {
		last[-1].iov_len += len;
		d->piece_bytes += len;
		return;
	}
	*last = (struct iovec){ (void *)octets, len };
	d->piece_count++;
	d->piece_bytes += len;
}

static void
stage(struct dumper *d, const void *octets, size_t len)
{
	memcpy(d->stage + d->stage_used, octets, len);
	add_piece(d, d->stage + d->stage_used, len);
	d->stage_used += len;
}

/* The run becomes pieces. Afterwards there is room for a record's header and another run. */
static void
end_run(struct dumper *d)
{
	size_t len = (size_t)(d->run_end - d->run);

	if (len > DUMP_SHORT_RUN)
		add_piece(d, d->run, len);
	else if (len > 0)
		stage(d, d->run, len);
	d->run = d->run_end = NULL;
	if (d->piece_count + 4 > DUMP_PIECES || d->stage_used + DUMP_SHORT_RUN + RECORD_BYTES > DUMP_STAGE_BYTES)
		write_pieces(d, true);
}

void
ffpf_dumper_write_out(struct dumper *d)
{
	if (!d->source)
		return;
	d->source = NULL;
	end_run(d);
	if (d->piece_count == 0)
		return;
	if (d->piece_bytes >= DUMP_WORTH_A_CALL || __fpending(d->file) > 0) {
		write_pieces(d, false);
	} else {
		write_plainly(d, 0);
		forget_gathered(d);
	}
}

/* The batch of p ends, or its memory does. */
static void
finish(struct pcap *p)
{
	struct dumper *d = p->finish_state;

	p->finish_state = NULL;
	while (d) {
		struct dumper *next;

		pthread_mutex_lock(&d->lock);
		next = d->next_of_linked;
		d->linked = NULL;
		d->next_of_linked = NULL;
		if (d->source == p)
			ffpf_dumper_write_out(d);
		pthread_mutex_unlock(&d->lock);
		d = next;
	}
}

/*
 * What the FILE holds becomes the first piece, and the FILE empty: written by itself it would meet a full disk before
 * libpcap does. Then the FILE is made to forget its position, which the descriptor will leave (glibc 2.36, fileops.c,
 * _IO_new_file_sync). There is room: the stage is empty.
 */
static bool
take_over(struct dumper *d)
{
	FILE *fp = d->file;
	size_t pending = __fpending(fp);

	if (pending > DUMP_STAGE_BYTES - DUMP_SHORT_RUN - RECORD_BYTES)
		return fflush(fp) == 0;
	if (pending > 0) {
		stage(d, fp->_IO_write_base, pending);
		d->since_flush -= pending < d->since_flush ? pending : d->since_flush;
		__fpurge(fp);
	}
	return fflush(fp) == 0;
}

/* Before the first packet of a batch. False where gathering would not do what stdio does, which is to buffer; or where
 * it would not pay. */
static bool
begin(struct dumper *d, struct pcap *p)
{
	FILE *fp = d->file;

	if ((d->linked && d->linked != p) || p->batch.count - p->next < DUMP_WORTH_PACKETS || fileno(fp) != d->fd ||
	    __fbufsize(fp) < 2 || __flbf(fp) || !make_room(d))
		return false;
	forget_gathered(d);
	if (!take_over(d))
		return false;
	d->source = p;
	if (!d->linked) {
		d->linked = p;
		d->next_of_linked = p->finish ? p->finish_state : NULL;
		p->finish_state = d;
		p->finish = finish;
	}
	return true;
}

static bool
same_record(const void *head, const struct dump_record *record)
{
	return memcmp(head, record, RECORD_BYTES) == 0;
}

/*
 * Makes the 16 octets before a packet be its record's header, if they may and it pays: what is to be copied needs none
 * there. The same packet may be dumped more than once with headers that differ: those noted before must not change.
 */
static bool
has_head(const struct ffpf_packet *pkt, const u_char *data, const struct dump_record *record)
{
	static _Thread_local const u_char *written __attribute__((tls_model("initial-exec")));
	uint8_t *head = (uint8_t *)(uintptr_t)data - RECORD_BYTES;

	if (!pkt || pkt->data != data)
		return false;
	if ((pkt->flags & FFPF_PACKET_HEAD_READABLE) && same_record(head, record))
		return true;
	if (!(pkt->flags & FFPF_PACKET_HEAD_WRITABLE) || record->cap_len <= DUMP_SHORT_RUN)
		return false;
	if (written == data)
		return same_record(head, record);
	memcpy(head, record, RECORD_BYTES);
	written = data;
	return true;
}

bool
ffpf_dumper_gather(struct dumper *d, struct pcap *p, const struct pcap_pkthdr *h, const u_char *data)
{
	const struct dump_record record = ffpf_dump_record(h);
	const uint8_t *octets = data;
	size_t len = h->caplen;

	if (__builtin_expect(d->source == p && __fpending(d->file) > 0, 0))
		ffpf_dumper_write_out(d);
	if (__builtin_expect(d->source != p, 0) && !begin(d, p))
		return false;
	if (has_head(p->current, data, &record)) {
		octets -= RECORD_BYTES;
		len += RECORD_BYTES;
		if (octets == d->run_end) {
			d->run_end += len;
			return true;
		}
		end_run(d);
	} else {
		end_run(d);
		stage(d, &record, RECORD_BYTES);
		if (len <= DUMP_SHORT_RUN) {
			stage(d, data, len);
			return true;
		}
	}
	d->run = octets;
	d->run_end = octets + len;
	return true;
}
