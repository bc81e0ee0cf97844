/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Maps are put into arrays of maps, and taken out. The kernel lets each such call wait for a grace period; calls of
 * several threads wait for the same one, so what belongs together is done by a thread for each.
 */
#include "kernel/kernel_internal.h"

#include <errno.h>
#include <pthread.h>

#define THREADS_MAX 64

struct errand {
	const struct ffpf_kernel_place *place;
	int error; /* errno */
};

static void *
run(void *arg)
{
	struct errand *errand = arg;
	const struct ffpf_kernel_place *place = errand->place;
	int rc = place->fd >= 0 ? bpf_map_update_elem(place->outer, &place->at, &place->fd, BPF_ANY)
				: bpf_map_delete_elem(place->outer, &place->at);

	errand->error = rc ? errno : 0;
	return NULL;
}

/* What no thread can be made for is done here. */
static void
run_some(struct errand *errands, uint32_t count)
{
	pthread_t threads[THREADS_MAX];
	uint32_t made = 0;

	while (made + 1 < count && pthread_create(&threads[made], NULL, run, &errands[made]) == 0)
		made++;
	for (uint32_t i = made; i < count; i++)
		run(&errands[i]);
	for (uint32_t i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
}

int
ffpf_kernel_place(const struct ffpf_kernel_place *places, uint32_t count, struct ffpf_error *err)
{
	for (uint32_t done = 0; done < count; done += THREADS_MAX) {
		uint32_t n = count - done < THREADS_MAX ? count - done : THREADS_MAX;
		struct errand errands[THREADS_MAX];

		for (uint32_t i = 0; i < n; i++)
			errands[i] = (struct errand){ .place = &places[done + i] };
		run_some(errands, n);
		for (uint32_t i = 0; i < n; i++)
			if (errands[i].error && places[done + i].fd >= 0)
				return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errands[i].error,
							    "can't put a map into an array of maps");
	}
	return 0;
}
