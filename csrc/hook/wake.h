/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_HOOK_WAKE_H
#define FFPF_HOOK_WAKE_H
/*
 * Wakes readers that said that they sleep: by the writer of their IBuf, behind ffpf_ibuf_publish. CLOCK_MONOTONIC is
 * read when a reader sleeps and waits for more than there is.
 */
#include "ring/ibuf.h"

void ffpf_wake_if_due(struct ffpf_ibuf *ibuf);
uint64_t ffpf_wake_tick(struct ffpf_ibuf *ibuf, uint64_t now_ns); /* when the next wake-up is due */
void ffpf_wake(struct ffpf_ibuf *ibuf);                           /* if it sleeps */
void ffpf_wake_unasked(const struct ffpf_ibuf *ibuf);             /* the same, by whoever is not the writer */

#endif
