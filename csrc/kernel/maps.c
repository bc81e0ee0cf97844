/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memories of groups and flows. A lane or IBuf is made, its header is written through a mapping that is then taken
 * away, and it is frozen: from here on nobody but the programs can write it, whoever holds a descriptor.
 */
#include "kernel/kernel_internal.h"

#include "ring/region.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t
ffpf_kernel_lane_bytes(uint32_t cells_log2)
{
	return FFPF_PAGE_BYTES + ((uint64_t)FFPF_CELL_BYTES << cells_log2) + FFPF_SLACK_BYTES;
}

void
ffpf_kernel_close_all(int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static int
make(const char *name, uint32_t value_size, uint32_t entries, uint32_t flags, struct ffpf_error *err)
{
	struct bpf_map_create_opts opts = { .sz = sizeof(opts), .map_flags = flags };
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, entries, &opts);

	if (fd < 0)
		return ffpf_error_set_errno(err, errno == ENOMEM ? FFPF_E_NO_MEMORY : FFPF_E_SYSTEM, errno,
					    "%s: can't make a map of %u times %u octets", name, entries, value_size);
	return fd;
}

/* The first page, written once. */
static int
write_page(int fd, const void *page, size_t len, struct ffpf_error *err)
{
	void *at = mmap(NULL, FFPF_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map a map");
	memcpy(at, page, len);
	munmap(at, FFPF_PAGE_BYTES);
	return 0;
}

/* The descriptor, or it is closed and -code. */
static int
finish(int fd, const void *page, size_t len, bool freeze, struct ffpf_error *err)
{
	int rc = write_page(fd, page, len, err);

	if (!rc && freeze && bpf_map_freeze(fd))
		rc = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't freeze a map");
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static struct ffpf_head
head_of(enum ffpf_kind kind, uint64_t bytes)
{
	return (struct ffpf_head){ FFPF_LAYOUT_MAGIC, FFPF_LAYOUT_VERSION, (uint16_t)kind, bytes };
}

int
ffpf_kernel_make_lane(const struct ffpf_kernel *kernel, uint32_t bms, struct ffpf_error *err)
{
	const struct ffpf_kernel_source *source = &kernel->control->source;
	uint64_t bytes = ffpf_kernel_lane_bytes(source->cells_log2);
	struct ffpf_lane_page page = {
		.head = head_of(FFPF_KIND_LANE, bytes),
		.pbuf_offset = FFPF_PAGE_BYTES,
		.cells_log2 = source->cells_log2,
		.slack_bytes = FFPF_SLACK_BYTES,
		.bms = bms,
		.link_type = source->link_type,
		.snap_len = source->snap_len,
		.first_w = 1ull << source->cells_log2,
	};
	int fd = make("ffpf_lane", (uint32_t)bytes, 1, BPF_F_MMAPABLE, err);

	if (fd < 0)
		return fd;
	atomic_init(&page.w, page.first_w);
	atomic_init(&page.intent, page.first_w);
	atomic_init(&page.floor_ns, FFPF_FLOOR_IDLE);
	return finish(fd, &page, sizeof(page), true, err);
}

int
ffpf_kernel_make_ibuf(const struct ffpf_ibuf_page *template, struct ffpf_error *err)
{
	uint32_t slots = 1u << template->slots_log2;
	uint32_t pages = 1 + ((slots - 1) >> FFPF_KERNEL_ENTRIES_LOG2) + 1;
	struct ffpf_ibuf_page page = {
		.head = head_of(FFPF_KIND_IBUF, (uint64_t)pages * FFPF_PAGE_BYTES),
		.entries_offset = FFPF_PAGE_BYTES,
		.slots_log2 = template->slots_log2,
		.lane = template->lane,
		.nested_before = template->nested_before,
		.packets_before = template->packets_before,
		.first_pos = template->first_pos,
	};
	int fd = make("ffpf_ibuf", FFPF_PAGE_BYTES, pages, BPF_F_MMAPABLE | BPF_F_INNER_MAP, err);

	if (fd < 0)
		return fd;
	atomic_init(&page.w, page.first_pos);
	/* the hook announces one entry ahead: see append in deliver.bpf.h */
	atomic_init(&page.intent, page.first_pos + 1);
	return finish(fd, &page, sizeof(page), true, err);
}

int
ffpf_kernel_make_reader(struct ffpf_error *err)
{
	const struct ffpf_head head = head_of(FFPF_KIND_READER, sizeof(struct ffpf_reader_page));
	int fd = make("ffpf_reader", sizeof(struct ffpf_reader_page), 1, BPF_F_MMAPABLE, err);

	return fd < 0 ? fd : finish(fd, &head, sizeof(head), false, err);
}

int
ffpf_kernel_make_wake(struct ffpf_error *err)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ffpf_wake", 0, 0, (uint32_t)sysconf(_SC_PAGESIZE), NULL);

	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't make a BPF ring buffer");
	return fd;
}

int
ffpf_kernel_put(int map, uint32_t at, const void *value, struct ffpf_error *err)
{
	if (bpf_map_update_elem(map, &at, value, BPF_ANY))
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't write entry %u of a map", at);
	return 0;
}
