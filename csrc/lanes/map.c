/* SPDX-License-Identifier: BSD-3-Clause */
/* Memories that another process made, mapped here: sealed memfds, or maps of the kernel's. A map that only programs can
 * write is frozen, which shows in that it cannot be mapped writable. */
#include "lanes/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The largest lane that the layout allows. */
#define BYTES_MAX ((uint64_t)FFPF_PAGE_BYTES + (uint64_t)FFPF_PBUF_MAX_CELLS * FFPF_CELL_BYTES + FFPF_SLACK_BYTES)

/* No mapping may fault. A file that can be cut short could make it; what is no file and can be mapped is an object of
 * the kernel's, of fixed size: anonymous inodes have no file type (fs/anon_inodes.c, Linux 6.1). */
static int
check_descriptor(int fd, struct ffpf_error *err)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "fstat of a memory");
	if ((st.st_mode & S_IFMT) == 0)
		return 0;
	seals = S_ISREG(st.st_mode) ? fcntl(fd, F_GET_SEALS) : -1;
	if (seals == -1 || !(seals & F_SEAL_SHRINK))
		return ffpf_error_set(err, FFPF_E_INVALID, "a memory that could shrink");
	if (st.st_size < FFPF_PAGE_BYTES)
		return ffpf_error_set(err, FFPF_E_INVALID, "a memory of less than a page");
	return 0;
}

static int
map(struct ffpf_region *out, int fd, size_t bytes, bool writable, struct ffpf_error *err)
{
	void *base = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't map a memory of %zu octets", bytes);
	*out = (struct ffpf_region){ .base = base, .bytes = bytes, .fd = -1 };
	return 0;
}

/* A memory says its size itself. Of a kernel's object no more can be mapped than there is; of a file it could. */
static int
read_size(int fd, enum ffpf_kind kind, size_t *bytes, struct ffpf_error *err)
{
	struct ffpf_region page = { .fd = -1 };
	struct stat st;
	uint64_t size;
	int rc = check_descriptor(fd, err);

	if (!rc)
		rc = map(&page, fd, FFPF_PAGE_BYTES, false, err);
	if (rc)
		return rc;
	size = ((const struct ffpf_head *)page.base)->bytes;
	page.bytes = size;
	rc = ffpf_region_check(&page, kind, err);
	page.bytes = FFPF_PAGE_BYTES;
	ffpf_region_close(&page);
	if (rc)
		return rc;
	if (size > BYTES_MAX || fstat(fd, &st) == -1 || (S_ISREG(st.st_mode) && (uint64_t)st.st_size != size))
		return ffpf_error_set(err, FFPF_E_INVALID, "a memory of another size than it says");
	*bytes = size;
	return 0;
}

static int
check_frozen(int fd, struct ffpf_error *err)
{
	struct ffpf_region page;

	if (map(&page, fd, FFPF_PAGE_BYTES, true, NULL))
		return 0;
	ffpf_region_close(&page);
	return ffpf_error_set(err, FFPF_E_INVALID, "a memory that anybody could write");
}

static int
map_kind(struct ffpf_region *out, int fd, enum ffpf_kind kind, struct ffpf_error *err)
{
	struct ffpf_region made = { .fd = -1 };
	size_t bytes = 0;
	int rc = read_size(fd, kind, &bytes, err);

	if (!rc && kind != FFPF_KIND_READER)
		rc = check_frozen(fd, err);
	if (!rc)
		rc = map(&made, fd, bytes, kind == FFPF_KIND_READER, err);
	if (rc)
		return rc;
	rc = ffpf_region_check(&made, kind, err);
	if (rc)
		ffpf_region_close(&made);
	else
		*out = made;
	return rc;
}

int
ffpf_lanes_map_part(struct ffpf_lanes_part *out, int lane_fd, int ibuf_fd, struct ffpf_error *err)
{
	struct ffpf_lanes_part made = { { .fd = -1 }, { .fd = -1 } };
	int rc = map_kind(&made.lane, lane_fd, FFPF_KIND_LANE, err);

	if (!rc)
		rc = map_kind(&made.ibuf, ibuf_fd, FFPF_KIND_IBUF, err);
	if (rc)
		ffpf_lanes_unmap_part(&made);
	else
		*out = made;
	return rc;
}

void
ffpf_lanes_unmap_part(struct ffpf_lanes_part *part)
{
	ffpf_region_close(&part->lane);
	ffpf_region_close(&part->ibuf);
}

int
ffpf_lanes_map_reader(struct ffpf_region *out, int fd, struct ffpf_error *err)
{
	return map_kind(out, fd, FFPF_KIND_READER, err);
}

int
ffpf_lanes_map_counts(struct ffpf_region *out, int fd, struct ffpf_error *err)
{
	return map_kind(out, fd, FFPF_KIND_COUNTS, err);
}
