/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_KERNEL_MAPS_BPF_H
#define FFPF_KERNEL_MAPS_BPF_H
/*
 * The maps of a source. Sizes that are 1 here are set by the loader. What lies in an inner map is written by the
 * programs alone once its header was made and it was frozen.
 */
#include "kernel/kernel_layout.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FFPF_KERNEL_PROGS);
	__type(key, __u32);
	__type(value, __u32);
} progs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ffpf_scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FFPF_KERNEL_COLUMNS);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_column);
} columns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FFPF_KERNEL_FLOWS_MAX);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FFPF_KERNEL_GROUPS_MAX);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_group);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_lane_state);
} lane_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ffpf_kernel_flow_state);
} flow_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ffpf_counts_page);
} counts SEC(".maps");

/* One value: ffpf_lane_page, cells, slack. */
struct lane_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, FFPF_PAGE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct lane_map);
} lanes SEC(".maps");

/* Values of a page: ffpf_ibuf_page, then entries; as many as the IBuf needs. */
struct ibuf_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, FFPF_PAGE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ibuf_map);
} ibufs SEC(".maps");

struct reader_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, FFPF_PAGE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FFPF_KERNEL_FLOWS_MAX);
	__type(key, __u32);
	__array(values, struct reader_map);
} readers SEC(".maps");

/* Written to be readable: its descriptor wakes a reader. What is written says nothing. */
struct wake_map {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FFPF_PAGE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FFPF_KERNEL_FLOWS_MAX);
	__type(key, __u32);
	__array(values, struct wake_map);
} wakes SEC(".maps");

/* Full barriers, all of them: eBPF has no weaker ones on the machines that we know, and no fences. */
#define exchange(where, value) __sync_lock_test_and_set(where, value)

/* A load or store that happens once, in one piece, where it stands. */
#define once(field) (*(volatile __typeof__(field) *)&(field))

static __always_inline struct ffpf_ibuf_page *
ibuf_page(void *ibuf)
{
	const __u32 first = 0;

	return bpf_map_lookup_elem(ibuf, &first);
}

static __always_inline struct ffpf_index *
ibuf_entry(void *ibuf, __u32 place)
{
	const __u32 page = 1 + (place >> FFPF_KERNEL_ENTRIES_LOG2);
	struct ffpf_index *entries = bpf_map_lookup_elem(ibuf, &page);

	return entries ? &entries[place & ((1u << FFPF_KERNEL_ENTRIES_LOG2) - 1)] : NULL;
}

static __always_inline struct ffpf_reader_page *
reader_page(__u32 slot)
{
	const __u32 first = 0;
	void *reader = bpf_map_lookup_elem(&readers, &slot);

	return reader ? bpf_map_lookup_elem(reader, &first) : NULL;
}

/* What an index says: see ring/lane.h. */
static __always_inline __u64
index_position(__u64 w, __u32 index)
{
	return w - (__u32)((__u32)w - index);
}

/* Makes the reader's event descriptor readable. A full ring buffer is readable already. */
static __always_inline void
ring(__u32 slot)
{
	__u64 word = 1;
	void *wake = bpf_map_lookup_elem(&wakes, &slot);

	if (wake)
		bpf_ringbuf_output(wake, &word, sizeof(word), BPF_RB_FORCE_WAKEUP);
}

#endif
