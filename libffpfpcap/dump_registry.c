/* SPDX-License-Identifier: BSD-3-Clause */
/* Which FILEs are savefiles being written. Process-wide, since the ABI hands pcap_dump() nothing but the FILE. */
#include "dump.h"

#include <stdlib.h>

#define BUCKETS 64

/* Lists that only grow: read without a lock, each link stored with release when what it leads to is complete. */
static _Atomic(struct dumper *) buckets[BUCKETS];
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

static _Atomic(struct dumper *) *
bucket_of(const FILE *fp)
{
	return &buckets[((uintptr_t)fp >> 5) % BUCKETS];
}

/* The first dumper of a bucket that is fp's; NULL finds a free one. */
static struct dumper *
search(_Atomic(struct dumper *) *bucket, FILE *fp)
{
	struct dumper *d = atomic_load_explicit(bucket, memory_order_acquire); /* pairs with the release in add() */

	while (d && atomic_load_explicit(&d->file, memory_order_acquire) != fp)
		d = d->next_in_bucket;
	return d;
}

struct dumper *
ffpf_dumper_find(FILE *fp)
{
	/* A dumper's memory stays, so that one that is no longer fp's can be told by looking at it. */
	static _Thread_local struct dumper *last __attribute__((tls_model("initial-exec")));
	struct dumper *d = last;

	if (d && atomic_load_explicit(&d->file, memory_order_acquire) == fp)
		return d;
	d = search(bucket_of(fp), fp);
	if (d)
		last = d;
	return d;
}

static struct dumper *
add(_Atomic(struct dumper *) *bucket)
{
	struct dumper *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->next_in_bucket = atomic_load_explicit(bucket, memory_order_relaxed); /* we hold the lock */
	atomic_store_explicit(bucket, d, memory_order_release);                 /* pairs with search() */
	return d;
}

void
ffpf_dumper_register(FILE *fp)
{
	_Atomic(struct dumper *) *bucket = bucket_of(fp);
	struct dumper *d;

	pthread_mutex_lock(&changing);
	d = search(bucket, fp);
	if (!d)
		d = search(bucket, NULL);
	if (!d)
		d = add(bucket);
	if (d) {
		pthread_mutex_lock(&d->lock);
		d->gathers = true;
		d->trial = DUMP_UNTRIED;
		d->fd = fileno(fp);
		d->since_flush = sizeof(struct pcap_file_header);
		pthread_mutex_unlock(&d->lock);
		atomic_store_explicit(&d->file, fp, memory_order_release); /* pairs with ffpf_dumper_find() */
	}
	pthread_mutex_unlock(&changing);
}

void
ffpf_dumper_forget(FILE *fp)
{
	struct dumper *d;

	pthread_mutex_lock(&changing);
	d = search(bucket_of(fp), fp);
	if (d) {
		pthread_mutex_lock(&d->lock);
		d->gathers = false;
		free(d->stage);
		d->stage = NULL;
		pthread_mutex_unlock(&d->lock);
		atomic_store_explicit(&d->file, NULL, memory_order_release);
	}
	pthread_mutex_unlock(&changing);
}

void
ffpf_dumper_each(void (*visit)(struct dumper *d))
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct dumper *d = atomic_load_explicit(&buckets[i], memory_order_acquire);

		for (; d; d = d->next_in_bucket)
			if (atomic_load_explicit(&d->file, memory_order_acquire))
				visit(d);
	}
}
