/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPFPCAP_STATS_H
#define FFPFPCAP_STATS_H
/*
 * FFPF_STATS: one line when the process exits, about all the handles that it opened for reading.
 *
 *     FFPF_STATS=1      the line goes to standard error, from processes that opened a handle for reading
 *     FFPF_STATS=/path  the line is added to that file, also by processes that opened none: the library was there
 *
 *     ffpf: engine=embedded handles=1 seen=7 filtered=2 delivered=5 dropped=0 (kernel=0 pbuf=0 ...) filter=jit
 * program=tcpdump pid=1
 *
 * engine is `shared` where ffpfd served, `embedded` where our readers did, `system` where the system's libpcap did,
 * several of them joined by `+`, `none` where no handle was opened; filter is how packets were filtered, or several
 * such words joined by `+`. The environment is not read in programs that run with more rights than their caller.
 */
struct pcap;

/* A handle was opened for reading: count it, and look at it at exit should it still be open then. */
void ffpf_stats_attach(struct pcap *p);
/* The handle is about to be closed: add up what it did. Legal for handles that were never attached. */
void ffpf_stats_detach(struct pcap *p);

#endif
