/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_CLASS_SAMPLER_H
#define FFPF_GRAPH_CLASS_SAMPLER_H
/*
 * (sampler,N) lets every N-th packet pass: (sampler,2,4) of the paper's section 2.3 is one in two, with a counter of
 * four octets. Packets 1 to N - 1 are turned away, packet N passes, and so on.
 *
 *   (sampler,"1/N random seed=S")  each packet on its own with probability 1/N: the generator is splitmix64 (Steele,
 *                                  Lea, Flood 2014) begun at S, one step a packet, and a packet passes when the step's
 *                                  value is at most (2^64 - 1) / N
 *   (sampler,"1/N hash seed=S")    one in N flows, both directions of each, with all their packets: those whose
 *                                  ffpf_tuple_hash with seed S is at most (2^64 - 1) / N. The same seed chooses the
 *                                  same flows on every machine of one byte order
 *
 * S is 1 when it is not given. Packets without a flow (see tuple.h) are to `hash` one flow.
 */
#include <stdint.h>

/*
 *   MBuf of 4 octets          MBuf of 8 octets or more
 *   0..3                      0..7
 *   seen, modulo 2^32         seen
 *
 * Packets that came, kept or not. The application may write it; which packets are kept does not depend on it.
 */
struct ffpf_mbuf_sampler_4 {
	uint32_t seen;
};

struct ffpf_mbuf_sampler {
	uint64_t seen;
};

#endif
